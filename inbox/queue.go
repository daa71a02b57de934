package inbox

import (
	"container/heap"
	"slices"
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

// due returns when an event is to be sent that is ready at a time.
func (p *pending) due(state spacelift.RunState, version int, ready time.Time, linger time.Duration) time.Time {
	if !p.again && mayLinger(state, version) {
		return ready.Add(linger)
	}
	return ready
}

// run is a run with pending events, in the order accepted.
type run struct {
	ref       spacelift.RunRef
	lane      *lane
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
	maxHeld       = 1 << 17 // events, of 8 bytes each, and 100 for each run
	maxTurn       = 1 << 17 // bytes of held events that a run gets into memory before the next one
)

// bytes is the size of a run in memory, about.
func (r *run) bytes() int {
	n := runBytes
	for _, p := range r.events {
		n += pendingBytes + len(p.rec)
	}
	return n
}

// queue holds the pending runs, each in a lane. Events that their lane has no room for
// are held: the queue has only their places in the log. If too many are held, all that
// follow are unread: the log alone has them. Guarded by Inbox.mu.
type queue struct {
	linger  time.Duration
	runs    map[spacelift.RunRef]*run
	started startedRuns
	lanes   []*lane       // the one whose turn is next first
	retries schedule      // of runs whose last signal failed
	wake    chan struct{} // something changed that the forwarder should check
	held    map[runHash]*heldRun
	places  int    // of held events
	unread  uint64 // index from which on events are unread; 0 for none
}

// heldRun is a run with held events. What follows of it is held too, to keep the order.
type heldRun struct {
	hash   runHash
	lane   *lane
	places []uint64 // in the log; empty while the last one is read
	turn   int      // bytes that it got into memory in this turn
}

func newQueue(linger time.Duration) queue {
	return queue{linger: linger, runs: make(map[spacelift.RunRef]*run), held: make(map[runHash]*heldRun), wake: make(chan struct{}, 1)}
}

// arrive takes an event that was stored.
func (q *queue) arrive(ref spacelift.RunRef, p pending, due time.Time) {
	if q.unread == 0 && !q.admit(ref, p, due) {
		q.unread = p.idx
	}
	kick(q.wake)
}

// admit pushes or holds an event, unless too many are held.
func (q *queue) admit(ref spacelift.RunRef, p pending, due time.Time) bool {
	hash := hashOf(ref)
	h, l := q.held[hash], q.lane(ref)
	switch {
	case h == nil && q.hasRoom(l):
		p.rec = slices.Clone(p.rec) // the next batches write over it
		q.push(ref, p, due)
		return true
	case q.places >= maxHeld:
		return false
	case h == nil:
		h = &heldRun{hash: hash, lane: l}
		q.held[hash], l.held = h, append(l.held, h)
	}
	h.places, q.places = append(h.places, p.idx), q.places+1
	return true
}

// release takes a held event that there is room for, and returns its run, nil without one,
// and its place. A run gets room for a turn, so that one signal carries what it has there:
// room comes back by single events.
func (q *queue) release() (h *heldRun, idx uint64) {
	for _, l := range q.lanes {
		if len(l.held) > 0 && (l.held[0].turn > 0 || q.hasRoom(l)) {
			h = l.held[0]
			idx, h.places, q.places = h.places[0], h.places[1:], q.places-1
			return h, idx
		}
	}
	return nil, 0
}

// released pushes an event that was held. Until then its run is held, so nothing that
// arrived meanwhile has overtaken it.
func (q *queue) released(h *heldRun, ref spacelift.RunRef, p pending, due time.Time) {
	q.push(ref, p, due)
	h.turn += pendingBytes + len(p.rec)
	more := len(h.places) > 0
	if more && h.turn < maxTurn {
		return
	}
	l := h.lane
	l.held[0], l.held = nil, l.held[1:]
	if h.turn = 0; more {
		l.held = append(l.held, h)
	} else {
		delete(q.held, h.hash)
	}
}

// push adds an event to its run.
func (q *queue) push(ref spacelift.RunRef, p pending, due time.Time) {
	r := q.runs[ref]
	if r == nil {
		r = &run{ref: ref, lane: q.lane(ref), place: -1, events: []pending{p}}
		q.runs[ref] = r
		r.lane.bytes += r.bytes()
		q.schedule(r, due.UnixNano())
		return
	}
	r.events = append(r.events, p)
	r.lane.bytes += pendingBytes + len(p.rec)
	if t := due.UnixNano(); r.attempts == 0 && (r.due == 0 || t < r.due) {
		if r.due = t; r.place >= 0 {
			heap.Fix(&r.lane.runs, r.place)
			kick(q.wake)
		}
	}
}

// schedule makes a run wait until it is due.
func (q *queue) schedule(r *run, due int64) {
	if r.due = due; r.attempts > 0 {
		heap.Push(&q.retries, r)
	} else {
		heap.Push(&r.lane.runs, r)
	}
	kick(q.wake)
}

// next takes a run that is to be sent now: a fresh one or a retry, as allowed. Lanes take
// turns. Without one it returns when to call again; zero means when woken.
func (q *queue) next(now time.Time, fresh, retry bool) (*run, time.Time) {
	var again time.Time
	for i, l := range q.lanes {
		switch due := l.due(now); {
		case !fresh || due.IsZero():
		case due.After(now):
			again = earlier(again, due)
		default:
			q.lanes = append(slices.Delete(q.lanes, i, i+1), l)
			return l.take(now), time.Time{}
		}
	}
	switch {
	case len(q.retries) == 0:
	case !q.retries.ready(now):
		again = earlier(again, time.Unix(0, q.retries[0].due))
	case retry:
		return q.retries.take(), time.Time{}
	}
	return nil, again
}

// waits reports whether a run waits for a slot that is no retry.
func (q *queue) waits(now time.Time) bool {
	return slices.ContainsFunc(q.lanes, func(l *lane) bool {
		due := l.due(now)
		return !due.IsZero() && !due.After(now)
	})
}

// sent removes the first n events from a run whose signal has ended, and schedules
// the others. more means that others were waiting when it was sent, open that the run has an
// execution.
func (q *queue) sent(r *run, n int, more, open bool, now time.Time) {
	if open {
		q.started.add(hashOf(r.ref))
	} else {
		q.started.remove(hashOf(r.ref))
	}
	r.lane.bytes -= r.bytes()
	r.events = r.events[n:]
	r.attempts, r.lastError = 0, ""
	r.single = max(0, r.single-n)
	if len(r.events) == 0 {
		delete(q.runs, r.ref)
		return
	}
	r.lane = q.lane(r.ref)
	r.lane.bytes += r.bytes()
	if more {
		r.due = now.UnixNano()
	}
	q.schedule(r, r.due)
}

// failed schedules a retry. What waits for it leaves the memory to other runs.
func (q *queue) failed(r *run, err string, until time.Time) {
	r.attempts++
	r.lastError = err
	for i := range r.events {
		r.lane.bytes -= len(r.events[i].rec)
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

// take removes the run that is due first.
func (s *schedule) take() *run {
	r := heap.Pop(s).(*run)
	r.due = 0
	return r
}

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
