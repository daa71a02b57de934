package inbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/inbox/queue"
	"github.com/gantryhq/gantry/inbox/repeats"
	"github.com/gantryhq/gantry/inbox/wal"
	"github.com/gantryhq/gantry/spacelift"
)

// Target receives the events of one run, in order.
//
// A nil error means that it has them. An error that wraps [ErrEnded] means that
// the execution has ended; one that wraps [ErrRefused], that the same events will
// never succeed. After any other error the same events are sent again.
type Target interface {
	Signal(ctx context.Context, run spacelift.RunRef, events []managed.RunEvent) error
}

// The errors of a Target that end the forwarding of events.
var (
	ErrEnded   = errors.New("the run's execution has ended")
	ErrRefused = errors.New("refused permanently")
)

var errTooSlow = errors.New("no answer in time, and other runs wait")

// ForwarderOptions tune a forwarder; zero fields mean their default.
type ForwarderOptions struct {
	// Decode reads an event's body. It never fails. Default: the event has what
	// the delivery says.
	Decode func(archive.Delivery, []byte) managed.RunEvent

	// MaxConcurrent limits the signals in flight, each of another run. Default 16.
	MaxConcurrent int
	// BatchEvents limits the events of one signal. Default 200.
	BatchEvents int
}

func (o ForwarderOptions) withDefaults() ForwarderOptions {
	if o.Decode == nil {
		o.Decode = func(d archive.Delivery, _ []byte) managed.RunEvent {
			return managed.RunEvent{Run: d.Run, Type: d.Type, State: d.State, StateVersion: d.StateVersion, At: d.ReceivedAt, Source: managed.SourceWebhook}
		}
	}
	o.MaxConcurrent, o.BatchEvents = cmp.Or(o.MaxConcurrent, 16), cmp.Or(o.BatchEvents, 200)
	return o
}

const (
	// Temporal refuses payloads above 2 MB and warns above 512 KB. An event above that is
	// sent alone.
	batchBytes = 512 << 10

	signalTimeout = 10 * time.Second // including the client's own retries

	// The pause of a run after a failure doubles from one to the other; half of it is random.
	minPause, maxPause = 100 * time.Millisecond, 30 * time.Second

	// While more events than busyRate arrive a second, signals are twice as far apart as one
	// takes, within these bounds, and carry more: Temporal needs more processor time for one
	// than all else for an event, and as much again for what the execution does then.
	minBusyPause, maxBusyPause = 5 * time.Millisecond, 20 * time.Millisecond

	downAfter  = 10 * time.Second // without success
	windowSpan = 500 * time.Millisecond

	// After this many failures in a row, of any runs, signals are sent one at a
	// time with growing pauses, until one succeeds.
	failuresInARow     = 32
	minProbe, maxProbe = 10 * time.Millisecond, time.Second

	// A signal is slow after this many times the usual duration.
	slowFactor         = 20
	minSlow, firstSlow = 100 * time.Millisecond, time.Second
)

// down reports whether no signal succeeded for a while, although some were tried.
// Called with mu held.
func (in *Inbox) down(now time.Time) bool {
	return !in.failing.IsZero() && now.Sub(in.failing) >= downAfter
}

// Forwarder sends pending events from an inbox to a target: those of a run
// together and in order, different runs in parallel. A run whose signals fail
// waits longer and longer; others don't wait for it. Retries have a share of the
// slots, a slow signal gives its slot to a waiting run, and fewer slots are used
// while most signals fail. While many events arrive, it sends fewer signals that carry
// more. Nothing is given up.
type Forwarder struct {
	in     *Inbox
	target Target
	opts   ForwarderOptions

	// Guarded by Inbox.mu.
	jobs      []*job // in flight, the oldest first
	retrying  int
	limit     float64 // of jobs that are no retries
	good, bad int     // results since the window began
	window    time.Time
	usual     time.Duration // of successful signals; 0 before the first
	failures  int           // in a row, of any runs
	paced     time.Time     // when to send the next signal, if many events arrive
	probe     time.Time     // when to try the next signal after failuresInARow
	down      bool          // logged
}

// NewForwarder returns a forwarder. An inbox has one.
func NewForwarder(in *Inbox, target Target, opts ForwarderOptions) *Forwarder {
	opts = opts.withDefaults()
	return &Forwarder{in: in, target: target, opts: opts, limit: float64(opts.MaxConcurrent)}
}

// job is one signal: the first events of a run.
type job struct {
	run    *queue.Run
	events []queue.Pending
	more   bool // other events of the run were waiting already
	retry  bool
	began  time.Time
	cancel context.CancelCauseFunc
	ctx    context.Context
}

// Run forwards until ctx ends, and then until the signals in flight have ended.
// Abandoned signals are sent again after the next start.
func (f *Forwarder) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		f.in.refill()
		j, again := f.claim(ctx, time.Now())
		if j != nil {
			wg.Go(func() { f.forward(ctx, j) })
			continue
		}
		var due <-chan time.Time
		if !again.IsZero() {
			timer.Reset(time.Until(again))
			due = timer.C
		}
		select {
		case <-f.in.queue.Wake:
		case <-due:
		case <-ctx.Done():
		}
	}
	return nil
}

