package workflows_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
)

// Labels that Gantry cannot follow, or that change under its eyes.
func TestManageRunObeysLabels(t *testing.T) {
	play(t, []story{
		{
			name: "an unreadable label holds the run", labels: append([]string{"gantry:aprovals=2"}, auto...),
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Hour, func() { r.wants(managed.PhaseHolding, "gantry:aprovals=2 can't be followed") })
				r.at(2*time.Hour, func() { r.person("jane", discarded, ""); r.notify() })
			},
			state: discarded, outcome: "discarded",
			mentions: map[string]managed.TimelineKind{"hold: gantry:aprovals=2": managed.KindDecision},
		},
		{
			name: "repaired labels that Reconcile signals let the run continue", labels: append([]string{"gantry:aprovals=2"}, auto...),
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() {
					if s := r.status(); s.WaitingFor == nil || !strings.Contains(s.WaitingFor.Next, "once Reconcile reads them, within minutes") {
						t.Errorf("waits for %+v", s.WaitingFor)
					}
					r.set(func() { r.truth.StackLabels = auto })
					e := r.notification(2)
					e.Source = managed.SourceReconcile
					r.signal(e)
				})
				r.at(2*time.Minute, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
		},
		{
			name: "repaired labels are found without a signal all the same", labels: append([]string{"gantry:aprovals=2"}, auto...),
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() { r.set(func() { r.truth.StackLabels = auto }) })
				r.at(6*time.Hour+time.Minute, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
		},
		{
			name: "a label that names what is not configured holds the run", labels: append([]string{"gantry:window=business-hours"}, auto...),
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Hour, func() { r.wants(managed.PhaseHolding, "there is no window \"business-hours\"") })
				r.at(2*time.Hour, func() { r.person("jane", confirmed, ""); r.notify(); r.moves(finished) })
			},
			state: finished, outcome: "applied",
		},
		{
			name: "the label that allowed it is gone when Gantry looks", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(time.Minute, func() {
					r.goes(unconfirmed)
					sent := r.notification(2)
					r.set(func() { r.truth.StackLabels = manual })
					r.signal(sent)
				})
				r.at(time.Hour, func() { r.wants(managed.PhaseWaiting, "confirm by hand (default)") })
				r.at(2*time.Hour, func() { r.person("jane", discarded, ""); r.notify() })
			},
			state: discarded, outcome: "discarded",
			mentions: map[string]managed.TimelineKind{"Gantry did not confirm: the policy is not the one": managed.KindAction, "the policy is another now: confirm=manual (default)": managed.KindRules},
		},
		{
			name: "the stack is no longer managed when Gantry looks", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(time.Minute, func() {
					r.goes(unconfirmed)
					sent := r.notification(2)
					r.set(func() { r.truth.StackLabels = []string{"env:prod"} })
					r.signal(sent)
				})
				r.at(time.Hour, func() { r.wants(managed.PhaseWaiting, "no longer carries gantry:managed") })
				r.at(2*time.Hour, func() { r.person("jane", confirmed, ""); r.notify(); r.moves(finished) })
			},
			state: finished, outcome: "applied",
		},
		{
			name: "each plan of a replanned run is judged and confirmed on its own", labels: auto,
			script: func(r *rig) {
				r.set(func() { r.truth.StackLabels = append([]string{"gantry:profile=prod"}, auto...) })
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() { r.wants(managed.PhaseHolding, "gantry:profile=prod") })
				r.at(time.Hour, func() {
					r.set(func() { r.truth.StackLabels = auto })
					r.moves(replan, planning, unconfirmed)
				})
				r.at(2*time.Hour, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
		},
	})
}
