package workflows_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// Spacelift's API is away, slow, behind, refuses, or loses its answers.
func TestManageRunWhileTheAPIIsInTrouble(t *testing.T) {
	play(t, []story{
		{
			name: "Spacelift is away for hours and comes back", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(time.Minute, func() { r.set(func() { r.away = true }); r.moves(unconfirmed) })
				r.at(3*time.Hour, func() {
					r.wants(managed.PhaseConfirming, "gantry:confirm=auto")
					r.set(func() { r.away = false })
				})
				r.at(3*time.Hour+5*time.Minute, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
			mentions: map[string]managed.TimelineKind{
				"did not confirm immediately (dial tcp: connection refused)": managed.KindNote,
				"Gantry confirmed the plan":                                  managed.KindAction,
			},
		},
		{
			name: "somebody discards while Spacelift does not answer Gantry", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(time.Minute, func() { r.set(func() { r.away = true }); r.moves(unconfirmed) })
				r.at(time.Hour, func() { r.person("jane", discarded, ""); r.notify() })
				r.at(2*time.Hour, func() { r.set(func() { r.away = false }) })
			},
			state: discarded, outcome: "discarded",
			mentions: map[string]managed.TimelineKind{"Gantry did not confirm: the run is in DISCARDED (3)": managed.KindAction},
		},
		{
			name: "somebody confirms while Spacelift does not answer Gantry", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(time.Minute, func() { r.set(func() { r.away = true }); r.moves(unconfirmed) })
				r.at(time.Hour, func() { r.person("jane", confirmed, ""); r.notify() })
				r.at(2*time.Hour, func() { r.set(func() { r.away = false }); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied",
			mentions: map[string]managed.TimelineKind{"no longer asks Spacelift to confirm": managed.KindNote},
		},
		{
			name: "somebody asks for another plan while Spacelift does not answer Gantry", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(time.Minute, func() { r.set(func() { r.away = true }); r.moves(unconfirmed) })
				r.at(time.Hour, func() { r.moves(replan, planning, unconfirmed) })
				r.at(2*time.Hour, func() { r.set(func() { r.away = false }) })
				r.at(3*time.Hour, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "3 added, 1 changed, 6 deleted", confirmed: 1, asked: 1,
			mentions: map[string]managed.TimelineKind{"confirm: the plan (3 to add, 1 to change, 6 to delete)": managed.KindDecision},
		},
		{
			name: "the answer to the confirmation is lost", labels: auto,
			script: func(r *rig) {
				r.set(func() { r.loses = 1 })
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
			mentions: map[string]managed.TimelineKind{"an earlier attempt confirmed the plan": managed.KindAction},
		},
		{
			name: "the API is a little behind its notifications", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(time.Minute, func() { r.set(func() { r.lags = true }); r.moves(unconfirmed) })
				r.at(time.Minute+10*time.Second, func() {
					r.wants(managed.PhaseConfirming, "gantry:confirm=auto")
					r.set(func() { r.lags = false })
				})
				r.at(3*time.Minute, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
			mentions: map[string]managed.TimelineKind{"the API shows run acme/network-prod/01KDX3V4T8Q2M5N7P9R1S3T5V7 in PLANNING (1)": managed.KindNote},
		},
		{
			name: "Spacelift refuses", labels: auto,
			script: func(r *rig) {
				r.set(func() { r.refuses = illegal("stack is locked") })
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Hour, func() {
					r.notify()
					r.wants(managed.PhaseHolding, "stack is locked")
					if until := r.status().WaitingFor.Until; until.IsZero() {
						r.Error("it does not say when Gantry tries again")
					}
				})
				r.at(2*time.Hour, func() { r.person("jane", discarded, ""); r.notify() })
			},
			state: discarded, outcome: "discarded", asked: 5, // immediately, and 5, 15, 35 and 75 minutes later
			mentions: map[string]managed.TimelineKind{"Spacelift refused to confirm": managed.KindAction},
		},
		{
			name: "Spacelift refuses without a reason that Gantry knows, for long", labels: auto,
			script: func(r *rig) {
				r.set(func() { r.refuses = &spacelift.GraphQLError{Messages: []string{"internal failure"}} })
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() { r.wants(managed.PhaseConfirming, "gantry:confirm=auto") })
				r.at(7*time.Minute, func() { r.wants(managed.PhaseHolding, "internal failure"); r.person("jane", discarded, ""); r.notify() })
			},
			state: discarded, outcome: "discarded", asked: 13, // 3 quick ones, then 10
			mentions: map[string]managed.TimelineKind{"Spacelift refused to confirm": managed.KindAction},
		},
		{
			name: "another plan is the first thing received while Spacelift does not answer Gantry", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(time.Minute, func() { r.set(func() { r.away = true }); r.moves(unconfirmed) })
				r.at(time.Hour, func() { r.goes(replan, planning, unconfirmed); r.notify() })
				r.at(2*time.Hour, func() { r.set(func() { r.away = false }) })
				r.at(3*time.Hour, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "3 added, 1 changed, 6 deleted", confirmed: 1, asked: 1,
			mentions: map[string]managed.TimelineKind{"confirm: the plan (3 to add, 1 to change, 6 to delete)": managed.KindDecision},
		},
		{
			name: "an approval policy in Spacelift asks people", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(time.Minute, func() { r.set(func() { r.truth.NeedsApproval = true }); r.moves(unconfirmed) })
				r.at(time.Hour, func() { r.wants(managed.PhaseWaiting, "an approval policy in Spacelift") })
				r.at(2*time.Hour, func() { r.person("jane", discarded, ""); r.notify() })
			},
			state: discarded, outcome: "discarded",
		},
		{
			name: "the API key is refused", labels: auto,
			script: func(r *rig) {
				r.set(func() { r.broken = spacelift.ErrUnauthorized })
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(4*time.Minute, func() { r.wants(managed.PhaseHolding, "unauthorized"); r.readTimes(2) })
				r.at(time.Hour, func() { r.readTimes(5) }) // a key may get its rights back
				r.at(2*time.Hour, func() {
					r.set(func() { r.broken = nil })
					r.person("jane", discarded, "")
					r.notify()
				})
			},
			state: discarded, outcome: "discarded by jane",
		},
	})
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
		r.wants(managed.PhasePlanning, "planning")
		if r.asked != 0 {
			r.Errorf("Gantry sent %d confirmations because of a forgery", r.asked)
		}
	})
	r.at(2*time.Hour, func() { r.moves(unconfirmed) })
	r.at(3*time.Hour, func() { r.notify(); r.moves(applying, finished) })

	s := r.manage()

	if s.State != finished || len(r.confirmed) != 1 {
		t.Errorf("ended in %s with %d confirmations, want FINISHED with 1", s.State, len(r.confirmed))
	}
	r.mentions(s, managed.KindRepair, "is not believed: UNCONFIRMED (1000)")
}

// However many notifications somebody forges, Gantry reads the real state, within a
// minute of the API's answering.
func TestAFloodOfForgeriesDeafensNobody(t *testing.T) {
	r := newRig(t, auto)
	forge := func(from int) {
		var forged []managed.RunEvent
		for i := range 250 {
			e := r.notification(1)
			e.StateVersion = from + i
			forged = append(forged, e)
		}
		r.signal(forged...)
	}
	r.at(0, func() { r.moves(queued, planning) })
	r.at(time.Minute, func() { forge(1_000) })
	r.at(2*time.Minute, func() { forge(2_000) })
	r.at(3*time.Minute, func() { forge(1_000); forge(3_000) })
	r.at(3*time.Minute+30*time.Second, func() { r.moves(unconfirmed) })
	r.at(5*time.Minute, func() {
		if len(r.confirmed) != 1 {
			t.Errorf("the plan is not confirmed: %+v", r.status().WaitingFor)
		}
		r.notify()
		r.moves(applying, finished)
	})
	if s := r.manage(); s.State != finished {
		t.Errorf("ended in %s", s.State)
	}
}

// A plan that waits keeps waiting though somebody forges the run's end, even
// while the API is away.
func TestAForgedEndOfAPlanThatWaits(t *testing.T) {
	for _, end := range []spacelift.RunState{finished, spacelift.RunStateSkipped, discarded} {
		for _, away := range []time.Duration{0, 3 * time.Minute} {
			t.Run(fmt.Sprint(end, " and no answer for ", away), func(t *testing.T) {
				r := newRig(t, asked)
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() {
					r.set(func() { r.away = away > 0 })
					forged := r.notification(2)
					forged.State, forged.StateVersion = end, 3
					r.signal(forged)
				})
				r.at(time.Minute+away, func() { r.set(func() { r.away = false }) })
				r.at(20*time.Minute, func() {
					r.wants(managed.PhaseWaiting, "0 of 1 approval")
					r.says(ann, managed.Approve, "")
				})
				r.at(time.Hour, func() { r.notify(); r.moves(applying, finished) })
				if s := r.manage(); s.State != finished || len(r.confirmed) != 1 {
					t.Errorf("ended in %s with %d confirmations", s.State, len(r.confirmed))
				}
			})
		}
	}
}