// claim takes the next run, or returns when to call again: zero means when woken.
func (f *Forwarder) claim(ctx context.Context, now time.Time) (*job, time.Time) {
	in := f.in
	in.mu.Lock()
	defer in.mu.Unlock()
	if !f.down && in.down(now) {
		f.down = true
		in.log.Warn("Temporal does not accept signals; the inbox keeps the events", "since", in.failing, "error", in.lastError)
	}
	if f.failures >= failuresInARow {
		if len(f.jobs) > 0 {
			return nil, f.preempt(now)
		}
		if now.Before(f.probe) {
			return nil, f.probe
		}
	}
	free := len(f.jobs) < f.opts.MaxConcurrent
	paced := now.Before(f.paced) && in.busy()
	fresh := free && !paced && len(f.jobs)-f.retrying < int(f.limit)
	retry := free && f.retrying < max(1, f.opts.MaxConcurrent/4)
	if retry && f.retrying == 0 && in.queue.RetryWaits(now) {
		fresh = false // a busy queue leaves retries a slot
	}
	r, again := in.queue.Next(now, fresh, retry)
	if r == nil && free && paced { // nobody waits for a slot
		return nil, queue.Earlier(again, f.paced)
	}
	if r == nil {
		return nil, queue.Earlier(again, f.preempt(now))
	}
	f.paced = now.Add(min(max(minBusyPause, 2*f.usual), maxBusyPause))
	j := &job{run: r, retry: r.Attempts > 0, began: now}
	j.ctx, j.cancel = context.WithCancelCause(ctx)
	if f.jobs = append(f.jobs, j); j.retry {
		f.retrying++
	}
	j.events, j.more = r.First(f.opts.BatchEvents, batchBytes)
	return j, time.Time{}
}

// slow returns the time that a signal may take while others wait.
func (f *Forwarder) slow() time.Duration {
	if f.usual == 0 {
		return firstSlow
	}
	return min(max(minSlow, slowFactor*f.usual), signalTimeout)
}

// preempt ends the oldest slow signal of each kind if a run waits for its slot.
// It returns when to try again. Called with mu held.
func (f *Forwarder) preempt(now time.Time) (again time.Time) {
	q := &f.in.queue
	for _, kind := range []struct {
		retry, waiting bool
		slow           time.Duration
	}{{false, q.Waits(now), f.slow()}, {true, q.RetryWaits(now), max(f.slow(), firstSlow)}} {
		i := slices.IndexFunc(f.jobs, func(j *job) bool { return j.retry == kind.retry && j.ctx.Err() == nil })
		if !kind.waiting || i < 0 {
			continue
		}
		if due := f.jobs[i].began.Add(kind.slow); now.Before(due) {
			again = queue.Earlier(again, due)
		} else {
			f.jobs[i].cancel(errTooSlow)
		}
	}
	return again
}

// forward sends a job and records the result.
func (f *Forwarder) forward(ctx context.Context, j *job) {
	defer j.cancel(nil)
	events, bad := f.read(j)
	if len(events) == 0 {
		if errors.Is(bad, wal.ErrDamaged) || errors.Is(bad, wal.ErrNotFound) {
			f.in.log.Error("stored event is unreadable and now dead", "delivery", j.events[0].Number, "error", bad)
			f.finish(j, nil, 1, archive.ForwardingDead, fmt.Sprintf("the stored record is unreadable: %v", bad))
		} else {
			f.failed(j, fmt.Errorf("read the inbox: %w", bad))
		}
		return
	}
	signalCtx, cancel := context.WithTimeout(j.ctx, signalTimeout)
	err := f.target.Signal(signalCtx, j.run.Ref, events)
	cancel()
	switch {
	case err == nil:
		f.in.metrics.forwarded(events, j.events)
		f.finish(j, events, len(events), archive.ForwardingForwarded, "")
	case errors.Is(err, ErrEnded):
		f.in.metrics.signal(resultLate)
		f.finish(j, events, len(events), archive.ForwardingLate, "")
	case errors.Is(err, ErrRefused) && len(events) == 1:
		f.in.metrics.signal(resultRefused)
		f.in.log.Error("Temporal refused the event permanently; it is dead until redelivered", "run", j.run.Ref.String(), "delivery", events[0].Delivery, "error", err)
		f.finish(j, events, 1, archive.ForwardingDead, err.Error())
	case errors.Is(err, ErrRefused):
		f.in.metrics.signal(resultRefused)
		f.release(j, len(events)) // one by one, to find out which is refused
	case ctx.Err() != nil:
		f.release(j, 0) // we are stopping: the error isn't the target's
	default:
		f.in.metrics.signal(resultFailed)
		if cause := context.Cause(j.ctx); cause != nil {
			err = fmt.Errorf("%w (%w)", cause, err)
		}
		f.failed(j, err)
	}
}

