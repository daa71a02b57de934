package queue

import (
	"fmt"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/gantryhq/gantry/spacelift"
)

func runRef(account string, n int) spacelift.RunRef {
	return spacelift.RunRef{Account: spacelift.Account(account), Stack: "network", Run: spacelift.RunID(fmt.Sprint("run-", n))}
}

// rig is a queue with the log behind it, which has everything that arrived.
type rig struct {
	t testing.TB
	*Queue
	log  []Event
	done map[uint64]bool
	now  time.Time
}

func newRig(t testing.TB, linger time.Duration) *rig {
	q := New(linger)
	return &rig{t: t, Queue: &q, done: map[uint64]bool{}, now: time.Now()}
}

// accept has an event arrive. Its number is its version.
func (r *rig) accept(run spacelift.RunRef, version int, state spacelift.RunState, size int) {
	e := Event{Run: run, State: state, Version: version, Ready: r.now, Pending: Pending{
		Index: uint64(len(r.log) + 1), Number: int64(version), Size: uint32(size + 512), Record: make([]byte, size),
	}}
	r.log = append(r.log, e)
	r.Arrive(e)
}

func (r *rig) refill() {
	r.Refill(func(from uint64) (uint64, bool) {
		for idx := from; idx <= uint64(len(r.log)); idx++ {
			if !r.done[idx] {
				return idx, true
			}
		}
		return 0, false
	}, func(idx uint64) Event { return r.log[idx-1] })
}

// take returns the events of the next signal, nil if none is due.
func (r *rig) take() (*Run, []Pending, bool) {
	r.refill()
	run, _ := r.Next(r.now, true, true)
	if run == nil {
		return nil, nil, false
	}
	events, more := run.First(200, 512<<10)
	return run, events, more
}

func (r *rig) sent(run *Run, events []Pending, more bool) {
	for _, p := range events {
		r.done[p.Index] = true
	}
	r.Sent(run, len(events), more, true, r.now)
}

// drain sends everything that is due, and returns the events of each signal. It checks that
// those of each run come in order, and each once.
func (r *rig) drain() map[spacelift.RunRef][]int {
	r.t.Helper()
	signals, next := map[spacelift.RunRef][]int{}, map[spacelift.RunRef]int64{}
	for run, events, more := r.take(); run != nil; run, events, more = r.take() {
		for _, p := range events {
			if p.Number != next[run.Ref] {
				r.t.Fatalf("%s: version %d, want %d", run.Ref, p.Number, next[run.Ref])
			}
			next[run.Ref]++
		}
		signals[run.Ref] = append(signals[run.Ref], len(events))
		r.sent(run, events, more)
	}
	return signals
}

// bytes is the size of what waits in memory.
func (r *rig) bytes() (n int) {
	for _, l := range r.lanes {
		n += l.bytes
	}
	return n + 8*r.places + 100*len(r.held)
}

