package workflows_test

import (
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
)

// A notification names a state that the run is not in. Once Reconcile denies it,
// the run is where the API shows it; what is known already changes nothing.
func TestDeniedStatesAreNotBelieved(t *testing.T) {
	r := newRig(t, manual)
	denies := func() {
		r.env.SignalWorkflow(managed.RunEventsSignal, managed.RunEvents{Denied: []managed.StateKey{{StateVersion: 5, State: queued}}})
	}
	r.at(0, func() { r.moves(queued, planning) })
	r.at(time.Minute, func() {
		e := r.notification(-1)
		e.State, e.StateVersion = queued, 5
		r.signal(e)
	})
	r.at(2*time.Minute, func() { r.wants(managed.PhaseQueued, "queue"); denies() })
	r.at(2*time.Minute+time.Second, func() { r.wants(managed.PhasePlanning, "planning"); denies() })
	r.at(time.Hour, func() { r.wants(managed.PhasePlanning, "planning"); r.moves("SKIPPED") })
	s := r.manage()
	r.mentions(s, managed.KindRepair, "not believed: QUEUED (5)")
}
