package workflows_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

const (
	queued         = spacelift.RunStateQueued
	ready          = spacelift.RunStateReady
	preparing      = spacelift.RunStatePreparing
	initializing   = spacelift.RunStateInitializing
	planning       = spacelift.RunStatePlanning
	unconfirmed    = spacelift.RunStateUnconfirmed
	replan         = spacelift.RunStateReplanRequested
	confirmed      = spacelift.RunStateConfirmed
	preparingApply = spacelift.RunStatePreparingApply
	applying       = spacelift.RunStateApplying
	finished       = spacelift.RunStateFinished
	discarded      = spacelift.RunStateDiscarded
)

func TestManageRun(t *testing.T) {
	play(t, []story{
		{
			name: "a plan is confirmed automatically, once", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued) })
				r.at(5*time.Second, func() { r.moves(ready, preparing) })
				r.at(20*time.Second, func() { r.moves(initializing) })
				r.at(30*time.Second, func() { r.moves(planning) })
				r.at(31*time.Second, func() {
					r.wants(managed.PhasePlanning, "planning")
				})
				r.at(60*time.Second, func() { r.moves(unconfirmed) })
				r.at(61*time.Second, func() {
					r.wants(managed.PhaseApplying, "plan is confirmed")
					r.notify() // CONFIRMED
				})
				r.at(70*time.Second, func() { r.moves(preparingApply, applying) })
				r.at(90*time.Second, func() { r.moves(finished) })
			},
			state: finished, outcome: "3 added, 1 changed", confirmed: 1, asked: 1,
			mentions: map[string]managed.TimelineKind{
				"confirm: the plan (3 to add, 1 to change, 6 to delete) has changes and gantry:confirm=auto": managed.KindDecision,
				"Gantry confirmed the plan": managed.KindAction,
			},
		},
		{
			name: "a plan without changes needs nobody", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, ready, preparing, initializing, planning) })
				r.at(time.Minute, func() {
					r.mu.Lock()
					r.truth.Delta = &spacelift.Delta{Resources: 42}
					r.mu.Unlock()
					r.moves(finished)
				})
			},
			state: finished, outcome: "no changes",
		},
		{
			name: "without the label a person confirms, and Gantry says so", labels: manual,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Hour, func() {
					r.wants(managed.PhaseWaiting, "confirm by hand (default)")
					if s := r.status(); s.WaitingFor.What != managed.WaitPerson || !strings.Contains(s.WaitingFor.Who, "confirm or discard runs") {
						r.Errorf("waits for %+v, want a person", s.WaitingFor)
					}
				})
				r.at(3*24*time.Hour, func() {
					r.person("jane", confirmed, "go")
					r.notify()
					r.moves(applying, finished)
				})
			},
			state: finished, outcome: "applied",
			mentions: map[string]managed.TimelineKind{"wait: the plan": managed.KindDecision, "CONFIRMED: go": managed.KindEvent},
		},
		{
			name: "everything arrives in one signal, backwards and twice", labels: auto,
			script: func(r *rig) {
				r.goes(queued, ready, preparing, initializing, planning, unconfirmed)
				r.at(0, func() { r.notifyOf(5, 4, 5, 3, 2, 1, 0, 5) })
				r.at(time.Minute, func() { r.notifyOf(6, 5) })
				r.at(2*time.Minute, func() { r.goes(applying, finished); r.notifyOf(8, 7, 5) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
		},
		{
			name: "an old UNCONFIRMED arrives while the run is applying", labels: auto,
			script: func(r *rig) {
				r.goes(queued, planning, unconfirmed)
				r.at(0, func() { r.notifyOf(0) })
				r.at(time.Minute, func() { r.person("jane", confirmed, ""); r.goes(applying); r.notifyOf(4) })
				r.at(2*time.Minute, func() { r.notifyOf(2) })
				r.at(3*time.Minute, func() { r.moves(finished) })
			},
			state: finished, outcome: "applied",
		},
		{
			name: "a person confirms before Gantry does", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(time.Minute, func() {
					r.goes(unconfirmed)
					r.person("jane", confirmed, "go")
					r.notifyOf(2)
				})
				r.at(2*time.Minute, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied",
			mentions: map[string]managed.TimelineKind{
				"jane confirmed the plan in Spacelift":                              managed.KindAction,
				"the API shows states that no notification reported: CONFIRMED (3)": managed.KindRepair,
			},
		},
		{
			name: "a person discards before Gantry confirms", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(time.Minute, func() {
					r.goes(unconfirmed)
					r.person("jane", discarded, "not today")
					r.notifyOf(2) // the DISCARDED one is lost
				})
			},
			state: discarded, outcome: "discarded by jane: not today",
			mentions: map[string]managed.TimelineKind{"did not confirm": managed.KindAction},
		},
		{
			name: "the end arrives first, and with a stale version", labels: auto,
			script: func(r *rig) {
				r.goes(queued, planning, unconfirmed)
				r.at(0, func() { r.notifyOf(2) })
				r.at(time.Minute, func() {
					r.goes(applying, finished)
					end := r.notification(-1)
					end.StateVersion = 1
					r.signal(end)
				})
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
		},
		{
			name: "states and types from the future are followed", labels: auto,
			script: func(r *rig) {
				r.set(func() { r.truth.Type = "ROLLBACK" })
				r.at(0, func() { r.moves(queued) })
				r.at(time.Minute, func() { r.wants(managed.PhaseFollowing, `run type "ROLLBACK"`) })
				r.at(time.Hour, func() { r.moves(unconfirmed) })
				r.at(2*time.Hour, func() { r.set(func() { r.truth.Type = "TRACKED" }); r.moves("SOAKING") })
				r.at(3*time.Hour, func() { r.wants(managed.PhaseFollowing, "state SOAKING") })
				r.at(4*time.Hour, func() { r.moves(finished) })
			},
			state: finished, outcome: "applied",
			mentions: map[string]managed.TimelineKind{"does not know the state SOAKING": managed.KindDecision},
		},
		{
			name: "events of other runs are dropped", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued) })
				r.at(time.Minute, func() {
					other := r.notification(0)
					other.Run.Stack, other.State = "other", finished
					r.signal(other, other)
				})
				r.at(2*time.Minute, func() { r.wants(managed.PhaseQueued, "queue") })
				r.at(time.Hour, func() { r.person("jane", spacelift.RunStateCanceled, ""); r.notify() })
			},
			state: spacelift.RunStateCanceled, outcome: "cancelled",
			mentions: map[string]managed.TimelineKind{"2 events of other runs were dropped": managed.KindNote},
		},
		{
			name: "a signal that cannot be read is dropped", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued) })
				r.at(time.Minute, func() { r.env.SignalWorkflow(managed.RunEventsSignal, "nonsense") })
				r.at(time.Hour, func() { r.person("jane", spacelift.RunStateCanceled, ""); r.notify() })
			},
			state: spacelift.RunStateCanceled, outcome: "cancelled",
			mentions: map[string]managed.TimelineKind{"could not be read": managed.KindNote},
		},
	})
}

