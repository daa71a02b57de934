package checker

import (
	"slices"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/history"
	"github.com/gantryhq/gantry/e2e/schedules/model"
)

// followersRun finds stacks that follow one whose run finished and that have worked
// on nothing since then, although nothing was in the way.
func followersRun(x *index) []Violation {
	at, settled := x.phases[history.Settled]
	if !settled {
		return nil
	}
	var all []Violation
	for _, r := range x.order {
		end := r.states[len(r.states)-1]
		if f := r.first(); f.Type != "TRACKED" || f.Drift || end.RunState.State != "FINISHED" || at-end.Ended < 2*x.tick() ||
			slices.ContainsFunc(r.operations("stopRun"), mayCount) {
			continue
		}
		v, asked := x.settled(r)
		if !asked || v.State != "FINISHED" {
			continue
		}
		s := span{end.Ended - x.tick(), at}
		g := x.graph(s)
		for _, follower := range v.Followers {
			x.judged(r, s)
			if slices.Contains(g[follower], r.stack) && !g.Circular(follower) && x.clearAbove(follower, s, map[string]bool{}) && x.free(follower, s) && !x.interfered(r) && !x.unlisted(r, g[r.stack]) && !x.worked(follower, r, v.Chains) && x.through(g[follower], at) {
				all = append(all, violation(r.name(), "the run finished, and nothing has run on "+follower+", which follows its stack as Gantry itself shows", end, x.stackDuring(follower, s)[0], v.asked))
			}
		}
	}
	return all
}

// listWithin is the age at which Gantry reads anew which stack follows which, and some
// seconds for that.
const listWithin = 15 * time.Second

// unlisted reports whether a stack that goes before a run's finished so soon after the
// run's stack was made that its chain may not know of it. Then the run waits ten
// minutes at most for that chain, which doesn't come.
func (x *index) unlisted(r *run, parents []string) bool {
	made := x.stacks[r.stack][0].Ended
	return slices.ContainsFunc(x.order, func(o *run) bool {
		end := o.states[len(o.states)-1].Ended
		return slices.Contains(parents, o.stack) && end > made && end < made+x.slowly(listWithin)
	})
}

// worked reports whether a stack has a run of the same commit as another run, or one
// that was active after that had finished. If the stack may keep old plans, or the other
// run applied nothing, which makes no plan old, one counts that was active after the first
// run of a chain was created (docs/how-to/chains.md). Spacelift's times are whole seconds,
// and within one the order doesn't count (docs/adr/0009-chains.md).
func (x *index) worked(stack string, after *run, chains []begunBy) bool {
	since := after.states[len(after.states)-1]
	if !after.beganToApply() || mayKeepOldPlans(x.policies(stack, after.life())) {
		since = after.states[0]
		for _, c := range chains {
			if root := x.runs[key(c.Stack, c.Run)]; root != nil && len(root.states) > 0 && root.states[0].Ended < since.Ended {
				since = root.states[0]
			}
		}
	}
	second := since.At.Truncate(time.Second)
	return slices.ContainsFunc(x.order, func(o *run) bool {
		return o.stack == stack && o.first().Type == "TRACKED" && !o.first().Drift &&
			(o.first().Commit == after.first().Commit || !o.states[len(o.states)-1].At.Before(second))
	})
}

// mayKeepOldPlans reports whether a policy that may be in effect keeps old plans.
func mayKeepOldPlans(possible []effect) bool {
	return slices.ContainsFunc(possible, func(e effect) bool { return e.policy.KeepOldPlans })
}

// clearAbove reports whether the policies of a stack, and of all that go before it, are
// clear: a graph lacks stacks whose policies aren't, and so the circles that they are on.
func (x *index) clearAbove(stack string, s span, seen map[string]bool) bool {
	if seen[stack] || len(x.stacks[stack]) == 0 {
		return true
	}
	seen[stack] = true
	possible := x.policies(stack, s)
	return len(possible) > 0 && !slices.ContainsFunc(possible, func(e effect) bool {
		return slices.ContainsFunc(e.policy.After, func(parent string) bool { return !x.clearAbove(parent, s, seen) })
	})
}

// free reports whether nothing kept Gantry from triggering a stack, for a whole span.
func (x *index) free(stack string, s span) bool {
	for _, e := range x.policies(stack, s) {
		if !e.policy.Managed || len(e.policy.Invalid) > 0 || model.Brake(*e.settings.Stack, x.batch.Actor) != "" {
			return false
		}
	}
	return len(x.policies(stack, s)) > 0
}

// through reports whether the newest run of each stack finished, if it has any.
func (x *index) through(stacks []string, at time.Duration) bool {
	for _, stack := range stacks {
		for _, r := range slices.Backward(x.order) {
			if r.stack != stack || r.first().Type != "TRACKED" || r.states[0].Ended > at {
				continue
			}
			if r.at(at).RunState.State != "FINISHED" {
				return false
			}
			break
		}
	}
	return true
}

// interfered reports whether anybody skipped or stopped anything of the chains of a
// run's schedule.
func (x *index) interfered(r *run) bool {
	return slices.ContainsFunc(x.requests, func(q rec) bool {
		return q.Schedule == r.states[0].Schedule && slices.Contains([]string{"stopChain", "skipChainStack", "stopRun"}, q.Request.Operation) && mayCount(q)
	})
}
