package workflows_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/managed"
)

// People decide: who counts, what for, and until when.
func TestPeopleDecide(t *testing.T) {
	play(t, []story{
		{
			name: "two different people of the group approve, and nobody else counts", labels: production,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(time.Second, func() {
					r.denied(ann, managed.Approve, managed.ErrTypeNotAsked, "the run is PLANNING")
				})
				r.at(time.Minute, func() { r.moves(unconfirmed) })
				r.at(2*time.Minute, func() {
					r.wants(managed.PhaseWaiting, "0 of 2 approvals: nobody has approved yet")
					r.denied(eve, managed.Approve, managed.ErrTypeNotEntitled, "only the group platform")
					r.denied(jane, managed.Approve, managed.ErrTypeSelfApproval, "somebody else has to approve")
					r.says(ann, managed.Approve, "looks good")
				})
				r.at(3*time.Minute, func() {
					r.wants(managed.PhaseWaiting, "1 of 2 approvals: ann approved")
					r.denied(ann, managed.Approve, managed.ErrTypeAlreadyDecided, "already")
					r.received("deploys run.decision_needed: network / prod: a plan waits for 2 approvals")
					a := r.status().Approvals
					if a == nil || a.Needed != 2 || a.Given != 1 || a.Group != "platform" || len(a.Excluded) != 1 || a.Excluded[0] != "Jane Doe" {
						r.Errorf("approvals are %+v", a)
					}
				})
				r.at(4*time.Minute, func() { r.says(bob, managed.Approve, "") })
				r.at(5*time.Minute, func() {
					r.denied(eve, managed.Reject, managed.ErrTypeTooLate, "confirmed already")
					r.notify()
					r.denied(bob, managed.Revoke, managed.ErrTypeTooLate, "confirmed already")
					r.moves(applying, finished)
				})
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
			mentions: map[string]managed.TimelineKind{
				"ann approved the plan: looks good":       managed.KindPerson,
				"has changes and ann and bob approved it": managed.KindDecision,
			},
		},
		{
			name: "a rejection ends it, with the note", labels: asked,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() { r.says(jane, managed.Reject, "not on a Friday") }) // one's own run
				r.at(2*time.Minute, func() {
					r.did("discard: Rejected through Gantry by jane: not on a Friday")
					r.denied(ann, managed.Approve, managed.ErrTypeTooLate, "decided already")
					r.notify()
				})
			},
			state: discarded, outcome: "discarded",
			mentions: map[string]managed.TimelineKind{"Gantry discarded the plan: jane rejected the plan": managed.KindAction},
		},
		{
			name: "who asked Gantry for a retry, or triggered what it tries again, does not count", labels: asked,
			script: func(r *rig) {
				r.truth.TriggeredBy = "api::gantry"
				r.retryOf = &managed.RetryOf{Run: again, Attempt: 3, By: "ann", TriggeredBy: []string{"bob"}}
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() {
					r.denied(ann, managed.Approve, managed.ErrTypeSelfApproval, "somebody else has to approve")
					r.denied(bob, managed.Approve, managed.ErrTypeSelfApproval, "somebody else has to approve")
				})
				r.at(2*time.Minute, func() { // the policy's own retry was signaled later: nobody is forgotten
					of := managed.RetryOf{Run: again, Attempt: 3, By: "gantry", TriggeredBy: []string{"joe"}}
					r.env.SignalWorkflow(managed.RunEventsSignal, managed.RunEvents{RetryOf: &of})
				})
				r.at(3*time.Minute, func() {
					want := []string{"ann", "api::gantry", "bob", "Jane Doe", "joe"}
					if a := r.status().Approvals; a == nil || !slices.Equal(a.Excluded, want) {
						r.Errorf("approvals are %+v, want %v excluded", a, want)
					}
					r.says(eve, managed.Approve, "")
				})
				r.at(4*time.Minute, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
		},
		{
			name: "an approval can be taken back", labels: production,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() { r.denied(ann, managed.Revoke, managed.ErrTypeNothingToRevoke, "ann has not approved") })
				r.at(2*time.Minute, func() { r.says(ann, managed.Approve, "") })
				r.at(3*time.Minute, func() { r.says(ann, managed.Revoke, "wrong run") })
				r.at(4*time.Minute, func() { r.says(bob, managed.Approve, "") })
				r.at(5*time.Minute, func() { r.wants(managed.PhaseWaiting, "1 of 2 approvals: bob approved") })
				r.at(6*time.Minute, func() { r.says(ann, managed.Approve, "the right one") })
				r.at(7*time.Minute, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
			mentions: map[string]managed.TimelineKind{"ann took back the approval: wrong run": managed.KindPerson},
		},
		{
			name: "a replan asks again", labels: asked,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(time.Minute, func() { r.set(func() { r.truth.StackLabels = production }); r.moves(unconfirmed) })
				r.at(2*time.Minute, func() { r.says(ann, managed.Approve, "") })
				r.at(3*time.Minute, func() { r.moves(replan, planning, unconfirmed) })
				r.at(4*time.Minute, func() {
					r.wants(managed.PhaseWaiting, "0 of 2 approvals: nobody has approved yet")
					r.decides(managed.Decision{Verdict: managed.Approve, By: bob, StateVersion: new(2)}, managed.ErrTypeStalePlan)
					r.decides(managed.Decision{Verdict: managed.Approve, By: bob, Known: &managed.StateKey{StateVersion: 4, State: "PLANNING"}}, managed.ErrTypeStalePlan)
					r.decides(managed.Decision{Verdict: managed.Approve, By: bob, Known: &managed.StateKey{}}, managed.ErrTypeStalePlan)
					r.decides(managed.Decision{Verdict: managed.Approve, By: bob, StateVersion: new(5)}, "")
				})
				r.at(5*time.Minute, func() {
					if n := len(r.status().Decisions); n != 2 {
						r.Errorf("%d decisions are kept, want those about both plans", n)
					}
				})
				r.at(6*time.Minute, func() { r.says(ann, managed.Approve, "") })
				r.at(7*time.Minute, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
			mentions: map[string]managed.TimelineKind{"somebody asked for another plan in Spacelift": managed.KindNote},
		},
		{
			name: "a stack that is only managed is for Spacelift to decide", labels: manual,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() {
					r.denied(ann, managed.Approve, managed.ErrTypeNotAsked, "gantry:confirm=manual")
					r.denied(ann, managed.Reject, managed.ErrTypeNotAsked, "gantry:confirm=manual")
					r.person("jane", discarded, "")
					r.notify()
				})
			},
			state: discarded, outcome: "discarded by jane",
		},
		{
			name: "labels that can't be followed forbid approvals, not rejections", labels: append([]string{"gantry:aprovals=2"}, asked...),
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() {
					r.wants(managed.PhaseHolding, "gantry:aprovals=2 can't be followed")
					r.denied(ann, managed.Approve, managed.ErrTypeNotAsked, "gantry:aprovals=2")
					r.received("deploys run.held: network / prod: a plan is held")
					r.says(ann, managed.Reject, "")
				})
				r.at(2*time.Minute, func() { r.notify() })
			},
			state: discarded, outcome: "discarded",
		},
		{
			name: "nobody known to have written it: nobody can be ruled out", labels: asked,
			script: func(r *rig) {
				r.set(func() { r.truth.Commit.AuthorName = "" })
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() {
					r.denied(ann, managed.Approve, managed.ErrTypeSelfApproval, "cannot be ruled out")
					r.says(ann, managed.Reject, "")
				})
				r.at(2*time.Minute, func() { r.notify() })
			},
			state: discarded, outcome: "discarded",
		},
		{
			name: "a plan beyond the limits is for people, one within them is not", labels: []string{"gantry:managed", "gantry:profile=small"},
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) }) // deletes 3
				r.at(time.Minute, func() {
					r.wants(managed.PhaseWaiting, "has changes and people decide, because it deletes 3 resources, more than 2 (profile small); 0 of 1 approval")
					r.set(func() { r.truth.History = r.truth.History[:2] }) // so that the next deletes 3 as well
					r.goes(replan)
					r.notifyOf(2)
				})
				r.at(2*time.Minute, func() {
					r.goes(unconfirmed)
					r.set(func() { r.truth.Delta.Deleted = 2 })
					r.notify()
				})
				r.at(3*time.Minute, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
		},
		{
			name: "no-deletes asks people about deletes", labels: []string{"gantry:confirm=no-deletes", "gantry:managed"},
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() {
					r.wants(managed.PhaseWaiting, "has changes and people decide, because it deletes 3 resources (gantry:confirm=no-deletes); 0 of 1 approval")
					r.says(ann, managed.Approve, "")
				})
				r.at(3*time.Minute, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
		},
		{
			name: "no-deletes lets Gantry confirm what deletes nothing", labels: []string{"gantry:confirm=no-deletes", "gantry:managed"},
			script: func(r *rig) {
				r.at(0, func() {
					r.goes(queued, planning, unconfirmed)
					r.set(func() { r.truth.Delta.Deleted = 0 })
					r.notify()
				})
				r.at(3*time.Minute, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
		},
		{
			name: "nobody is asked where Gantry confirms alone; a rejection while it waits counts", labels: append([]string{"gantry:window=mornings"}, auto...),
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() {
					r.wants(managed.PhaseHolding, "the window mornings is closed")
					r.denied(ann, managed.Approve, managed.ErrTypeNotAsked, "Gantry confirms this plan alone")
					r.says(ann, managed.Reject, "stop it")
				})
				r.at(2*time.Minute, func() { r.notify() })
			},
			state: discarded, outcome: "discarded",
		},
		{
			name: "a forged notification that hides the author does not help", labels: asked,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() {
					forged := r.notification(2)
					forged.Commit.AuthorName, forged.TriggeredBy, forged.At = "Somebody Else", "somebody", forged.At.Add(time.Hour)
					r.signal(forged)
				})
				r.at(2*time.Minute, func() {
					r.denied(jane, managed.Approve, managed.ErrTypeSelfApproval, "")
					r.says(ann, managed.Approve, "")
				})
				r.at(3*time.Minute, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
		},
	})
}

