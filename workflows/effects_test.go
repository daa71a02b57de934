package workflows_test

import (
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// reconciled signals to the execution what the API shows of the run's state, as
// Reconcile does.
func (r *rig) reconciled() {
	e := r.notification(-1)
	e.Source, e.ReceivedAt, e.NeedsApproval = managed.SourceReconcile, r.env.Now().UTC(), r.truth.NeedsApproval
	e.Block = r.truth.Brakes.ConfirmBlock(run.Run)
	r.signal(e)
}

// What Spacelift accepts and does not do is asked for once more, and then is for
// people. Nothing waits without an end for Spacelift to continue.
func TestWhatSpaceliftAcceptsAndDoesNotDo(t *testing.T) {
	deployed := func(labels ...string) []string { return append([]string{"gantry:notify=deploys"}, labels...) }
	play(t, []story{
		{
			name: "a confirmation without an effect", labels: deployed(auto...),
			script: func(r *rig) {
				r.set(func() { r.deafToConfirms = true })
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(9*time.Minute, func() { r.wants(managed.PhaseApplying, "the plan is confirmed") })
				r.at(25*time.Minute, func() {
					r.wants(managed.PhaseHolding, "Spacelift accepted 2 times that Gantry wants to confirm the plan, and the run is still UNCONFIRMED (2)")
					r.received("deploys run.held: network / prod: a plan is held")
					if r.asked != 2 {
						t.Errorf("asked %d times to confirm", r.asked)
					}
					if p := r.status().Plans; len(p) != 1 || p[0].Result != managed.PlanIneffective {
						t.Errorf("plans: %+v", p)
					}
				})
				r.at(7*24*time.Hour, func() {
					if w := r.status().WaitingFor; r.asked != 2 || w.What != managed.WaitPerson {
						t.Errorf("asked %d times, and waits for %+v", r.asked, w)
					}
					r.person("jane", discarded, "")
					r.notify()
				})
			},
			state: discarded, outcome: "discarded by jane", asked: 2,
			mentions: map[string]managed.TimelineKind{
				"Gantry confirmed the plan, and the run is still UNCONFIRMED (2) after 10m: Gantry asks again": managed.KindNote,
				"jane discarded the plan in Spacelift":                                                         managed.KindNote,
			},
		},
		{
			name: "a confirmation that has an effect the second time", labels: auto,
			script: func(r *rig) {
				r.set(func() { r.deafToConfirms = true })
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(5*time.Minute, func() { r.set(func() { r.deafToConfirms = false }) })
				r.at(11*time.Minute, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 2,
		},
		{
			name: "people reject what Spacelift does not confirm", labels: asked,
			script: func(r *rig) {
				r.set(func() { r.deafToConfirms = true })
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() { r.says(ann, managed.Approve, "") })
				r.at(30*time.Minute, func() {
					r.denied(bob, managed.Approve, managed.ErrTypeTooLate, "confirm or discard it in Spacelift, or reject it")
					r.says(bob, managed.Reject, "enough")
				})
				r.at(31*time.Minute, func() { r.did("discard: Rejected through Gantry by bob: enough"); r.notify() })
			},
			state: discarded, outcome: "Rejected through Gantry by bob: enough", asked: 2,
		},
		{
			name: "a review that is not enough for Spacelift's policy", labels: asked,
			script: func(r *rig) {
				r.set(func() { r.truth.Type, r.truth.NeedsApproval, r.moreReviews = spacelift.RunTypeProposed, true, 1 })
				r.at(0, func() { r.moves(queued, planning, spacelift.RunStatePendingReview) })
				r.at(time.Minute, func() { r.says(ann, managed.Approve, "") })
				r.at(5*time.Minute, func() {
					r.wants(managed.PhaseHolding, "an approval policy there asks for more reviews than Gantry can give")
					r.received("deploys run.decision_needed: network / prod: a run waits for 1 approval", "deploys run.held: network / prod: a run is held")
					if w := r.status().WaitingFor; w.What != managed.WaitPerson || w.Who != "anyone who may review runs of this stack in Spacelift" {
						t.Errorf("waits for %+v", w)
					}
					r.denied(bob, managed.Approve, managed.ErrTypeTooLate, "review the run in Spacelift, or reject it")
				})
				r.at(7*24*time.Hour, func() { r.moves(finished) })
			},
			state: finished, outcome: "preview finished",
		},
		{
			name: "somebody rejects through Gantry what was passed on and was not enough", labels: asked,
			script: func(r *rig) {
				r.set(func() { r.truth.NeedsApproval, r.moreReviews = true, 1 })
				r.at(0, func() { r.moves(queued); r.reconciled() })
				r.at(time.Minute, func() { r.says(ann, managed.Approve, "") })
				r.at(time.Hour, func() { r.says(bob, managed.Reject, "no") })
				r.at(time.Hour+time.Minute, func() {
					r.did("approve: Approved through Gantry by ann.", "approve: Approved through Gantry by ann.", "reject: Rejected through Gantry by bob: no")
					r.notify()
				})
			},
			state: spacelift.RunStateFailed, outcome: "the run failed",
		},
		{
			name: "the second review comes in Spacelift, and the plan is confirmed", labels: asked,
			script: func(r *rig) {
				r.set(func() { r.truth.NeedsApproval, r.moreReviews = true, 1 })
				r.at(0, func() { r.moves(queued) })
				r.at(0, func() { r.set(func() { r.truth.NeedsApproval = false }); r.moves(planning) })
				r.at(time.Minute, func() { r.set(func() { r.truth.NeedsApproval = true }); r.moves(unconfirmed) })
				r.at(2*time.Minute, func() { r.says(ann, managed.Approve, "") })
				r.at(time.Hour, func() { r.set(func() { r.truth.NeedsApproval = false }); r.reconciled() })
				r.at(time.Hour+time.Second, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
		},
		{
			name: "a rejection without an effect", labels: asked,
			script: func(r *rig) {
				r.set(func() { r.deafToDiscards = true })
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() { r.says(ann, managed.Reject, "no") })
				r.at(time.Hour, func() {
					r.wants(managed.PhaseHolding, "Spacelift accepted 2 times that Gantry wants to discard the plan")
					r.person("jane", discarded, "")
					r.notify()
				})
			},
			state: discarded, outcome: "discarded by jane",
		},
		{
			name: "a state that this version does not know", labels: deployed(auto...),
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, "SOAKING") })
				r.at(3*time.Hour, func() {
					r.wants(managed.PhaseFollowing, "does not know the state SOAKING")
					r.received("deploys run.held: network / prod: a run stays in SOAKING")
					r.moves(finished)
				})
			},
			state: finished, outcome: "finished",
		},
		{
			name: "a stop without an effect", labels: deployed(auto...),
			script: func(r *rig) {
				r.set(func() { r.deafToStops = true })
				r.at(0, func() { r.moves(queued, planning) })
				r.at(time.Minute, func() { r.stops(ann, "", "") })
				r.at(30*time.Minute, func() {
					r.wants(managed.PhaseHolding, "Spacelift accepted that 2 times, and the run stays in PLANNING")
					r.received("deploys run.held: network / prod: a run is held")
					r.person("jane", spacelift.RunStateStopped, "")
					r.notify()
				})
			},
			state: spacelift.RunStateStopped, outcome: "stopped",
		},
	})
}

