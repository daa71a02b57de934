package workflows_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/workflows"
)

// continued runs the execution until it continues as new, and returns what it
// carries on.
func (r *rig) continued() managed.ManageRunInput {
	r.Helper()
	r.env.ExecuteWorkflow(workflows.ManageRun, r.input())
	again, ok := errors.AsType[*workflow.ContinueAsNewError](r.env.GetWorkflowError())
	if !ok {
		r.Fatalf("the execution ended with %v, want it to continue as new", r.env.GetWorkflowError())
	}
	if again.WorkflowType.Name != managed.ManageRunType {
		r.Errorf("it continues as %s", again.WorkflowType.Name)
	}
	var in managed.ManageRunInput
	if err := converter.GetDefaultDataConverter().FromPayloads(again.Input, &in); err != nil {
		r.Fatalf("decode what is carried on: %v", err)
	}
	return in
}

// next is a rig in the same world, for the execution that carries on.
func (r *rig) next() *rig {
	r.Helper()
	n := newRig(r.T, nil)
	n.truth, n.confirmed, n.asked = r.truth, r.confirmed, r.asked
	n.env.SetStartTime(r.env.Now())
	return n
}

func TestContinueAsNewLosesNothing(t *testing.T) {
	r := newRig(t, auto)
	r.at(0, func() { r.moves(queued, planning) })
	r.at(time.Minute, func() { r.moves(unconfirmed) })
	r.at(2*time.Minute, func() {
		r.env.SetContinueAsNewSuggested(true)
		// Three signals wait when the execution takes its last step.
		r.env.SignalWorkflowSkippingWorkflowTask(managed.RunEventsSignal, managed.RunEvents{Events: []managed.RunEvent{r.notification(3)}})
		r.goes(preparingApply)
		r.env.SignalWorkflowSkippingWorkflowTask(managed.RunEventsSignal, managed.RunEvents{Events: []managed.RunEvent{r.notification(4)}})
		r.moves(applying)
	})
	carried := r.continued()
	before := r.status()

	second := r.next()
	second.at(time.Hour, func() {
		after := second.status()
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("status (-before +after continuing):\n%s", diff)
		}
		second.moves(finished)
	})
	end := second.manageFrom(carried)

	if len(end.States) != 7 || end.State != finished || end.StartedAt != started {
		t.Errorf("ended in %s after %d states, started at %s; want FINISHED after 7 and the first start", end.State, len(end.States), end.StartedAt)
	}
	if len(second.confirmed) != 1 || second.asked != 1 {
		t.Errorf("confirmed %d times with %d requests, want once", len(second.confirmed), second.asked)
	}
}

// An execution with a large history continues as a new one before Temporal suggests it, but
// not because of what the one before left it.
func TestALargeHistoryIsNotKept(t *testing.T) {
	r := newRig(t, auto)
	r.at(0, func() { r.moves(queued, planning) })
	r.at(time.Minute, func() {
		r.env.SetCurrentHistorySize(300 << 10)
		r.moves(unconfirmed)
	})
	carried := r.continued()

	second := r.next()
	second.env.SetCurrentHistorySize(400 << 10)
	second.at(time.Hour, func() { second.moves(applying, finished) })
	if end := second.manageFrom(carried); end.State != finished || len(second.confirmed) != 1 {
		t.Errorf("ended in %s with %d confirmations, want FINISHED with 1", end.State, len(second.confirmed))
	}
}

// A plan that is being confirmed when the history is full is confirmed by the
// next execution.
func TestContinueAsNewKeepsTheWishToConfirm(t *testing.T) {
	r := newRig(t, auto)
	r.at(0, func() { r.moves(queued, planning) })
	r.at(time.Minute, func() { r.set(func() { r.away = true }); r.moves(unconfirmed) })
	r.at(time.Hour, func() {
		r.env.SetContinueAsNewSuggested(true)
		r.notifyOf(0)
	})
	carried := r.continued()

	second := r.next()
	second.at(time.Hour, func() { second.notify(); second.moves(applying, finished) })
	end := second.manageFrom(carried)

	if end.State != finished || len(second.confirmed) != 1 {
		t.Errorf("ended in %s with %d confirmations, want FINISHED with 1", end.State, len(second.confirmed))
	}
}