func TestIdempotencyKeys(t *testing.T) {
	r := newRig(t, production)
	r.at(0, func() { r.moves(queued, planning, unconfirmed) })
	approval := managed.Decision{Verdict: managed.Approve, By: ann, Note: "go", Key: "k1"}
	r.at(time.Minute, func() { r.decides(approval, "") })
	r.at(2*time.Minute, func() {
		again := approval
		again.By.Groups = []string{"others"} // a matter of configuration, not of what was decided
		repeat := r.decides(again, "")
		r.later(func() {
			if repeat.status.Approvals == nil || repeat.status.Approvals.Given != 1 {
				t.Errorf("a repeat is answered with %+v", repeat.status.Approvals)
			}
		})
		other := approval
		other.Note = "stop"
		r.decides(other, decide.ErrTypeKeyReused)
		other = approval
		other.By = bob
		r.decides(other, decide.ErrTypeKeyReused)
		stop := r.update(managed.StopUpdate, managed.StopRequest{By: ann, Key: "k1"})
		r.later(func() {
			if stop.refused != decide.ErrTypeKeyReused {
				t.Errorf("stopping under the same key is refused with %q", stop.refused)
			}
		})
		r.decides(managed.Decision{Verdict: "maybe", By: ann}, managed.ErrTypeUnknownVerdict)
	})
	r.at(3*time.Minute, func() { r.person("jane", discarded, ""); r.notify() })
	if s := r.manage(); len(s.Decisions) != 1 {
		t.Errorf("%d decisions counted, want 1", len(s.Decisions))
	}
}

