package workflows_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/workflows"
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

// A story is a script, and what is true at its end.
func TestManageRun(t *testing.T) {
	for _, tc := range []struct {
		name   string
		labels []string
		script func(r *rig)

		state     spacelift.RunState
		outcome   string                            // a part of it
		confirmed int                               // confirmations by Gantry that took effect
		asked     int                               // confirmations that Gantry sent
		mentions  map[string]workflows.TimelineKind // parts of the timeline
	}{
		{
			name: "a plan is confirmed automatically, once", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued) })
				r.at(5*time.Second, func() { r.moves(ready, preparing) })
				r.at(20*time.Second, func() { r.moves(initializing) })
				r.at(30*time.Second, func() { r.moves(planning) })
				r.at(31*time.Second, func() {
					r.wants(workflows.PhasePlanning, "planning")
				})
				r.at(60*time.Second, func() { r.moves(unconfirmed) })
				r.at(61*time.Second, func() {
					r.wants(workflows.PhaseApplying, "plan is confirmed")
					r.told() // CONFIRMED
				})
				r.at(70*time.Second, func() { r.moves(preparingApply, applying) })
				r.at(90*time.Second, func() { r.moves(finished) })
			},
			state: finished, outcome: "3 added, 1 changed", confirmed: 1, asked: 1,
			mentions: map[string]workflows.TimelineKind{
				"confirm: the plan (3 to add, 1 to change, 6 to delete) has changes and gantry:confirm=auto": workflows.KindDecision,
				"Gantry confirmed the plan": workflows.KindAction,
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
					r.wants(workflows.PhaseWaiting, "confirm by hand (default)")
					if s := r.status(); s.WaitingFor.What != workflows.WaitPerson || !strings.Contains(s.WaitingFor.Who, "confirm or discard runs") {
						r.Errorf("waits for %+v, want a person", s.WaitingFor)
					}
				})
				r.at(3*24*time.Hour, func() {
					r.person("jane", confirmed, "go")
					r.told()
					r.moves(applying, finished)
				})
			},
			state: finished, outcome: "applied",
			mentions: map[string]workflows.TimelineKind{"wait: the plan": workflows.KindDecision, "CONFIRMED: go": workflows.KindEvent},
		},
		{
			name: "everything arrives in one signal, backwards and twice", labels: auto,
			script: func(r *rig) {
				r.goes(queued, ready, preparing, initializing, planning, unconfirmed)
				r.at(0, func() { r.toldOf(5, 4, 5, 3, 2, 1, 0, 5) })
				r.at(time.Minute, func() { r.toldOf(6, 5) })
				r.at(2*time.Minute, func() { r.goes(applying, finished); r.toldOf(8, 7, 5) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
		},
		{
			name: "an old UNCONFIRMED arrives while the run is applying", labels: auto,
			script: func(r *rig) {
				r.goes(queued, planning, unconfirmed)
				r.at(0, func() { r.toldOf(0) })
				r.at(time.Minute, func() { r.person("jane", confirmed, ""); r.goes(applying); r.toldOf(4) })
				r.at(2*time.Minute, func() { r.toldOf(2) })
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
					r.toldOf(2)
				})
				r.at(2*time.Minute, func() { r.told(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied",
			mentions: map[string]workflows.TimelineKind{
				"jane confirmed the plan in Spacelift":                           workflows.KindAction,
				"the API told of states that no notification had: CONFIRMED (3)": workflows.KindRepair,
			},
		},
		{
			name: "a person discards before Gantry confirms", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(time.Minute, func() {
					r.goes(unconfirmed)
					r.person("jane", discarded, "not today")
					r.toldOf(2) // the DISCARDED one is lost
				})
			},
			state: discarded, outcome: "discarded by jane: not today",
			mentions: map[string]workflows.TimelineKind{"did not confirm": workflows.KindAction},
		},
		{
			name: "Spacelift is away for hours and comes back", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(time.Minute, func() { r.set(func() { r.away = true }); r.moves(unconfirmed) })
				r.at(3*time.Hour, func() {
					r.wants(workflows.PhaseConfirming, "gantry:confirm=auto")
					r.set(func() { r.away = false })
				})
				r.at(3*time.Hour+5*time.Minute, func() { r.told(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
			mentions: map[string]workflows.TimelineKind{
				"did not confirm at once (dial tcp: connection refused)": workflows.KindNote,
				"Gantry confirmed the plan":                              workflows.KindAction,
			},
		},
		{
			name: "somebody discards while Spacelift does not answer Gantry", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(time.Minute, func() { r.set(func() { r.away = true }); r.moves(unconfirmed) })
				r.at(time.Hour, func() { r.person("jane", discarded, ""); r.told() })
				r.at(2*time.Hour, func() { r.set(func() { r.away = false }) })
			},
			state: discarded, outcome: "discarded",
			mentions: map[string]workflows.TimelineKind{"no longer asks Spacelift to confirm": workflows.KindNote},
		},
		{
			name: "somebody confirms while Spacelift does not answer Gantry", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(time.Minute, func() { r.set(func() { r.away = true }); r.moves(unconfirmed) })
				r.at(time.Hour, func() { r.person("jane", confirmed, ""); r.told() })
				r.at(2*time.Hour, func() { r.set(func() { r.away = false }); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied",
			mentions: map[string]workflows.TimelineKind{"no longer asks Spacelift to confirm": workflows.KindNote},
		},
		{
			name: "somebody asks for another plan while Spacelift does not answer Gantry", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(time.Minute, func() { r.set(func() { r.away = true }); r.moves(unconfirmed) })
				r.at(time.Hour, func() { r.moves(replan, planning, unconfirmed) })
				r.at(2*time.Hour, func() { r.set(func() { r.away = false }) })
				r.at(3*time.Hour, func() { r.told(); r.moves(applying, finished) })
			},
			state: finished, outcome: "3 added, 1 changed, 6 deleted", confirmed: 1, asked: 1,
			mentions: map[string]workflows.TimelineKind{"confirm: the plan (3 to add, 1 to change, 6 to delete)": workflows.KindDecision},
		},
		{
			name: "the answer to the confirmation is lost", labels: auto,
			script: func(r *rig) {
				r.set(func() { r.loses = 1 })
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() { r.told(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
			mentions: map[string]workflows.TimelineKind{"an earlier attempt confirmed the plan": workflows.KindAction},
		},
		{
			name: "the API is a little behind its notifications", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(time.Minute, func() { r.set(func() { r.lags = true }); r.moves(unconfirmed) })
				r.at(time.Minute+10*time.Second, func() {
					r.wants(workflows.PhaseConfirming, "gantry:confirm=auto")
					r.set(func() { r.lags = false })
				})
				r.at(3*time.Minute, func() { r.told(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
			mentions: map[string]workflows.TimelineKind{"the API shows run acme/network-prod/01KDX3V4T8Q2M5N7P9R1S3T5V7 in PLANNING (1)": workflows.KindNote},
		},
		{
			name: "an unreadable label holds the run", labels: append([]string{"gantry:aprovals=2"}, auto...),
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Hour, func() { r.wants(workflows.PhaseHolding, "gantry:aprovals=2 can't be followed") })
				r.at(2*time.Hour, func() { r.person("jane", discarded, ""); r.told() })
			},
			state: discarded, outcome: "discarded",
			mentions: map[string]workflows.TimelineKind{"hold: the label gantry:aprovals=2": workflows.KindDecision},
		},
		{
			name: "a label for a later version holds the run", labels: append([]string{"gantry:window=business-hours"}, auto...),
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Hour, func() { r.wants(workflows.PhaseHolding, "this version of Gantry cannot do that yet; remove it") })
				r.at(2*time.Hour, func() { r.person("jane", confirmed, ""); r.told(); r.moves(finished) })
			},
			state: finished, outcome: "applied",
		},
		{
			name: "the label that allowed it is gone when Gantry looks", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(time.Minute, func() {
					r.goes(unconfirmed)
					told := r.notification(2)
					r.set(func() { r.truth.StackLabels = manual })
					r.signal(told)
				})
				r.at(time.Hour, func() { r.wants(workflows.PhaseWaiting, "confirm by hand (default)") })
				r.at(2*time.Hour, func() { r.person("jane", discarded, ""); r.told() })
			},
			state: discarded, outcome: "discarded",
			mentions: map[string]workflows.TimelineKind{"the stack's labels are gantry:managed, not gantry:confirm=auto gantry:managed": workflows.KindAction},
		},
		{
			name: "the stack is no longer managed when Gantry looks", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(time.Minute, func() {
					r.goes(unconfirmed)
					told := r.notification(2)
					r.set(func() { r.truth.StackLabels = []string{"env:prod"} })
					r.signal(told)
				})
				r.at(time.Hour, func() { r.wants(workflows.PhaseWaiting, "no longer carries gantry:managed") })
				r.at(2*time.Hour, func() { r.person("jane", confirmed, ""); r.told(); r.moves(finished) })
			},
			state: finished, outcome: "applied",
		},
		{
			name: "each plan of a replanned run is judged and confirmed on its own", labels: auto,
			script: func(r *rig) {
				r.set(func() { r.truth.StackLabels = append([]string{"gantry:profile=prod"}, auto...) })
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() { r.wants(workflows.PhaseHolding, "gantry:profile=prod") })
				r.at(time.Hour, func() {
					r.set(func() { r.truth.StackLabels = auto })
					r.moves(replan, planning, unconfirmed)
				})
				r.at(2*time.Hour, func() { r.told(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
		},
		{
			name: "the end arrives first, and with a stale version", labels: auto,
			script: func(r *rig) {
				r.goes(queued, planning, unconfirmed)
				r.at(0, func() { r.toldOf(2) })
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
			name: "Spacelift refuses", labels: auto,
			script: func(r *rig) {
				r.set(func() { r.refuses = illegal("stack is locked") })
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Hour, func() { r.told(); r.wants(workflows.PhaseHolding, "stack is locked") })
				r.at(2*time.Hour, func() { r.person("jane", discarded, ""); r.told() })
			},
			state: discarded, outcome: "discarded", asked: 1,
			mentions: map[string]workflows.TimelineKind{"Spacelift refused to confirm": workflows.KindAction},
		},
		{
			name: "Spacelift refuses without a reason that Gantry knows, for long", labels: auto,
			script: func(r *rig) {
				r.set(func() { r.refuses = &spacelift.GraphQLError{Messages: []string{"internal failure"}} })
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() { r.wants(workflows.PhaseConfirming, "gantry:confirm=auto") })
				r.at(time.Hour, func() { r.wants(workflows.PhaseHolding, "internal failure") })
				r.at(2*time.Hour, func() { r.person("jane", discarded, ""); r.told() })
			},
			state: discarded, outcome: "discarded", asked: 13, // 3 at once, then 10
			mentions: map[string]workflows.TimelineKind{"Spacelift refused to confirm": workflows.KindAction},
		},
		{
			name: "another plan is the first thing heard while Spacelift does not answer Gantry", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(time.Minute, func() { r.set(func() { r.away = true }); r.moves(unconfirmed) })
				r.at(time.Hour, func() { r.goes(replan, planning, unconfirmed); r.told() })
				r.at(2*time.Hour, func() { r.set(func() { r.away = false }) })
				r.at(3*time.Hour, func() { r.told(); r.moves(applying, finished) })
			},
			state: finished, outcome: "3 added, 1 changed, 6 deleted", confirmed: 1, asked: 1,
			mentions: map[string]workflows.TimelineKind{"confirm: the plan (3 to add, 1 to change, 6 to delete)": workflows.KindDecision},
		},
		{
			name: "an approval policy in Spacelift comes first", labels: auto,
			script: func(r *rig) {
				r.set(func() { r.truth.NeedsApproval = true })
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Hour, func() { r.wants(workflows.PhaseHolding, "an approval policy in Spacelift") })
				r.at(2*time.Hour, func() { r.person("jane", discarded, ""); r.told() })
			},
			state: discarded, outcome: "discarded",
		},
		{
			name: "the API key is refused", labels: auto,
			script: func(r *rig) {
				r.set(func() { r.broken = spacelift.ErrUnauthorized })
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Hour, func() {
					r.wants(workflows.PhaseHolding, "unauthorized")
					if r.reads != 1 {
						r.Errorf("%d calls were made with a key that is refused, want 1", r.reads)
					}
				})
				r.at(2*time.Hour, func() { r.person("jane", discarded, ""); r.told() })
			},
			state: discarded, outcome: "discarded",
		},
		{
			name: "states and types from the future are followed", labels: auto,
			script: func(r *rig) {
				r.set(func() { r.truth.Type = "ROLLBACK" })
				r.at(0, func() { r.moves(queued) })
				r.at(time.Minute, func() { r.wants(workflows.PhaseFollowing, `run type "ROLLBACK"`) })
				r.at(time.Hour, func() { r.moves(unconfirmed) })
				r.at(2*time.Hour, func() { r.set(func() { r.truth.Type = "TRACKED" }); r.moves("SOAKING") })
				r.at(3*time.Hour, func() { r.wants(workflows.PhaseFollowing, "state SOAKING") })
				r.at(4*time.Hour, func() { r.moves(finished) })
			},
			state: finished, outcome: "applied",
			mentions: map[string]workflows.TimelineKind{"does not know the state SOAKING": workflows.KindDecision},
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
				r.at(2*time.Minute, func() { r.wants(workflows.PhaseQueued, "queue") })
				r.at(time.Hour, func() { r.person("jane", spacelift.RunStateCanceled, ""); r.told() })
			},
			state: spacelift.RunStateCanceled, outcome: "cancelled",
			mentions: map[string]workflows.TimelineKind{"2 events of other runs were dropped": workflows.KindNote},
		},
		{
			name: "a signal that cannot be read is dropped", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued) })
				r.at(time.Minute, func() { r.env.SignalWorkflow(workflows.RunEventsSignal, "nonsense") })
				r.at(time.Hour, func() { r.person("jane", spacelift.RunStateCanceled, ""); r.told() })
			},
			state: spacelift.RunStateCanceled, outcome: "cancelled",
			mentions: map[string]workflows.TimelineKind{"could not be read": workflows.KindNote},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, tc.labels)
			tc.script(r)
			s := r.manage()
			if s.State != tc.state || s.Phase != workflows.PhaseDone || s.WaitingFor != nil {
				t.Errorf("ended in %s, phase %s, waiting for %+v; want %s, done, nothing", s.State, s.Phase, s.WaitingFor, tc.state)
			}
			if !strings.Contains(s.Outcome, tc.outcome) {
				t.Errorf("outcome %q does not say %q", s.Outcome, tc.outcome)
			}
			if len(r.confirmed) != tc.confirmed || r.asked != tc.asked {
				t.Errorf("confirmed %d times with %d requests, want %d with %d", len(r.confirmed), r.asked, tc.confirmed, tc.asked)
			}
			for text, kind := range tc.mentions {
				r.mentions(s, kind, text)
			}
			if t.Failed() {
				for _, e := range s.Timeline {
					t.Logf("%s %s %s %s(%d): %s", e.At.Format(time.TimeOnly), e.Kind, e.Source, e.State, e.StateVersion, e.Summary)
				}
			}
		})
	}
}

