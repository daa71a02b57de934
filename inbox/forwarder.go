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

// Target takes the events of one run, in order.
//
// Nil means that it has them. An error that wraps [ErrEnded] says that nobody
// waits for them any more; one that wraps [ErrRefused], that trying again is
// pointless. After any other error the same events are sent again.
type Target interface {
	Signal(ctx context.Context, run spacelift.RunRef, events []managed.RunEvent) error
}

// What a Target may say about events besides taking them.
var (
	ErrEnded   = errors.New("the run's execution has ended")
	ErrRefused = errors.New("refused for good")
)

// ForwarderOptions tune a forwarder; zero fields take their default.
type ForwarderOptions struct {
	// MaxConcurrent bounds the signals under way, each of another run. Default 16.
	MaxConcurrent int
	// BatchEvents and BatchBytes bound what one signal carries. An event above
	// BatchBytes goes alone. Defaults 200, and 512 KiB: Temporal refuses
	// payloads above 2 MB and warns above 512 KB.
	BatchEvents int
	BatchBytes  int
	// Timeout bounds one signal, with the client's own retries. Default 10 s.
	Timeout time.Duration
	// BackoffMin and BackoffMax bound the pause after a failure; it doubles
	// from one to the other, and half of it is random. Defaults 100 ms, 30 s.
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

// Forwarder takes pending events from an inbox to a target: those of a run
// together and in order, different runs side by side. While the target is
// away it tries one run at a time, ever more rarely, and keeps everything.
type Forwarder struct {
	in     *Inbox
	target Target
	opts   ForwarderOptions
}

// NewForwarder returns a forwarder. An inbox has one.
func NewForwarder(in *Inbox, target Target, opts ForwarderOptions) *Forwarder {
	return &Forwarder{in: in, target: target, opts: opts.withDefaults()}
}

// gate is what the forwarder has learned about its target. Guarded by Inbox.mu.
type gate struct {
	down      bool
	since     time.Time
	failures  int // in a row; those that were under way together count once
	probe     time.Time
	probing   bool
	epoch     int // grows when the gate goes up or down
	lastError string
}

// job is one signal: the first events of a run.
type job struct {
	run     *pendingRun
	entries []*entry
	refs    []ref
	more    bool // others of the run were waiting already
	probe   bool
	epoch   int
	heard   bool // the target was asked
}

// Run forwards until ctx ends, and then until the signals under way are over.
// Signals it had to give up are sent again after the next start.
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

// claim takes the next run, or says when to ask again: zero means when woken.
func (f *Forwarder) claim(now time.Time) (*job, time.Time) {
	in := f.in
	in.mu.Lock()
	defer in.mu.Unlock()
	g := &in.gate
	if g.down {
		if g.probing {
			return nil, time.Time{}
		}
		if now.Before(g.probe) {
			return nil, g.probe
		}
	}
	r, again := in.queue.next(now)
	if r == nil {
		return nil, again
	}
	j := &job{run: r, probe: g.down, epoch: g.epoch}
	g.probing = g.down
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

// forward sends a job and records what became of it.
func (f *Forwarder) forward(ctx context.Context, j *job) {
	run, events, arrived, bad := f.read(j)
	switch {
	case len(events) > 0:
	case !errors.Is(bad, errRecord) && !errors.Is(bad, ErrNotFound) && !errors.Is(bad, errDamaged):
		f.failed(j, run, fmt.Errorf("read the inbox: %w", bad))
		return
	default:
		f.in.log.Error("a stored event is unreadable: it is dead", "delivery", j.entries[0].id.String(), "error", bad)
		f.finish(j, 1, stateDead, fmt.Sprintf("the stored record is unreadable: %v", bad))
		return
	}
	signalCtx, cancel := context.WithTimeout(ctx, f.opts.Timeout)
	err := f.target.Signal(signalCtx, run, events)
	cancel()
	j.heard = true
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
		f.in.log.Error("event refused for good: it is dead until redelivered", "run", run.String(), "delivery", events[0].Delivery, "error", err)
		f.finish(j, 1, stateDead, err.Error())
	case errors.Is(err, ErrRefused):
		m.forwards.WithLabelValues(resultRefused).Inc()
		f.split(j, len(events))
	case ctx.Err() != nil:
		f.abandon(j) // we are stopping: it says nothing about the target
	default:
		m.forwards.WithLabelValues(resultFailed).Inc()
		f.failed(j, run, err)
	}
}

// read decodes the job's events, up to the first that is unreadable or of
// another run: runs share a queue by hash. It also returns when the events
// that go their first time arrived.
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
		if j.refs[i].delivery.Attempts == 0 { // it was not sent before
			arrived = append(arrived, d.ReceivedAt)
		}
	}
	return run, events, arrived, nil
}

// finish takes the job's first n events out of the queue.
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

// split sends the job's events one by one, to find out which is refused.
func (f *Forwarder) split(j *job, n int) {
	in := f.in
	in.mu.Lock()
	defer in.mu.Unlock()
	j.run.single = n
	in.queue.makeReady(j.run)
	f.answered(j)
}

// abandon puts a run back in line.
func (f *Forwarder) abandon(j *job) {
	in := f.in
	in.mu.Lock()
	defer in.mu.Unlock()
	in.queue.makeReady(j.run)
	if j.probe {
		in.gate.probing = false
	}
}

// answered notes that the target is there, if it was asked. Called with mu held.
func (f *Forwarder) answered(j *job) {
	g := &f.in.gate
	if g.down && j.heard && j.epoch == g.epoch {
		f.in.log.Info("Temporal takes signals again", "away", time.Since(g.since), "pending", f.in.index.pending)
		g.down, g.failures = false, 0
		g.epoch++
		f.in.queue.nudge()
	}
	if j.probe {
		g.probing = false
	}
}

// failed puts a run aside for a while, and closes the gate: from now on one
// run at a time is tried, a different one each time, so that a run whose
// signals always fail holds up others only for a moment.
func (f *Forwarder) failed(j *job, run spacelift.RunRef, err error) {
	in := f.in
	now := time.Now()
	in.mu.Lock()
	defer in.mu.Unlock()
	g := &in.gate
	j.run.attempts++
	j.run.lastError = clip(err.Error())
	in.queue.rest(j.run, now.Add(f.opts.backoff(j.run.attempts)))
	g.lastError = j.run.lastError
	if j.epoch == g.epoch || j.probe {
		if !g.down {
			g.down, g.since = true, now
			g.epoch++
			in.log.Warn("Temporal does not take signals: events are kept", "run", run.String(), "error", err)
		}
		g.failures++
		g.probe = now.Add(f.opts.backoff(g.failures))
	}
	if j.probe {
		g.probing = false
	}
	in.queue.nudge()
}