// An approval that comes in one task with the plan it is about meets the plan.
func TestApprovalRightBehindThePlan(t *testing.T) {
	r := newRig(t, asked)
	r.at(0, func() {
		r.goes(queued, planning, unconfirmed)
		r.env.SignalWorkflowSkippingWorkflowTask(managed.RunEventsSignal, managed.RunEvents{Events: []managed.RunEvent{r.notification(2)}})
		r.says(ann, managed.Approve, "")
	})
	r.at(time.Minute, func() { r.notify(); r.moves(applying, finished) })
	if s := r.manage(); s.State != finished || len(r.confirmed) != 1 {
		t.Errorf("ended in %s with %d confirmations", s.State, len(r.confirmed))
	}
}

// A decision that comes while the execution does something else is about the plan
// that there was when it came: its approver has not seen a later one.
func TestADecisionIsAboutThePlanThereWasWhenItCame(t *testing.T) {
	r := newRig(t, production)
	var early *answer
	r.at(0, func() {
		r.away = true // the run is read, again and again, before people are asked
		r.moves(queued, planning, unconfirmed)
	})
	r.at(100*time.Millisecond, func() {
		early = r.update(managed.DecideUpdate, managed.Decision{Verdict: managed.Approve, By: ann})
	})
	r.at(200*time.Millisecond, func() {
		r.set(func() { r.away = false })
		r.moves(replan, planning, unconfirmed)
	})
	r.at(time.Minute, func() { r.wants(managed.PhaseWaiting, "0 of 2 approvals: nobody has approved yet") })
	r.at(2*time.Minute, func() { r.says(ann, managed.Approve, "") })
	r.at(3*time.Minute, func() { r.says(bob, managed.Approve, "") })
	r.at(time.Hour, func() { r.notify(); r.moves(applying, finished) })
	s := r.manage()
	if want := "the run moved on to UNCONFIRMED (5) while your decision was on its way, check again"; early.refused != managed.ErrTypeStalePlan || early.says != want {
		t.Errorf("refused with %q: %s", early.refused, early.says)
	}
	if s.State != finished || len(r.confirmed) != 1 {
		t.Errorf("ended in %s with %d confirmations", s.State, len(r.confirmed))
	}
}