// read decodes the job's events, up to the first that is unreadable.
func (f *Forwarder) read(j *job) (events []managed.RunEvent, err error) {
	for _, p := range j.events {
		rec := p.Record
		if rec == nil {
			if rec, err = f.in.records.Read(p.Index); err != nil {
				return events, err
			}
		}
		d, err := readEvent(rec)
		if err != nil {
			return events, err
		}
		e := f.opts.Decode(d.Delivery, d.Body)
		e.Run, e.Delivery, e.ReceivedAt = d.Run, d.ID, d.ReceivedAt
		e.State, e.StateVersion = d.State, d.StateVersion
		events = append(events, e)
	}
	return events, nil
}

// finish removes the job's first n events from the queue.
func (f *Forwarder) finish(j *job, events []managed.RunEvent, n int, as archive.Forwarding, why string) {
	in := f.in
	now := time.Now()
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, p := range j.events[:n] {
		m := archive.Result{Index: p.Index, Number: p.Number, Forwarding: as, Attempts: j.run.Attempts + 1, Error: archive.Clip(why)}
		if as == archive.ForwardingForwarded {
			m.ForwardedAt = now.UnixMilli()
		}
		in.done(m, now)
	}
	if as == archive.ForwardingDead {
		for _, e := range events {
			in.window.Forget(repeats.KeyOf(e.Run, e.State, e.StateVersion), j.events[0].Number)
		}
	}
	f.free(j)
	in.queue.Sent(j.run, n, j.more || n < len(j.events), as == archive.ForwardingForwarded, now)
	f.answered(now, now.Sub(j.began))
}

// done closes an event; a dead one once the archive has its body. Called with mu
// held.
func (in *Inbox) done(m archive.Result, now time.Time) {
	if m.Forwarding != archive.ForwardingDead {
		in.records.Done(m.Index)
	}
	in.pending--
	if len(in.marks) == 0 {
		in.marksDue = now.Add(markDelay)
		kick(in.kick)
	}
	in.marks = append(in.marks, m)
}

// release puts a run back into the queue. If its events were refused together,
// they are sent one by one.
func (f *Forwarder) release(j *job, refused int) {
	f.in.mu.Lock()
	defer f.in.mu.Unlock()
	f.free(j)
	now := time.Now()
	f.in.queue.Return(j.run, refused, now)
	if refused > 0 {
		f.answered(now, now.Sub(j.began))
	}
}

// free gives the job's slot back. Called with mu held.
func (f *Forwarder) free(j *job) {
	f.jobs = slices.DeleteFunc(f.jobs, func(x *job) bool { return x == j })
	if j.retry {
		f.retrying--
	}
	kick(f.in.queue.Wake)
}

// answered notes that the target answered. Called with mu held.
func (f *Forwarder) answered(now time.Time, took time.Duration) {
	in := f.in
	if f.usual = (7*f.usual + took) / 8; f.usual == 0 {
		f.usual = 1
	}
	f.count(now, true)
	f.failures = 0
	f.limit = min(float64(f.opts.MaxConcurrent), f.limit+1/f.limit)
	if f.down {
		in.log.Info("Temporal accepts signals again", "away", time.Since(in.failing), "pending", in.pending)
		f.down = false
		in.queue.RetryAll(now)
	}
	in.failing = time.Time{}
}

// count notes a result, and uses half of the slots if most signals fail.
func (f *Forwarder) count(now time.Time, ok bool) {
	if now.Sub(f.window) >= windowSpan {
		if f.bad > f.good {
			f.limit = max(1, f.limit/2)
		}
		f.window, f.good, f.bad = now, 0, 0
	}
	if ok {
		f.good++
	} else {
		f.bad++
	}
}

// failed lets the run wait, and no other.
func (f *Forwarder) failed(j *job, err error) {
	in := f.in
	now := time.Now()
	in.mu.Lock()
	defer in.mu.Unlock()
	f.free(j)
	in.lastError = archive.Clip(err.Error())
	pause := decide.Backoff(minPause, j.run.Attempts, maxPause)
	in.queue.Failed(j.run, in.lastError, now.Add(pause/2+rand.N(pause/2+1)))
	if in.failing.IsZero() {
		in.failing = now
	}
	f.count(now, false)
	if f.failures++; f.failures >= failuresInARow {
		f.probe = now.Add(decide.Backoff(minProbe, f.failures-failuresInARow, maxProbe))
	}
}

// refill reads events from the log into the queue where it has room.
func (in *Inbox) refill() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.queue.Refill(func(from uint64) (uint64, bool) {
		idx, ok := in.records.NextPending(from)
		return idx, ok && idx < in.next
	}, in.reread)
}

// reread reads an event from the log. The forwarder finds and reports what is wrong with
// an unreadable one. Called with mu held, which it gives up meanwhile.
func (in *Inbox) reread(idx uint64) queue.Event {
	in.mu.Unlock()
	defer in.mu.Lock()
	rec, err := in.records.Read(idx)
	e, bad := readEvent(rec)
	if err != nil || bad != nil {
		e.Number, rec = int64(idx), nil
	}
	return queue.Event{Run: e.Run, State: e.State, Version: e.StateVersion, Ready: e.ReceivedAt, Pending: newPending(idx, e.Number, rec)}
}
