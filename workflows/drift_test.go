package workflows_test

import (
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// No notification of a drift repair carried the flag. Gantry, which may confirm
// everything but repairs of drift, learns of it from the run that it reads, and
// asks people.
func TestARepairOfDriftIsNotConfirmedForLackOfAFlag(t *testing.T) {
	r := newRig(t, []string{"gantry:managed", "gantry:profile=no-drift"})
	r.truth.DriftDetection = true
	forgets := func(s spacelift.RunState) {
		r.goes(s)
		e := r.notification(-1)
		e.DriftDetection = false
		r.signal(e)
	}
	r.at(0, func() {
		for _, s := range []spacelift.RunState{"QUEUED", "READY", "PREPARING", "INITIALIZING", "PLANNING", "UNCONFIRMED"} {
			forgets(s)
		}
	})
	r.at(time.Minute, func() {
		r.wants(managed.PhaseWaiting, "drift")
		r.person("jane", spacelift.RunStateDiscarded, "no")
		r.notify()
	})
	s := r.manage()
	if len(r.confirmed) > 0 || s.State != spacelift.RunStateDiscarded {
		t.Errorf("the run is %s after the confirmations %q", s.State, r.confirmed)
	}
	r.mentions(s, managed.KindAction, "people confirm repairs of drift")
}
