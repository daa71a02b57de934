package checker

import (
	"slices"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/history"
)

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
		return !slices.Contains(x.batch.Enforced, r.Stack.Space) && !x.whole(r.Stack.Space, s) || !slices.Contains(r.Stack.Labels, "gantry:managed")
	})
}

// whole reports whether the glass of a space, if it has any, was whole for all of a span.
func (x *index) whole(space string, s span) bool {
	before := false
	for _, g := range x.glass[space] {
		switch {
		case g.Ended <= s.from:
			before = g.Glass.Whole
		case g.Began <= s.to && !g.Glass.Whole:
			return false
		}
	}
	return before
}

// worthIsShown finds answers that call a stack enforced long after somebody took Gantry's
// policy away, although Gantry has read the run since (docs/how-to/enforcement.md, "See what
// is enforced"). Of a run that has ended it names what was enforced while it was open.
func worthIsShown(x *index) []Violation {
	var all []Violation
	for _, r := range x.order {
		for _, q := range slices.Concat(r.operations("getRun"), r.operations("explainRun")) {
			broken := x.brokenSince(x.space(r.stack), q.Began)
			if !answered(q) || broken.N == 0 {
				continue
			}
			i := slices.IndexFunc(r.reads, func(c rec) bool {
				return c.Began > broken.Ended && c.Ended+x.tick() < q.Began && good(c) && !c.Call.Stale && showsLabels(c, r.stack) && c.Call.Operation == "Run" && showsOpen(c, r)
			})
			if i < 0 {
				continue
			}
			x.judged(r, span{broken.Began, q.Ended})
			if shown := decode[shown](q.Request.Answer); shown.Enforcement != nil && shown.Enforcement.Level == "enforced" {
				all = append(all, violation(r.name(), "Gantry shows the stack as enforced, and had read the run since its policy was taken away", broken, r.reads[i], q))
			}
		}
	}
	return firstOf(all)
}

// showsOpen reports whether an answer of Spacelift's shows that a run has not ended.
func showsOpen(c rec, r *run) bool {
	return slices.ContainsFunc(c.Call.Runs, func(seen history.RunSeen) bool { return seen.Run == r.id && !ended(seen.State) })
}

// brokenSince returns when the glass of a space was broken that is broken at an instant;
// a record without a number if it is whole, or there is none.
func (x *index) brokenSince(space string, at time.Duration) (broken rec) {
	for _, g := range x.glass[space] {
		switch {
		case g.Began >= at:
		case g.Glass.Whole:
			broken = rec{}
		case broken.N == 0:
			broken = g
		}
	}
	return broken
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

// mayReviewPlan reports whether an act may approve a plan of a stack that was enforced when
// Gantry read it, or since.
func (x *index) mayReviewPlan(a act) bool {
	return arg(a.call, "decision") == "APPROVE" && a.plan().N > 0 && (x.enforced(a.run.stack, a.span) || x.enforced(a.run.stack, span{a.span.from, a.span.from}) || x.enforced(a.run.stack, span{a.call.Began, a.call.Began}))
}

// did says what the act did to the plan.
func (a act) did() string {
	if mutates(a.call, "runReview") {
		return "Gantry approved in Spacelift"
	}
	return "Gantry confirmed"
}
