package inbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
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

// ForwarderOptions tune a forwarder; zero fields mean their default.
type ForwarderOptions struct {
	// MaxConcurrent limits the signals in flight, each of another run. Default 16.
	MaxConcurrent int
	// BatchEvents and BatchBytes limit the events of one signal. An event above
	// BatchBytes is sent alone. Defaults 200, and 512 KiB: Temporal refuses
	// payloads above 2 MB and warns above 512 KB.
	BatchEvents int
	BatchBytes  int
	// Timeout limits one signal, including the client's own retries. Default 10 s.
	Timeout time.Duration
	// BackoffMin and BackoffMax limit the pause after a failure; it doubles from
	// one to the other, and half of it is random. Defaults 100 ms, 30 s.
	BackoffMin, BackoffMax time.Duration
}

func (o ForwarderOptions) withDefaults() ForwarderOptions {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	defTime := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&o.MaxConcurrent, 16)
	def(&o.BatchEvents, 200)
	def(&o.BatchBytes, 512<<10)
	defTime(&o.Timeout, 10*time.Second)
	defTime(&o.BackoffMin, 100*time.Millisecond)
	defTime(&o.BackoffMax, 30*time.Second)
	return o
}

func (o ForwarderOptions) backoff(failures int) time.Duration {
	d := o.BackoffMax
	if failures < 20 {
		d = min(d, o.BackoffMin<<max(failures-1, 0))
	}
	return d/2 + rand.N(d/2+1)
}

// Forwarder sends pending events from an inbox to a target: those of a run
// together and in order, different runs in parallel. While the target fails, it
// tries one run at a time, less and less often, and keeps everything.
type Forwarder struct {
	in     *Inbox
	target Target
	opts   ForwarderOptions
}

// NewForwarder returns a forwarder. An inbox has one.
func NewForwarder(in *Inbox, target Target, opts ForwarderOptions) *Forwarder {
	return &Forwarder{in: in, target: target, opts: opts.withDefaults()}
}

// breaker limits the forwarder to single probes while the target fails. Guarded by
// Inbox.mu.
type breaker struct {
	down      bool
	since     time.Time
	failures  int // in a row; signals that were in flight together count once
	probe     time.Time
	probing   bool
	epoch     int // grows with each change of down
	lastError string
}

// job is one signal: the first events of a run.
type job struct {
	run     *pendingRun
	entries []*entry
	refs    []ref
	more    bool // other events of the run were waiting already
	probe   bool
	epoch   int
	asked   bool // the target was called
}

