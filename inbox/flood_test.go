//go:build unix

package inbox

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// busyTarget answers in 50 ms, so that 16 signals at a time are 320 a second, as of a small
// Temporal. It notes how long the events of each run waited, and the forged runs it got.
type busyTarget struct {
	mu     sync.Mutex
	waited map[spacelift.RunRef]time.Duration // the longest
	last   map[spacelift.RunRef]int
	forged int
}

func newBusyTarget() *busyTarget {
	return &busyTarget{waited: map[spacelift.RunRef]time.Duration{}, last: map[spacelift.RunRef]int{}}
}

func (t *busyTarget) Signal(_ context.Context, run spacelift.RunRef, events []managed.RunEvent) error {
	pass(50 * time.Millisecond)
	t.mu.Lock()
	defer t.mu.Unlock()
	last, known := t.last[run]
	if !known && strings.HasPrefix(string(run.Run), "forged") {
		t.forged++
	}
	for _, e := range events {
		if known && e.StateVersion != last+1 {
			return fmt.Errorf("%w: version %d after %d", ErrRefused, e.StateVersion, last)
		}
		last, known = e.StateVersion, true
		t.waited[run] = max(t.waited[run], time.Since(e.ReceivedAt))
	}
	t.last[run] = last
	return nil
}

func (t *busyTarget) forgedRuns() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.forged
}

// check fails unless the runs' events were forwarded within a time.
func (t *busyTarget) check(tb testing.TB, what string, within time.Duration, version int, runs ...spacelift.RunRef) {
	tb.Helper()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, run := range runs {
		if t.waited[run] > within || t.last[run] != version {
			tb.Errorf("%s: run %s waited up to %v and has version %d, want %d within %v", what, run, t.waited[run], t.last[run], version, within)
		}
	}
}

func otherRun(n int) spacelift.RunRef {
	return spacelift.RunRef{Account: "other", Stack: "network", Run: spacelift.RunID(fmt.Sprintf("run-%d", n))}
}

// flood sends the events of made-up runs, as somebody can who has the webhook secret: two
// of each.
func flood(t testing.TB, in *Inbox, runs int) {
	sideBySide(64, 2*runs, func(i int) {
		run := spacelift.RunRef{Account: "acme", Stack: "network", Run: spacelift.RunID(fmt.Sprintf("forged-%d", (i-1)%runs))}
		if _, err := in.Accept(context.Background(), notice(run, (i-1)/runs, life[(i-1)/runs]), sampleBody[:200]); err != nil {
			t.Error(err)
		}
	})
}

// A flood of made-up runs delays new runs of its account, and nothing else: not the runs
// of the account that are followed already, nor other accounts, even after a restart or if
// Temporal was away.
func TestSignedFloodDelaysOnlyNewRunsOfItsAccount(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		restart, away bool
	}{{"while it arrives", false, false}, {"after a restart", true, false}, {"after an outage", false, true}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opts := Options{Dir: t.TempDir(), segment: 1 << 20}
				in, target := open(t, opts), newBusyTarget()
				stop := forward(t, in, target, ForwarderOptions{})
				var ours, theirs, started []spacelift.RunRef
				send := func(version int, runs ...spacelift.RunRef) {
					for _, run := range runs {
						accept(t, in, notice(run, version, life[version]))
					}
				}
				for n := range 40 {
					ours, theirs = append(ours, runRef(n)), append(theirs, otherRun(n))
				}
				send(0, append(ours, theirs...)...)
				pass(time.Minute)
				if c.away {
					stop()
				}
				const forged = 6_000
				flood(t, in, forged)
				for n := range 40 {
					started = append(started, otherRun(1000+n))
				}
				for version := 1; version < 5; version++ {
					send(version, append(ours, theirs...)...)
					send(version-1, started...)
					pass(time.Second)
				}
				began := time.Now()
				within := time.Second
				if c.restart {
					stop()
					closeInbox(t, in)
					in = open(t, opts)
				}
				wait := 3 * time.Second
				if c.restart || c.away {
					forward(t, in, target, ForwarderOptions{})
					within = 8 * time.Second // four were before
				}
				if c.restart { // made-up runs that have started get their second events
					wait = 25 * time.Second
				}
				send(5, append(ours, theirs...)...)
				pass(wait)
				target.check(t, "a run of the account", max(within, wait), 5, ours...)
				target.check(t, "a run of another one", within, 5, theirs...)
				target.check(t, "a new run of another one", within, 3, started...)
				pass(2 * time.Minute)
				synctest.Wait()
				n := target.forgedRuns()
				bursts := 1
				if c.restart { // it begins anew
					bursts = 2
				}
				if most := bursts*2000 + int(10*(time.Since(began)+10*time.Second).Seconds()); n > most || n < most/2 {
					t.Errorf("%d made-up runs were started, want about %d", n, most)
				}
				if h := in.Health(); h.Delayed["acme"].IsZero() || len(h.Delayed) != 1 || h.Pending == 0 || h.ForwarderDown {
					t.Errorf("health %+v, want it to name the account whose new runs wait", h)
				}
				pass(10 * time.Minute)
				synctest.Wait()
				if h := in.Health(); h.Pending != 0 || len(h.Delayed) != 0 || h.Dead != 0 || target.forgedRuns() != forged {
					t.Errorf("%d made-up runs were started in the end, health %+v", target.forgedRuns(), h)
				}
			})
		})
	}
}

