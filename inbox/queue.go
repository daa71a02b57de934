package inbox

import (
	"container/heap"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// mayLinger reports whether an event may wait a moment for the next ones of its
// run, so that one signal carries them: a signal costs a run's history several
// events, and a run passes several states within seconds that need no decision.
// All other events are sent immediately, together with the waiting ones of their
// run: the first event of a run starts its execution, decisions must not be
// late, an end releases dependents, and an unknown state may need a decision.
func mayLinger(state spacelift.RunState, version int) bool {
	if version == 0 {
		return false
	}
	switch state {
	case spacelift.RunStateReady, spacelift.RunStatePreparing, spacelift.RunStateInitializing, spacelift.RunStatePlanning,
		spacelift.RunStateReplanRequested, spacelift.RunStatePreparingReplan,
		spacelift.RunStateConfirmed, spacelift.RunStatePreparingApply, spacelift.RunStateApplying,
		spacelift.RunStatePerforming, spacelift.RunStateDestroying:
		return true
	}
	return false
}

// pending is an event that waits in the queue.
type pending struct {
	idx   uint64
	n     int64
	size  uint32 // about, in a signal
	again bool   // an older event that is sent again
	rec   []byte // nil: it is read from the log
}

func newPending(idx uint64, n int64, rec []byte) pending {
	return pending{idx, n, uint32(len(rec) + 512), len(rec) > 0 && rec[0] == kindAgain, rec}
}

// run is a run with pending events, in the order accepted.
type run struct {
	ref       spacelift.RunRef
	events    []pending
	due       int64 // unix nanoseconds; while a signal is in flight, of what arrived since, 0 for nothing
	place     int   // in its schedule; -1 while a signal is in flight
	single    int   // number of events to send one by one: together they were refused
	attempts  int   // failed in a row
	lastError string
}

// Sizes of the queue in memory, about.
const (
	runBytes      = 400
	pendingBytes  = 56
	maxQueueBytes = 2 << 20
)

// queue holds the pending runs. Beyond its limit the events from spilled on are
// in the log only. Guarded by Inbox.mu.
type queue struct {
	linger  time.Duration
	runs    map[spacelift.RunRef]*run
	fresh   schedule
	retries schedule      // of runs whose last signal failed
	wake    chan struct{} // something changed that the forwarder should check
	bytes   int
	spilled uint64 // index from which on events are read from the log; 0 for none
}

// push adds an event to its run.
func (q *queue) push(ref spacelift.RunRef, p pending, linger bool, now time.Time) {
	due := now
	if linger {
		due = now.Add(q.linger)
	}
	r := q.runs[ref]
	if r == nil {
		r = &run{ref: ref, place: -1}
		q.runs[ref] = r
		q.bytes += runBytes
		r.events = append(r.events, p)
		q.schedule(r, due.UnixNano())
	} else {
		r.events = append(r.events, p)
		if t := due.UnixNano(); r.attempts == 0 && (r.due == 0 || t < r.due) {
			if r.due = t; r.place >= 0 {
				heap.Fix(&q.fresh, r.place)
				kick(q.wake)
			}
		}
	}
	q.bytes += pendingBytes + len(p.rec)
}

// schedule makes a run wait until it is due.
func (q *queue) schedule(r *run, due int64) {
	if r.due = due; r.attempts > 0 {
		heap.Push(&q.retries, r)
	} else {
		heap.Push(&q.fresh, r)
	}
	kick(q.wake)
}

// next takes a run that is to be sent now: a fresh one or a retry, as allowed.
// Without one it returns when to call again; zero means when woken.
func (q *queue) next(now time.Time, fresh, retry bool) (*run, time.Time) {
	var again time.Time
	for _, from := range []struct {
		allowed bool
		runs    *schedule
	}{{fresh, &q.fresh}, {retry, &q.retries}} {
		switch {
		case len(*from.runs) == 0:
		case !from.runs.ready(now):
			again = earlier(again, time.Unix(0, (*from.runs)[0].due))
		case from.allowed:
			r := heap.Pop(from.runs).(*run)
			r.due = 0
			return r, time.Time{}
		}
	}
	return nil, again
}

// sent removes the first n events from a run whose signal has ended, and schedules
// the others. more means that others were waiting when it was sent.
func (q *queue) sent(r *run, n int, more bool, now time.Time) {
	for _, p := range r.events[:n] {
		q.bytes -= pendingBytes + len(p.rec)
	}
	r.events = r.events[n:]
	r.attempts, r.lastError = 0, ""
	r.single = max(0, r.single-n)
	switch {
	case len(r.events) == 0:
		delete(q.runs, r.ref)
		q.bytes -= runBytes
	case more:
		q.schedule(r, now.UnixNano())
	default:
		q.schedule(r, r.due)
	}
}

// failed schedules a retry. What waits for it leaves the memory to other runs.
func (q *queue) failed(r *run, err string, until time.Time) {
	r.attempts++
	r.lastError = err
	for i := range r.events {
		q.bytes -= len(r.events[i].rec)
		r.events[i].rec = nil
	}
	q.schedule(r, until.UnixNano())
}

// retryAll ends all pauses, because signals succeed again.
func (q *queue) retryAll(now time.Time) {
	for _, r := range q.retries {
		r.due = min(r.due, now.UnixNano())
	}
	heap.Init(&q.retries)
}

// schedule is a heap of runs by the time they are due.
type schedule []*run

func (s schedule) ready(now time.Time) bool { return len(s) > 0 && s[0].due <= now.UnixNano() }
func (s schedule) Len() int                 { return len(s) }
func (s schedule) Less(i, j int) bool       { return s[i].due < s[j].due }
func (s schedule) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].place, s[j].place = i, j
}

func (s *schedule) Push(x any) {
	r := x.(*run)
	r.place = len(*s)
	*s = append(*s, r)
}

func (s *schedule) Pop() any {
	n := len(*s) - 1
	r := (*s)[n]
	(*s)[n] = nil
	*s, r.place = (*s)[:n], -1
	return r
}
