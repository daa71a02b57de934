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

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// sickTarget answers in 5 ms, but for sick runs: their signals fail, or hang.
type sickTarget struct {
	mu   sync.Mutex
	hang bool
	took []time.Duration // from the arrival of the healthy events
}

func (t *sickTarget) Signal(ctx context.Context, run spacelift.RunRef, events []managed.RunEvent) error {
	if strings.HasPrefix(string(run.Run), "sick") {
		if !t.hang {
			return errors.New("shard unavailable")
		}
		<-ctx.Done()
		return ctx.Err()
	}
	pass(5 * time.Millisecond)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range events {
		t.took = append(t.took, time.Since(e.ReceivedAt))
	}
	return nil
}

// Whatever fails, and however, the other runs keep their rate.
func TestFailingRunsNeverStopOthers(t *testing.T) {
	t.Parallel()
	for _, hang := range []bool{false, true} {
		for _, c := range []struct {
			name        string
			first, each int // sick runs at the start, and every n-th later
			rate        int // runs a second
		}{
			{"24 at once", 24, 0, 20},
			{"every fourth", 0, 4, 40},
			{"every fourth of many", 0, 4, 200},
			{"24 at once of many", 24, 0, 500},
		} {
			t.Run(fmt.Sprintf("%s, hang %t", c.name, hang), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					in := open(t, Options{})
					target := &sickTarget{hang: hang}
					stop := forward(t, in, target, ForwarderOptions{})
					sick, healthy := 0, 0
					send := func(bad bool) {
						name := fmt.Sprintf("healthy-%d", healthy)
						if bad {
							name = fmt.Sprintf("sick-%d", sick)
							sick++
						} else {
							healthy++
						}
						accept(t, in, notice(spacelift.RunRef{Account: "acme", Stack: "network", Run: spacelift.RunID(name)}, 0, spacelift.RunStateQueued))
					}
					for range c.first {
						send(true)
					}
					for n := range min(30*c.rate, 2000) {
						send(c.each > 0 && n%c.each == 0)
						pass(time.Second / time.Duration(c.rate))
					}
					target.mu.Lock()
					took := slices.Sorted(slices.Values(target.took))
					target.mu.Unlock()
					if len(took) < healthy*8/10 || took[len(took)*99/100] > time.Second {
						t.Errorf("%d of %d healthy events were forwarded, p99 %v", len(took), healthy, took[len(took)*99/100])
					}
					if h := in.Health(); h.ForwarderDown || h.Pending < sick {
						t.Errorf("health %+v", h)
					}
					stop()
				})
			})
		}
	}
}

// Down means that nothing succeeded for ten seconds while something was tried.
func TestDownMeansThatNothingSucceeds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := open(t, Options{})
		away := true
		target := &fakeTarget{fail: func(spacelift.RunRef, []managed.RunEvent) error {
			if away {
				return errAway
			}
			return nil
		}}
		forward(t, in, target, ForwarderOptions{})
		check := func(when string, want bool) {
			t.Helper()
			synctest.Wait()
			if h := in.Health(); h.ForwarderDown != want {
				t.Errorf("%s: %+v", when, h)
			}
		}
		pass(time.Minute)
		check("nothing was tried", false)
		accept(t, in, notice(runRef(1), 0, spacelift.RunStateQueued))
		pass(9 * time.Second)
		check("after nine seconds", false)
		pass(2 * time.Second)
		check("after eleven", true)
		target.change(func() { away = false })
		for n := range 100 { // a run whose pause is long waits for no other
			accept(t, in, notice(runRef(n), 1, spacelift.RunStateReady))
		}
		pass(1500 * time.Millisecond)
		check("a second after it came back", false)
		if h := in.Health(); h.Pending != 0 {
			t.Errorf("a second after it came back: %+v", h)
		}
	})
}