// set changes the world while nobody looks.
func (r *rig) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

// A forged notification can make Gantry look, never act, and cannot keep it
// from acting on the real plan.
func TestForgedNotifications(t *testing.T) {
	r := newRig(t, auto)
	r.at(0, func() { r.moves(queued, planning) })
	r.at(time.Minute, func() {
		forged := r.notification(1)
		forged.State, forged.StateVersion = unconfirmed, 1_000
		r.signal(forged)
	})
	r.at(time.Hour, func() {
		r.wants(workflows.PhasePlanning, "planning")
		if r.asked != 0 {
			r.Errorf("Gantry sent %d confirmations because of a forgery", r.asked)
		}
	})
	r.at(2*time.Hour, func() { r.moves(unconfirmed) })
	r.at(3*time.Hour, func() { r.told(); r.moves(applying, finished) })

	s := r.manage()

	if s.State != finished || len(r.confirmed) != 1 {
		t.Errorf("ended in %s with %d confirmations, want FINISHED with 1", s.State, len(r.confirmed))
	}
	r.mentions(s, workflows.KindRepair, "is not believed: UNCONFIRMED (1000)")
}

// Notifications that contradict the API for good end in a hold, not in a loop.
func TestContradictionEndsInAHold(t *testing.T) {
	r := newRig(t, auto)
	r.at(0, func() { r.moves(queued, planning) })
	r.at(time.Minute, func() {
		r.goes(unconfirmed)
		told := r.notification(2)
		r.set(func() { r.truth.Delta = nil }) // the API never tells what the notification did
		r.signal(told)
	})
	r.at(time.Hour, func() { r.wants(workflows.PhaseHolding, "keep telling different things") })
	r.at(2*time.Hour, func() { r.person("jane", discarded, ""); r.told() })

	r.manage()

	if r.reads > 5 || r.asked != 0 {
		t.Errorf("%d reads and %d confirmations, want a few and none", r.reads, r.asked)
	}
}