// A reason for which Spacelift refuses is not shown once it is over, and Gantry
// continues immediately.
func TestARefusalEndsWithItsCause(t *testing.T) {
	play(t, []story{
		{
			name: "a review was missing, and is given in Spacelift", labels: append([]string{"gantry:notify=deploys"}, auto...),
			script: func(r *rig) {
				r.at(0, func() { r.set(func() { r.truth.NeedsApproval = true }); r.moves(queued) })
				r.at(0, func() { r.set(func() { r.truth.NeedsApproval = false }); r.moves(planning) })
				r.at(time.Minute, func() { r.set(func() { r.truth.NeedsApproval = true }); r.moves(unconfirmed) })
				r.at(2*time.Minute, func() {
					r.wants(managed.PhaseWaiting, "an approval policy in Spacelift asks for a review")
					r.received("deploys run.decision_needed: network / prod: a plan waits for 1 approval")
				})
				r.at(3*time.Minute, func() { r.set(func() { r.truth.NeedsApproval = false }); r.reconciled() })
				r.at(3*time.Minute+time.Second, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
		},
		{
			name: "Spacelift named a cause that shows nowhere, and labels change", labels: auto,
			script: func(r *rig) {
				r.at(0, func() {
					r.set(func() { r.refuses = illegal("the plan policy forbids it") })
					r.moves(queued, planning, unconfirmed)
				})
				r.at(time.Minute, func() {
					r.wants(managed.PhaseHolding, "the plan policy forbids it")
					r.set(func() { r.refuses = nil; r.truth.StackLabels = append([]string{"gantry:retries=1"}, auto...) })
					r.reconciled()
				})
				r.at(time.Minute+time.Second, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 2,
		},
	})
}

// A rejection binds until the run has ended: a plan that follows is for people,
// whatever the policy says.
func TestARejectionBindsUntilTheRunHasEnded(t *testing.T) {
	small := []string{"gantry:managed", "gantry:profile=small"} // alone up to two deletions
	play(t, []story{
		{
			name: "the next plan is for people", labels: small,
			script: func(r *rig) {
				r.at(0, func() {
					r.set(func() { r.refuses = illegal("you have no right to do that") })
					r.moves(queued, ready, planning, unconfirmed)
				})
				r.at(time.Minute, func() { r.says(ann, managed.Reject, "no") })
				r.at(2*time.Minute, func() {
					r.moves(replan, planning)
					r.set(func() { r.refuses = nil })
					r.goes(unconfirmed)
					r.set(func() { r.truth.Delta = &spacelift.Delta{Added: 1} })
					r.notify()
				})
				r.at(time.Hour, func() {
					r.wants(managed.PhaseWaiting, "ann rejected the plan, which binds until the run has ended; 0 of 1 approval")
					r.says(bob, managed.Approve, "this one is fine")
				})
				r.at(time.Hour+time.Minute, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
		},
		{
			name: "and so it is after a revocation", labels: small,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, ready, planning, unconfirmed) })
				r.at(time.Minute, func() { r.set(func() { r.away = true }); r.says(ann, managed.Approve, "") })
				r.at(2*time.Minute, func() { r.says(ann, managed.Revoke, "") })
				r.at(3*time.Minute, func() {
					r.set(func() { r.away = false })
					r.moves(replan, planning)
					r.goes(unconfirmed)
					r.set(func() { r.truth.Delta = &spacelift.Delta{Added: 1} })
					r.notify()
				})
				r.at(time.Hour, func() {
					r.wants(managed.PhaseWaiting, "ann took back the approval, which binds until the run has ended; 0 of 1 approval")
					r.says(ann, managed.Reject, "")
				})
				r.at(time.Hour+time.Minute, func() { r.notify() })
			},
			state: discarded, outcome: "discarded",
		},
	})
}
