package inbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/workflows"
)

func TestWaitingEventsOfARunTravelTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := open(t, Options{})
		for v, s := range life {
			accept(t, in, event(runRef(1), v, s))
			accept(t, in, event(runRef(2), v, s))
		}
		target := &fakeTarget{}
		forward(t, in, target, ForwarderOptions{BatchEvents: 5})
		synctest.Wait()
		want := [][]int{{0, 1, 2, 3, 4}, {5, 6, 7, 8}}
		for _, run := range []spacelift.RunRef{runRef(1), runRef(2)} {
			if diff := cmp.Diff(want, target.versions(run)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", run, diff)
			}
		}
	})
}

func TestSignalsStayBelowTheByteLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := open(t, Options{})
		for v := range 3 {
			e := event(runRef(1), v, spacelift.RunStatePlanning)
			e.Note = strings.Repeat("x", 3000)
			accept(t, in, e)
		}
		big := event(runRef(1), 3, spacelift.RunStatePlanning)
		big.Note = strings.Repeat("x", 50_000)
		accept(t, in, big)
		target := &fakeTarget{}
		forward(t, in, target, ForwarderOptions{BatchBytes: 8 << 10})
		synctest.Wait()
		if diff := cmp.Diff([][]int{{0, 1}, {2}, {3}}, target.versions(runRef(1))); diff != "" {
			t.Errorf("signals (-want +got):\n%s", diff)
		}
	})
}

func TestEventsThatNeedNoDecisionLinger(t *testing.T) {
	t.Parallel()
	type step struct {
		at      time.Duration
		version int
		state   spacelift.RunState
	}
	for _, c := range []struct {
		name  string
		steps []step
		want  map[time.Duration][]int // versions by the time they were sent
	}{
		{"a passing state waits for company", []step{{0, 1, "READY"}}, map[time.Duration][]int{2 * time.Second: {1}}},
		{"those that come meanwhile go along", []step{{0, 1, "READY"}, {time.Second, 2, "PREPARING"}, {1900 * time.Millisecond, 3, "PLANNING"}},
			map[time.Duration][]int{2 * time.Second: {1, 2, 3}}},
		{"a state that needs a decision goes at once, with the waiting ones", []step{{0, 4, "PLANNING"}, {time.Second, 5, "UNCONFIRMED"}},
			map[time.Duration][]int{time.Second: {4, 5}}},
		{"so does an end", []step{{0, 7, "APPLYING"}, {time.Second, 8, "FINISHED"}}, map[time.Duration][]int{time.Second: {7, 8}}},
		{"so does a state nobody knows", []step{{0, 7, "APPLYING"}, {time.Second, 8, "LEVITATING"}}, map[time.Duration][]int{time.Second: {7, 8}}},
		{"the first event of a run starts its execution", []step{{0, 0, "READY"}}, map[time.Duration][]int{0: {0}}},
		{"after a signal the next ones linger again", []step{{0, 0, "QUEUED"}, {time.Second, 1, "READY"}},
			map[time.Duration][]int{0: {0}, 3 * time.Second: {1}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := open(t, Options{Linger: 2 * time.Second})
				start := time.Now()
				got := map[time.Duration][]int{}
				target := &fakeTarget{fail: func(_ spacelift.RunRef, events []workflows.RunEvent) error {
					for _, e := range events {
						got[time.Since(start)] = append(got[time.Since(start)], e.StateVersion)
					}
					return nil
				}}
				forward(t, in, target, ForwarderOptions{})
				for _, s := range c.steps {
					pass(s.at - time.Since(start))
					accept(t, in, event(runRef(1), s.version, s.state))
				}
				pass(time.Minute)
				synctest.Wait()
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("sent (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// slowTarget takes a minute for each signal and counts those under way.
type slowTarget struct {
	mu        sync.Mutex
	now, most int
	runs      map[spacelift.RunRef]int
}

func (t *slowTarget) Signal(ctx context.Context, run spacelift.RunRef, _ []workflows.RunEvent) error {
	t.mu.Lock()
	t.now++
	t.most = max(t.most, t.now)
	t.runs[run]++
	if t.runs[run] > 1 {
		t.mu.Unlock()
		return fmt.Errorf("%w: two signals of %s at once", ErrRefused, run)
	}
	t.mu.Unlock()
	select {
	case <-time.After(5 * time.Second):
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

func TestRunsGoSideBySideEachInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := open(t, Options{})
		for n := range 20 {
			accept(t, in, event(runRef(n), 0, spacelift.RunStateQueued))
		}
		target := &slowTarget{runs: map[spacelift.RunRef]int{}}
		forward(t, in, target, ForwarderOptions{MaxConcurrent: 8, BatchEvents: 1})
		for n := range 20 {
			accept(t, in, event(runRef(n), 1, spacelift.RunStateUnconfirmed))
		}
		pass(30 * time.Second) // 40 signals of 5 s, 8 at a time, and no pause between
		synctest.Wait()
		if h := in.Health(); h.Pending != 0 || h.Dead != 0 {
			t.Errorf("health %+v, want everything forwarded", h)
		}
		if target.most != 8 {
			t.Errorf("at most %d signals at once, want 8", target.most)
		}
	})
}

func TestWhatComesDuringASignalLingersToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := open(t, Options{Linger: 4 * time.Second})
		target := &slowTarget{runs: map[spacelift.RunRef]int{}}
		forward(t, in, target, ForwarderOptions{})
		accept(t, in, event(runRef(1), 0, spacelift.RunStateQueued)) // takes until 5 s
		pass(2 * time.Second)
		accept(t, in, event(runRef(1), 1, spacelift.RunStateReady)) // due at 6 s
		pass(3500 * time.Millisecond)
		synctest.Wait()
		if target.underWay() != 0 {
			t.Error("the second signal went before its time")
		}
		pass(time.Second)
		synctest.Wait()
		if target.underWay() != 1 {
			t.Error("the second signal did not go when it was due")
		}
	})
}

func TestOutageKeepsEverythingAndIsProbedGently(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := open(t, Options{})
		var mu sync.Mutex
		away, probes := true, 0
		target := &fakeTarget{fail: func(spacelift.RunRef, []workflows.RunEvent) error {
			mu.Lock()
			defer mu.Unlock()
			if away {
				probes++
				return errAway
			}
			return nil
		}}
		forward(t, in, target, ForwarderOptions{})
		for v, s := range life {
			for n := range 10 {
				accept(t, in, event(runRef(n), v, s))
			}
		}
		pass(time.Hour)
		synctest.Wait()
		h := in.Health()
		if !h.ForwarderDown || h.Pending != 90 || !h.Writable || h.LastForwardError == "" || time.Since(h.ForwarderSince) < 59*time.Minute {
			t.Errorf("during the outage: %+v", h)
		}
		if h.OldestPending.After(time.Now().Add(-59 * time.Minute)) {
			t.Errorf("oldest pending %v, want about an hour ago", h.OldestPending)
		}
		// 30 s at most between two, and never less than half of that.
		if probes < 120 || probes > 16+300 {
			t.Errorf("%d probes within an hour", probes)
		}
		d, _, err := in.List(t.Context(), Filter{Forwarding: ForwardingPending}, 1, "")
		if err != nil || len(d) != 1 || d[0].ForwardError == "" || d[0].Attempts == 0 {
			t.Errorf("a pending delivery shows %+v (%v), want attempts and the last error", d, err)
		}

		mu.Lock()
		target.change(func() { away = false })
		mu.Unlock()
		pass(time.Minute)
		synctest.Wait()
		if h := in.Health(); h.ForwarderDown || h.Pending != 0 {
			t.Errorf("after the outage: %+v", h)
		}
		for n := range 10 {
			if got := slices.Concat(target.versions(runRef(n))...); !slices.Equal(got, []int{0, 1, 2, 3, 4, 5, 6, 7, 8}) {
				t.Errorf("run %d got %v", n, got)
			}
		}
	})
}