// What only a notification says of the size of a plan keeps nothing from being
// confirmed.
func TestASizeThatTheAPIDoesNotShow(t *testing.T) {
	r := newRig(t, auto)
	r.at(0, func() { r.moves(queued, planning) })
	r.at(time.Minute, func() {
		r.goes(unconfirmed)
		sent := r.notification(2)
		r.set(func() { r.truth.Delta = nil })
		r.signal(sent)
	})
	r.at(time.Hour, func() { r.notify(); r.moves(applying, finished) })
	if s := r.manage(); len(r.confirmed) != 1 || s.Delta != nil {
		t.Errorf("%d confirmations of a plan of %+v, want one of unknown size", len(r.confirmed), s.Delta)
	}
}

// A plan that is another at every reading ends in a hold, not in a loop.
func TestContradictionEndsInAHold(t *testing.T) {
	r := newRig(t, auto)
	r.set(func() { r.shifts = true })
	r.at(0, func() { r.moves(queued, planning, unconfirmed) })
	r.at(time.Hour, func() { r.wants(managed.PhaseHolding, "keep contradicting each other") })
	r.at(2*time.Hour, func() { r.person("jane", discarded, ""); r.notify() })

	r.manage()

	if r.reads > 6 || r.asked != 0 {
		t.Errorf("%d reads and %d confirmations, want a few and none", r.reads, r.asked)
	}
}
