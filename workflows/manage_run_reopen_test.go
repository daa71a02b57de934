package workflows_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/notify"
	"github.com/gantryhq/gantry/spacelift"
)

// record is all that the rig's execution knows.
func (r *rig) record() json.RawMessage {
	r.Helper()
	var known json.RawMessage
	answer, err := r.env.QueryWorkflow(managed.RecordQuery)
	if err == nil {
		err = answer.Get(&known)
	}
	if err != nil {
		r.Fatalf("query record: %v", err)
	}
	return known
}

// givesUp makes Spacelift deny the run for so long that the execution ends.
func givesUp(r *rig) json.RawMessage {
	r.at(time.Hour, func() { r.set(func() { r.broken = spacelift.ErrNotFound }) })
	if s := r.manage(); s.GivenUp == "" {
		r.Fatalf("the execution did not give up: %+v", s)
	}
	return r.record()
}

// A run that is followed again after an execution of it ended is the same run:
// people's decisions, keys and names, its chains and whose retry it is count on.
func TestARunThatIsFollowedAgainForgetsNothing(t *testing.T) {
	root := spacelift.RunRef{Account: "acme", Stack: "account-prod", Run: "01KDXROOT0000000000000000"}
	refs := []managed.ChainRef{{Root: root, After: []spacelift.StackID{"account-prod"}}}
	first := newRig(t, production)
	first.truth.TriggeredBy = "api::gantry"
	first.retryOf = &managed.RetryOf{Run: again, Attempt: 2, By: "bob"}
	first.at(0, func() {
		first.moves(queued, planning, unconfirmed)
		first.env.SignalWorkflow(managed.RunEventsSignal, managed.RunEvents{Chains: refs})
	})
	first.at(time.Minute, func() { first.decides(managed.Decision{Verdict: managed.Approve, By: ann, Key: "k"}, "") })
	known := givesUp(first)

	second := first.next()
	second.world.earlier = known
	sent := 0
	second.env.OnSignalExternalWorkflow(anyArg, managed.ChainID(root), anyArg, chain.NewsSignal, anyArg).Return(
		func(_, _, _, _ string, _ any) error { sent++; return nil }).Maybe()
	second.at(time.Minute, func() {
		second.wants(managed.PhaseWaiting, "1 of 2 approvals: ann approved")
		second.denied(ann, managed.Approve, managed.ErrTypeAlreadyDecided, "already")
		second.denied(bob, managed.Approve, managed.ErrTypeSelfApproval, "bob")
		second.decides(managed.Decision{Verdict: managed.Approve, By: jane, Key: "k"}, decide.ErrTypeKeyReused)
		for _, m := range second.world.arrived {
			if m.Type == notify.RunDecisionNeeded {
				t.Errorf("people were asked again: %q", second.world.messages())
			}
		}
	})
	second.at(time.Hour, func() { second.person("jane", discarded, "no"); second.notify() })
	in := managed.ManageRunInput{Run: run, Reopened: true}
	s := second.manageFrom(in)
	if s.RetryOf == nil || s.RetryOf.Attempt != 2 || len(s.Chains) != 1 || sent != 1 || len(s.Decisions) != 1 || s.StartedAt != started {
		t.Errorf("ended with retry of %+v, chains %+v (signaled %d times), decisions %+v, begun %s", s.RetryOf, s.Chains, sent, s.Decisions, s.StartedAt)
	}
	second.mentions(s, managed.KindPerson, "ann approved the plan")
	second.mentions(s, managed.KindNote, "Gantry follows the run again")
}

// A run may end before Gantry can signal to its execution whose retry it is. The next
// execution records that, and people receive the end once.
func TestARunLearnsAfterItsEndWhoseRetryItIs(t *testing.T) {
	first := newRig(t, append([]string{"gantry:notify=deploys"}, auto...))
	first.goes(queued, planning, unconfirmed)
	first.at(time.Minute, func() { first.moves("CONFIRMED", applying, finished) })
	first.manage()
	if len(first.world.arrived) == 0 {
		t.Fatal("people did not hear of the end")
	}
	known := first.record()

	second := first.next()
	second.world.earlier = known
	before := len(second.world.arrived)
	s := second.manageFrom(managed.ManageRunInput{Run: run, Reopened: true, RetryOf: &managed.RetryOf{Run: again, Attempt: 2, By: "gantry"}})
	if s.State != finished || s.RetryOf == nil || s.RetryOf.Run != again {
		t.Errorf("it ended in %s, a retry of %+v", s.State, s.RetryOf)
	}
	if news := second.world.arrived[before:]; len(news) > 0 {
		t.Errorf("people received %+v", news)
	}
	second.mentions(s, managed.KindNote, "only after its end")
}

// Where Temporal keeps nothing of an earlier execution, or does not say, the run
// is followed all the same, and its timeline says what is missing.
func TestARunThatIsFollowedAgainWithoutItsPast(t *testing.T) {
	for _, tc := range []struct {
		name, says string
		blind      bool
	}{
		{"nothing is kept", "Temporal no longer keeps what an earlier execution knew", false},
		{"Temporal does not say", "could not read what an earlier execution knew of it", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, auto)
			r.world.blind = tc.blind
			r.goes(queued, planning)
			r.at(time.Hour, func() { r.moves("SKIPPED") })
			s := r.manageFrom(managed.ManageRunInput{Run: run, Reopened: true})
			r.mentions(s, managed.KindNote, tc.says)
		})
	}
}
