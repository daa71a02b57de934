package inbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/spacelift"
)

// open opens an inbox that is closed with the test.
func open(t testing.TB, opts Options) *Inbox {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	if opts.segment == 0 {
		opts.segment = 256 << 10
	}
	in, err := Open(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeInbox(t, in) })
	return in
}

func closeInbox(t testing.TB, in *Inbox) {
	t.Helper()
	if err := in.Close(); err != nil {
		t.Error(err)
	}
}

// silent keeps a test's deliberate damage out of its output.
var silent = slog.New(slog.DiscardHandler)

func runRef(n int) spacelift.RunRef {
	return spacelift.RunRef{Account: "acme", Stack: "network", Run: spacelift.RunID(fmt.Sprintf("run-%d", n))}
}

// notice is the delivery of an event.
func notice(run spacelift.RunRef, version int, state spacelift.RunState) archive.Delivery {
	return archive.Delivery{Run: run, Type: spacelift.RunTypeTracked, State: state, StateVersion: version, Source: "192.0.2.7"}
}

// life is the states a tracked run passes, its versions being their places.
var life = []spacelift.RunState{
	spacelift.RunStateQueued, spacelift.RunStateReady, spacelift.RunStatePreparing, spacelift.RunStateInitializing,
	spacelift.RunStatePlanning, spacelift.RunStateUnconfirmed, spacelift.RunStateConfirmed, spacelift.RunStateApplying,
	spacelift.RunStateFinished,
}

func accept(t testing.TB, in *Inbox, d archive.Delivery) archive.Delivery {
	t.Helper()
	d, err := in.Accept(context.Background(), d, []byte(`{"state":"`+string(d.State)+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// pass waits; in a bubble that takes no real time.
func pass(d time.Duration) { <-time.After(d) }

// fakeTarget records the signals it receives; fail, if set, decides about each
// signal first.
type fakeTarget struct {
	takes time.Duration // for each signal

	mu      sync.Mutex
	signals [][]managed.RunEvent
	fail    func(run spacelift.RunRef, events []managed.RunEvent) error
}

func (t *fakeTarget) Signal(ctx context.Context, run spacelift.RunRef, events []managed.RunEvent) error {
	for _, e := range events {
		if e.Run != run {
			return fmt.Errorf("signal of %s carries an event of %s", run, e.Run)
		}
	}
	pass(t.takes)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fail != nil {
		if err := t.fail(run, events); err != nil {
			return err
		}
	}
	t.signals = append(t.signals, events)
	return nil
}

// failing returns a target that fails for one run.
func failing(one spacelift.RunRef, err error) *fakeTarget {
	return &fakeTarget{fail: func(run spacelift.RunRef, _ []managed.RunEvent) error {
		if run == one {
			return err
		}
		return nil
	}}
}

// change changes what fail decides by.
func (t *fakeTarget) change(change func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change()
}

// versions returns the state versions a run got, signal by signal.
func (t *fakeTarget) versions(run spacelift.RunRef) [][]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all [][]int
	for _, s := range t.signals {
		if s[0].Run != run {
			continue
		}
		var v []int
		for _, e := range s {
			v = append(v, e.StateVersion)
		}
		all = append(all, v)
	}
	return all
}

var errAway = errors.New("connection refused")

// slowTarget takes a while for each signal and counts those under way.
type slowTarget struct {
	takes     time.Duration
	mu        sync.Mutex
	now, most int
	runs      map[spacelift.RunRef]int
}

func (t *slowTarget) Signal(ctx context.Context, run spacelift.RunRef, _ []managed.RunEvent) error {
	t.mu.Lock()
	t.now++
	t.most = max(t.most, t.now)
	t.runs[run]++
	if t.runs[run] > 1 {
		t.mu.Unlock()
		return fmt.Errorf("%w: two concurrent signals of %s", ErrRefused, run)
	}
	t.mu.Unlock()
	select {
	case <-time.After(t.takes):
	case <-ctx.Done():
		return ctx.Err()
	}
	t.mu.Lock()
	t.now--
	t.runs[run]--
	t.mu.Unlock()
	return nil
}

func (t *slowTarget) underWay() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.now
}

// forward runs a forwarder until the returned function is called.
func forward(t testing.TB, in *Inbox, target Target, opts ForwarderOptions) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- NewForwarder(in, target, opts).Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

// textLogger writes JSON lines to w.
func textLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewJSONHandler(w, nil)) }
