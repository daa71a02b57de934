package workflows_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// However the notifications of a run arrive, Gantry confirms a plan that waits,
// once, and no plan that somebody else has decided about.
func TestAnyDeliveryConfirmsAWaitingPlanOnce(t *testing.T) {
	for _, tc := range []struct {
		name      string
		labels    []string
		decided   spacelift.RunState // by a person, before the notifications arrive; empty: not yet
		confirmed int
		world     func(*rig)
	}{
		{"it waits", auto, "", 1, nil},
		{"it waits for a person", manual, "", 0, nil},
		{"it is held", append([]string{"gantry:approvals=2"}, auto...), "", 0, nil},
		{"somebody confirmed it", auto, confirmed, 0, nil},
		{"somebody discarded it", auto, discarded, 0, nil},
		{"somebody wants another", auto, replan, 0, nil},
		{"somebody locked the stack", auto, "", 0, func(r *rig) { r.locks("jane") }},
		{"Spacelift accepts confirmations and does nothing", auto, "", 0, func(r *rig) { r.deafToConfirms = true }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				r := newRig(t, tc.labels)
				r.goes(queued, ready, preparing, initializing, planning, unconfirmed)
				if tc.world != nil {
					tc.world(r)
				}
				sent := []managed.RunEvent{r.notification(5)}
				for version := range 5 {
					if rapid.Bool().Draw(rt, "arrives") {
						sent = append(sent, r.notification(version))
					}
				}
				if tc.decided != "" {
					r.person("jane", tc.decided, "")
				}
				sent = append(sent, rapid.SliceOfN(rapid.SampledFrom(sent), 0, 4).Draw(rt, "repeats")...)
				sent = rapid.Permutation(sent).Draw(rt, "order")
				for i := 0; len(sent) > 0; i++ {
					n := rapid.IntRange(1, len(sent)).Draw(rt, "batch")
					batch := sent[:n]
					r.at(time.Duration(i)*time.Minute, func() { r.signal(batch...) })
					sent = sent[n:]
				}
				r.at(time.Hour, func() {
					if r.truth.State != discarded {
						r.moves(applying, finished)
					} else {
						r.notify()
					}
				})

				s := r.manage()

				most := tc.confirmed // requests
				if r.deafToConfirms {
					most = 2 // the first had no effect
				}
				if len(r.confirmed) != tc.confirmed || r.asked < tc.confirmed || r.asked > most {
					rt.Errorf("confirmed %d times with %d requests, want %d", len(r.confirmed), r.asked, tc.confirmed)
				}
				if s.State != r.truth.State || !slices.IsSortedFunc(s.States, byVersion) {
					rt.Errorf("ended in %s after %v, want %s", s.State, s.States, r.truth.State)
				}
			})
		})
	}
}

func byVersion(a, b managed.StateEntry) int { return a.StateVersion - b.StateVersion }

// However the notifications of a stopped run arrive, whenever somebody stops it
// and whatever the worker makes of that, Gantry confirms none of its plans.
func TestAStoppedRunIsNeverConfirmed(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newRig(t, auto)
		r.deafToStops, r.deafToDiscards = rapid.Bool().Draw(rt, "ignores a stop"), rapid.Bool().Draw(rt, "ignores a discard")
		states := []spacelift.RunState{queued, ready, preparing, initializing, planning}
		stopped := rapid.SampledFrom([]int{0, 1, 3, 4}).Draw(rt, "stopped in")
		for i, s := range states {
			arrives := i <= stopped || rapid.Bool().Draw(rt, "arrives")
			r.at(time.Duration(i)*time.Minute, func() {
				if !r.truth.State.Terminal() {
					r.goes(s)
				}
				if arrives {
					r.notify()
				}
			})
		}
		var got *answer
		r.at(time.Duration(stopped)*time.Minute+30*time.Second, func() {
			got = r.update(managed.StopUpdate, managed.StopRequest{By: ann})
		})
		r.at(time.Hour, func() {
			if !r.truth.State.Terminal() {
				r.moves(unconfirmed)
			} else {
				r.notify()
			}
		})
		r.at(3*time.Hour, func() {
			if !r.truth.State.Terminal() {
				r.person("jane", discarded, "")
			}
			r.notify()
		})

		s := r.manage()

		switch {
		case got.refused != "":
			rt.Errorf("the stop was refused: %s", got.says)
		case r.asked > 0:
			rt.Errorf("asked %d times to confirm", r.asked)
		case s.Stop == nil || s.Stop.By != "ann":
			rt.Errorf("nobody wants it stopped: %+v", s.Stop)
		}
	})
}
