package policy

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/gantryhq/gantry/spacelift"
)

// PlanFacts are the facts of a plan that a policy considers.
type PlanFacts struct {
	Type  spacelift.RunType
	Drift bool             // it repairs drift
	Delta *spacelift.Delta // nil: not known

	// Verdicts are the results of the policy's expressions; nil: not evaluated.
	Verdicts *Verdicts
}

// AutoConfirms reports whether Gantry confirms a plan without asking people, and every
// rule that it considered. It is false for a policy with problems: such labels forbid.
func (p Policy) AutoConfirms(plan PlanFacts) (confirms bool, rules []Rule) {
	confirms = true
	consider := func(name, value, origin string, effect Effect, format string, args ...any) {
		confirms = confirms && effect == EffectAllows
		rules = append(rules, Rule{Name: name, Value: value, Origin: origin, Effect: effect, Detail: fmt.Sprintf(format, args...)})
	}
	for _, problem := range p.Problems {
		consider("labels", problem.Label, problem.Label, EffectForbids, "%s can't be followed: %s; %s", problem.Label, problem.Problem, problem.Remedy)
	}

	p.Expressions.required(plan.Verdicts, consider)
	mode := string(p.Confirm.Value)
	switch p.Confirm.Value {
	case ConfirmAuto:
		consider("confirm", mode, p.Confirm.Origin, EffectAllows, "Gantry confirms plans automatically")
	case ConfirmNoDeletes:
		switch {
		case plan.Delta == nil:
			consider("confirm", mode, p.Confirm.Origin, EffectAsks, "Gantry does not know whether the plan deletes anything")
		case plan.Delta.Deleted > 0:
			consider("confirm", mode, p.Confirm.Origin, EffectAsks, "the plan deletes %s", resources(plan.Delta.Deleted))
		default:
			consider("confirm", mode, p.Confirm.Origin, EffectAllows, "the plan deletes nothing")
		}
	default:
		consider("confirm", mode, p.Confirm.Origin, EffectAsks, "people confirm plans")
		return confirms, rules
	}

	p.Expressions.confirms(plan.Verdicts, consider)
	types := listed(p.Types.Value)
	if slices.Contains(p.Types.Value, plan.Type) {
		consider("types", types, p.Types.Origin, EffectAllows, "Gantry may confirm runs of type %s", plan.Type)
	} else {
		consider("types", types, p.Types.Origin, EffectAsks, "people confirm runs of type %s", orUnknown(string(plan.Type)))
	}
	if plan.Drift {
		effect, detail := EffectAllows, "Gantry may confirm repairs of drift"
		if !p.Drift.Value {
			effect, detail = EffectAsks, "people confirm repairs of drift"
		}
		consider("drift", strconv.FormatBool(p.Drift.Value), p.Drift.Origin, effect, "%s", detail)
	}
	for _, l := range p.limits() {
		value := strconv.Itoa(l.limit.Value)
		switch {
		case plan.Delta == nil:
			consider(l.name, value, l.limit.Origin, EffectAsks, "Gantry does not know how many resources the plan %s", l.verb)
		case l.count(*plan.Delta) > l.limit.Value:
			consider(l.name, value, l.limit.Origin, EffectAsks, "the plan %s %s, more than %d", l.verb, resources(l.count(*plan.Delta)), l.limit.Value)
		default:
			consider(l.name, value, l.limit.Origin, EffectAllows, "the plan %s %s, no more than %d", l.verb, resources(l.count(*plan.Delta)), l.limit.Value)
		}
	}
	return confirms, rules
}

// AsksPeople reports whether the policy leaves any plan to people. Only a policy that
// confirms everything, without any limit, does not. (Even then people decide about
// the unforeseeable: a plan of which Spacelift reported too little, or a run that is
// not tracked.)
func (p Policy) AsksPeople() bool {
	return len(p.Problems) > 0 || !p.confirmsAll()
}

func (p Policy) confirmsAll() bool {
	return p.Confirm.Value == ConfirmAuto && len(p.limits()) == 0 && !p.Expressions.Any() && p.Drift.Value && p.Types.Origin == OriginDefault
}

type limitRule struct {
	name, verb string
	limit      *Setting[int]
	count      func(spacelift.Delta) int
}

// limits returns the limits that are set.
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