// While many events arrive, a signal carries several of a run: Temporal needs more for a
// signal than Gantry for an event, and would slow those that arrive. A slow one gets fewer
// signals, which carry more. Nobody waits long for that, and nothing is lost.
func TestSignalsCarryMoreWhileManyEventsArrive(t *testing.T) {
	t.Parallel()
	t.Run("Temporal is fast", func(t *testing.T) { signalsWhileManyEventsArrive(t, time.Millisecond, 200, 2*time.Second) })
	t.Run("of average speed", func(t *testing.T) { signalsWhileManyEventsArrive(t, 5*time.Millisecond, 100, 3*time.Second) })
	t.Run("slow", func(t *testing.T) { signalsWhileManyEventsArrive(t, 60*time.Millisecond, 50, 5*time.Second) })
}

// signalsWhileManyEventsArrive sends many events, and fails unless about as many signals
// arrive in a second, where each takes a time, and no event waits longer than it should.
func signalsWhileManyEventsArrive(t *testing.T, takes time.Duration, want int64, most time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		var signals atomic.Int64
		target := &fakeTarget{takes: takes, fail: func(run spacelift.RunRef, events []managed.RunEvent) error {
			signals.Add(1)
			if waited := time.Since(events[0].ReceivedAt); waited > most {
				t.Errorf("an event of run %s waited for %v", run.Run, waited)
			}
			return nil
		}}
		in := open(t, Options{})
		stop := forward(t, in, target, ForwarderOptions{})
		const runs, rounds, each = 200, 20, 20 // 2,000 events a second, for two seconds
		var runIDs []spacelift.RunRef
		for n := range runs {
			runIDs = append(runIDs, runRef(n))
			accept(t, in, notice(runIDs[n], 0, spacelift.RunStateQueued))
		}
		pass(time.Minute)
		var before int64
		for step := range rounds * runs / each {
			if step == rounds*runs/each/2 {
				before = signals.Load()
			}
			sideBySide(each, each, func(i int) {
				n := step*each + i - 1
				if _, err := in.Accept(context.Background(), notice(runIDs[n%runs], 1+n/runs, spacelift.RunStateUnconfirmed), sampleBody[:200]); err != nil {
					t.Error(err)
				}
			})
			pass(10 * time.Millisecond)
		}
		if n := signals.Load() - before; n > want*21/20 || n < want*3/4 {
			t.Errorf("%d signals in a second with 2,000 events, want about %d", n, want)
		}
		pass(most)
		stop()
		for _, run := range runIDs {
			if got := slices.Concat(target.versions(run)...); len(got) != 1+rounds || !slices.IsSorted(got) {
				t.Fatalf("run %s got the versions %v, want 0 to %d", run.Run, got, rounds)
			}
		}
	})
}
