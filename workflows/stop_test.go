package workflows_test

import (
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// People end runs, as far as Spacelift lets them.
func TestPeopleStop(t *testing.T) {
	play(t, []story{
		{
			name: "a run in the queue is cancelled", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued) })
				r.at(time.Minute, func() { r.stops(ann, "wrong branch", "") })
				r.at(2*time.Minute, func() { r.did("cancel: Stopped through Gantry by ann: wrong branch"); r.notify() })
			},
			state: spacelift.RunStateCanceled, outcome: "cancelled",
			mentions: map[string]managed.TimelineKind{"ann wants the run stopped: wrong branch": managed.KindPerson, "asked Spacelift to cancel the run": managed.KindAction},
		},
		{
			name: "a run that plans is stopped", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(time.Minute, func() { r.stops(ann, "", "") })
				r.at(2*time.Minute, func() { r.did("stop: Stopped through Gantry by ann"); r.notify() })
			},
			state: spacelift.RunStateStopped, outcome: "stopped",
		},
		{
			name: "a plan that waits is discarded", labels: production,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() { r.stops(eve, "", "") })
				r.at(2*time.Minute, func() { r.did("discard: Stopped through Gantry by eve"); r.notify() })
			},
			state: discarded, outcome: "discarded",
		},
		{
			name: "a run that applies is not stopped", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() { r.notify(); r.moves(applying); r.stops(ann, "", managed.ErrTypeNotStoppable) })
				r.at(2*time.Minute, func() { r.stops(ann, "", managed.ErrTypeNotStoppable); r.moves(finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
		},
		{
			name: "Spacelift refuses, and the caller learns it", labels: asked,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(time.Minute, func() {
					r.goes(unconfirmed)
					r.person("jane", confirmed, "") // without a notification
					got := r.update(managed.StopUpdate, managed.StopRequest{By: ann})
					r.later(func() {
						if want := "the run was not stopped: a run in CONFIRMED can't be stopped"; got.refused != managed.ErrTypeNotStoppable || got.says != want {
							r.Errorf("refused with %q: %q, want %q", got.refused, got.says, want)
						}
					})
				})
				r.at(2*time.Minute, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied",
		},
	})
}
