package workflows

import (
	"slices"
	"strings"

	"github.com/gantryhq/gantry/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// What follows decides for executions of generation 0 as the version did that
// began them: their histories hold what came of it. They know three labels,
// hold plans because of any other, and leave all that people decide to
// Spacelift.

// knownAt0 are the labels that generation 0 follows.
var knownAt0 = []string{
	spacelift.LabelManaged,
	spacelift.LabelPrefix + "confirm=" + string(policy.ConfirmAuto),
	spacelift.LabelPrefix + "confirm=" + string(policy.ConfirmManual),
}

// policyAt0 is what labels ask of generation 0.
func policyAt0(labels []string) policy.Policy {
	p := (*policy.Rules)(nil).Resolve(labels)
	if len(p.Problems) > 0 {
		return p
	}
	for _, l := range labels {
		ours := len(l) >= len(spacelift.LabelPrefix) && strings.EqualFold(l[:len(spacelift.LabelPrefix)], spacelift.LabelPrefix)
		if ours && !slices.Contains(knownAt0, l) {
			p.Problems = append(p.Problems, policy.Problem{
				Label:   l,
				Problem: "Gantry began to follow this run with a version that cannot do that yet",
				Remedy:  "decide about this run in Spacelift; the next run of the stack follows the label",
			})
		}
	}
	return p
}

// decidePlanAt0 decides about a plan with changes. The order matters: whatever
// speaks against confirming comes before what speaks for it.
func decidePlanAt0(s situation) next {
	plan := planOf(s.RunStatus)
	switch {
	case plan != nil && (plan.Result == PlanConfirmed || plan.Result == PlanAlready):
		return passing(s, PhaseApplying, reasonConfirmed)
	case !s.Managed:
		return inSpacelift(reasonUnmanaged)
	case s.Type != spacelift.RunTypeTracked:
		return inSpacelift("Gantry confirms tracked runs only and this one is %s; somebody confirms or discards it in Spacelift", s.Type)
	case len(s.Policy.Problems) > 0:
		return hold(WaitLabels, whoLabels, thenLabels, "%s", objection(s.Policy.Problems))
	case s.Policy.Confirm.Value != policy.ConfirmAuto:
		return inSpacelift("the plan (%s) has changes and the policy is to confirm by hand (%s); somebody confirms or discards it in Spacelift", describePlan(s.RunStatus), s.Policy.Confirm.Origin)
	case plan != nil && plan.Result == PlanRefused:
		return hold(WaitPerson, whoOperator, thenNever, "Gantry could not confirm the plan: %s", plan.Reason)
	case plan != nil && plan.Looks >= maxLooks:
		return hold(WaitPerson, whoOperator, thenNever, reasonContradiction, plan.Reason)
	}
	return confirming(s, "the plan (%s) has changes and %s confirms them", describePlan(s.RunStatus), s.Policy.Confirm.Origin)
}
