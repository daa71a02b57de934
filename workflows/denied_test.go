package workflows_test

import (
	"testing"
	"time"

	"github.com/gantryhq/gantry/workflows"
)

// One notification with a version ahead of everything hides the plan behind it.
// Once Reconcile denies it, Gantry confirms the plan; the same notification again
// changes nothing.
func TestDeniedStatesAreNotBelieved(t *testing.T) {
	r := newRig(t, auto)
	forgery := func() workflows.RunEvent {
		e := r.notification(-1)
		e.State, e.StateVersion = planning, 500
		return e
	}
	r.at(0, func() { r.moves(queued, planning) })
	r.at(time.Minute, func() { r.signal(forgery()) })
	r.at(2*time.Minute, func() { r.moves(unconfirmed) })
	r.at(3*time.Minute, func() {
		if len(r.confirmed) != 0 {
			t.Error("the plan was not hidden")
		}
		now := r.notification(-1)
		now.Source = workflows.SourceReconcile
		r.env.SignalWorkflow(workflows.RunEventsSignal, workflows.RunEvents{
			Events: []workflows.RunEvent{now}, Denied: []workflows.StateKey{{StateVersion: 500, State: planning}},
		})
	})
	r.at(4*time.Minute, func() {
		if len(r.confirmed) != 1 {
			t.Errorf("the plan was confirmed %d times, want once", len(r.confirmed))
		}
		r.signal(forgery())
	})
	r.at(5*time.Minute, func() { r.moves(applying, finished) })
	s := r.manage()
	if s.State != finished {
		t.Errorf("the run ended as %s", s.State)
	}
	r.mentions(s, workflows.KindRepair, "not believed: PLANNING (500)")
}