// Run forwards until ctx ends, and then until the signals in flight have ended.
// Abandoned signals are sent again after the next start.
func (f *Forwarder) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, f.opts.MaxConcurrent)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		for {
			if ctx.Err() != nil {
				return nil
			}
			j, again := f.claim(time.Now())
			if j != nil {
				wg.Go(func() {
					f.forward(ctx, j)
					<-slots
				})
				break
			}
			var due <-chan time.Time
			if !again.IsZero() {
				timer.Reset(time.Until(again))
				due = timer.C
			}
			select {
			case <-f.in.queue.wake:
			case <-due:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// claim takes the next run, or returns when to call again: zero means when woken.
func (f *Forwarder) claim(now time.Time) (*job, time.Time) {
	in := f.in
	in.mu.Lock()
	defer in.mu.Unlock()
	b := &in.breaker
	if b.down {
		if b.probing {
			return nil, time.Time{}
		}
		if now.Before(b.probe) {
			return nil, b.probe
		}
	}
	r, again := in.queue.next(now)
	if r == nil {
		return nil, again
	}
	j := &job{run: r, probe: b.down, epoch: b.epoch}
	b.probing = b.down
	limit := f.opts.BatchEvents
	if r.single > 0 {
		limit = 1
	}
	bytes := 0
	for e := r.head; e != nil; e = e.next {
		bytes += int(e.size)
		if n := len(j.entries); n > 0 && (n == limit || bytes > f.opts.BatchBytes) {
			j.more = true
			break
		}
		j.entries = append(j.entries, e)
		j.refs = append(j.refs, in.ref(e))
	}
	return j, time.Time{}
}

// forward sends a job and records the result.
func (f *Forwarder) forward(ctx context.Context, j *job) {
	run, events, arrived, bad := f.read(j)
	switch {
	case len(events) > 0:
	case !errors.Is(bad, errRecord) && !errors.Is(bad, ErrNotFound) && !errors.Is(bad, errDamaged):
		f.failed(j, run, fmt.Errorf("read the inbox: %w", bad))
		return
	default:
		f.in.log.Error("stored event is unreadable and now dead", "delivery", j.entries[0].id.String(), "error", bad)
		f.finish(j, 1, stateDead, fmt.Sprintf("the stored record is unreadable: %v", bad))
		return
	}
	signalCtx, cancel := context.WithTimeout(ctx, f.opts.Timeout)
	err := f.target.Signal(signalCtx, run, events)
	cancel()
	j.asked = true
	m := f.in.metrics
	now := time.Now()
	switch {
	case err == nil:
		m.forwards.WithLabelValues(resultForwarded).Inc()
		m.forwardBatch.Observe(float64(len(events)))
		for _, t := range arrived {
			m.forwardSeconds.Observe(now.Sub(t).Seconds())
		}
		f.finish(j, len(events), stateForwarded, "")
	case errors.Is(err, ErrEnded):
		m.forwards.WithLabelValues(resultLate).Inc()
		f.finish(j, len(events), stateLate, "")
	case errors.Is(err, ErrRefused) && len(events) == 1:
		m.forwards.WithLabelValues(resultRefused).Inc()
		f.in.log.Error("Temporal refused the event permanently; it is dead until redelivered", "run", run.String(), "delivery", events[0].Delivery, "error", err)
		f.finish(j, 1, stateDead, err.Error())
	case errors.Is(err, ErrRefused):
		m.forwards.WithLabelValues(resultRefused).Inc()
		f.split(j, len(events))
	case ctx.Err() != nil:
		f.abandon(j) // we are stopping: the error isn't the target's
	default:
		m.forwards.WithLabelValues(resultFailed).Inc()
		f.failed(j, run, err)
	}
}

// read decodes the job's events, up to the first that is unreadable or belongs to
// another run: runs with the same hash share a queue. It also returns the arrival
// times of the events that are sent for the first time.
func (f *Forwarder) read(j *job) (run spacelift.RunRef, events []managed.RunEvent, arrived []time.Time, err error) {
	for i := range j.refs {
		d, e, err := f.in.read(&j.refs[i])
		if err == nil && e == nil {
			err = fmt.Errorf("%w: no event", errRecord)
		}
		if err != nil {
			return run, events, arrived, err
		}
		if i > 0 && e.Run != run {
			break
		}
		run = e.Run
		events = append(events, *e)
		if j.refs[i].delivery.Attempts == 0 { // not sent before
			arrived = append(arrived, d.ReceivedAt)
		}
	}
	return run, events, arrived, nil
}

// finish removes the job's first n events from the queue.
func (f *Forwarder) finish(j *job, n int, as state, why string) {
	in := f.in
	now := time.Now()
	in.mu.Lock()
	defer in.mu.Unlock()
	was := len(in.index.dirty)
	for _, e := range j.entries[:n] {
		e.attempts = uint16(min(int(e.attempts)+j.run.attempts+1, 1<<16-1))
		if e.forwarded = 0; as == stateForwarded {
			e.forwarded = now.UnixMilli()
		}
		in.index.set(e, as, clip(why))
	}
	if was == 0 || len(in.index.dirty) >= maxBatchMarks {
		kick(in.kickWrite)
	}
	in.queue.sent(j.run, n, j.more || n < len(j.entries))
	f.answered(j)
}

// split makes the job's events go one by one, to find out which is refused.
func (f *Forwarder) split(j *job, n int) {
	in := f.in
	in.mu.Lock()
	defer in.mu.Unlock()
	j.run.single = n
	in.queue.makeReady(j.run)
	f.answered(j)
}

// abandon puts a run back into the queue.
func (f *Forwarder) abandon(j *job) {
	in := f.in
	in.mu.Lock()
	defer in.mu.Unlock()
	in.queue.makeReady(j.run)
	if j.probe {
		in.breaker.probing = false
	}
}

// answered closes the breaker if the target was called and answered. Called with
// mu held.
func (f *Forwarder) answered(j *job) {
	b := &f.in.breaker
	if b.down && j.asked && j.epoch == b.epoch {
		f.in.log.Info("Temporal accepts signals again", "away", time.Since(b.since), "pending", f.in.index.pending)
		b.down, b.failures = false, 0
		b.epoch++
		f.in.queue.nudge()
	}
	if j.probe {
		b.probing = false
	}
}

// failed lets a run wait and opens the breaker: from now on the forwarder tries
// one run at a time, a different one each time, so that a run whose signals always
// fail delays others only for a moment.
func (f *Forwarder) failed(j *job, run spacelift.RunRef, err error) {
	in := f.in
	now := time.Now()
	in.mu.Lock()
	defer in.mu.Unlock()
	b := &in.breaker
	j.run.attempts++
	j.run.lastError = clip(err.Error())
	in.queue.backOff(j.run, now.Add(f.opts.backoff(j.run.attempts)))
	b.lastError = j.run.lastError
	if j.epoch == b.epoch || j.probe {
		if !b.down {
			b.down, b.since = true, now
			b.epoch++
			in.log.Warn("Temporal does not accept signals; the inbox keeps the events", "run", run.String(), "error", err)
		}
		b.failures++
		b.probe = now.Add(f.opts.backoff(b.failures))
	}
	if j.probe {
		b.probing = false
	}
	in.queue.nudge()
}
