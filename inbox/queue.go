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

type phase uint8

const (
	phaseNew     phase = iota
	phaseWaiting       // for company, until due
	phaseReady         // to be sent
	phaseSending       // a signal is in flight
	phaseBackoff       // the last signal failed; until due
)

// pending is an event that waits in the queue.
type pending struct {
	idx  uint64
	n    int64
	size uint32 // about, once decoded
}

// run is a run with pending events, in the order accepted.
type run struct {
	key       uint64
	events    []pending
	phase     phase
	urgent    bool  // while sending: an event arrived that must not linger
	single    int   // number of events to send one by one: together they were refused
	due       int64 // unix nanoseconds; see phase
	attempts  int   // failed in a row
	lastError string
	moving    int // events that get another place in the log
}

// Sizes of the queue in memory, about.
const (
	runBytes      = 200
	pendingBytes  = 40
	maxQueueBytes = 2 << 20
	maxCacheBytes = 512 << 10 // of records
)

// queue holds the pending runs. Beyond its limit the events from spilled on are
// in the log only. Guarded by Inbox.mu.
type queue struct {
	linger  time.Duration
	runs    map[uint64]*run
	ready   fifo[*run]
	retries fifo[*run]   // ready, after a failure
	waiting fifo[waiter] // by due
	backoff backoffHeap
	wake    chan struct{} // something changed that the forwarder should check

	bytes   int
	cache   map[uint64][]byte // records, so that few are read from the log
	cached  int               // bytes
	spilled uint64            // index from which on events are read from the log; 0 for none
}

// waiter is a run's place among those that linger. It is void when the run no
// longer waits, or lingers until another time.
type waiter struct {
	run *run
	due int64
}

// push adds an event to its run: at the end, or at its place by number if moved.
func (q *queue) push(p pending, key uint64, linger, moved bool, now time.Time) {
	r := q.runs[key]
	if r == nil {
		r = &run{key: key}
		q.runs[key] = r
		q.bytes += runBytes
	}
	q.bytes += pendingBytes
	at := len(r.events)
	for moved && at > 0 && r.events[at-1].n > p.n {
		at--
	}
	r.events = slices.Insert(r.events, at, p)

	linger = linger && q.linger > 0
	switch r.phase {
	case phaseNew:
		if linger {
			q.wait(r, now.Add(q.linger).UnixNano())
		} else {
			q.makeReady(r)
		}
	case phaseWaiting:
		if !linger {
			q.makeReady(r)
		}
	case phaseSending:
		if !linger {
			r.urgent = true
		} else if r.due == 0 {
			r.due = now.Add(q.linger).UnixNano()
		}
	}
}

// keep keeps the record of an event in memory, if there is room.
func (q *queue) keep(idx uint64, rec []byte) {
	if q.cached+len(rec) <= maxCacheBytes {
		q.cache[idx] = rec
		q.cached += len(rec)
	}
}

func (q *queue) nudge() { kick(q.wake) }

func (q *queue) makeReady(r *run) {
	r.phase = phaseReady
	if r.attempts > 0 {
		q.retries.push(r)
	} else {
		q.ready.push(r)
	}
	q.nudge()
}

func (q *queue) wait(r *run, due int64) {
	r.phase, r.due = phaseWaiting, due
	q.waiting.push(waiter{r, due})
	q.nudge()
}

func (q *queue) backOff(r *run, until time.Time) {
	r.phase, r.due = phaseBackoff, until.UnixNano()
	heap.Push(&q.backoff, r)
	q.nudge()
}

// next takes a run that is to be sent now: a fresh one or a retry, as allowed.
// Without one it returns when to call again; zero means when woken.
func (q *queue) next(now time.Time, fresh, retry bool) (*run, time.Time) {
	t := now.UnixNano()
	for q.waiting.len() > 0 && q.waiting.peek().due <= t {
		if w := q.waiting.pop(); w.run.phase == phaseWaiting && w.run.due == w.due {
			q.makeReady(w.run)
		}
	}
	for len(q.backoff) > 0 && q.backoff[0].due <= t {
		r := heap.Pop(&q.backoff).(*run)
		if r.moving > 0 {
			r.due = t + int64(minSlow)
			heap.Push(&q.backoff, r)
			continue
		}
		q.makeReady(r)
	}
	for _, from := range []struct {
		allowed bool
		runs    *fifo[*run]
	}{{fresh, &q.ready}, {retry, &q.retries}} {
		if from.allowed && from.runs.len() > 0 {
			r := from.runs.pop()
			r.phase, r.urgent, r.due = phaseSending, false, 0
			return r, time.Time{}
		}
	}
	var again time.Time
	if q.waiting.len() > 0 {
		again = time.Unix(0, q.waiting.peek().due)
	}
	if len(q.backoff) > 0 {
		if t := time.Unix(0, q.backoff[0].due); again.IsZero() || t.Before(again) {
			again = t
		}
	}
	return nil, again
}

// sent removes the first n events from a run that was sending, and queues the
// others again. more means that others were waiting when it was claimed.
func (q *queue) sent(r *run, n int, more bool) {
	for _, p := range r.events[:n] {
		q.cached -= len(q.cache[p.idx])
		delete(q.cache, p.idx)
	}
	q.bytes -= n * pendingBytes
	r.events = r.events[n:]
	r.attempts, r.lastError = 0, ""
	r.single = max(0, r.single-n)
	switch {
	case len(r.events) == 0:
		delete(q.runs, r.key)
		q.bytes -= runBytes
	case more || r.urgent || r.due == 0:
		q.makeReady(r)
	default:
		q.wait(r, r.due)
	}
}

// moved notes that an event has another place in the log.
func (q *queue) moved(key uint64, from, to uint64) {
	r := q.runs[key]
	if r == nil {
		return
	}
	for i := range r.events {
		if r.events[i].idx == from {
			r.events[i].idx = to
		}
	}
	r.moving--
}

// retryAll ends all pauses, because signals succeed again.
func (q *queue) retryAll(now time.Time) {
	for _, r := range q.backoff {
		r.due = min(r.due, now.UnixNano())
	}
	q.nudge()
}

type backoffHeap []*run

func (h backoffHeap) Len() int           { return len(h) }
func (h backoffHeap) Less(i, j int) bool { return h[i].due < h[j].due }
func (h backoffHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *backoffHeap) Push(x any)        { *h = append(*h, x.(*run)) }
func (h *backoffHeap) Pop() any {
	old := *h
	r := old[len(old)-1]
	*h = old[:len(old)-1]
	return r
}

type fifo[T any] struct {
	items []T
	head  int
}

func (f *fifo[T]) len() int { return len(f.items) - f.head }
func (f *fifo[T]) push(v T) { f.items = append(f.items, v) }
func (f *fifo[T]) peek() T  { return f.items[f.head] }

func (f *fifo[T]) pop() T {
	var zero T
	v := f.items[f.head]
	f.items[f.head] = zero
	f.head++
	if f.head > 64 && f.head > len(f.items)/2 {
		n := copy(f.items, f.items[f.head:])
		clear(f.items[n:])
		f.items, f.head = f.items[:n], 0
	}
	return v
}
