package workflows_test

import (
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
)

// What people approved can be taken back for as long as Spacelift has not done
// it, however long Gantry has been asking.
func TestPeopleObject(t *testing.T) {
	approved := func(r *rig) {
		r.at(0, func() { r.moves(queued, planning, unconfirmed) })
		r.at(time.Minute, func() { r.set(func() { r.away = true }) })
		r.at(2*time.Minute, func() { r.says(ann, managed.Approve, "") })
	}
	back := func(r *rig) { r.at(2*time.Hour, func() { r.set(func() { r.away = false }) }) }
	play(t, []story{
		{
			name: "a rejection", labels: asked,
			script: func(r *rig) {
				approved(r)
				r.at(time.Hour, func() { r.denied(bob, managed.Approve, managed.ErrTypeTooLate, "is asking Spacelift to confirm") })
				r.at(time.Hour+time.Minute, func() { r.says(bob, managed.Reject, "not today") })
				back(r)
				r.at(3*time.Hour, func() { r.did("discard: Rejected through Gantry by bob: not today"); r.notify() })
			},
			state: discarded, outcome: "discarded",
			mentions: map[string]managed.TimelineKind{"Gantry no longer asks Spacelift to confirm": managed.KindNote, "bob rejected the plan": managed.KindPerson},
		},
		{
			name: "who approved thinks better of it", labels: asked,
			script: func(r *rig) {
				approved(r)
				r.at(time.Hour, func() { r.says(ann, managed.Revoke, "") })
				back(r)
				r.at(3*time.Hour, func() { r.wants(managed.PhaseWaiting, "0 of 1 approval"); r.says(bob, managed.Approve, "") })
				r.at(4*time.Hour, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
		},
		{
			name: "a stop", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning); r.set(func() { r.away = true }); r.moves(unconfirmed) })
				r.at(time.Hour, func() { r.update(managed.StopUpdate, managed.StopRequest{By: ann}) })
				back(r)
				r.at(3*time.Hour, func() { r.did("discard: Stopped through Gantry by ann"); r.notify() })
			},
			state: discarded, outcome: "discarded",
		},
		{
			name: "too late: the answer was lost, and the plan is confirmed", labels: asked,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() {
					r.set(func() { r.loses = 1 })
					r.onConfirm = func(int) { r.away = true }
					r.says(ann, managed.Approve, "")
				})
				r.at(time.Hour, func() { r.update(managed.DecideUpdate, managed.Decision{Verdict: managed.Reject, By: bob}) })
				back(r)
				r.at(3*time.Hour, func() { r.did(); r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
			mentions: map[string]managed.TimelineKind{"confirmed the plan in Spacelift": managed.KindNote},
		},
	})
}

// While a window keeps an approved plan no clock runs; if people take back what
// they said, others have the whole time.
func TestARevokedApprovalBeginsTheClocksAnew(t *testing.T) {
	r := newRig(t, append([]string{"gantry:approval-timeout=2h", "gantry:window=mornings"}, asked...))
	r.at(0, func() { r.moves(queued, planning, unconfirmed) })
	r.at(time.Minute, func() { r.says(ann, managed.Approve, "") })
	r.at(5*time.Hour, func() {
		r.wants(managed.PhaseHolding, "the window mornings is closed")
		r.says(ann, managed.Revoke, "let bob look as well")
	})
	r.at(6*time.Hour, func() {
		r.wants(managed.PhaseWaiting, "0 of 1 approval")
		if until := r.status().WaitingFor.Until; !until.Equal(started.Add(7 * time.Hour)) {
			t.Errorf("the time is over at %s, want two hours after the approval was taken back", until)
		}
		r.received(
			"deploys run.decision_needed: network / prod: a plan waits for 1 approval",
			"deploys run.decision_needed: network / prod: a plan waits for 1 approval",
		)
	})
	r.at(8*time.Hour, func() { r.did("discard: Discarded by Gantry: nobody approved within 2h."); r.notify() })
	r.manage()
}
