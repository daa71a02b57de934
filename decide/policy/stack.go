package policy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/spacelift"
)

// Stack holds what rules select a stack by, and its labels.
type Stack struct {
	Account        spacelift.Account
	ID             spacelift.StackID
	Labels         []string
	Spaces         []string // ids of its space and of those above it, the nearest first
	Branch         string
	Administrative bool
}

// StackOf returns a stack as rules see it. The tree holds the spaces of the account.
func StackOf(s spacelift.Stack, tree []spacelift.Space) Stack {
	return Labelled(s.Labels).With(s.Account, s.ID, s.Traits(), tree)
}

// Labelled returns a stack of which only the labels are known.
func Labelled(labels []string) Stack { return Stack{Labels: labels} }

// With returns the stack with what else rules select it by.
func (s Stack) With(account spacelift.Account, id spacelift.StackID, traits spacelift.StackTraits, tree []spacelift.Space) Stack {
	return Stack{Account: account, ID: id, Labels: s.Labels, Spaces: spacelift.SpacesAbove(traits.Space, tree), Branch: traits.Branch, Administrative: traits.Administrative}
}

// StackRule gives the stacks that it selects the values of a profile. Where several
// rules select a stack, all of them count: the later replaces values of the earlier,
// except those of a locked rule, which can only be tightened from then on. Labels of a
// stack that a locked rule selects can only tighten the result.
type StackRule struct {
	Name    string
	Match   Match
	Profile string
	Locked  bool
}

// Match selects stacks. A stack must fit each part that is given: one of the accounts,
// one of the spaces or a space below it, one of the stack ids, all of the labels, one of
// the branches. In ids, labels and branches * stands for any characters.
type Match struct {
	Accounts       []string
	Spaces         []string
	Stacks         []string
	Labels         []string
	Branches       []string
	Administrative *bool
}

// compiledRule is a rule that Compile has checked.
type compiledRule struct {
	StackRule
	profile                  Profile
	stacks, labels, branches []*regexp.Regexp
}

func (r *compiledRule) selects(s Stack) bool {
	m := r.Match
	one := func(patterns []*regexp.Regexp, name string) bool {
		return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p *regexp.Regexp) bool { return matches(p, name) })
	}
	switch {
	case len(m.Accounts) > 0 && !slices.Contains(m.Accounts, string(s.Account)):
	case len(m.Spaces) > 0 && !slices.ContainsFunc(s.Spaces, func(space string) bool { return slices.Contains(m.Spaces, space) }):
	case !one(r.stacks, string(s.ID)):
	case slices.ContainsFunc(r.labels, func(p *regexp.Regexp) bool {
		return !slices.ContainsFunc(s.Labels, func(label string) bool { return matches(p, label) })
	}):
	case !one(r.branches, s.Branch):
	case m.Administrative != nil && *m.Administrative != s.Administrative:
	default:
		return true
	}
	return false
}

// NeedsStacks reports whether rules select stacks by more than account and id, so that
// the stack must be read. NeedsSpaces reports whether they select by space.
func (r *Definitions) NeedsStacks() bool {
	return r != nil && slices.ContainsFunc(r.rules, func(c compiledRule) bool {
		return len(c.Match.Labels)+len(c.Match.Branches)+len(c.Match.Spaces) > 0 || c.Match.Administrative != nil
	})
}

// NeedsSpaces reports whether rules select stacks by their space.
func (r *Definitions) NeedsSpaces() bool {
	return r != nil && slices.ContainsFunc(r.rules, func(c compiledRule) bool { return len(c.Match.Spaces) > 0 })
}

// compileRules checks the rules and the default profile.
func (r *Definitions) compileRules(c Config) (problems []error) {
	bad := func(setting, format string, args ...any) {
		problems = append(problems, mistake(setting, format, args...))
	}
	missing := func(setting, name string) {
		near := ""
		if n, ok := Nearest(name, r.Profiles()); ok {
			near = fmt.Sprintf(" (meant %s?)", n)
		}
		bad(setting, "there is no profile %q%s; configure it under profiles%s", name, near, r.profileList())
	}
	if name := c.DefaultProfile; name != "" {
		if profile, ok := r.profiles[name]; ok {
			r.defaultProfile = &profile
		} else {
			missing("defaultProfile", name)
		}
	}
	for i, rule := range c.Rules {
		at := fmt.Sprintf("rules[%d]", i)
		if err := checkName(rule.Name); err != nil {
			problems = append(problems, At(at, err))
		}
		if slices.ContainsFunc(r.rules, func(other compiledRule) bool { return other.Name == rule.Name }) {
			bad(at+".name", "another rule has it; give each its own")
		}
		compiled := compiledRule{StackRule: rule}
		switch profile, ok := r.profiles[rule.Profile]; {
		case rule.Profile == "":
			bad(at+".profile", "it is missing; name the profile whose values the stacks get")
		case !ok:
			missing(at+".profile", rule.Profile)
		default:
			compiled.profile = profile
		}
		problems = append(problems, mistakes(at+".match", compiled.compileMatch())...)
		r.rules = append(r.rules, compiled)
	}
	return problems
}

// compileMatch compiles the patterns of a rule.
func (r *compiledRule) compileMatch() (errs []error) {
	var unused []*regexp.Regexp
	for _, list := range []struct {
		name     string
		patterns []string
		to       *[]*regexp.Regexp
	}{
		{"accounts", r.Match.Accounts, &unused},
		{"spaces", r.Match.Spaces, &unused},
		{"stacks", r.Match.Stacks, &r.stacks},
		{"labels", r.Match.Labels, &r.labels},
		{"branches", r.Match.Branches, &r.branches},
	} {
		var err error
		if *list.to, err = globs(list.patterns); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", list.name, err))
		}
	}
	return errs
}

// matches reports whether a text fits a pattern of globs, however Unicode composes it.
func matches(p *regexp.Regexp, text string) bool { return p.MatchString(decide.Composed(text)) }

// globs compiles patterns in which * stands for any characters, also for the end of a line.
func globs(patterns []string) (all []*regexp.Regexp, err error) {
	for _, p := range patterns {
		if strings.TrimSpace(p) == "" {
			return nil, errors.New("one is empty; remove it, or write * for any")
		}
		all = append(all, regexp.MustCompile(`(?s)^`+strings.ReplaceAll(regexp.QuoteMeta(decide.Composed(p)), `\*`, `.*`)+`$`))
	}
	return all, nil
}