func total(counts []int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// More events than memory may hold wait in the log, and go out in order.
func TestQueueBeyondItsBound(t *testing.T) {
	t.Parallel()
	for _, held := range []int{0, 20, 1000} {
		t.Run(fmt.Sprintf("%d places are held", held), func(t *testing.T) {
			r := newRig(t, 0)
			l := r.lane(runRef("acme", 0))
			l.bytes += maxQueueBytes/2 - 3000 // as if there were others
			r.places = max(0, maxHeld-held)
			for v := range 20 {
				for n := range 5 {
					r.accept(runRef("acme", n), v, spacelift.RunStateUnconfirmed, 100)
				}
			}
			queued, places := 0, 0
			for _, h := range l.held {
				places += len(h.places)
			}
			for _, run := range r.runs {
				queued += len(run.events)
			}
			if queued > 60 || places > held || (held < 100) != (r.unread > 0) {
				t.Fatalf("of 100 %d are in memory, and %d are held", queued, places)
			}
			l.bytes -= maxQueueBytes/2 - 3000
			r.places = places
			signals := r.drain()
			for n := range 5 {
				if got := total(signals[runRef("acme", n)]); got != 20 {
					t.Errorf("run %d: %d of 20 were sent", n, got)
				}
			}
			if r.places != 0 || len(r.held) != 0 || len(r.runs) != 0 || r.unread != 0 {
				t.Errorf("in the end %d places, %d held runs, %d runs, unread from %d", r.places, len(r.held), len(r.runs), r.unread)
			}
		})
	}
}

// One signal carries all events of a run that wait in the log, but a run with very many of
// them doesn't take all memory.
func TestEventsThatWaitInTheLogShareSignals(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	for n := range 51 {
		r.Started(HashOf(runRef("acme", n)))
	}
	r.lane(runRef("acme", 0)).bytes += maxQueueBytes/2 - 10_000 // as if there were others
	for v := range 20 {
		for n := range 50 {
			r.accept(runRef("acme", n), v, spacelift.RunStateUnconfirmed, 100)
		}
	}
	busy := runRef("acme", 50)
	for v := range 300 {
		r.accept(busy, v, spacelift.RunStateUnconfirmed, maxTurn/100)
	}
	signals := r.drain()
	few := 0
	for n := range 50 {
		if few += len(signals[runRef("acme", n)]); total(signals[runRef("acme", n)]) != 20 {
			t.Errorf("run %d: %v events were sent, want 20", n, signals[runRef("acme", n)])
		}
	}
	if few > 50*4 {
		t.Errorf("%d signals for 50 runs with 20 events each", few)
	}
	for _, n := range signals[busy] {
		if n > 110 {
			t.Errorf("a run got %d events into memory at once", n)
		}
	}
	if total(signals[busy]) != 300 {
		t.Errorf("%v events of the busy run were sent, want 300", signals[busy])
	}
}

// A flood of new runs fills its lane and a bounded amount of memory, whatever its size, and
// the other lanes continue.
func TestFloodFillsOnlyItsLane(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	started := runRef("acme", -1)
	r.Started(HashOf(started))
	for n := range 20_000 {
		r.accept(runRef("acme", n), 0, spacelift.RunStateQueued, 300)
	}
	if b := r.bytes(); b > 4<<20 {
		t.Errorf("the queue has %d bytes", b)
	}
	r.accept(started, 0, spacelift.RunStateUnconfirmed, 300)
	r.accept(runRef("other", 0), 0, spacelift.RunStateQueued, 300)
	seen := map[spacelift.Account]int{}
	for range 3 {
		run, events, more := r.take()
		seen[run.Ref.Account]++
		r.sent(run, events, more)
	}
	if seen["other"] != 1 || seen["acme"] != 2 || len(r.runs) == 0 || r.runs[started] != nil {
		t.Errorf("the first three are of %v", seen)
	}
	signals := r.drain()
	if n := len(signals); n < newRunsBurst-10 || n > newRunsBurst || len(r.Delayed()) != 1 || r.Delayed()["acme"] != r.now {
		t.Errorf("%d new runs were sent at once, delayed are %v", n, r.Delayed())
	}
	r.now = r.now.Add(time.Second)
	if n := len(r.drain()); n != newRunsPerSecond {
		t.Errorf("%d new runs were sent in the next second", n)
	}
}

// Events that wait in the log for new runs wait there too once these have begun, until there
// is room.
func TestRunsThatBeginStayWithinTheBound(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	const runs, each = 200, 40
	for v := range each {
		for n := range runs {
			r.accept(runRef("acme", n), v, spacelift.RunStateUnconfirmed, 4096)
		}
	}
	most, sent := 0, map[spacelift.RunRef]int{}
	for run, events, more := r.take(); run != nil; run, events, more = r.take() {
		most = max(most, r.bytes())
		sent[run.Ref] += len(events)
		r.sent(run, events, more)
	}
	if most > 3<<20 {
		t.Errorf("the queue had %d bytes", most)
	}
	for n := range runs {
		if got := sent[runRef("acme", n)]; got != each {
			t.Errorf("run %d: %d of %d were sent", n, got, each)
		}
	}
}

// What was sent stays in memory no longer, whatever of its run still waits, and whether it
// came from the log.
func TestWhatWasSentIsForgotten(t *testing.T) {
	r := newRig(t, 0)
	run := runRef("acme", 1)
	size := maxTurn / 2
	for version := range 4 * maxQueueBytes / size {
		r.accept(run, version, spacelift.RunStateUnconfirmed, size)
	}
	var sent []weak.Pointer[byte]
	for range len(r.log) - 1 {
		r.refill()
		next, _ := r.Next(r.now, true, true)
		events, more := next.First(1, size)
		sent = append(sent, weak.Make(&events[0].Record[0]))
		r.sent(next, events, more)
	}
	r.log = nil
	runtime.GC()
	for i, p := range sent {
		if p.Value() != nil {
			t.Errorf("event %d of %d is still in memory", i, len(sent)+1)
		}
	}
	runtime.KeepAlive(r.Queue)
}

// What needs no decision waits for the next event of its run, which takes it along.
func TestLingeringEventsShareASignal(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2*time.Second)
	run := runRef("acme", 1)
	r.accept(run, 0, spacelift.RunStateQueued, 100)
	if got := r.drain()[run]; len(got) != 1 {
		t.Errorf("the first event waits: %v", got)
	}
	r.log = nil
	r.accept(run, 1, spacelift.RunStatePlanning, 100)
	if job, _, _ := r.take(); job != nil {
		t.Error("an event without a decision is sent immediately")
	}
	r.accept(run, 2, spacelift.RunStateUnconfirmed, 100)
	if _, events, _ := r.take(); len(events) != 2 {
		t.Errorf("%d events are sent together, want 2", len(events))
	}
}

