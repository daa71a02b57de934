package inbox

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/spacelift"
)

func TestOutageKeepsEverythingAndIsProbedGently(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := open(t, Options{})
		var mu sync.Mutex
		away, probes := true, 0
		target := &fakeTarget{fail: func(spacelift.RunRef, []managed.RunEvent) error {
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
				accept(t, in, notice(runRef(n), v, s))
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
		// One a second at most, and each run's pause is 30 s at most.
		if probes < 120 || probes > 100+3600 {
			t.Errorf("%d probes within an hour", probes)
		}
		d, _, err := in.List(t.Context(), archive.Filter{Forwarding: archive.ForwardingPending}, 1, "")
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

// While Temporal is away, trying costs next to nothing, from the first second on,
// however many runs wait.
func TestOutageIsNoticedWithinFailures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := open(t, Options{})
		tries := 0
		target := &fakeTarget{fail: func(spacelift.RunRef, []managed.RunEvent) error {
			tries++
			return errAway
		}}
		forward(t, in, target, ForwarderOptions{})
		for n := range 2000 {
			accept(t, in, notice(runRef(n), 0, spacelift.RunStateQueued))
		}
		pass(9 * time.Second)
		synctest.Wait()
		if tries < 32 || tries > 100 {
			t.Errorf("%d signals were tried within 9 seconds, want a few dozen", tries)
		}
	})
}

func TestRunThatAlwaysFailsDoesNotHoldUpOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := open(t, Options{})
		poisoned := runRef(0)
		target := failing(poisoned, errors.New("internal error"))
		forward(t, in, target, ForwarderOptions{})
		start := time.Now()
		for n := range 300 {
			accept(t, in, notice(runRef(n), 0, spacelift.RunStateQueued))
		}
		pass(2 * time.Second)
		synctest.Wait()
		if h := in.Health(); h.Pending != 1 {
			t.Errorf("%d pending after %v, want the failing run's alone", h.Pending, time.Since(start))
		}
	})
}

func TestEventsOfAnEndedExecutionAreLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := open(t, Options{})
		target := &fakeTarget{fail: func(spacelift.RunRef, []managed.RunEvent) error { return ErrEnded }}
		d := accept(t, in, notice(runRef(1), 8, spacelift.RunStateFinished))
		forward(t, in, target, ForwarderOptions{})
		synctest.Wait()
		if d, _, _ := in.Get(t.Context(), d.ID); d.Forwarding != archive.ForwardingLate || !d.ForwardedAt.IsZero() {
			t.Errorf("delivery %+v, want late", d)
		}
		if h := in.Health(); h.ForwarderDown || h.Pending != 0 || h.Dead != 0 {
			t.Errorf("health %+v", h)
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
		for v, s := range life[:5] { // the first one is sent immediately, the others linger
			accept(t, in, notice(runRef(1), v, s))
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
		accept(t, in, notice(runRef(1), 0, spacelift.RunStateQueued))
		stop := forward(t, in, &slowTarget{takes: 5 * time.Second, runs: map[spacelift.RunRef]int{}}, ForwarderOptions{})
		pass(time.Second)
		stop()
		if h := in.Health(); h.ForwarderDown || h.Pending != 1 {
			t.Errorf("health %+v, want one pending and no outage", h)
		}
	})
}
