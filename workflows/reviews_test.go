package workflows_test

import (
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// Spacelift's own approval policies are served.
func TestReviews(t *testing.T) {
	play(t, []story{
		{
			name: "a preview that drew a warning is approved", labels: asked,
			script: func(r *rig) {
				r.set(func() { r.truth.Type, r.truth.NeedsApproval = spacelift.RunTypeProposed, true })
				r.at(0, func() { r.moves(queued, planning, spacelift.RunStatePendingReview) })
				r.at(time.Minute, func() { r.wants(managed.PhaseWaiting, "drew a warning"); r.says(ann, managed.Approve, "") })
				r.at(2*time.Minute, func() { r.did("approve: Approved through Gantry by ann."); r.notify() })
			},
			state: finished, outcome: "preview finished",
		},
		{
			name: "an approval is not passed on once the labels ask more people", labels: asked,
			script: func(r *rig) {
				r.set(func() { r.truth.Type, r.truth.NeedsApproval = spacelift.RunTypeProposed, true })
				r.at(0, func() { r.moves(queued, planning, spacelift.RunStatePendingReview) })
				r.at(time.Minute, func() {
					r.set(func() { r.truth.StackLabels = append([]string{"gantry:approvals=2"}, asked...) })
					r.says(ann, managed.Approve, "")
				})
				r.at(2*time.Minute, func() { r.did(); r.wants(managed.PhaseWaiting, "1 of 2 approvals"); r.says(bob, managed.Approve, "") })
				r.at(3*time.Minute, func() { r.did("approve: Approved through Gantry by ann and bob."); r.notify() })
			},
			state: finished, outcome: "preview finished",
			mentions: map[string]managed.TimelineKind{"the policy is not the one that the run was judged by": managed.KindNote},
		},
		{
			name: "and another rejected", labels: asked,
			script: func(r *rig) {
				r.set(func() { r.truth.Type, r.truth.NeedsApproval = spacelift.RunTypeProposed, true })
				r.at(0, func() { r.moves(queued, planning, spacelift.RunStatePendingReview) })
				r.at(time.Minute, func() { r.says(ann, managed.Reject, "too much") })
				r.at(2*time.Minute, func() { r.did("reject: Rejected through Gantry by ann: too much"); r.notify() })
			},
			state: spacelift.RunStateFailed, outcome: "the run failed",
		},
		{
			name: "a run that an approval policy keeps in the queue is found and released", labels: asked,
			script: func(r *rig) {
				r.set(func() { r.truth.NeedsApproval = true })
				r.at(0, func() { r.moves(queued) })
				r.at(29*time.Minute, func() { r.wants(managed.PhaseQueued, "queue") })
				r.at(31*time.Minute, func() {
					r.wants(managed.PhaseWaiting, "keeps the run in the queue")
					r.says(ann, managed.Approve, "")
				})
				r.at(32*time.Minute, func() { r.did("approve: Approved through Gantry by ann."); r.notify(); r.moves("SKIPPED") })
			},
			state: "SKIPPED",
		},
		{
			name: "Reconcile signals that an approval policy keeps a run in the queue, and that it no longer does", labels: asked,
			script: func(r *rig) {
				reports := func(needs bool) {
					e := r.notification(0)
					e.Source, e.NeedsApproval = managed.SourceReconcile, needs
					r.signal(e)
				}
				r.set(func() { r.truth.NeedsApproval = true })
				r.at(0, func() { r.moves(queued) })
				r.at(time.Minute, func() { r.denied(ann, managed.Approve, managed.ErrTypeNotAsked, "asks nobody"); reports(true) })
				r.at(2*time.Minute, func() { r.wants(managed.PhaseWaiting, "keeps the run in the queue"); reports(false) })
				r.at(3*time.Minute, func() { r.wants(managed.PhaseQueued, "queue"); reports(true) })
				r.at(4*time.Minute, func() { r.says(ann, managed.Approve, "") })
				r.at(5*time.Minute, func() { r.did("approve: Approved through Gantry by ann."); r.notify(); r.moves("SKIPPED") })
			},
			state: "SKIPPED",
		},
		{
			name: "somebody approves in Spacelift, and the time-out rejects nothing", labels: append([]string{"gantry:approval-timeout=2h"}, asked...),
			script: func(r *rig) {
				r.set(func() { r.truth.NeedsApproval = true })
				r.at(0, func() { r.moves(queued) })
				r.at(time.Hour, func() {
					r.wants(managed.PhaseWaiting, "keeps the run in the queue")
					r.set(func() { r.truth.NeedsApproval = false }) // and the run stays behind another one
				})
				r.at(2*time.Hour+31*time.Minute, func() {
					r.did()
					r.wants(managed.PhaseQueued, "the run is in the stack's queue")
					r.received("deploys run.decision_needed: network / prod: a run waits for 1 approval", "deploys run.decided: network / prod: the run is decided")
					r.denied(ann, managed.Approve, managed.ErrTypeNotAsked, "asks nobody")
				})
				r.at(3*time.Hour, func() { r.moves("SKIPPED") })
			},
			state: "SKIPPED",
			mentions: map[string]managed.TimelineKind{
				"no approval policy in Spacelift asks for a review of the run any more; Gantry wants nothing more of it": managed.KindNote,
				"asks for a review of the run any more; Gantry wants nothing more of it":                                 managed.KindNote,
			},
		},
		{
			name: "somebody approves in Spacelift before a rejection through Gantry", labels: asked,
			script: func(r *rig) {
				r.set(func() { r.truth.NeedsApproval = true })
				r.at(0, func() { r.moves(queued) })
				r.at(time.Hour, func() {
					r.set(func() { r.truth.NeedsApproval = false })
					r.says(ann, managed.Reject, "too much")
				})
				r.at(time.Hour+time.Minute, func() { r.did(); r.wants(managed.PhaseQueued, "queue"); r.moves("SKIPPED") })
			},
			state: "SKIPPED",
		},
		{
			name: "a run that asks again has time of its own", labels: append([]string{"gantry:approval-timeout=2h"}, asked...),
			script: func(r *rig) {
				r.set(func() { r.truth.NeedsApproval = true })
				r.at(0, func() { r.moves(queued) })
				r.at(time.Hour, func() { r.set(func() { r.truth.NeedsApproval = false }) })
				r.at(3*time.Hour, func() {
					r.did()
					r.wants(managed.PhaseQueued, "queue")
					r.set(func() { r.truth.NeedsApproval = true })
				})
				r.at(4*time.Hour, func() { r.did(); r.wants(managed.PhaseWaiting, "keeps the run in the queue") })
				r.at(6*time.Hour, func() { r.did("reject: Rejected by Gantry: nobody approved within 2h."); r.notify() })
			},
			state: spacelift.RunStateFailed, outcome: "the run failed",
		},
		{
			name: "a plan that needs a review as well is reviewed, then confirmed", labels: asked,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(time.Minute, func() { r.set(func() { r.truth.NeedsApproval = true }); r.moves(unconfirmed) })
				r.at(2*time.Minute, func() { r.says(ann, managed.Approve, "") })
				r.at(3*time.Minute, func() { r.did("approve: Approved through Gantry by ann."); r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
		},
		{
			name: "nobody reviews in time", labels: production,
			script: func(r *rig) {
				r.set(func() { r.truth.Type, r.truth.NeedsApproval = spacelift.RunTypeProposed, true })
				r.at(0, func() { r.moves(queued, planning, spacelift.RunStatePendingReview) })
				r.at(25*time.Hour, func() { r.did("reject: Rejected by Gantry: nobody approved within 24h."); r.notify() })
			},
			state: spacelift.RunStateFailed, outcome: "the run failed",
		},
	})
}
