package checker

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/history"
	"github.com/gantryhq/gantry/e2e/schedules/model"
)

// streamedWithin is the time in which a change is on the event stream, on an idle machine:
// the documents say about a second.
const streamedWithin = 5 * time.Second

// resumesWithin is the time after which a stream begins anew because Temporal doesn't say
// what its reader has missed; it waits some seconds longer for that.
const resumesWithin = 3 * time.Second

// endsWithin is the time in which a stream ends after its token or session.
const endsWithin = 30 * time.Second

// connection is a time during which a reader followed the stream of a replica.
type connection struct {
	opened, closed rec
	events         []rec
}

// connections returns the connections of a reader, the events of each with it.
func connections(events []rec) (all []connection) {
	open := map[int]int{}
	for _, e := range events {
		switch i, is := open[e.Event.Connection]; {
		case e.Event.Name == history.Opened && e.Event.Status == 200:
			open[e.Event.Connection] = len(all)
			all = append(all, connection{opened: e})
		case !is:
		case e.Event.Name == history.Closed:
			all[i].closed = e
		default:
			all[i].events = append(all[i].events, e)
		}
	}
	return slices.DeleteFunc(all, func(c connection) bool { return c.closed.N == 0 })
}

// streamsAreWhole finds readers of the event stream that never received the latest form of
// a run, that received an older form after a newer one, whose id wasn't taken, and streams
// that outlived their session (openapi/gantry.yaml, "Follow all that you may see").
func streamsAreWhole(x *index) []Violation {
	var all []Violation
	for _, reader := range slices.Sorted(maps.Keys(x.events)) {
		reads := connections(x.events[reader])
		all = append(all, x.disordered(reads)...)
		all = append(all, x.unresumed(reads)...)
		all = append(all, x.unseen(reads)...)
		all = append(all, x.outlived(reads)...)
	}
	return firstOf(all)
}

// disordered finds forms of runs that are older than what the reader had received, and ends
// of runs that haven't ended.
func (x *index) disordered(reads []connection) (all []Violation) {
	last := map[string]rec{}
	for _, c := range reads {
		for _, e := range c.events {
			r := x.runs[key(e.Event.Stack, e.Event.Run)]
			if e.Event.Name != "run" || r == nil || len(r.states) == 0 {
				continue
			}
			before := last[r.name()]
			x.judged(r, span{e.Began, e.Ended})
			switch now := r.at(e.Ended); {
			case before.N > 0 && changedAt(e) < changedAt(before):
				all = append(all, violation(r.name(), "the stream of "+e.Event.Reader+" shows an older form of the run after a newer one", before, c.opened, e))
			case e.Event.Phase == "done" && now.N > 0 && !ended(now.RunState.State) && !x.gone(r.stack, e.Ended):
				all = append(all, violation(r.name(), "the stream shows a run as done that continues", now, e))
			}
			last[r.name()] = e
		}
	}
	return all
}

// changedAt returns the time in the id of an event: that of the change.
func changedAt(e rec) string {
	at, _, _ := strings.Cut(e.Event.ID, "-")
	return at
}

// unresumed finds readers who came back with the id of their last event, and missed something,
// as the stream says, while nothing went wrong.
func (x *index) unresumed(reads []connection) (all []Violation) {
	for _, c := range reads {
		for _, e := range c.events {
			if e.Event.ID == "" {
				all = append(all, violation(e.Event.Reader, "an event of the stream has no id", e))
			}
		}
		if c.opened.Event.ID == "" || x.troubled(span{c.opened.Began, c.opened.Ended}) {
			continue
		}
		x.judged(nil, span{c.opened.Began, c.opened.Ended})
		for _, e := range c.events {
			if (e.Event.Name == "reset" || e.Event.Name == "ready") && e.Began-c.opened.Ended < resumesWithin {
				all = append(all, violation(e.Event.Reader, "the stream begins anew after an id of this hour: "+c.opened.Event.ID, c.opened, e))
			}
		}
	}
	return all
}

