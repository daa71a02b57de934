package inbox

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

func TestWaitingEventsOfARunTravelTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := open(t, Options{})
		for v, s := range life {
			accept(t, in, notice(runRef(1), v, s))
			accept(t, in, notice(runRef(2), v, s))
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
		for v, size := range []int{200_000, 200_000, 200_000, 1_000_000} {
			if _, err := in.Accept(t.Context(), notice(runRef(1), v, spacelift.RunStatePlanning), make([]byte, size)); err != nil {
				t.Fatal(err)
			}
		}
		target := &fakeTarget{}
		forward(t, in, target, ForwarderOptions{})
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
		{"a passing state waits for others", []step{{0, 1, "READY"}}, map[time.Duration][]int{2 * time.Second: {1}}},
		{"those that arrive meanwhile are sent with it", []step{{0, 1, "READY"}, {time.Second, 2, "PREPARING"}, {1900 * time.Millisecond, 3, "PLANNING"}},
			map[time.Duration][]int{2 * time.Second: {1, 2, 3}}},
		{"a state that needs a decision is sent immediately, with the waiting ones", []step{{0, 4, "PLANNING"}, {time.Second, 5, "UNCONFIRMED"}},
			map[time.Duration][]int{time.Second: {4, 5}}},
		{"so is an end", []step{{0, 7, "APPLYING"}, {time.Second, 8, "FINISHED"}}, map[time.Duration][]int{time.Second: {7, 8}}},
		{"so is an unknown state", []step{{0, 7, "APPLYING"}, {time.Second, 8, "LEVITATING"}}, map[time.Duration][]int{time.Second: {7, 8}}},
		{"the first event of a run starts its execution", []step{{0, 0, "READY"}}, map[time.Duration][]int{0: {0}}},
		{"after a signal the next ones linger again", []step{{0, 0, "QUEUED"}, {time.Second, 1, "READY"}},
			map[time.Duration][]int{0: {0}, 3 * time.Second: {1}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := open(t, Options{Linger: 2 * time.Second})
				start := time.Now()
				got := map[time.Duration][]int{}
				target := &fakeTarget{fail: func(_ spacelift.RunRef, events []managed.RunEvent) error {
					for _, e := range events {
						got[time.Since(start)] = append(got[time.Since(start)], e.StateVersion)
					}
					return nil
				}}
				forward(t, in, target, ForwarderOptions{})
				for _, s := range c.steps {
					pass(s.at - time.Since(start))
					accept(t, in, notice(runRef(1), s.version, s.state))
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

func TestRunsGoSideBySideEachInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := open(t, Options{})
		for n := range 20 {
			accept(t, in, notice(runRef(n), 0, spacelift.RunStateQueued))
		}
		target := &slowTarget{takes: 500 * time.Millisecond, runs: map[spacelift.RunRef]int{}}
		forward(t, in, target, ForwarderOptions{MaxConcurrent: 8, BatchEvents: 1})
		for n := range 20 {
			accept(t, in, notice(runRef(n), 1, spacelift.RunStateUnconfirmed))
		}
		pass(3 * time.Second) // 40 signals of 0.5 s, 8 at a time, and no pause between
		synctest.Wait()
		if h := in.Health(); h.Pending != 0 || h.Dead != 0 {
			t.Errorf("health %+v, want everything forwarded", h)
		}
		if target.most != 8 {
			t.Errorf("at most %d concurrent signals, want 8", target.most)
		}
	})
}

func TestWhatComesDuringASignalLingersToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := open(t, Options{Linger: 4 * time.Second})
		target := &slowTarget{takes: 5 * time.Second, runs: map[spacelift.RunRef]int{}}
		forward(t, in, target, ForwarderOptions{})
		accept(t, in, notice(runRef(1), 0, spacelift.RunStateQueued)) // takes until 5 s
		pass(2 * time.Second)
		accept(t, in, notice(runRef(1), 1, spacelift.RunStateReady)) // due at 6 s
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
