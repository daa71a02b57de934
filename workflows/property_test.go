package workflows_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/workflows"
)

// However the notifications of a run arrive, Gantry confirms a plan that waits,
// once, and no plan that somebody else has decided about.
func TestAnyDeliveryConfirmsAWaitingPlanOnce(t *testing.T) {
	for _, tc := range []struct {
		name      string
		labels    []string
		decided   spacelift.RunState // by a person, before the notifications arrive; empty: not yet
		confirmed int
	}{
		{"it waits", auto, "", 1},
		{"it waits for a person", manual, "", 0},
		{"it is held", append([]string{"gantry:approvals=2"}, auto...), "", 0},
		{"somebody confirmed it", auto, confirmed, 0},
		{"somebody discarded it", auto, discarded, 0},
		{"somebody wants another", auto, replan, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				r := newRig(t, tc.labels)
				r.goes(queued, ready, preparing, initializing, planning, unconfirmed)
				told := []workflows.RunEvent{r.notification(5)}
				for version := range 5 {
					if rapid.Bool().Draw(rt, "arrives") {
						told = append(told, r.notification(version))
					}
				}
				if tc.decided != "" {
					r.person("jane", tc.decided, "")
				}
				told = append(told, rapid.SliceOfN(rapid.SampledFrom(told), 0, 4).Draw(rt, "repeats")...)
				told = rapid.Permutation(told).Draw(rt, "order")
				for i := 0; len(told) > 0; i++ {
					n := rapid.IntRange(1, len(told)).Draw(rt, "batch")
					batch := told[:n]
					r.at(time.Duration(i)*time.Minute, func() { r.signal(batch...) })
					told = told[n:]
				}
				r.at(time.Hour, func() {
					if r.truth.State != discarded {
						r.moves(applying, finished)
					} else {
						r.told()
					}
				})

				s := r.manage()

				if len(r.confirmed) != tc.confirmed || r.asked != tc.confirmed {
					rt.Errorf("confirmed %d times with %d requests, want %d", len(r.confirmed), r.asked, tc.confirmed)
				}
				if s.State != r.truth.State || !slices.IsSortedFunc(s.States, byVersion) {
					rt.Errorf("ended in %s after %v, want %s", s.State, s.States, r.truth.State)
				}
			})
		})
	}
}

func byVersion(a, b workflows.StateEntry) int { return a.StateVersion - b.StateVersion }
