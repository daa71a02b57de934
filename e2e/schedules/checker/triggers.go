package checker

import (
	"slices"
	"strings"

	"github.com/gantryhq/gantry/e2e/schedules/history"
)

// madeBy returns the run that an answer to a request for one names; nil for none.
func (x *index) madeBy(q rec) *run {
	if q.Request.Operation != "triggerRun" || !answered(q) {
		return nil
	}
	made := decode[struct{ Run string }](q.Request.Answer).Run
	if made == "" {
		return nil
	}
	return x.run(q.Request.Stack, made)
}

// runsAreMadeOnce finds answers that name a run that Spacelift didn't make for them, and
// runs that Gantry triggered for people without a request for each
// (openapi/gantry.yaml, "Trigger a run").
func runsAreMadeOnce(x *index) []Violation {
	var all []Violation
	for _, q := range x.requests {
		r := x.madeBy(q)
		if r == nil {
			continue
		}
		x.judged(r, span{q.Began, q.Ended})
		switch {
		case len(r.states) == 0:
			all = append(all, violation(r.name(), "Gantry says that it triggered a run that Spacelift doesn't know", q))
		case r.first().Trigger != x.batch.Actor || r.states[0].Ended > q.Ended:
			all = append(all, violation(r.name(), "Gantry says that it triggered a run that it didn't trigger", r.states[0], q))
		case q.Request.Key == "" && r.states[0].Ended < q.Began:
			all = append(all, violation(r.name(), "Gantry answers a request for a run with one that was there before", r.states[0], q))
		}
	}
	return append(all, x.unasked()...)
}

// unasked finds runs that Gantry triggered for people beyond the requests for them. The
// metadata of such a run is the name of an execution that is no chain's and no run's.
func (x *index) unasked() []Violation {
	var all []Violation
	made := map[string]int{}
	for _, c := range x.calls {
		chained := strings.HasPrefix(c.Call.Metadata, "chain/") || strings.HasPrefix(c.Call.Metadata, "run/")
		if !mutates(c, "runTrigger") || !c.Call.Executed || chained {
			continue
		}
		stack := arg(c, "stack")
		made[stack]++
		wanted := map[string]bool{}
		var asked []rec
		for _, q := range x.requests {
			if q.Request.Operation == "triggerRun" && q.Request.Stack == stack && q.Began < c.Ended && (mayCount(q) || q.Ended > c.Began) {
				asked = append(asked, q)
				if wanted[q.Request.Who+q.Request.Key] = true; q.Request.Key == "" {
					wanted[q.Request.ID+q.Ended.String()] = true
				}
			}
		}
		x.judged(nil, span{c.Began, c.Ended})
		if made[stack] > len(wanted) {
			all = append(all, violation(stack, "Gantry triggered more runs of the stack than people asked for", append(asked, c)...))
		}
	}
	return all
}

// previewsComeTrue finds chains that trigger a stack which the preview left out, though
// nothing about the schedule's stacks has changed since (openapi/gantry.yaml, "Preview what
// a finished run releases").
func previewsComeTrue(x *index) []Violation {
	var all []Violation
	for _, c := range x.calls {
		root := x.rootOf(c.Call.Metadata)
		if !mutates(c, "runTrigger") || root == nil {
			continue
		}
		for _, q := range x.requests {
			since := span{q.Began - x.tick(), c.Ended}
			if q.Request.Operation != "previewFollowers" || q.Request.Stack != root.stack || !answered(q) || q.Ended > c.Began || x.changed(root.stack, since) {
				continue
			}
			x.judged(root, span{q.Began, c.Ended})
			preview := decode[struct {
				Followers []struct {
					Stack    string
					Released bool
				}
			}](q.Request.Answer)
			i := slices.IndexFunc(preview.Followers, func(f struct {
				Stack    string
				Released bool
			}) bool {
				return f.Stack == arg(c, "stack")
			})
			if i < 0 || !preview.Followers[i].Released {
				all = append(all, violation(root.name(), "Gantry triggered "+arg(c, "stack")+", which the preview of its chain says is not released", q, root.states[len(root.states)-1], c))
			}
		}
	}
	return firstOf(all)
}

// changed reports whether the configuration, or any stack of the schedule that a stack
// belongs to, changed in a span.
func (x *index) changed(stack string, s span) bool {
	if len(x.configs(s)) > 1 {
		return true
	}
	for id, all := range x.stacks {
		if history.ScheduleOf(id) == history.ScheduleOf(stack) && slices.ContainsFunc(all, func(r rec) bool { return r.Ended >= s.from && r.Began <= s.to }) {
			return true
		}
	}
	return false
}