func TestStatusTellsTheWholeStory(t *testing.T) {
	r := newRig(t, auto)
	r.at(0, func() { r.moves(queued) })
	r.at(30*time.Second, func() { r.moves(planning) })
	r.at(60*time.Second, func() { r.moves(unconfirmed) })
	r.at(65*time.Second, func() { r.told() })
	r.at(90*time.Second, func() { r.moves(finished) })

	s := r.manage()

	want := workflows.RunStatus{
		Run: run, Type: spacelift.RunTypeTracked, State: finished, StateVersion: 4, Phase: workflows.PhaseDone,
		Outcome: "the run finished and the plan was applied (3 added, 1 changed, 3 deleted)",
		Managed: true, Labels: []string{"gantry:confirm=auto", "gantry:managed"},
		Policy: workflows.Policy{Confirm: workflows.Setting[workflows.ConfirmMode]{Value: workflows.ConfirmAuto, Origin: "gantry:confirm=auto"}},
		Plans:  []workflows.Plan{{StateVersion: 2, Result: workflows.PlanConfirmed, At: started.Add(60 * time.Second), Looks: 1}},
		Branch: "main", Commit: r.truth.Commit, Delta: &spacelift.Delta{Added: 3, Changed: 1, Deleted: 3, Resources: 42}, StackName: "network / prod",
		StartedAt: started, LastEventAt: started.Add(90 * time.Second),
		States: []workflows.StateEntry{
			{State: queued, StateVersion: 0, At: started, Source: workflows.SourceWebhook},
			{State: planning, StateVersion: 1, At: started.Add(30 * time.Second), Source: workflows.SourceWebhook},
			{State: unconfirmed, StateVersion: 2, At: started.Add(60 * time.Second), Source: workflows.SourceWebhook},
			{State: confirmed, StateVersion: 3, At: started.Add(60 * time.Second), Source: workflows.SourceWebhook, Note: r.confirmed[0]},
			{State: finished, StateVersion: 4, At: started.Add(90 * time.Second), Source: workflows.SourceWebhook},
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
		"event: the run is CONFIRMED: Confirmed by Gantry because of gantry:confirm=auto (state version 2).",
		"event: the run is FINISHED",
	}
	if diff := cmp.Diff(story, timeline(s, workflows.KindEvent, workflows.KindDecision, workflows.KindAction, workflows.KindRepair, workflows.KindNote)); diff != "" {
		t.Errorf("timeline (-want +got):\n%s", diff)
	}
}
