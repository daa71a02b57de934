package checker

import (
	"slices"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/history"
	"github.com/gantryhq/gantry/e2e/schedules/model"
)

// act is a mutation of Gantry's with what it had read before.
type act struct {
	call rec
	run  *run
	read rec  // the read of the run that began last before; without a number if there was none
	span span // from the last reads of the run and of its stack until the mutation arrived
	// blind says that the last read showed an older state of the account, through no
	// fault of Gantry's.
	blind bool
}

// acts returns the mutations of one field that name a run.
func (x *index) acts(fields ...string) []act {
	var all []act
	for _, r := range x.order {
		for _, c := range r.acts {
			if slices.ContainsFunc(fields, func(f string) bool { return mutates(c, f) }) {
				a := x.act(r, c)
				x.judged(r, span{a.span.from, c.Ended})
				all = append(all, a)
			}
		}
	}
	return all
}

func (x *index) act(r *run, c rec) act {
	a := act{call: c, run: r, span: span{c.Began, c.Began}}
	for _, read := range r.reads {
		if read.Began < c.Began && arrived(read, c) && good(read) && (a.read.N == 0 || read.Began > a.read.Began) {
			a.read = read
		}
	}
	var stack rec
	for _, read := range x.calls {
		if read.Began >= c.Began {
			break
		}
		if read.Call.Kind == "query" && arrived(read, c) && good(read) && showsLabels(read, r.stack) {
			stack = read
		}
	}
	for _, read := range []rec{a.read, a.had(), stack} {
		if read.N > 0 {
			a.span.from = min(a.span.from, read.Began)
			a.blind = a.blind || read.Call.Stale
		}
	}
	return a
}

// had returns the last read of the run whose answer Gantry had for certain when it
// acted; without a number if there was none. A list is none: another process may have
// asked for it, for Reconcile.
func (a act) had() rec {
	var last rec
	for _, read := range a.run.reads {
		if read.Ended <= a.call.Began && good(read) && showsHistory(read, a.run.id) {
			last = read
		}
	}
	return last
}

// showsHistory reports whether an answer shows a run with its history, as no list does.
func showsHistory(read rec, run string) bool {
	return slices.ContainsFunc(read.Call.Runs, func(seen history.RunSeen) bool { return seen.Run == run && seen.Version >= 0 })
}

// arrived reports whether Gantry may have had an answer when it sent a mutation: the
// end of a call is noted a moment after the answer.
func arrived(read, act rec) bool { return read.Ended < act.Began+250*time.Millisecond }

func showsLabels(c rec, stack string) bool {
	for _, s := range c.Call.Stacks {
		if s.Stack == stack && s.Labels != nil {
			return true
		}
	}
	return false
}

// plan returns the UNCONFIRMED state that a confirmation is about.
func (a act) plan() rec {
	var found rec
	for _, s := range a.run.states {
		if s.RunState.State == "UNCONFIRMED" && s.Ended <= a.call.Ended {
			found = s
		}
	}
	return found
}

// plans returns the plans that a confirmation may have been meant for: one that comes
// between the read and the act is confirmed unseen, since Spacelift takes no version.
func (a act) plans() []rec {
	var all []rec
	for _, s := range a.run.states {
		if s.RunState.State != "UNCONFIRMED" || s.Ended > a.call.Ended {
			continue
		}
		if s.Ended <= a.read.Began {
			all = nil
		}
		all = append(all, s)
	}
	return all
}

// facts returns a plan as the model knows it.
func (x *index) facts(r *run, plan rec) model.Plan {
	s := plan.RunState
	return model.Plan{Type: s.Type, Drift: s.Drift, Delta: s.Delta, Destroys: s.Destroys, Author: s.Author, By: x.askers(r, plan.Ended)}
}

// askers are those who triggered the run, or asked for it, or triggered or asked
// for the run that it retries.
func (x *index) askers(r *run, until time.Duration) []string {
	var all []string
	for ; r != nil; r = r.retryOf {
		if r.states == nil {
			break
		}
		if by := r.first().Trigger; by != "" && by != x.batch.Actor && x.stacks[by] == nil {
			all = append(all, by)
		}
		for _, q := range x.requests {
			if x.madeBy(q) == r && q.Began <= until {
				all = append(all, q.Request.Who)
			}
		}
		if r.retryOf != nil {
			all = append(all, r.retryOf.retriers(until)...)
		}
	}
	return all
}

// retriers are those who asked for a retry of the run.
func (r *run) retriers(until time.Duration) (all []string) {
	for _, q := range r.requests {
		if q.Request.Operation == "retryRun" && answered(q) && q.Began <= until {
			all = append(all, q.Request.Who)
		}
	}
	return all
}
