package queue

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

// Event is a pending event.
type Event struct {
	Run     spacelift.RunRef
	State   spacelift.RunState
	Version int
	Ready   time.Time // when it was accepted
	Pending
}

// Pending is an event in the queue.
type Pending struct {
	Index  uint64 // in the log
	Number int64
	Size   uint32 // about, in a signal
	Again  bool   // an older event that is sent again
	Record []byte // nil: it is read from the log
}

// due returns when an event is to be sent. One of a process before may seem to be of later
// than now, if its clock was ahead.
func (q *Queue) due(e *Event, now time.Time) int64 {
	ready := min(q.at(e.Ready), q.at(now))
	if !e.Again && mayLinger(e.State, e.Version) {
		ready += int64(q.linger)
	}
	return ready
}

// at returns a time as the schedules have it, so that a wall clock that is set back delays
// nothing.
func (q *Queue) at(t time.Time) int64 { return int64(t.Sub(q.began)) }

// when returns the time of a schedule.
func (q *Queue) when(due int64) time.Time { return q.began.Add(time.Duration(due)) }

// Run is a run with pending events, in the order accepted.
type Run struct {
	Ref       spacelift.RunRef
	Attempts  int    // failed in a row
	LastError string // of the last attempt

	lane   *lane
	events []Pending
	due    int64 // see Queue.at; while a signal is in flight, of what arrived since, 0 for nothing
	place  int   // in its schedule; -1 while a signal is in flight
	single int   // number of events to send one by one: together they were refused
}

