package authority

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/policy"
)

// Binding gives a role to people and tokens, everywhere or in some places. Its tags are
// those of the settings in package config.
type Binding struct {
	Who   []string `setting:"who" doc:"Subjects that have the role: user:NAME (a person, by any of their names), group:NAME or token:NAME."`
	Role  Role     `setting:"role" doc:"viewer, approver, operator or admin."`
	Where Where    `setting:"where"`
}

// Where is the set of stacks where a role holds. The zero value is everywhere; of
// several members, all must fit.
type Where struct {
	Accounts []string `setting:"accounts" doc:"Accounts where the role holds. Without any, all."`
	Spaces   []string `setting:"spaces" doc:"Ids of spaces where the role holds, and in the spaces below them. Without any, all."`
	Stacks   []string `setting:"stacks" doc:"Ids of stacks where the role holds; * stands for any text, such as network-*. Without any, all."`
	Labels   []string `setting:"labels" doc:"Labels of stacks where the role holds, such as team:dba; one is enough. Without any, all."`
}

// Stack is a stack as Spacelift's API shows it. A caller names only its account and id:
// the rest is never theirs to say.
type Stack struct {
	Account, ID string

	Known  bool     // the API showed the rest
	Spaces []string // the stack's space and those above it
	Labels []string
}

func (s Stack) isLabelled(label string) bool {
	return slices.ContainsFunc(s.Labels, func(l string) bool { return decide.SameText(l, label) })
}

// Holds reports whether the place includes a stack. If the rest of the stack isn't
// known, no place of spaces or labels includes it.
func (w Where) Holds(s Stack) bool {
	return w.HoldsIn(s.Account) &&
		(len(w.Stacks) == 0 || slices.ContainsFunc(w.Stacks, func(glob string) bool { return fits(glob, s.ID) })) &&
		(len(w.Spaces) == 0 || s.Known && overlap(w.Spaces, s.Spaces)) &&
		(len(w.Labels) == 0 || s.Known && slices.ContainsFunc(w.Labels, s.isLabelled))
}

// HoldsIn reports whether the place includes anything of an account.
func (w Where) HoldsIn(account string) bool {
	return len(w.Accounts) == 0 || slices.Contains(w.Accounts, account)
}

// WholeAccounts reports whether the place includes every stack of its accounts.
func (w Where) WholeAccounts() bool { return len(w.Spaces)+len(w.Stacks)+len(w.Labels) == 0 }

// needsStack reports whether the answer depends on more than a stack's id.
func (w Where) needsStack() bool { return len(w.Spaces)+len(w.Labels) > 0 }

// fits reports whether a text fits a pattern, in which * stands for any text.
func fits(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	text, ok := strings.CutPrefix(text, parts[0])
	last := len(parts) - 1
	if !ok || last == 0 {
		return ok && text == ""
	}
	for _, part := range parts[1:last] {
		if _, text, ok = strings.Cut(text, part); !ok {
			return false
		}
	}
	return strings.HasSuffix(text, parts[last])
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

// Grant is a role of a caller, and where it holds.
type Grant struct {
	Role  Role
	Where Where
}

// Kinds of subjects of bindings.
const (
	subjectUser  = "user"
	subjectGroup = "group"
	subjectToken = "token"
)

// binds reports whether a binding is about a caller. Only names that the configuration
// gives a person count; names from the claims of a token of another issuer don't.
func (b Binding) binds(p Principal) bool {
	return slices.ContainsFunc(b.Who, func(who string) bool {
		kind, name, _ := strings.Cut(who, ":")
		switch kind {
		case subjectUser:
			return decide.Person{Name: p.Person.Name, Aliases: p.configured}.IsCalled(name)
		case subjectGroup:
			return p.Person.In(name)
		case subjectToken:
			return p.How == HowToken && decide.SameName(p.Credential, name)
		}
		return false
	})
}

// bindingProblems reports invalid bindings.
func bindingProblems(bindings []Binding) (problems []error) {
	for i, b := range bindings {
		bad := func(format string, args ...any) {
			problems = append(problems, policy.At(fmt.Sprintf("bindings[%d]", i), fmt.Errorf(format, args...)))
		}
		if len(b.Who) == 0 {
			bad("who: it is missing; name a user:, group: or token:")
		}
		for _, who := range b.Who {
			kind, name, _ := strings.Cut(who, ":")
			if !slices.Contains([]string{subjectUser, subjectGroup, subjectToken}, kind) || name == "" {
				bad("who: %q is not user:NAME, group:NAME or token:NAME", who)
			} else if err := decide.CheckGroup(name); err != nil {
				bad("who: %+q can't be a name: %w", name, err)
			}
		}
		if !slices.Contains(Roles, b.Role) {
			bad("role: there is no role %q; choose one of %v", b.Role, Roles)
		}
		if slices.Contains(slices.Concat(b.Where.Accounts, b.Where.Spaces, b.Where.Stacks, b.Where.Labels), "") {
			bad("where: one of its values is empty; remove it")
		}
	}
	return problems
}
