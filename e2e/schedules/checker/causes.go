package checker

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// known are the mutations that Gantry may send at all.
var known = []string{
	"apiKeyUser", "runConfirm", "runDiscard", "runRetry", "runReview", "runTrigger", "runStop", "runCancel", "namedWebhooksIntegrationUpdate",
}

// actsHaveCauses finds discards, stops and reviews that nobody asked for and no rule
// explains, and mutations that Gantry never sends.
func actsHaveCauses(x *index) []Violation {
	var all []Violation
	for _, c := range x.calls {
		if c.Call.Kind == "mutation" && len(c.Call.Fields) > 0 && !slices.Contains(known, c.Call.Fields[0]) {
			all = append(all, violation(c.Call.Fields[0], "Gantry sent a mutation that no document names", c))
		}
	}
	for _, a := range x.acts("runDiscard", "runStop", "runCancel", "runReview") {
		if len(a.run.states) == 0 {
			continue
		}
		if why := x.causeless(a); why != "" {
			all = append(all, violation(a.run.name(), why, append(a.run.requests, a.run.at(a.call.Began), a.read, a.call)...))
		}
	}
	return all
}

// causeless returns that nothing explains an act, or nothing.
func (x *index) causeless(a act) string {
	asked := func(requests []rec) bool {
		return slices.ContainsFunc(requests, func(q rec) bool { return mayCount(q) && q.Began < a.call.Began })
	}
	// A stop that Spacelift refused in the end was tried.
	tried := slices.ContainsFunc(a.run.operations("stopRun"), func(q rec) bool {
		return strings.HasSuffix(q.Request.Problem, "not-stoppable") && q.Began < a.call.Began && a.call.Began < q.Ended
	})
	if tried || asked(a.run.operations("stopRun")) || asked(a.run.verdicts("reject")) {
		return ""
	}
	switch field := a.call.Call.Fields[0]; field {
	case "runReview":
		late := arg(a.call, "decision") == "REJECT" && slices.ContainsFunc(x.policies(a.run.stack, a.span), func(e effect) bool {
			return e.overdue(x.waited(a, a.run.at(a.call.Began)))
		})
		if !late && !x.mayReviewPlan(a) && !asked(a.run.verdicts("approve")) {
			return "Gantry reviewed a run about which nobody had decided"
		}
	case "runDiscard":
		return x.discardless(a)
	case "runCancel":
		if !x.givesWay(a.run) {
			return "Gantry canceled a run that nobody had stopped, and that gives way to none"
		}
	default:
		return fmt.Sprintf("Gantry sent %s for a run that nobody had stopped", field)
	}
	return ""
}

// givesWay reports whether a run that a chain triggered has the same commit as another one
// of the stack: then the younger one gives way.
func (x *index) givesWay(r *run) bool {
	return r.first().Trigger == x.batch.Actor && slices.ContainsFunc(x.order, func(o *run) bool {
		return o != r && o.stack == r.stack && o.first().Commit == r.first().Commit
	})
}

// waited returns how long a state may have waited for people when Gantry acted.
func (x *index) waited(a act, state rec) time.Duration {
	return a.call.Began - state.Ended + x.slack(a.span)
}

// overdue reports whether the policy ends what has waited for people so long.
func (e effect) overdue(waited time.Duration) bool {
	return e.policy.Discards && e.policy.Timeout > 0 && waited >= e.policy.Timeout && len(e.policy.Invalid) == 0
}

// discardless returns that neither a time limit nor an old plan explains a discard.
func (x *index) discardless(a act) string {
	plan := a.plan()
	if plan.N == 0 {
		return "Gantry discarded a run without a plan"
	}
	waited := x.waited(a, plan)
	possible := x.policies(a.run.stack, a.span)
	if len(possible) == 0 {
		return ""
	}
	for _, e := range possible {
		if e.overdue(waited) {
			return ""
		}
		if e.policy.KeepOldPlans {
			continue
		}
		for _, parent := range e.policy.After {
			if began, ok := a.planning(); ok && slices.ContainsFunc(x.mayHaveApplied(parent), func(end rec) bool {
				return end.Ended > began.Ended-time.Second && end.Ended < a.call.Began
			}) {
				return ""
			}
		}
	}
	return fmt.Sprintf("Gantry discarded a plan after %s that nobody had rejected, that no time limit ends and that isn't old", waited.Round(time.Millisecond))
}
