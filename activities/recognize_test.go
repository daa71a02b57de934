package activities_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// hasty is an account where somebody acts between Gantry's check and its
// confirmation.
type hasty struct {
	activities.Spacelift
	meanwhile func()
}

func (h hasty) ConfirmRun(ctx context.Context, ref spacelift.RunRef, note string) (spacelift.RunOutcome, error) {
	h.meanwhile()
	return h.Spacelift.ConfirmRun(ctx, ref, note)
}

// Somebody asks for another plan right before Gantry confirms. Spacelift takes
// the confirmation for the plan that is there now, and Gantry says so, whether
// the answer arrives or gets lost.
func TestAConfirmationOfAPlanThatNobodyJudged(t *testing.T) {
	want := managed.UnseenPlan{Judged: 5, Confirmed: 9}
	for _, lost := range []bool{false, true} {
		r := newRig(t)
		in := r.judged()
		api := r.acts.Accounts["acme"]
		r.acts.Accounts["acme"] = hasty{api, func() {
			r.must(r.sim.Replan("jane", stack, r.ref.Run))
			r.showsVersion(want.Confirmed)
		}}
		if lost {
			r.fault(simulator.APIFault{Kind: simulator.LostResponse, Field: "runConfirm", Times: 1})
			if _, err := r.confirm(in); err == nil {
				t.Error("the answer was not lost")
			}
			r.acts.Accounts["acme"] = api
			r.reaches(spacelift.RunStateConfirmed)
		}
		got, err := r.confirm(in)
		r.must(err)
		if got.Outcome != managed.ConfirmedUnseen || got.Unseen == nil || !got.ByUs || got.Reason == "" {
			t.Fatalf("lost %t: %s: %s (%+v), want %s by us", lost, got.Outcome, got.Reason, got.Unseen, managed.ConfirmedUnseen)
		}
		if got.Unseen.At.IsZero() || lost && got.Unseen.Delta == nil {
			t.Errorf("lost %t: %+v lacks the time, or what the plan is", lost, got.Unseen)
		}
		got.Unseen.At, got.Unseen.Delta = time.Time{}, nil
		if diff := cmp.Diff(want, *got.Unseen); diff != "" {
			t.Errorf("lost %t (-want +got):\n%s", lost, diff)
		}
		if r.sent() != 1 {
			t.Errorf("lost %t: %d confirmations were sent", lost, r.sent())
		}
	}
}

// showsVersion waits until the run has reached a state version.
func (r *rig) showsVersion(version int) {
	r.Helper()
	over := time.After(wait)
	for {
		changed := r.sim.Changed()
		run, err := r.sim.Run(stack, r.ref.Run)
		r.must(err)
		if run.StateVersion == version {
			return
		}
		select {
		case <-changed:
		case <-over:
			r.Fatalf("the run is in %s (%d), want state version %d", run.State, run.StateVersion, version)
		}
	}
}

// What Gantry did is Gantry's, though the answer got lost and the caller
// does not know that it had been asked for before, with which words.
func TestWhatGantryDidIsRecognized(t *testing.T) {
	for _, tc := range []struct {
		name  string
		field string // that loses its answer
		shape func(*simulator.Stack)
		ask   func(r *rig, note string) (managed.ActResult, error)
		verb  string
		actor bool // it is shown as whom
	}{
		{name: "discard", field: "runDiscard", verb: "discard", actor: true, ask: func(r *rig, note string) (managed.ActResult, error) {
			return do[managed.ActResult](r.env, r.acts.DiscardRun, activities.DiscardRunInput{Run: r.ref, StateVersion: 5, Note: note})
		}},
		{name: "stop", field: "runDiscard", verb: "discard", actor: true, ask: func(r *rig, note string) (managed.ActResult, error) {
			return do[managed.ActResult](r.env, r.acts.StopRun, activities.StopRunInput{Run: r.ref, Note: note})
		}},
		{name: "reject", field: "runReview", verb: "reject", shape: func(s *simulator.Stack) { s.Approvals = 1 }, ask: func(r *rig, note string) (managed.ActResult, error) {
			return do[managed.ActResult](r.env, r.acts.ReviewRun, activities.ReviewRunInput{Run: r.ref, StateVersion: 5, Decision: spacelift.ReviewReject, Note: note})
		}},
		{name: "confirm", field: "runConfirm", verb: "confirm", actor: true, ask: func(r *rig, note string) (managed.ActResult, error) {
			in := r.judged()
			in.Note = note
			got, err := r.confirm(in)
			if err == nil && got.Outcome != managed.AlreadyConfirmed {
				r.Errorf("%s: %s", got.Outcome, got.Reason)
			}
			return managed.ActResult{Outcome: managed.ActDone, Verb: "confirm", ByUs: got.ByUs, Actor: got.Actor}, err
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var shapes []func(*simulator.Stack)
			if tc.shape != nil {
				shapes = append(shapes, tc.shape)
			}
			r := newRig(t, shapes...)
			r.fault(simulator.APIFault{Kind: simulator.LostResponse, Field: tc.field, Times: 1})
			if _, err := tc.ask(r, "ann wants it."); err == nil || nonRetryable(err) {
				t.Fatalf("the first attempt ended with %v, want an error worth another attempt", err)
			}
			got, err := tc.ask(r, "bob wants it too.")
			r.must(err)
			// A rejection shows in the run's end alone, and not whose it was.
			if got.Outcome != managed.ActDone || got.Verb != tc.verb || got.ByUs != tc.actor || (got.Actor == r.me()) != tc.actor {
				t.Errorf("%+v", got)
			}
			if n := r.calls(tc.field); n != 1 {
				t.Errorf("it was sent %d times", n)
			}
		})
	}
}

// What somebody else did is not.
func TestWhatOthersDidIsTheirs(t *testing.T) {
	r := newRig(t)
	r.must(r.sim.Discard("jane", stack, r.ref.Run, "Discarded by Gantry. [gantry: discard 5]"))
	got := done[managed.ActResult](r, r.acts.DiscardRun, activities.DiscardRunInput{Run: r.ref, StateVersion: 5, Note: "no"})
	if got.Outcome != managed.ActMoot || got.ByUs || got.Actor != "jane" {
		t.Errorf("%+v, want jane's", got)
	}
	got = done[managed.ActResult](r, r.acts.StopRun, activities.StopRunInput{Run: r.ref, Note: "no"})
	if got.Outcome != managed.ActMoot || got.ByUs || got.Actor != "jane" {
		t.Errorf("%+v, want jane's", got)
	}
}