// First returns the events of the next signal, as many as fit into it, one at least, and
// whether there are more.
func (r *Run) First(count, bytes int) (events []Pending, more bool) {
	if r.single > 0 {
		count = 1
	}
	for _, p := range r.events {
		if bytes -= int(p.Size); len(events) > 0 && (len(events) == count || bytes < 0) {
			return events, true
		}
		events = append(events, p)
	}
	return events, false
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
func (r *Run) bytes() int {
	n := runBytes
	for _, p := range r.events {
		n += pendingBytes + len(p.Record)
	}
	return n
}

// Queue holds the pending runs, each in a lane. Events that their lane has no room for
// are held: the queue has only their places in the log. If too many are held, all that
// follow are unread: the log alone has them.
type Queue struct {
	linger  time.Duration
	began   time.Time
	runs    map[spacelift.RunRef]*Run
	started startedRuns
	lanes   []*lane       // the one whose turn is next first
	retries schedule      // of runs whose last signal failed
	Wake    chan struct{} // something changed that its user should check
	held    map[Hash]*heldRun
	places  int    // of held events
	unread  uint64 // index from which on events are unread; 0 for none
}

// heldRun is a run with held events. What follows of it is held too, to keep the order.
type heldRun struct {
	hash   Hash
	lane   *lane    // whose turn it waits for
	run    *Run     // what was last in memory of it; nil for nothing
	places []uint64 // in the log; empty while the last one is read
	turn   int      // bytes that it got into memory in this turn
}

// New returns a queue. Events that need no decision wait for so long for the next one of
// their run.
func New(linger time.Duration) Queue {
	return Queue{linger: linger, began: time.Now(), runs: make(map[spacelift.RunRef]*Run), held: make(map[Hash]*heldRun), Wake: make(chan struct{}, 1)}
}

func (q *Queue) kick() {
	select {
	case q.Wake <- struct{}{}:
	default:
	}
}

// Resume makes all events from an index on unread.
func (q *Queue) Resume(from uint64) { q.unread = from }

// Arrive takes an event that was stored. The next batches may write over its record.
func (q *Queue) Arrive(e Event) {
	if q.unread == 0 && !q.admit(e) {
		q.unread = e.Index
	}
	q.kick()
}

// admit pushes or holds an event, unless too many are held.
func (q *Queue) admit(e Event) bool {
	hash, l := HashOf(e.Run), q.laneOf(e.Run)
	h := q.held[hash]
	switch {
	case h == nil && q.hasRoom(l):
		q.push(&e)
		return true
	case q.places >= maxHeld:
		return false
	case h == nil:
		h = &heldRun{hash: hash, lane: l, run: q.runs[e.Run]}
		q.held[hash], l.held = h, append(l.held, h)
	}
	h.places, q.places = append(h.places, e.Index), q.places+1
	return true
}

// Refill reads events from the log where there is room. next returns the first pending one
// from an index on. read returns one; it may let others use the queue meanwhile.
func (q *Queue) Refill(next func(from uint64) (idx uint64, ok bool), read func(idx uint64) Event) {
	for h, idx := q.release(); h != nil; h, idx = q.release() {
		q.released(h, read(idx))
	}
	for q.unread > 0 {
		idx, ok := next(q.unread)
		if !ok {
			q.unread = 0
			return
		}
		if !q.admit(read(idx)) {
			q.unread = idx
			return
		}
		q.unread = idx + 1
	}
}

// release takes a held event that there is room for, and returns its run, nil without one,
// and its place. A run gets room for a turn, so that one signal carries what it has there:
// room comes back by single events.
func (q *Queue) release() (h *heldRun, idx uint64) {
	for _, l := range q.lanes {
		l.leave()
	}
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
func (q *Queue) released(h *heldRun, e Event) {
	h.run = q.push(&e)
	h.turn += pendingBytes + len(e.Record)
	more := len(h.places) > 0
	if more && h.turn < maxTurn {
		return
	}
	h.lane.nextTurn()
	if h.turn = 0; more {
		h.lane.held = append(h.lane.held, h)
	} else {
		delete(q.held, h.hash)
	}
}

// push adds an event to its run, which it returns. It copies the record, which may be a
// part of a buffer.
func (q *Queue) push(e *Event) *Run {
	e.Record = slices.Clone(e.Record)
	r, due := q.runs[e.Run], q.due(e, time.Now())
	if r == nil {
		r = &Run{Ref: e.Run, lane: q.lane(e.Run), place: -1, events: []Pending{e.Pending}}
		q.runs[e.Run] = r
		r.lane.bytes += r.bytes()
		q.schedule(r, due)
		return r
	}
	r.events = append(r.events, e.Pending)
	r.lane.bytes += pendingBytes + len(e.Record)
	if r.Attempts == 0 && (r.due == 0 || due < r.due) {
		if r.due = due; r.place >= 0 {
			heap.Fix(&r.lane.runs, r.place)
			q.kick()
		}
	}
	return r
}

// Pause returns how many signals of a run failed in a row, and why the last one did.
func (q *Queue) Pause(ref spacelift.RunRef) (attempts int, lastError string) {
	if r := q.runs[ref]; r != nil {
		return r.Attempts, r.LastError
	}
	return 0, ""
}

// Delayed returns the accounts whose new runs wait for their turn, and since when.
func (q *Queue) Delayed() map[spacelift.Account]time.Time {
	delayed := map[spacelift.Account]time.Time{}
	for _, l := range q.lanes {
		if !l.delayed.IsZero() {
			delayed[l.account] = l.delayed
		}
	}
	return delayed
}

// Return puts a run back whose signal was not answered, or whose first events were refused
// together: then these are sent one by one.
func (q *Queue) Return(r *Run, refused int, now time.Time) {
	if refused > 0 {
		r.single = refused
	}
	q.schedule(r, q.at(now))
}

// schedule makes a run wait until it is due.
func (q *Queue) schedule(r *Run, due int64) {
	if r.due = due; r.Attempts > 0 {
		heap.Push(&q.retries, r)
	} else {
		heap.Push(&r.lane.runs, r)
	}
	q.kick()
}

// Next takes a run that is to be sent now: a fresh one or a retry, as allowed. It is with
// the caller until Sent, Failed or Return. Without one it returns when to call again; zero means when woken.
func (q *Queue) Next(now time.Time, fresh, retry bool) (*Run, time.Time) {
	var again time.Time
	for i, l := range q.lanes {
		switch due := q.laneDue(l, now); {
		case !fresh || due.IsZero():
		case due.After(now):
			again = Earlier(again, due)
		default:
			q.lanes = append(slices.Delete(q.lanes, i, i+1), l)
			return l.take(now), time.Time{}
		}
	}
	switch {
	case len(q.retries) == 0:
	case !q.retries.ready(q.at(now)):
		again = Earlier(again, q.when(q.retries[0].due))
	case retry:
		return q.retries.take(), time.Time{}
	}
	return nil, again
}

// Waits reports whether a run waits for a slot that is no retry.
func (q *Queue) Waits(now time.Time) bool {
	return slices.ContainsFunc(q.lanes, func(l *lane) bool {
		due := q.laneDue(l, now)
		return !due.IsZero() && !due.After(now)
	})
}

// Sent removes the first n events from a run whose signal has ended, and schedules
// the others. more means that others were waiting when it was sent, open that the run has an
// execution.
func (q *Queue) Sent(r *Run, n int, more, open bool, now time.Time) {
	if open {
		q.Started(HashOf(r.Ref))
	} else {
		q.started.remove(HashOf(r.Ref))
	}
	r.lane.bytes -= r.bytes()
	r.events = slices.Delete(r.events, 0, n) // moved, so that their records are forgotten
	r.Attempts, r.LastError = 0, ""
	r.single = max(0, r.single-n)
	r.lane = q.lane(r.Ref)
	if len(r.events) == 0 {
		delete(q.runs, r.Ref)
		return
	}
	r.lane.bytes += r.bytes()
	if more {
		r.due = q.at(now)
	}
	q.schedule(r, r.due)
}

// Failed schedules a retry. What waits for it leaves the memory to other runs.
func (q *Queue) Failed(r *Run, err string, until time.Time) {
	r.Attempts++
	r.LastError = err
	for i := range r.events {
		r.lane.bytes -= len(r.events[i].Record)
		r.events[i].Record = nil
	}
	q.schedule(r, q.at(until))
}

// RetryAll ends all pauses, because signals succeed again.
func (q *Queue) RetryAll(now time.Time) {
	for _, r := range q.retries {
		r.due = min(r.due, q.at(now))
	}
	heap.Init(&q.retries)
}

// RetryWaits reports whether a run whose last signal failed is to be sent.
func (q *Queue) RetryWaits(now time.Time) bool { return q.retries.ready(q.at(now)) }

// Earlier returns the earlier time; zero means never.
func Earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// schedule is a heap of runs by the time they are due.
type schedule []*Run

// take removes the run that is due first.
func (s *schedule) take() *Run {
	r := heap.Pop(s).(*Run)
	r.due = 0
	return r
}

func (s schedule) ready(now int64) bool { return len(s) > 0 && s[0].due <= now }
func (s schedule) Len() int             { return len(s) }
func (s schedule) Less(i, j int) bool   { return s[i].due < s[j].due }
func (s schedule) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].place, s[j].place = i, j
}

func (s *schedule) Push(x any) {
	r := x.(*Run)
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
