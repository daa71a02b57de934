package checker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/model"
)

// graph returns the order of the stacks that is certainly in effect throughout a span,
// without the stacks whose policy is unclear.
func (x *index) graph(s span) model.Graph {
	policies := map[string]model.Policy{}
	for stack := range x.stacks {
		possible := x.policies(stack, s)
		if len(possible) == 0 {
			continue
		}
		p := possible[0].policy
		for _, e := range possible[1:] { // only what each of them says
			p.Managed = p.Managed && e.policy.Managed
			p.After = slices.DeleteFunc(slices.Clone(p.After), func(after string) bool { return !slices.Contains(e.policy.After, after) })
		}
		policies[stack] = p
	}
	return model.NewGraph(policies)
}

// skipped reports whether a person may have skipped a stack of a chain, or stopped
// one, before an instant.
func (x *index) skipped(stack string, before time.Duration) bool {
	return slices.ContainsFunc(x.requests, func(q rec) bool {
		if !mayCount(q) || q.Began > before {
			return false
		}
		return q.Request.Operation == "skipChainStack" && decode[struct {
			Stack string `json:"stack"`
		}](q.Request.Body).Stack == stack || q.Request.Operation == "stopChain"
	})
}

// onCommit returns the newest tracked run of a stack that works on a commit and
// had begun at an instant.
func (x *index) onCommit(stack, commit string, at time.Duration) *run {
	var newest *run
	for _, r := range x.order {
		if f := r.first(); r.stack == stack && f.Type == "TRACKED" && !f.Drift && f.Commit == commit && r.states[0].Ended <= at {
			newest = r
		}
	}
	return newest
}

// orderHolds finds confirmations while a stack that goes first still worked on the
// same commit, or had failed on it.
func orderHolds(x *index) []Violation {
	var all []Violation
	for _, a := range x.acts("runConfirm") {
		if f := a.run.first(); f.Type != "TRACKED" || f.Drift || a.blind {
			continue
		}
		g := x.graph(span{a.span.from - x.tick(), a.span.to})
		if g.Circular(a.run.stack) {
			continue
		}
		for _, parent := range g.Above(a.run.stack) {
			r := x.onCommit(parent, a.run.first().Commit, a.span.from-x.slowlyDuring(a.span, longestGap))
			if r == nil || x.skipped(parent, a.call.Began) || x.madeUp(parent, r, a.call.Began) {
				continue
			}
			if was, is := r.at(a.span.from), r.at(a.call.Began); !releases(was.RunState.State) && !releases(is.RunState.State) {
				all = append(all, violation(a.run.name(), fmt.Sprintf("Gantry confirmed while %s, which goes first on the same commit, was %s", r.name(), was.RunState.State), was, a.read, a.call))
			}
		}
	}
	return all
}

// madeUp reports whether a newer run of a stack finished, or a retry, after one that
// did not.
func (x *index) madeUp(stack string, failed *run, before time.Duration) bool {
	return slices.ContainsFunc(x.order, func(r *run) bool {
		return r.stack == stack && r != failed && r.first().Type == "TRACKED" && !r.first().Drift && r.states[0].Ended > failed.states[0].Ended &&
			slices.ContainsFunc(r.states, func(s rec) bool { return s.RunState.State == "FINISHED" && s.Ended < before })
	})
}

// releases reports whether a run in this state releases the runs behind it. A run that
// Spacelift skipped, or that somebody took out of the queue, did nothing.
func releases(state string) bool {
	return slices.Contains([]string{"FINISHED", "SKIPPED", "CANCELED"}, state)
}

// applied returns the ends of runs of a stack that finished with changes.
func (x *index) applied(stack string) []rec {
	return x.applyEnds(stack, func(r *run) bool { return r.last().State == "FINISHED" && r.first().Type == "TRACKED" })
}

// mayHaveApplied returns the ends of runs of a stack that may have changed resources: one that
// failed while it applied may have as well.
func (x *index) mayHaveApplied(stack string) []rec {
	return x.applyEnds(stack, func(r *run) bool { return ended(r.last().State) })
}

