package activities_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi"
)

// freezes declares a freeze that holds from now on.
func (r *rig) freezes() {
	r.temporal.mu.Lock()
	defer r.temporal.mu.Unlock()
	r.temporal.freezes = []policy.Freeze{{ID: "f1", Reason: "audit", From: noon.Add(-time.Minute), DeclaredBy: "jane"}}
}

// Spacelift does not take a confirmation, and a freeze is declared before Gantry
// may try again: the confirmation is never sent.
func TestARefusedConfirmationIsNotSentAgainWithoutACheck(t *testing.T) {
	t.Run("rate limited", func(t *testing.T) {
		r := newRig(t)
		r.clock(noon)
		in := r.judged()
		r.fault(simulator.APIFault{Kind: simulator.RateLimited, Field: "runConfirm", Times: 1, RetryAfter: simulator.Duration(2 * time.Second)})
		_, err := r.confirm(in)
		app, ok := errors.AsType[*temporal.ApplicationError](err)
		if !ok || app.Type() != activities.ErrTypeRateLimited || app.NonRetryable() || app.NextRetryDelay() != 2*time.Second {
			t.Fatalf("%v, want another attempt after 2 s", err)
		}
		r.freezes()
		if got := done[managed.ConfirmResult](r, r.acts.ConfirmRun, confirming(in)); got.Outcome != managed.GateClosed {
			t.Errorf("%s: %s", got.Outcome, got.Reason)
		}
		if r.sent() != 1 {
			t.Errorf("%d confirmations were sent, want the one that was refused", r.sent())
		}
	})
	t.Run("the token was revoked", func(t *testing.T) {
		r := newRig(t)
		r.clock(noon)
		in := r.judged()
		r.acts.Accounts["acme"] = hasty{r.acts.Accounts["acme"], func() { r.sim.RevokeTokens(); r.freezes() }}
		if got := done[managed.ConfirmResult](r, r.acts.ConfirmRun, confirming(in)); got.Outcome != managed.GateClosed {
			t.Errorf("%s: %s", got.Outcome, got.Reason)
		}
		if r.sent() != 1 || len(r.sim.Mutations("runConfirm")) > 0 {
			t.Errorf("%d confirmations were sent, want the one that was refused", r.sent())
		}
	})
	t.Run("the token was revoked, and nothing else happened", func(t *testing.T) {
		r := newRig(t)
		first := true
		r.acts.Accounts["acme"] = hasty{r.acts.Accounts["acme"], func() {
			if first {
				r.sim.RevokeTokens()
			}
			first = false
		}}
		if got := done[managed.ConfirmResult](r, r.acts.ConfirmRun, confirming(r.judged())); got.Outcome != managed.Confirmed {
			t.Errorf("%s: %s", got.Outcome, got.Reason)
		}
	})
}

// paused is an account whose acts come too late for their check for some times,
// as if the process had been paused in between.
type paused struct {
	activities.Spacelift
	times int
}

func (p *paused) late(ctx context.Context) context.Context {
	if p.times--; p.times >= 0 {
		return spaceliftapi.WithCheck(ctx, time.Now().Add(-time.Minute), time.Second)
	}
	return ctx
}

func (p *paused) ConfirmRun(ctx context.Context, ref spacelift.RunRef, note string) (spacelift.RunOutcome, error) {
	return p.Spacelift.ConfirmRun(p.late(ctx), ref, note)
}

func (p *paused) DiscardRun(ctx context.Context, ref spacelift.RunRef, note string) (spacelift.RunOutcome, error) {
	return p.Spacelift.DiscardRun(p.late(ctx), ref, note)
}

func (p *paused) ReviewRun(ctx context.Context, ref spacelift.RunRef, decision spacelift.ReviewDecision, note string) error {
	return p.Spacelift.ReviewRun(p.late(ctx), ref, decision, note)
}

func (p *paused) RetryRun(ctx context.Context, ref spacelift.RunRef) (spacelift.RunOutcome, error) {
	return p.Spacelift.RetryRun(p.late(ctx), ref)
}

func (p *paused) TriggerRun(ctx context.Context, stack spacelift.StackID, how spacelift.Trigger) (spacelift.RunOutcome, error) {
	return p.Spacelift.TriggerRun(p.late(ctx), stack, how)
}

// An act whose check is old is not sent: the activity checks again first.
func TestAnActWithAnOldCheckChecksAgain(t *testing.T) {
	for _, tc := range []struct {
		name  string
		field string // of the act
		last  string // of the read that it rests on
		rig   func(*testing.T) *rig
		act   func(*rig) error
	}{
		{name: "confirm", field: "runConfirm", last: "Run", act: func(r *rig) error {
			_, err := do[managed.ConfirmResult](r.env, r.acts.ConfirmRun, confirming(r.judged()))
			return err
		}},
		{name: "discard", field: "runDiscard", last: "Run", act: func(r *rig) error {
			_, err := do[managed.ActResult](r.env, r.acts.DiscardRun, activities.DiscardRunInput{Run: r.ref, StateVersion: 5})
			return err
		}},
		{name: "stop", field: "runDiscard", last: "Run", act: func(r *rig) error {
			_, err := do[managed.ActResult](r.env, r.acts.StopRun, activities.StopRunInput{Run: r.ref})
			return err
		}},
		{
			name: "review", field: "runReview", last: "Run",
			rig: func(t *testing.T) *rig { return newRig(t, func(s *simulator.Stack) { s.Approvals = 1 }) },
			act: func(r *rig) error {
				_, err := do[managed.ActResult](r.env, r.acts.ReviewRun, activities.ReviewRunInput{Run: r.ref, StateVersion: 5, Decision: spacelift.ReviewApprove, Judged: r.approved()})
				return err
			},
		},
		{
			name: "retry", field: "runRetry", last: "Run",
			rig: func(t *testing.T) *rig { r := newRig(t); r.fails(planFails("no available workers")); return r },
			act: func(r *rig) error {
				_, err := do[activities.RetryRunResult](r.env, r.acts.RetryRun, r.retry())
				return err
			},
		},
		{
			name: "trigger", field: "runTrigger", last: "Stack",
			rig: func(t *testing.T) *rig { r := newFollowersRig(t); r.finishes(); return r },
			act: func(r *rig) error {
				_, err := do[activities.TriggerFollowerResult](r.env, r.acts.TriggerFollower, r.release())
				return err
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.rig == nil {
				tc.rig = func(t *testing.T) *rig { return newRig(t) }
			}
			r := tc.rig(t)
			api, before := r.acts.Accounts["acme"], r.calls(tc.field)
			r.acts.Accounts["acme"] = &paused{Spacelift: api, times: 1}
			reads := r.reads(tc.last)
			r.must(tc.act(r))
			if sent := r.calls(tc.field) - before; sent != 1 {
				t.Errorf("sent %d times", sent)
			}
			if n := r.reads(tc.last) - reads; n < 2 {
				t.Errorf("checked %d times before it was sent", n)
			}
		})
	}
}

// A process that is paused again and again leaves it to the next attempt.
func TestAnActThatIsAlwaysLateIsTriedLater(t *testing.T) {
	r := newRig(t)
	r.acts.Accounts["acme"] = &paused{Spacelift: r.acts.Accounts["acme"], times: 100}
	if _, err := r.confirm(r.judged()); err == nil || nonRetryable(err) || r.sent() > 0 {
		t.Errorf("%v after %d confirmations, want an error worth another attempt", err, r.sent())
	}
}