func TestRunThatAlwaysFailsDoesNotHoldUpOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := open(t, Options{})
		poisoned := runRef(0)
		target := &fakeTarget{fail: func(run spacelift.RunRef, _ []workflows.RunEvent) error {
			if run == poisoned {
				return errors.New("internal error")
			}
			return nil
		}}
		forward(t, in, target, ForwarderOptions{})
		start := time.Now()
		for n := range 300 {
			accept(t, in, event(runRef(n), 0, spacelift.RunStateQueued))
		}
		pass(2 * time.Second)
		synctest.Wait()
		if h := in.Health(); h.Pending != 1 {
			t.Errorf("%d pending after %v, want the failing run's alone", h.Pending, time.Since(start))
		}
	})
}

func TestRefusedEventDiesAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := open(t, Options{})
		refusing := true
		target := &fakeTarget{fail: func(_ spacelift.RunRef, events []workflows.RunEvent) error {
			if refusing && slices.ContainsFunc(events, func(e workflows.RunEvent) bool { return e.StateVersion == 1 }) {
				return fmt.Errorf("%w: payload too large", ErrRefused)
			}
			return nil
		}}
		var ids []string
		for v := range 3 {
			ids = append(ids, accept(t, in, event(runRef(1), v, life[v])).ID)
		}
		stop := forward(t, in, target, ForwarderOptions{})
		pass(time.Second)
		synctest.Wait()
		if diff := cmp.Diff([][]int{{0}, {2}}, target.versions(runRef(1))); diff != "" {
			t.Errorf("signals (-want +got):\n%s", diff)
		}
		d, body, err := in.Get(t.Context(), ids[1])
		if err != nil || d.Forwarding != ForwardingDead || d.Attempts == 0 || !strings.Contains(d.ForwardError, "payload too large") || len(body) == 0 {
			t.Errorf("refused delivery: %+v, %d bytes of body (%v)", d, len(body), err)
		}
		if h := in.Health(); h.ForwarderDown || h.Dead != 1 || h.Pending != 0 {
			t.Errorf("health %+v", h)
		}

		target.change(func() { refusing = false })
		n, err := in.RedeliverDead(t.Context())
		if n != 1 || err != nil {
			t.Fatalf("redelivered %d (%v), want 1", n, err)
		}
		pass(time.Second)
		synctest.Wait()
		stop()
		if diff := cmp.Diff([][]int{{0}, {2}, {1}}, target.versions(runRef(1))); diff != "" {
			t.Errorf("signals (-want +got):\n%s", diff)
		}
		if d, _, _ := in.Get(t.Context(), ids[1]); d.Forwarding != ForwardingForwarded || d.ForwardError != "" || d.ForwardedAt.IsZero() {
			t.Errorf("redelivered: %+v", d)
		}
	})
}

func TestEventsOfAnEndedExecutionAreLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := open(t, Options{})
		target := &fakeTarget{fail: func(spacelift.RunRef, []workflows.RunEvent) error { return ErrEnded }}
		d := accept(t, in, event(runRef(1), 8, spacelift.RunStateFinished))
		forward(t, in, target, ForwarderOptions{})
		synctest.Wait()
		if d, _, _ := in.Get(t.Context(), d.ID); d.Forwarding != ForwardingLate || !d.ForwardedAt.IsZero() {
			t.Errorf("delivery %+v, want late", d)
		}
		if h := in.Health(); h.ForwarderDown || h.Pending != 0 || h.Dead != 0 {
			t.Errorf("health %+v", h)
		}
	})
}

func TestRedeliver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		in := open(t, Options{Dir: dir})
		d := accept(t, in, event(runRef(1), 0, spacelift.RunStateQueued))
		if got, err := in.Redeliver(t.Context(), d.ID); err != nil || got.Forwarding != ForwardingPending {
			t.Errorf("redeliver a pending one: %+v (%v)", got, err)
		}
		target := &fakeTarget{}
		stop := forward(t, in, target, ForwarderOptions{})
		synctest.Wait()
		stop()
		if got := len(target.signals); got != 1 {
			t.Errorf("%d signals, want 1: a pending one stays where it is", got)
		}

		// What is on disk counts: it survives a restart before it is sent.
		if got, err := in.Redeliver(t.Context(), d.ID); err != nil || got.Forwarding != ForwardingPending {
			t.Fatalf("redeliver a forwarded one: %+v (%v)", got, err)
		}
		closeInbox(t, in)
		in = open(t, Options{Dir: dir})
		forward(t, in, target, ForwarderOptions{})
		synctest.Wait()
		if got := len(target.signals); got != 2 {
			t.Errorf("%d signals, want 2", got)
		}

		ignored := in.Log(Delivery{Outcome: OutcomeIgnored, Reason: "unmanaged-stack"})
		if _, err := in.Redeliver(t.Context(), ignored.ID); !errors.Is(err, ErrNotRedeliverable) {
			t.Errorf("redeliver an ignored one: %v, want ErrNotRedeliverable", err)
		}
		for _, id := range []string{"01KDX3V4T8Q2M5N7P9R1S3T5V7", "nonsense", ""} {
			if _, err := in.Redeliver(t.Context(), id); !errors.Is(err, ErrNotFound) {
				t.Errorf("redeliver %q: %v, want ErrNotFound", id, err)
			}
		}
	})
}

func TestPendingEventsAreResumedAfterRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		in := open(t, Options{Dir: dir, Linger: time.Hour})
		target := &fakeTarget{}
		stop := forward(t, in, target, ForwarderOptions{})
		for v, s := range life[:5] { // the first one goes at once, the others linger
			accept(t, in, event(runRef(1), v, s))
			synctest.Wait()
		}
		stop()
		closeInbox(t, in)

		in = open(t, Options{Dir: dir})
		if h := in.Health(); h.Pending != 4 {
			t.Fatalf("%d pending, want the four that lingered", h.Pending)
		}
		forward(t, in, target, ForwarderOptions{})
		synctest.Wait()
		if diff := cmp.Diff([][]int{{0}, {1, 2, 3, 4}}, target.versions(runRef(1))); diff != "" {
			t.Errorf("signals (-want +got):\n%s", diff)
		}
	})
}

func TestStoppingIsNotAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := open(t, Options{})
		accept(t, in, event(runRef(1), 0, spacelift.RunStateQueued))
		stop := forward(t, in, &slowTarget{runs: map[spacelift.RunRef]int{}}, ForwarderOptions{})
		pass(time.Second)
		stop()
		if h := in.Health(); h.ForwarderDown || h.Pending != 1 {
			t.Errorf("health %+v, want one pending and no outage", h)
		}
	})
}