// applyEnds returns the last states of those runs of a stack that began to apply.
func (x *index) applyEnds(stack string, of func(*run) bool) (all []rec) {
	for _, r := range x.order {
		if r.stack == stack && r.beganToApply() && of(r) {
			all = append(all, r.states[len(r.states)-1])
		}
	}
	return all
}

func (r *run) beganToApply() bool {
	return slices.ContainsFunc(r.states, func(s rec) bool { return s.RunState.State == "APPLYING" })
}

// oldPlans finds confirmations of plans that began before a parent applied changes.
func oldPlans(x *index) []Violation {
	var all []Violation
	for _, a := range x.acts("runConfirm") {
		if a.run.first().Type != "TRACKED" || a.run.first().Drift || a.blind {
			continue
		}
		began, ok := a.planning()
		possible := x.policies(a.run.stack, a.span)
		keeps := mayKeepOldPlans(possible)
		g := x.graph(span{a.span.from - x.tick(), a.span.to})
		if !ok || keeps || g.Circular(a.run.stack) {
			continue
		}
		for _, parent := range g[a.run.stack] {
			for _, end := range x.applied(parent) {
				if end.Ended > began.Ended+time.Second && end.Ended < a.span.from-x.slowlyDuring(a.span, longestGap) && !x.skipped(parent, a.call.Began) {
					all = append(all, violation(a.run.name(), "Gantry confirmed a plan from before "+parent+" applied changes", began, end, a.read, a.call))
				}
			}
		}
	}
	return all
}

// planning returns when the plan that was confirmed began.
func (a act) planning() (rec, bool) {
	var found rec
	for _, s := range a.run.states {
		if s.RunState.State == "PLANNING" && s.Ended < a.call.Began {
			found = s
		}
	}
	return found, found.N > 0
}

// oncePerCommit finds stacks that Gantry let apply twice for a commit although
// nothing that goes first had finished in between.
func oncePerCommit(x *index) []Violation {
	var all []Violation
	for i, r := range x.order {
		if !x.ours(r) {
			continue
		}
		x.judged(r, r.life())
		for _, later := range x.order[i+1:] {
			if later.stack != r.stack || later.first().Commit != r.first().Commit || !x.ours(later) || later.retryOf != nil {
				continue
			}
			from, to := r.states[0].Ended, later.states[0].Ended
			g := x.graph(span{from, to})
			if len(g[r.stack]) > 0 && !x.finishedBetween(g.Above(r.stack), from, to) {
				all = append(all, violation(r.stack, "the stack applied twice for one commit", r.states[len(r.states)-1], later.states[0], later.states[len(later.states)-1]))
			}
		}
	}
	return all
}

// finishedBetween reports whether a run of one of the stacks finished in a span: it
// begins a chain, with changes or without.
func (x *index) finishedBetween(stacks []string, from, to time.Duration) bool {
	return slices.ContainsFunc(x.order, func(o *run) bool {
		end := o.states[len(o.states)-1]
		return slices.Contains(stacks, o.stack) && o.first().Type == "TRACKED" && end.RunState.State == "FINISHED" && end.Ended > from && end.Ended < to
	})
}

// ours reports whether a push or Gantry made the run, and Gantry confirmed it, and
// it applied.
func (x *index) ours(r *run) bool {
	f := r.first()
	if f.Type != "TRACKED" || f.Drift || (f.Trigger != "" && f.Trigger != x.batch.Actor) || r.last().State != "FINISHED" {
		return false
	}
	return slices.ContainsFunc(r.states, func(s rec) bool { return s.RunState.State == "CONFIRMED" && s.RunState.By == x.batch.Actor })
}