func TestStatusHasTheWholeStory(t *testing.T) {
	r := newRig(t, auto)
	r.at(0, func() { r.moves(queued) })
	r.at(30*time.Second, func() { r.moves(planning) })
	r.at(60*time.Second, func() { r.moves(unconfirmed) })
	r.at(65*time.Second, func() { r.notify() })
	r.at(90*time.Second, func() { r.moves(finished) })

	s := r.manage()

	want := managed.RunStatus{
		Run: run, Type: spacelift.RunTypeTracked, State: finished, StateVersion: 4, Phase: managed.PhaseDone,
		Outcome: "the run finished and the plan was applied (3 added, 1 changed, 3 deleted)",
		Managed: true, Labels: []string{"gantry:confirm=auto", "gantry:managed"},
		Policy: configured.Resolve(policy.Labelled(auto)),
		Plans:  []managed.Plan{{StateVersion: 2, Result: managed.PlanConfirmed, At: started.Add(60 * time.Second), Looks: 1}},
		URL:    "https://acme.app.spacelift.io/stack/network-prod/run/" + string(run.Run),
		Branch: "main", Commit: r.truth.Commit, Delta: &spacelift.Delta{Added: 3, Changed: 1, Deleted: 3, Resources: 42}, StackName: "network / prod",
		StartedAt: started, LastEventAt: started.Add(90 * time.Second),
		States: []managed.StateEntry{
			{State: queued, StateVersion: 0, At: started, Source: managed.SourceWebhook},
			{State: planning, StateVersion: 1, At: started.Add(30 * time.Second), Source: managed.SourceWebhook},
			{State: unconfirmed, StateVersion: 2, At: started.Add(60 * time.Second), Source: managed.SourceWebhook},
			{State: confirmed, StateVersion: 3, At: started.Add(60 * time.Second), Source: managed.SourceWebhook, Actor: "api::gantry", Note: spacelift.Mark{Verb: "confirm", StateVersion: 2}.Sign(r.confirmed[0])},
			{State: finished, StateVersion: 4, At: started.Add(90 * time.Second), Source: managed.SourceWebhook},
		},
	}
	got := s
	got.Timeline = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	story := []string{
		"event: the run is QUEUED",
		"event: the run is PLANNING",
		"event: the run is UNCONFIRMED",
		"decision: confirm: the plan (3 to add, 1 to change, 3 to delete) has changes and gantry:confirm=auto confirms them",
		"action: Gantry confirmed the plan (3 to add, 1 to change, 3 to delete)",
		"event: the run is CONFIRMED: Confirmed by Gantry because of gantry:confirm=auto (state version 2). [gantry: confirm 2]",
		"event: the run is FINISHED",
	}
	if diff := cmp.Diff(story, timeline(s, managed.KindEvent, managed.KindDecision, managed.KindAction, managed.KindRepair, managed.KindNote)); diff != "" {
		t.Errorf("timeline (-want +got):\n%s", diff)
	}
}
