package policy

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"

	"github.com/gantryhq/gantry/spacelift"
)

// Rule is one rule that was looked at and what it says of a run.
type Rule struct {
	Name   string `json:"name"` // such as "confirm", "limits.maxDeleted", "window"
	Value  string `json:"value"`
	Origin string `json:"origin"` // see Setting
	Effect Effect `json:"effect"`
	Detail string `json:"detail,omitempty"` // a sentence
}

// Effect is what a rule says.
type Effect string

// The effects.
const (
	EffectAllows  Effect = "allows"
	EffectAsks    Effect = "asks"    // people
	EffectForbids Effect = "forbids" // for now, or until somebody mends it
	EffectApplies Effect = "applies" // shapes what happens otherwise
)

// PlanFacts is what a policy judges a plan by.
type PlanFacts struct {
	Type  spacelift.RunType
	Drift bool             // it repairs drift
	Delta *spacelift.Delta // nil: not known
}

// AutoConfirms reports whether Gantry confirms a plan alone, and every rule that was
// looked at. A policy with problems never lets it: such labels forbid.
func (p Policy) AutoConfirms(plan PlanFacts) (alone bool, rules []Rule) {
	alone = true
	look := func(name, value, origin string, effect Effect, format string, args ...any) {
		alone = alone && effect == EffectAllows
		rules = append(rules, Rule{Name: name, Value: value, Origin: origin, Effect: effect, Detail: fmt.Sprintf(format, args...)})
	}
	for _, problem := range p.Problems {
		look("labels", problem.Label, problem.Label, EffectForbids, "%s can't be followed: %s; %s", problem.Label, problem.Problem, problem.Remedy)
	}

	mode := string(p.Confirm.Value)
	switch p.Confirm.Value {
	case ConfirmAuto:
		look("confirm", mode, p.Confirm.Origin, EffectAllows, "Gantry confirms plans by itself")
	case ConfirmNoDeletes:
		switch {
		case plan.Delta == nil:
			look("confirm", mode, p.Confirm.Origin, EffectAsks, "nobody knows whether the plan deletes anything")
		case plan.Delta.Deleted > 0:
			look("confirm", mode, p.Confirm.Origin, EffectAsks, "the plan deletes %s", resources(plan.Delta.Deleted))
		default:
			look("confirm", mode, p.Confirm.Origin, EffectAllows, "the plan deletes nothing")
		}
	default:
		look("confirm", mode, p.Confirm.Origin, EffectAsks, "people confirm plans")
		return alone, rules
	}

	types := listed(p.Types.Value)
	if slices.Contains(p.Types.Value, plan.Type) {
		look("types", types, p.Types.Origin, EffectAllows, "Gantry may confirm runs of type %s", plan.Type)
	} else {
		look("types", types, p.Types.Origin, EffectAsks, "people confirm runs of type %s", orUnknown(string(plan.Type)))
	}
	if plan.Drift {
		effect, detail := EffectAllows, "Gantry may confirm repairs of drift"
		if !p.Drift.Value {
			effect, detail = EffectAsks, "people confirm repairs of drift"
		}
		look("drift", strconv.FormatBool(p.Drift.Value), p.Drift.Origin, effect, "%s", detail)
	}
	for _, l := range p.limits() {
		value := strconv.Itoa(l.limit.Value)
		switch {
		case plan.Delta == nil:
			look(l.name, value, l.limit.Origin, EffectAsks, "nobody knows how many resources the plan %s", l.verb)
		case l.count(*plan.Delta) > l.limit.Value:
			look(l.name, value, l.limit.Origin, EffectAsks, "the plan %s %s, more than %d", l.verb, resources(l.count(*plan.Delta)), l.limit.Value)
		default:
			look(l.name, value, l.limit.Origin, EffectAllows, "the plan %s %s, no more than %d", l.verb, resources(l.count(*plan.Delta)), l.limit.Value)
		}
	}
	return alone, rules
}

// AsksPeople reports whether the policy leaves any plan to people. Only one
// that confirms everything, with nothing that narrows it down, does not. (What
// nobody could foresee comes to people even so: a plan of which Spacelift told
// too little, or a type of run that is not tracked.)
func (p Policy) AsksPeople() bool {
	return len(p.Problems) > 0 || !p.confirmsAll()
}

func (p Policy) confirmsAll() bool {
	return p.Confirm.Value == ConfirmAuto && len(p.limits()) == 0 && p.Drift.Value && p.Types.Origin == OriginDefault
}

// Equal reports whether two policies are the same, origins included. A policy
// equals what its JSON form is read back to.
func (p Policy) Equal(q Policy) bool { return reflect.DeepEqual(p.normal(), q.normal()) }

// normal spells "none" in one way.
func (p Policy) normal() Policy {
	p.Types.Value = orNil(p.Types.Value)
	p.Windows.Value = orNil(p.Windows.Value)
	p.RetryCauses.Value = orNil(p.RetryCauses.Value)
	p.After.Value = orNil(p.After.Value)
	p.Notify.Value = orNil(p.Notify.Value)
	p.Problems = orNil(p.Problems)
	p.Escalation.Value = orNil(slices.Clone(p.Escalation.Value))
	for i := range p.Escalation.Value {
		p.Escalation.Value[i].Notify = orNil(p.Escalation.Value[i].Notify)
	}
	return p
}

func orNil[S ~[]E, E any](s S) S {
	if len(s) == 0 {
		return nil
	}
	return s
}

// Retryable reports whether retrying can mend a cause.
func Retryable(c Cause) bool { return c == CauseTransient || c == CauseCapacity }

type limitRule struct {
	name, verb string
	limit      *Setting[int]
	count      func(spacelift.Delta) int
}

// limits are those that are set.
func (p Policy) limits() []limitRule {
	return slices.DeleteFunc([]limitRule{
		{"limits.maxAdded", "adds", p.Limits.MaxAdded, func(d spacelift.Delta) int { return d.Added }},
		{"limits.maxChanged", "changes", p.Limits.MaxChanged, func(d spacelift.Delta) int { return d.Changed }},
		{"limits.maxDeleted", "deletes", p.Limits.MaxDeleted, func(d spacelift.Delta) int { return d.Deleted }},
	}, func(l limitRule) bool { return l.limit == nil })
}

func resources(n int) string {
	switch n {
	case 0:
		return "nothing"
	case 1:
		return "1 resource"
	}
	return strconv.Itoa(n) + " resources"
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