func TestExplain(t *testing.T) {
	r := newRig(t, append([]string{"gantry:window=mornings"}, production...))
	r.at(0, func() { r.moves(queued) })
	r.at(time.Second, func() {
		e := r.explains()
		if !strings.Contains(e.Summary, "queue") || len(e.Next) == 0 || !someRule(e, "managed", "gantry:managed", managed.EffectApplies) {
			t.Errorf("in the queue: %+v", e)
		}
		r.moves(planning, unconfirmed)
	})
	r.at(time.Minute, func() { r.says(ann, managed.Approve, "") })
	r.at(90*time.Second, func() {
		e := r.explains()
		if !strings.Contains(e.Summary, "1 of 2 approvals: ann approved") || len(e.Unblock) != 2 || !strings.Contains(e.Unblock[0].How, "1 approval to go") {
			t.Errorf("waiting for people: %+v", e)
		}
		if len(e.Next) == 0 || e.Next[0].What != "people are reminded" || !e.Next[0].At.Equal(started.Add(4*time.Hour+time.Second)) {
			t.Errorf("next: %+v", e.Next)
		}
		if !someRule(e, "approvals", "profile production", managed.EffectAsks) || !someRule(e, "windows", "gantry:window=mornings", managed.EffectForbids) {
			t.Errorf("rules: %+v", e.Rules)
		}
		r.says(bob, managed.Approve, "")
	})
	r.at(2*time.Minute, func() {
		e := r.explains()
		if e.Phase != managed.PhaseHolding || e.WaitingFor.What != managed.WaitGate || len(e.Next) != 1 || !e.Next[0].At.Equal(started.Add(22*time.Hour)) {
			t.Errorf("at the gate: %+v", e)
		}
	})
	r.at(23*time.Hour, func() {
		r.notify()
		r.moves(applying, finished)
	})
	if s := r.manage(); s.State != finished || len(r.confirmed) != 1 {
		t.Errorf("ended in %s with %d confirmations", s.State, len(r.confirmed))
	}
	e := r.explains()
	if e.Phase != managed.PhaseDone || e.WaitingFor != nil || len(e.Next) != 0 || !strings.Contains(e.Summary, "applied") {
		t.Errorf("at the end: %+v", e)
	}
}