func TestCanceledExecutionStops(t *testing.T) {
	for _, tc := range []struct {
		name string
		away bool
	}{{"while it waits", false}, {"while Spacelift does not answer", true}} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, manual)
			if tc.away {
				r = newRig(t, auto)
			}
			r.away = tc.away
			r.at(0, func() { r.moves(queued, planning, unconfirmed) })
			r.at(time.Hour, r.env.CancelWorkflow)
			r.env.ExecuteWorkflow(workflows.ManageRun, managed.ManageRunInput{Run: run})
			if err := r.env.GetWorkflowError(); !temporal.IsCanceledError(err) {
				t.Errorf("the execution ended with %v, want it canceled", err)
			}
			if r.asked != 0 {
				t.Errorf("%d confirmations were sent", r.asked)
			}
		})
	}
}

func TestImpossibleRunIsRefused(t *testing.T) {
	r := newRig(t, auto)
	r.env.ExecuteWorkflow(workflows.ManageRun, managed.ManageRunInput{Run: spacelift.RunRef{Account: "acme", Stack: "a/b", Run: "x"}})
	err := r.env.GetWorkflowError()
	app, ok := errors.AsType[*temporal.ApplicationError](err)
	if !ok || app.Type() != managed.ErrTypeImpossibleRun || !app.NonRetryable() {
		t.Errorf("error is %v, want a final %s", err, managed.ErrTypeImpossibleRun)
	}
}

func TestUnknownAccountHolds(t *testing.T) {
	other := run
	other.Account = "other"
	r := newRig(t, auto)
	r.at(0, func() {
		r.goes(queued, planning, unconfirmed)
		sent := r.notification(2)
		sent.Run = other
		r.signal(sent)
	})
	r.at(time.Hour, func() {
		r.wants(managed.PhaseHolding, "no API key for the account other")
		r.person("jane", discarded, "")
		sent := r.notification(-1)
		sent.Run = other
		r.signal(sent)
	})
	if s := r.manageFrom(managed.ManageRunInput{Run: other}); s.State != unconfirmed || !strings.Contains(s.Outcome, "a notification says that it is DISCARDED") {
		t.Errorf("ended in %s: %s", s.State, s.Outcome)
	}
}

// An execution without events reads the run; until Spacelift shows it,
// nothing is known of it.
func TestStatusBeforeTheFirstEvent(t *testing.T) {
	r := newRig(t, auto)
	r.at(time.Second, func() {
		s := r.status()
		if s.State != "" || s.Type != "" || s.WaitingFor == nil || s.WaitingFor.What == "" || s.WaitingFor.Who == "" {
			t.Errorf("before the first event it is %q, a run of type %q, and waits for %+v", s.State, s.Type, s.WaitingFor)
		}
		r.goes(queued)
	})
	r.at(2*time.Minute, func() { r.wants(managed.PhaseQueued, "the run is in the stack's queue") })
	r.at(time.Hour, func() { r.moves("SKIPPED") })
	r.manage()
}

func TestManageRunID(t *testing.T) {
	if got, want := managed.ManageRunID(run), "run/acme/network-prod/01KDX3V4T8Q2M5N7P9R1S3T5V7"; got != want {
		t.Errorf("id is %s, want %s", got, want)
	}
}

func TestSearchAttributesAreKeywords(t *testing.T) {
	want := []string{
		"GantryAccount", "GantryStack", "GantryRunState", "GantryRunType", "GantryPhase", "GantryFingerprint", "GantryBypassed", "GantryPlan",
		"GantryChanged",
	}
	if diff := cmp.Diff(want, managed.SearchAttributes()); diff != "" {
		t.Errorf("search attributes (-want +got):\n%s", diff)
	}
}

// A message that is being sent when an execution continues as a new one arrives, or
// is left to that one: people receive nothing twice.
func TestContinueAsNewSendsNothingTwice(t *testing.T) {
	for _, tc := range []struct {
		name string
		deaf error // what the channel answers
	}{{"it arrives", nil}, {"it does not", errors.New("connection refused")}} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, asked)
			r.world.deaf = map[string]error{"deploys": tc.deaf}
			r.at(0, func() { r.moves(queued, planning) })
			r.at(time.Minute, func() {
				r.moves(unconfirmed)
				r.env.SetContinueAsNewSuggested(true)
			})
			second := r.next()
			carried := r.continued()
			second.truth = r.truth
			second.at(time.Hour, func() { second.person("jane", discarded, ""); second.notify() })
			second.manageFrom(carried)
			asked := 0
			for _, m := range append(r.world.messages(), second.world.messages()...) {
				if strings.Contains(m, "run.decision_needed") {
					asked++
				}
			}
			if asked != 1 {
				t.Errorf("people were asked %d times: %q, then %q", asked, r.world.messages(), second.world.messages())
			}
		})
	}
}
