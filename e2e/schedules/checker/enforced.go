package checker

import "slices"

// enforcedBinds finds plans of stacks with Gantry's policies that were confirmed or applied
// although Gantry had not reviewed them (docs/how-to/enforcement.md). What Gantry may
// review, the rules about confirmations say: see releases.
func enforcedBinds(x *index) []Violation {
	var all []Violation
	for _, r := range x.order {
		for _, a := range r.applications() {
			s := span{a.plan.Began, a.entry.Ended}
			if !slices.Contains([]string{"TRACKED", "DESTROY"}, r.first().Type) || !x.enforced(r.stack, s) {
				continue
			}
			x.judged(r, s)
			if !slices.ContainsFunc(r.reviews, func(v rec) bool {
				return v.Review.Author == x.batch.Actor && v.Review.Decision == "APPROVE" && v.Review.State == "UNCONFIRMED" && v.Ended <= a.entry.Ended
			}) {
				all = append(all, violation(r.name(), "the plan continued without Gantry's review: "+a.entry.RunState.State, append(r.reviews, a.plan, a.entry)...))
			}
		}
	}
	return all
}

// enforced reports whether a stack carried Gantry's policies for a whole span.
func (x *index) enforced(stack string, s span) bool {
	settings := x.stackDuring(stack, s)
	return len(settings) > 0 && !slices.ContainsFunc(settings, func(r rec) bool {
		return !slices.Contains(x.batch.Enforced, r.Stack.Space) || !slices.Contains(r.Stack.Labels, "gantry:managed")
	})
}

// releases are the acts of Gantry's after which a plan may be applied: its
// confirmations, and its reviews where Spacelift waits for them.
func (x *index) releases() []act {
	all := x.acts("runConfirm")
	for _, a := range x.acts("runReview") {
		if x.reviewsPlan(a) {
			all = append(all, a)
		}
	}
	return all
}

// reviewsPlan reports whether an act approves a plan of an enforced stack.
func (x *index) reviewsPlan(a act) bool {
	return mutates(a.call, "runReview") && arg(a.call, "decision") == "APPROVE" && a.plan().N > 0 && x.enforced(a.run.stack, a.span)
}

// did says what the act did to the plan.
func (a act) did() string {
	if mutates(a.call, "runReview") {
		return "Gantry approved in Spacelift"
	}
	return "Gantry confirmed"
}