// unseen finds runs whose last state a reader had not received a while after it, and answered
// decisions that showed nothing on a stream.
func (x *index) unseen(reads []connection) (all []Violation) {
	if len(reads) == 0 || reads[0].opened.Event.Session != "" || x.moving {
		return nil
	}
	for _, c := range reads {
		all = append(all, x.undecided(c)...)
	}
	bound := x.slowly(streamedWithin)
	long := slices.DeleteFunc(slices.Clone(reads), func(c connection) bool { return c.closed.Ended-c.opened.Ended < bound })
	if len(long) == 0 {
		return all
	}
	end := long[len(long)-1].closed
	var mark rec
	last := map[string]rec{}
	for _, c := range reads {
		for _, e := range c.events {
			switch e.Event.Name {
			case "ready", "reset":
				mark = e
			case "run":
				last[key(e.Event.Stack, e.Event.Run)] = e
			}
		}
	}
	for _, r := range x.order {
		final := r.states[len(r.states)-1]
		known := final.Ended + x.tick()
		if final.Ended < mark.Ended || known > end.Began || x.troubled(span{known, end.Began}) || x.gone(r.stack, end.Ended) ||
			!x.surelySees(end.Event.Reader, r.stack, span{final.Ended, end.Ended}) {
			continue
		}
		if v, ok := x.settled(r); !ok || v.State != final.RunState.State {
			continue // Gantry doesn't know it, which other rules judge
		}
		x.judged(r, span{final.Began, end.Ended})
		if e := last[r.name()]; e.N == 0 || e.Event.State != final.RunState.State {
			all = append(all, violation(r.name(), fmt.Sprintf("%s followed the stream and never received that the run is %s", end.Event.Reader, final.RunState.State), mark, final, e, end))
		}
	}
	return all
}

// undecided finds decisions that were answered while a stream was open, and after which it
// showed nothing of the run.
func (x *index) undecided(c connection) (all []Violation) {
	for _, q := range x.requests {
		r := x.runs[key(q.Request.Stack, q.Request.Run)]
		if q.Request.Operation != "decideRun" || !answered(q) || !slices.Contains([]string{"approve", "reject"}, decision(q).Verdict) || r == nil || q.Began < c.opened.Ended {
			continue
		}
		bound := x.slowly(streamedWithin) + x.answerTime(span{q.Began, q.Ended}, http.MethodGet)
		s := span{q.Began, q.Ended + bound}
		if s.to > c.closed.Began || x.troubled(s) || !x.surelySees(c.opened.Event.Reader, r.stack, s) {
			continue
		}
		x.judged(r, s)
		if !slices.ContainsFunc(c.events, func(e rec) bool {
			return e.Ended > q.Began && e.Ended < s.to && (e.Event.Name == "reset" || e.Event.Run == r.id && e.Event.Name == "run")
		}) {
			all = append(all, violation(r.name(), fmt.Sprintf("the stream of %s shows nothing of the run within %s of a decision", c.opened.Event.Reader, bound.Round(time.Second)), c.opened, q, c.closed))
		}
	}
	return all
}

// outlived finds streams that lasted longer after a sign-out, or after their token was
// revoked, than they may.
func (x *index) outlived(reads []connection) (all []Violation) {
	for _, c := range reads {
		for _, q := range x.requests {
			if q.Request.Operation != history.SignOut || q.Request.Session == "" || q.Request.Session != c.opened.Event.Session || !answered(q) ||
				q.Ended > c.closed.Began || !x.reached(q, rec{Began: c.closed.Began, Ended: c.closed.Ended, Request: &history.Request{Replica: c.opened.Event.Replica}}) {
				continue
			}
			began := max(q.Ended, c.opened.Ended)
			lasted := span{began, c.closed.Ended}
			x.judged(nil, lasted)
			if lasted.to-lasted.from > x.slowlyDuring(lasted, endsWithin) && !x.paused(lasted) {
				all = append(all, violation(q.Request.Session, fmt.Sprintf("the stream lasted %s after %s had signed out", (lasted.to-lasted.from).Round(time.Second), q.Request.Who), c.opened, q, c.closed))
			}
		}
	}
	return all
}

// surelySees reports whether a reader has a role for a stack by every configuration.
func (x *index) surelySees(who, stack string, s span) bool {
	configs := x.configs(s)
	return len(configs) > 0 && !slices.ContainsFunc(configs, func(c model.Config) bool { return x.mayDuring(c, who, "viewer", stack, s) != model.Held })
}

// overread finds events of stacks for which their reader has no role.
func (x *index) overread() []Violation {
	var all []Violation
	for _, reader := range slices.Sorted(maps.Keys(x.events)) {
		for _, e := range x.events[reader] {
			s := span{e.Began, e.Ended}
			configs := x.configs(s)
			if len(x.stacks[e.Event.Stack]) == 0 || len(configs) == 0 {
				continue
			}
			x.judged(nil, s)
			if !slices.ContainsFunc(configs, func(c model.Config) bool {
				return x.mayDuring(c, e.Event.Reader, "viewer", e.Event.Stack, s) != model.Never
			}) {
				all = append(all, violation(e.Event.Stack, "the stream shows the stack to "+e.Event.Reader+", who has no role for it", e))
			}
		}
	}
	return firstOf(all)
}
