package policy

import (
	"fmt"
	"strings"

	"github.com/gantryhq/gantry/decide/expression"
)

// Expressions are conditions over plans; see package expression. Nil is none.
type Expressions struct {
	// ConfirmWhen restricts the plans that Gantry confirms automatically to those of
	// which every expression is true.
	ConfirmWhen *Setting[[]string] `json:"confirmWhen,omitempty"`

	// ApprovalsWhen asks for approvals beside the stack's own. All that apply add up.
	ApprovalsWhen *Setting[[]Requirement] `json:"approvalsWhen,omitempty"`

	// HoldWhen keeps Gantry from confirming a plan while one of the expressions is true.
	HoldWhen *Setting[[]string] `json:"holdWhen,omitempty"`
}

// Requirement asks for approvals of the plans of which an expression is true.
type Requirement struct {
	When   string `json:"when"`
	Needed int    `json:"needed"`
	Group  string `json:"group,omitempty"`  // of the approvers; empty for anyone whose token may approve
	Reason string `json:"reason,omitempty"` // for people
}

// Any reports whether there are any expressions.
func (e Expressions) Any() bool { return e != Expressions{} }

// all returns the texts of the expressions.
func (e Expressions) all() (texts []string) {
	for _, s := range []*Setting[[]string]{e.ConfirmWhen, e.HoldWhen} {
		if s != nil {
			texts = append(texts, s.Value...)
		}
	}
	if e.ApprovalsWhen != nil {
		for _, r := range e.ApprovalsWhen.Value {
			texts = append(texts, r.When)
		}
	}
	return texts
}

// values lists the expressions as values of a policy.
func (e Expressions) values() (all []Value) {
	if e.ConfirmWhen != nil {
		all = append(all, show("confirmWhen", *e.ConfirmWhen, conjoined))
	}
	if e.ApprovalsWhen != nil {
		all = append(all, show("approvalsWhen", *e.ApprovalsWhen, demands))
	}
	if e.HoldWhen != nil {
		all = append(all, show("holdWhen", *e.HoldWhen, disjoined))
	}
	return all
}

func demands(rs []Requirement) string {
	words := make([]string, len(rs))
	for i, r := range rs {
		words[i] = r.who() + " when " + oneLine(r.When)
	}
	return strings.Join(words, "; ")
}

func disjoined(texts []string) string { return joinedBy(texts, " || ") }

func conjoined(texts []string) string { return joinedBy(texts, " && ") }

// joinedBy writes expressions as one.
func joinedBy(texts []string, operator string) string {
	lines := make([]string, len(texts))
	for i, text := range texts {
		if lines[i] = oneLine(text); len(texts) > 1 {
			lines[i] = "(" + lines[i] + ")"
		}
	}
	return strings.Join(lines, operator)
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// who says how many must approve, and of which group.
func (r Requirement) who() string {
	if r.Group == "" {
		return fmt.Sprintf("%d more", r.Needed)
	}
	return fmt.Sprintf("%d of %s", r.Needed, r.Group)
}

// Bounds of expressions in a profile, besides those of each expression.
const (
	maxRequirements = 10
	maxReason       = 200 // bytes
)

// expressions checks the expressions of a profile.
func (c *profileCheck) expressions(p Profile) {
	compile := func(setting, text string) {
		if strings.TrimSpace(text) == "" {
			c.bad("%s: the expression is empty; write a condition, or remove the setting", setting)
			return
		}
		program, err := expression.Compile(text)
		if err != nil {
			c.bad("%s: %w", setting, err)
			return
		}
		c.rules.programs[text] = program
	}
	if p.ConfirmWhen != nil {
		if p.Confirm != nil && *p.Confirm == ConfirmManual {
			c.bad("confirmWhen: people confirm every plan (confirm: manual), so it never matters; remove one of the two")
		}
		compile("confirmWhen", *p.ConfirmWhen)
	}
	if p.HoldWhen != nil {
		compile("holdWhen", *p.HoldWhen)
	}
	if len(p.ApprovalsWhen) > maxRequirements {
		c.bad("approvalsWhen: %d are more than %d", len(p.ApprovalsWhen), maxRequirements)
	}
	for i, r := range p.ApprovalsWhen {
		at := fmt.Sprintf("approvalsWhen[%d].", i)
		compile(at+"when", r.When)
		c.within(at+"needed", &r.Needed, 1, maxApprovals)
		if r.Group != "" && !isGroup(r.Group) {
			c.bad("%sgroup: %q is not the name of a group", at, r.Group)
		}
		if len(r.Reason) > maxReason {
			c.bad("%sreason: it has %d bytes, more than %d", at, len(r.Reason), maxReason)
		}
	}
}

// considerRule takes a rule that was considered for a plan.
type considerRule func(name, value, origin string, effect Effect, format string, args ...any)

// required considers the approvals that expressions ask for.
func (e Expressions) required(v *Verdicts, consider considerRule) {
	if v == nil || e.ApprovalsWhen == nil {
		return
	}
	for _, r := range v.Required {
		consider("approvalsWhen", r.Group, e.ApprovalsWhen.Origin, EffectAsks, "it needs %s", r)
	}
}

// confirms considers whether expressions let Gantry confirm alone.
func (e Expressions) confirms(v *Verdicts, consider considerRule) {
	if e.ConfirmWhen == nil {
		return
	}
	effect, detail := EffectAsks, "the plan does not meet confirmWhen"
	switch {
	case v == nil:
		detail = "Gantry has not evaluated confirmWhen yet"
	case v.Trouble != "":
		detail = v.Trouble
	case v.Confirm:
		effect, detail = EffectAllows, "the plan meets confirmWhen"
	}
	consider("confirmWhen", conjoined(e.ConfirmWhen.Value), e.ConfirmWhen.Origin, effect, "%s", detail)
}