// An event of a process whose clock was ahead waits no longer than another one.
func TestAClockThatWasAheadDelaysNothing(t *testing.T) {
	t.Parallel()
	for state, linger := range map[spacelift.RunState]time.Duration{spacelift.RunStateUnconfirmed: 0, spacelift.RunStatePlanning: time.Second} {
		r := newRig(t, time.Second)
		r.now = r.now.Add(time.Hour)
		r.accept(runRef("acme", 1), 1, state, 100)
		r.now = time.Now().Add(linger)
		if _, events, _ := r.take(); len(events) != 1 {
			t.Errorf("an event of an hour ahead that is %s waits", state)
		}
	}
}

// A run whose signal fails waits, and its events leave the memory; when signals succeed
// again it doesn't wait any longer. Events that were refused together are sent one by one.
func TestFailedRunsWait(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	ref := runRef("acme", 1)
	r.accept(ref, 0, spacelift.RunStateQueued, 100)
	r.accept(ref, 1, spacelift.RunStateUnconfirmed, 100)
	run, _, _ := r.take()
	r.Failed(run, "away", r.now.Add(time.Minute))
	if attempts, why := r.Pause(ref); attempts != 1 || why != "away" || run.lane.bytes != runBytes+2*pendingBytes {
		t.Errorf("%d attempts, %q, %d bytes", attempts, why, run.lane.bytes)
	}
	if again, due := r.Next(r.now, true, true); again != nil || !due.Equal(r.now.Add(time.Minute)) || r.RetryWaits(r.now) {
		t.Errorf("it is sent again immediately, or at %v", due)
	}
	r.RetryAll(r.now)
	if again, _ := r.Next(r.now, true, false); again != nil || !r.RetryWaits(r.now) {
		t.Error("a retry takes the place of a fresh run")
	}
	run, events, _ := r.take()
	if len(events) != 2 || events[0].Record != nil {
		t.Fatalf("sent again: %+v", events)
	}
	r.Return(run, 2, r.now)
	for v := range int64(2) {
		run, events, more := r.take()
		if len(events) != 1 || events[0].Number != v {
			t.Fatalf("one by one: %+v", events)
		}
		r.sent(run, events, more)
	}
	if attempts, why := r.Pause(ref); attempts != 0 || why != "" {
		t.Errorf("in the end %d attempts, %q", attempts, why)
	}
}
