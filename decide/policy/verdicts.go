package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/expression"
	"github.com/gantryhq/gantry/spacelift"
)

// Verdicts are the results of a policy's expressions for one plan.
type Verdicts struct {
	Confirm  bool       `json:"confirm"` // every expression of ConfirmWhen is true
	Required []Required `json:"required,omitempty"`
	Holds    []string   `json:"holds,omitempty"` // why HoldWhen holds the plan, as sentences; empty if it doesn't

	// Trouble says which expression can't be evaluated, and why. The others then have
	// no results: what can't be evaluated holds the plan.
	Trouble string `json:"trouble,omitempty"`

	// Until is the time at which to evaluate again; zero: the results stay the same.
	Until time.Time `json:"until,omitzero"`
}

// Required is a Requirement that applies to a plan.
type Required struct {
	Needed int    `json:"needed"`
	Group  string `json:"group,omitempty"`
	Why    string `json:"why"` // such as "deletes aws_db_instance.main"

	// Approvers are the people of the group; nil if they are not known.
	Approvers *Approvers `json:"approvers,omitempty"`
}

// String returns what is required and why: "2 of dba: deletes aws_db_instance.main".
func (r Required) String() string {
	return Requirement{Needed: r.Needed, Group: r.Group}.who() + ": " + r.Why
}

// Same reports whether two results ask the same: the time of the next evaluation, the
// names of approvers and the wording don't matter. Nil is the same as nil alone.
func (v *Verdicts) Same(w *Verdicts) bool {
	if v == nil || w == nil {
		return v == w
	}
	return v.Confirm == w.Confirm && (v.Trouble == "") == (w.Trouble == "") && (len(v.Holds) > 0) == (len(w.Holds) > 0) &&
		slices.EqualFunc(v.Required, w.Required, func(a, b Required) bool { return a.Needed == b.Needed && a.Group == b.Group && a.Why == b.Why })
}

// The times of evaluations again.
const (
	// timeStep is the precision of expressions that depend on the time, which change
	// their results at full quarter hours only.
	timeStep = 15 * time.Minute

	// maxTimeSteps and maxTimeCost bound how far the next change is looked for.
	maxTimeSteps = 96
	maxTimeCost  = 100_000 // resources in all evaluations

	// troubleAgain is the time after which facts that were missing may be there.
	troubleAgain = 15 * time.Minute
)

// Judge evaluates the expressions of a policy for a plan at a time; nil if it has none.
func (r *Definitions) Judge(p Policy, planned spacelift.PlannedResources, at time.Time) *Verdicts {
	if !p.Expressions.Any() {
		return nil
	}
	j := judge{rules: r, p: p.Expressions, facts: expression.FactsOf(planned, at)}
	v := j.evaluate()
	if v.Trouble != "" {
		v.Until = at.Add(troubleAgain)
	} else if j.dependsOnTime() {
		v.Until = j.change(v, at)
	}
	return v
}

// Unjudged returns the results for a plan whose facts could not be read; nil if the
// policy has no expressions.
func (p Policy) Unjudged(why string, at time.Time) *Verdicts {
	if !p.Expressions.Any() {
		return nil
	}
	return &Verdicts{Trouble: decide.Fit("the policy's expressions can't be evaluated: "+why, decide.MaxText), Until: at.Add(troubleAgain)}
}

// judge evaluates the expressions of one policy for one plan.
type judge struct {
	rules *Definitions
	p     Expressions
	facts expression.Facts
}

func (j judge) evaluate() *Verdicts {
	v := &Verdicts{Confirm: true}
	if s := j.p.ConfirmWhen; s != nil {
		for _, text := range s.Value {
			v.Confirm = j.is(v, "confirmWhen", s.Origin, text) && v.Confirm
		}
	}
	if s := j.p.ApprovalsWhen; s != nil {
		for i, want := range s.Value {
			if j.is(v, fmt.Sprintf("approvalsWhen[%d]", i), s.Origin, want.When) {
				v.Required = append(v.Required, Required{Needed: want.Needed, Group: want.Group, Why: j.why(want.When, want.Reason), Approvers: j.rules.Approvers(want.Group)})
			}
		}
	}
	if s := j.p.HoldWhen; s != nil {
		for _, text := range s.Value {
			if j.is(v, "holdWhen", s.Origin, text) {
				v.Holds = append(v.Holds, fmt.Sprintf("holdWhen (%s) holds the plan: %s", s.Origin, j.why(text, "")))
			}
		}
	}
	if v.Trouble != "" {
		return &Verdicts{Trouble: v.Trouble}
	}
	return v
}

// is reports whether an expression is true, and notes the first that can't be evaluated.
func (j judge) is(v *Verdicts, setting, origin, text string) bool {
	program := j.rules.program(text)
	if program == nil {
		v.Trouble = fmt.Sprintf("%s (%s) can't be evaluated: this process has another configuration", setting, origin)
		return false
	}
	result, err := program.Evaluate(j.facts)
	if err != nil && v.Trouble == "" {
		v.Trouble = decide.Fit(fmt.Sprintf("%s (%s) can't be evaluated: %s", setting, origin, err), decide.MaxText)
	}
	return result && err == nil
}

// maxNamed bounds the resources that a reason names.
const maxNamed = 3

// why says why an expression applies: the configured reason, and the resources.
func (j judge) why(text, reason string) string {
	destroys := map[string][]string{}
	var order []string
	because := j.rules.program(text).Because(j.facts)
	for _, r := range because[:min(len(because), maxNamed)] {
		if destroys[r.Change] == nil {
			order = append(order, r.Change)
		}
		destroys[r.Change] = append(destroys[r.Change], r.Address)
	}
	var parts []string
	for _, change := range order {
		parts = append(parts, verbs[spacelift.Change(change)]+" "+strings.Join(destroys[change], ", "))
	}
	if more := len(because) - maxNamed; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	resources := strings.Join(parts, ", ")
	switch {
	case reason != "" && resources != "":
		return decide.Fit(reason+" ("+resources+")", decide.MaxText)
	case reason != "":
		return reason
	case resources != "":
		return decide.Fit(resources, decide.MaxText)
	}
	return decide.Fit(oneLine(text), decide.MaxText)
}

var verbs = map[spacelift.Change]string{
	spacelift.ChangeAdd: "adds", spacelift.ChangeUpdate: "changes", spacelift.ChangeDelete: "deletes", spacelift.ChangeReplace: "replaces",
	spacelift.ChangeImport: "imports", spacelift.ChangeForget: "forgets", spacelift.ChangeMove: "moves",
}

func (j judge) dependsOnTime() bool {
	return slices.ContainsFunc(j.p.all(), func(text string) bool { return j.rules.program(text).UsesTime() })
}

// change returns the full quarter hour at which the results change for the first time,
// or by which to look again.
func (j judge) change(now *Verdicts, at time.Time) time.Time {
	steps := maxTimeCost / (len(j.facts.Resources) + 1) / len(j.p.all())
	next := at.Truncate(timeStep)
	for range min(max(steps, 1), maxTimeSteps) {
		next = next.Add(timeStep)
		j.facts.Time = next.UTC()
		if !j.evaluate().Same(now) {
			break
		}
	}
	return next
}

// program returns a compiled expression; nil if the configuration has none.
func (r *Definitions) program(text string) *expression.Program {
	if r == nil {
		return nil
	}
	return r.programs[text]
}
