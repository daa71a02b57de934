package activities_test

import (
	"strings"
	"testing"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi"
)

// me is the name that Spacelift gives to Gantry's key.
func (r *rig) me() string {
	r.Helper()
	client, ok := r.acts.Accounts["acme"].(*spaceliftapi.Client)
	if !ok {
		r.Fatal("the account's client is not Spacelift's own")
	}
	viewer, err := client.Viewer(r.Context())
	r.must(err)
	return viewer.ID
}

// A person takes the stack while a plan waits: Gantry confirms nothing, and says
// who took it.
func TestConfirmRunObeysTheStacksBrakes(t *testing.T) {
	for _, tc := range []struct {
		name   string
		before func(*rig)
		want   managed.ConfirmOutcome
		block  managed.Block // without its time
	}{
		{
			name:   "a person locked the stack",
			before: func(r *rig) { r.must(r.sim.Lock("jane", stack, "moving the state")) },
			want:   managed.StackBlocked,
			block:  managed.Block{What: spacelift.BlockLock, By: "jane", Note: "moving the state", Reason: ": moving the state"},
		},
		{
			name:   "another key locked it",
			before: func(r *rig) { r.must(r.sim.Lock("api::01OTHER", stack, "")) },
			want:   managed.StackBlocked,
			block:  managed.Block{What: spacelift.BlockLock, By: "api::01OTHER", Reason: "api::01OTHER locked the stack"},
		},
		{name: "Gantry's own key locked it", before: func(r *rig) { r.must(r.sim.Lock(r.me(), stack, "")) }, want: managed.Confirmed},
		{
			name:   "it was locked and is unlocked",
			before: func(r *rig) { r.must(r.sim.Lock("jane", stack, "")); r.must(r.sim.Unlock("jane", stack)) },
			want:   managed.Confirmed,
		},
		{
			name:   "the stack is disabled",
			before: func(r *rig) { r.must(r.sim.Disable(stack)) },
			want:   managed.StackBlocked, block: managed.Block{What: spacelift.BlockDisabled, Reason: "disabled"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			tc.before(r)
			got, err := r.confirm(r.judged())
			r.must(err)
			if got.Outcome != tc.want || (got.Block != nil) != (tc.want == managed.StackBlocked) {
				t.Fatalf("%s: %s (%+v), want %s", got.Outcome, got.Reason, got.Block, tc.want)
			}
			if r.sent() > 0 != (tc.want == managed.Confirmed) {
				t.Errorf("%d confirmations were sent", r.sent())
			}
			if b := got.Block; b != nil && (b.What != tc.block.What || b.By != tc.block.By || b.Note != tc.block.Note ||
				b.Since.IsZero() != (b.What != spacelift.BlockLock) || b.Reason != got.Reason || !strings.Contains(b.Reason, tc.block.Reason)) {
				t.Errorf("blocked by %+v, want %+v", b, tc.block)
			}
		})
	}
}

// Nobody but the owner of a lock can start runs, and Gantry does not try.
func TestNothingIsStartedOnALockedStack(t *testing.T) {
	t.Run("a retry", func(t *testing.T) {
		r := newRig(t)
		r.fails(planFails("no available workers"))
		in := r.retry()
		r.must(r.sim.Lock("jane", stack, ""))
		got := done[activities.RetryRunResult](r, r.acts.RetryRun, in)
		if got.Outcome != managed.ActBlocked || got.Block == nil || got.Block.By != "jane" || r.calls("runRetry") > 0 {
			t.Errorf("%+v after %d calls", got, r.calls("runRetry"))
		}
		r.must(r.sim.Unlock("jane", stack))
		if got := done[activities.RetryRunResult](r, r.acts.RetryRun, in); got.Outcome != managed.ActDone {
			t.Errorf("once it is unlocked: %+v", got)
		}
	})
	t.Run("a follower", func(t *testing.T) {
		r := newFollowersRig(t)
		r.finishes()
		in := r.release()
		r.must(r.sim.Lock("jane", follower, ""))
		got := done[activities.TriggerFollowerResult](r, r.acts.TriggerFollower, in)
		if got.Outcome != activities.FollowHeld || got.Block == nil || got.Block.By != "jane" || r.calls("runTrigger") > 0 {
			t.Errorf("%+v after %d calls", got, r.calls("runTrigger"))
		}
		r.must(r.sim.Unlock("jane", follower))
		if got := done[activities.TriggerFollowerResult](r, r.acts.TriggerFollower, in); got.Outcome != activities.FollowTriggered {
			t.Errorf("once it is unlocked: %+v", got)
		}
	})
}

// Discarding and stopping are brakes themselves.
func TestALockKeepsNobodyFromStopping(t *testing.T) {
	for name, do := range map[string]func(*rig) managed.ActResult{
		"discard": func(r *rig) managed.ActResult {
			return done[managed.ActResult](r, r.acts.DiscardRun, activities.DiscardRunInput{Run: r.ref, StateVersion: 5, Note: "no"})
		},
		"stop": func(r *rig) managed.ActResult {
			return done[managed.ActResult](r, r.acts.StopRun, activities.StopRunInput{Run: r.ref, Note: "no"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.must(r.sim.Lock("jane", stack, ""))
			if got := do(r); got.Outcome != managed.ActDone || got.Run.Brakes.Lock == nil {
				t.Errorf("%s: %s; the lock is %+v", got.Outcome, got.Reason, got.Run.Brakes.Lock)
			}
			r.shows(spacelift.RunStateDiscarded)
		})
	}
}

// Every reader of a run sees the stack's brakes, but for Gantry's own lock.
func TestReadRunShowsBrakes(t *testing.T) {
	r := newRig(t)
	r.must(r.sim.Lock("jane", stack, "moving the state"))
	if run := done[spacelift.Run](r, r.acts.ReadRun, r.ref); run.Brakes.Lock == nil || run.Brakes.Lock.By != "jane" || run.Brakes.Blocker != r.ref.Run {
		t.Errorf("brakes %+v, want jane's lock and the run itself", run.Brakes)
	}
	r.must(r.sim.Unlock("jane", stack))
	r.must(r.sim.Lock(r.me(), stack, ""))
	if run := done[spacelift.Run](r, r.acts.ReadRun, r.ref); run.Brakes.Lock != nil {
		t.Errorf("Gantry's own lock is shown: %+v", run.Brakes.Lock)
	}
}
