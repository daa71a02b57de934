package inbox

import (
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/spacelift"
)

// bubble runs check in a synctest bubble and passes its error to rapid, which
// needs it on its own goroutine.
func bubble(t *testing.T, rt *rapid.T, check func(t *testing.T) error) {
	var err error
	synctest.Test(t, func(t *testing.T) { err = check(t) })
	if err != nil {
		rt.Fatal(err)
	}
}

// Whatever the target answers, whenever events come and the process restarts:
// each run's events arrive in the order accepted, each accepted event gets
// there or dies by a refusal, and a repeat is never accepted unless the event is
// dead.
func TestEveryRunArrivesInOrder(t *testing.T) {
	t.Parallel()
	type op struct {
		kind string // accept, repeat, wait, restart, mood
		n    int
	}
	answers := []error{nil, errAway, fmt.Errorf("%w: too large", ErrRefused), ErrEnded}
	rapid.Check(t, func(rt *rapid.T) {
		ops := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) op {
			return op{
				rapid.SampledFrom([]string{"accept", "accept", "accept", "accept", "repeat", "wait", "restart", "mood"}).Draw(rt, "kind"),
				rapid.IntRange(0, 999).Draw(rt, "n"),
			}
		}), 1, 60).Draw(rt, "ops")
		linger := time.Duration(rapid.SampledFrom([]int{0, 2}).Draw(rt, "linger")) * time.Second
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		bubble(t, rt, func(t *testing.T) error {
			opts := Options{Dir: dir, Linger: linger, Archive: archive.Budgets{Entries: archive.Budget{Count: 80}}, Bodies: archive.Budget{Count: 16}}
			var answer error
			target := &fakeTarget{fail: func(spacelift.RunRef, []managed.RunEvent) error { return answer }}
			in := open(t, opts)
			stop := forward(t, in, target, ForwarderOptions{MaxConcurrent: 4, BatchEvents: 3})
			versions := map[spacelift.RunRef]int{}
			accepted := map[string]string{} // delivery → run/version
			revived := map[string]bool{}    // repeats of dead ones, out of order
			for _, o := range ops {
				switch o.kind {
				case "accept":
					run := runRef(o.n % 5)
					v := versions[run]
					versions[run]++
					d := accept(t, in, notice(run, v, life[o.n%len(life)]))
					if d.Outcome != archive.OutcomeAccepted {
						return fmt.Errorf("a new event is %s", d.Outcome)
					}
					accepted[d.ID] = fmt.Sprintf("%s/%d", run, v)
				case "repeat":
					synctest.Wait()
					page, _, err := in.List(t.Context(), archive.Filter{Outcome: archive.OutcomeAccepted}, 500, "")
					if err != nil {
						return err
					}
					if len(page) > 0 {
						d := page[o.n%len(page)]
						again := accept(t, in, notice(d.Run, d.StateVersion, d.State))
						if d.Forwarding == archive.ForwardingDead && again.Outcome == archive.OutcomeAccepted {
							accepted[again.ID] = fmt.Sprintf("%s/%d", d.Run, d.StateVersion)
							revived[again.ID] = true
						} else if again.DuplicateOf != d.ID && !revived[again.DuplicateOf] {
							return fmt.Errorf("a repeat of %s is %s of %q", d.ID, again.Outcome, again.DuplicateOf)
						}
					}
				case "wait":
					pass(time.Duration(o.n) * 10 * time.Millisecond)
				case "restart":
					stop()
					if err := in.Close(); err != nil {
						return err
					}
					in = open(t, opts)
					if h := in.Health(); h.Problem != "" {
						return fmt.Errorf("after a restart: %s", h.Problem)
					}
					stop = forward(t, in, target, ForwarderOptions{MaxConcurrent: 4, BatchEvents: 3})
				case "mood":
					target.mu.Lock()
					answer = answers[o.n%len(answers)]
					target.mu.Unlock()
				}
			}
			target.mu.Lock()
			answer = nil
			target.mu.Unlock()
			pass(time.Hour)
			synctest.Wait()
			stop()
			if h := in.Health(); h.Pending != 0 {
				return fmt.Errorf("%d events are still pending", h.Pending)
			}
			last := map[spacelift.RunRef]int{}
			for _, s := range target.signals {
				for _, e := range s {
					if accepted[e.Delivery] != fmt.Sprintf("%s/%d", e.Run, e.StateVersion) {
						return fmt.Errorf("delivery %s arrived as %s/%d", e.Delivery, e.Run, e.StateVersion)
					}
					if v, ok := last[e.Run]; revived[e.Delivery] {
						delete(accepted, e.Delivery)
						continue
					} else if ok && e.StateVersion <= v {
						return fmt.Errorf("%s: version %d after %d", e.Run, e.StateVersion, v)
					}
					last[e.Run] = e.StateVersion
					delete(accepted, e.Delivery)
				}
			}
			for id, what := range accepted { // not sent: refused or late, or forgotten since
				d, _, err := in.Get(t.Context(), id)
				if err == nil && d.Forwarding != archive.ForwardingDead && d.Forwarding != archive.ForwardingLate {
					return fmt.Errorf("%s (%s) never arrived and is %s", id, what, d.Forwarding)
				}
			}
			return nil
		})
	})
}