// triggersFollow finds runs that Gantry triggered twice in a chain, or before all
// that the stack follows had finished.
func triggersFollow(x *index) []Violation {
	var all []Violation
	seen := map[string]rec{}
	for _, c := range x.calls {
		if !mutates(c, "runTrigger") {
			continue
		}
		x.judged(nil, span{c.Began, c.Ended})
		stack, name := arg(c, "stack"), c.Call.Metadata
		if first := seen[stack+" "+name]; first.N > 0 && took(c) && strings.HasPrefix(name, "chain/") && !x.ranBetween(stack, first.Ended, c.Began) {
			all = append(all, violation(stack, "Gantry triggered the stack twice in a chain", first, c))
		}
		if took(c) {
			seen[stack+" "+name] = c
		}
		all = append(all, x.early(c, stack, name)...)
		all = append(all, x.needless(c, stack, name)...)
	}
	return all
}

// needless finds a trigger by a chain of a stack that has a run which has not begun
// to apply: no matter who made that, it is the chain's.
func (x *index) needless(c rec, stack, chain string) []Violation {
	s := span{c.Began - x.slowlyDuring(span{c.Began, c.Ended}, longestGap), c.Began}
	stale := slices.ContainsFunc(x.calls, func(read rec) bool { return read.Call.Stale && read.Ended > s.from-aftermath && read.Began < s.to })
	if !strings.HasPrefix(chain, "chain/") || stale {
		return nil
	}
	for _, r := range x.order {
		was, is := r.at(s.from), r.at(s.to)
		if r.stack == stack && r.first().Type == "TRACKED" && !r.first().Drift && was.N > 0 && works(was.RunState.State) && works(is.RunState.State) {
			return []Violation{violation(stack, "Gantry triggered the stack, which has a run that counts for the chain", was, c)}
		}
	}
	return nil
}

// works reports whether a run is on its way to a plan, or waits with one.
func works(state string) bool {
	return slices.Contains([]string{"QUEUED", "READY", "PREPARING", "INITIALIZING", "PLANNING", "UNCONFIRMED"}, state)
}

// ranBetween reports whether a run of the stack ended without finishing in a span:
// then another one may be needed.
func (x *index) ranBetween(stack string, from, to time.Duration) bool {
	return slices.ContainsFunc(x.order, func(r *run) bool {
		end := r.states[len(r.states)-1]
		return r.stack == stack && ended(end.RunState.State) && end.Ended > from && end.Ended < to
	})
}

// early finds a trigger before a stack that goes first in the chain had finished.
func (x *index) early(c rec, stack, chain string) []Violation {
	var all []Violation
	root := x.rootOf(chain)
	if root == nil {
		return nil
	}
	read := x.readStack(stack, c.Began)
	g := x.graph(span{min(read.Began, c.Began) - x.tick(), c.Began})
	if g.Circular(stack) || read.N == 0 {
		return nil
	}
	for _, parent := range g[stack] {
		inChain := parent == root.stack || slices.Contains(g.Above(parent), root.stack)
		if inChain && !x.skipped(parent, c.Began) && !x.passed(parent, root, c.Began) {
			all = append(all, violation(stack, "Gantry triggered the stack before "+parent+", which it follows, had finished in the chain of "+root.name(), root.states[len(root.states)-1], read, c))
		}
	}
	return all
}

// rootOf returns the run that a chain began with, by the name that the metadata of
// its runs gives: chain/<account>/<run> <stack>.
func (x *index) rootOf(name string) *run {
	path, _, _ := strings.Cut(name, " ")
	if !strings.HasPrefix(path, "chain/") {
		return nil
	}
	for _, r := range x.order {
		if r.id == last(path) {
			return r
		}
	}
	return nil
}

// passed reports whether a stack has finished a run that may count for a chain, or
// Spacelift skipped its run.
func (x *index) passed(stack string, root *run, before time.Duration) bool {
	if stack == root.stack {
		return slices.ContainsFunc(root.states, func(s rec) bool { return s.RunState.State == "FINISHED" && s.Ended < before })
	}
	return slices.ContainsFunc(x.order, func(r *run) bool {
		end := r.at(before)
		return r.stack == stack && end.N > 0 && releases(end.RunState.State) && end.Ended > root.states[0].Ended
	})
}
