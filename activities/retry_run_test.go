package activities_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/testsuite"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// logless is an account whose logs can't be read.
type logless struct {
	activities.Spacelift
	err error
}

func (l *logless) RunLogs(context.Context, spacelift.RunRef, spacelift.Transition, int) (spacelift.LogTail, error) {
	return spacelift.LogTail{}, l.err
}

func (r *rig) retry() activities.RetryRunInput {
	r.Helper()
	run, err := r.sim.Run(stack, r.ref.Run)
	r.must(err)
	return activities.RetryRunInput{Run: r.ref, FailedAt: run.History[len(run.History)-1].At}
}

// runs counts the stack's runs of the commit that failed.
func (r *rig) runs() (n int) {
	r.Helper()
	failed, err := r.sim.Run(stack, r.ref.Run)
	r.must(err)
	all, err := r.sim.Runs(stack)
	r.must(err)
	for _, run := range all {
		if run.Commit.Hash == failed.Commit.Hash {
			n++
		}
	}
	return n
}

func TestRetryRun(t *testing.T) {
	for _, tc := range []struct {
		name   string
		before func(*rig)
		want   managed.ActOutcome
		reason string
		runs   int  // of the commit, afterwards
		other  bool // the result names another run
	}{
		{name: "as asked", want: managed.ActDone, runs: 2, other: true},
		{
			name:   "a person was faster",
			before: func(r *rig) { _, err := r.sim.Retry("jane", stack, r.ref.Run); r.must(err) },
			want:   managed.ActMoot, reason: "jane started it again", runs: 2, other: true,
		},
		{
			name: "a person was faster and thought better of it",
			before: func(r *rig) {
				r.must(r.sim.SetNextPlan(stack, simulator.Plan{Delta: spacelift.Delta{Added: 1}}))
				again, err := r.sim.Retry("jane", stack, r.ref.Run)
				r.must(err)
				ctx, cancel := context.WithTimeout(r.Context(), wait)
				defer cancel()
				_, err = r.sim.WaitState(ctx, stack, again, spacelift.RunStateUnconfirmed)
				r.must(err)
				r.must(r.sim.Discard("jane", stack, again, ""))
			},
			want: managed.ActDone, runs: 3, other: true,
		},
		{
			name: "a newer commit is there",
			before: func(r *rig) {
				_, err := r.sim.Push(stack, simulator.Commit{Hash: "beef"}, simulator.Plan{})
				r.must(err)
			},
			want: managed.ActMoot, reason: "newer: retrying would take the stack back", runs: 1,
		},
		{
			name:   "the stack is disabled",
			before: func(r *rig) { r.must(r.sim.Disable(stack)) },
			want:   managed.ActBlocked, reason: "disabled", runs: 1,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			r.fails(planFails("no available workers"))
			in := r.retry()
			if tc.before != nil {
				tc.before(r)
			}
			got := done[activities.RetryRunResult](r, r.acts.RetryRun, in)
			if got.Outcome != tc.want || !strings.Contains(got.Reason, tc.reason) || (got.Reason == "") != (tc.want == managed.ActDone) {
				t.Errorf("%s: %s; want %s with %q", got.Outcome, got.Reason, tc.want, tc.reason)
			}
			if n := r.runs(); n != tc.runs {
				t.Errorf("%d runs of the commit, want %d", n, tc.runs)
			}
			if other := got.New.Run != "" && got.New.Run != r.ref.Run; other != tc.other || other && got.New.Validate() != nil {
				t.Errorf("the new run is %s", got.New)
			}
		})
	}
}

// A retry that the policy allowed is made only while the stack has that policy; one that a
// person asked for is made by any.
func TestARetryByPolicyIsCheckedAnew(t *testing.T) {
	for _, tc := range []struct {
		name   string
		since  []string
		person bool
		want   managed.ActOutcome
		reason string
	}{
		{name: "nothing changed", since: []string{"gantry:managed", "gantry:retries=2"}, want: managed.ActDone},
		{name: "runs are tried again no more", since: []string{"gantry:managed", "gantry:retries=0"}, want: managed.ActForbidden, reason: "the policy is not the one"},
		{name: "the stack isn't managed any more", since: []string{"gantry:retries=2"}, want: managed.ActForbidden, reason: "gantry:managed"},
		{name: "a person asked", since: []string{"gantry:managed", "gantry:retries=0"}, person: true, want: managed.ActDone},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			r.must(r.sim.SetLabels(stack, "gantry:managed", "gantry:retries=2"))
			r.fails(planFails("no available workers"))
			in := r.retry()
			if !tc.person {
				in.Judged = r.approved()
			}
			r.must(r.sim.SetLabels(stack, tc.since...))
			got := done[activities.RetryRunResult](r, r.acts.RetryRun, in)
			if got.Outcome != tc.want || !strings.Contains(got.Reason, tc.reason) || (got.Reason == "") != (tc.want == managed.ActDone) {
				t.Errorf("%s: %s; want %s with %q", got.Outcome, got.Reason, tc.want, tc.reason)
			}
			if sent := r.calls("runRetry"); (sent == 1) != (tc.want == managed.ActDone) {
				t.Errorf("%d retries were sent", sent)
			}
		})
	}
}

// The answer that gets lost may have been a yes: the next attempt finds the run
// that the first one began, and begins no other.
func TestRetryRunAfterALostAnswer(t *testing.T) {
	r := newRig(t)
	r.fails(planFails("no available workers"))
	in := r.retry()
	r.fault(simulator.APIFault{Kind: simulator.LostResponse, Field: "runRetry", Times: 1})

	_, err := do[activities.RetryRunResult](r.env, r.acts.RetryRun, in)
	if err == nil || nonRetryable(err) {
		t.Fatalf("the first attempt ended with %v, want an error worth another attempt", err)
	}
	for range 2 {
		got := done[activities.RetryRunResult](r, r.acts.RetryRun, in)
		if got.Outcome != managed.ActDone || got.New.Run == r.ref.Run || got.New.Run == "" {
			t.Errorf("%+v", got)
		}
	}
	if r.calls("runRetry") != 1 || r.runs() != 2 {
		t.Errorf("%d retries were sent and there are %d runs of the commit", r.calls("runRetry"), r.runs())
	}
}

func TestRetryRunTakesFailedRunsAlone(t *testing.T) {
	r := newRig(t)
	got := done[activities.RetryRunResult](r, r.acts.RetryRun, activities.RetryRunInput{Run: r.ref, FailedAt: time.Now()})
	if got.Outcome != managed.ActRefused || !strings.Contains(got.Reason, "UNCONFIRMED") || r.calls("runRetry") > 0 {
		t.Errorf("%+v", got)
	}
}

// Whether Spacelift retries under the same id or a new one is not documented,
// and neither is who may.
func TestRetryRunOfAnotherSpacelift(t *testing.T) {
	at := time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)
	ref := spacelift.RunRef{Account: "acme", Stack: stack, Run: "01KDX3V4T8Q2M5N7P9R1S3T5V7"}
	failed := spacelift.Run{
		Ref: ref, Type: spacelift.RunTypeTracked, State: spacelift.RunStateFailed, StateVersion: 1, CanRetry: true, CreatedAt: at,
		History: []spacelift.Transition{{State: "QUEUED", At: at}, {State: "FAILED", StateVersion: 1, At: at.Add(time.Minute)}},
	}
	goesOn := func(who string) func(*sameID) {
		return func(s *sameID) {
			s.run.State, s.run.StateVersion = "QUEUED", 2
			s.run.History = append(s.run.History, spacelift.Transition{State: "QUEUED", StateVersion: 2, At: at.Add(2 * time.Minute), Username: who})
		}
	}
	for _, tc := range []struct {
		name   string
		before func(*sameID)
		want   managed.ActOutcome
		reason string
		sent   int
	}{
		{name: "the same run has not ended", want: managed.ActDone, sent: 1},
		{name: "an earlier attempt did it", before: goesOn(""), want: managed.ActDone},
		{name: "our key did it", before: goesOn("api::key"), want: managed.ActDone},
		{name: "a person did it", before: goesOn("jane"), want: managed.ActMoot, reason: "jane started it again"},
		{
			name: "it had failed before, and failed again", want: managed.ActDone, sent: 1,
			before: func(s *sameID) {
				s.run.History = append([]spacelift.Transition{
					{State: "FAILED", At: at.Add(-time.Hour)}, {State: "QUEUED", At: at.Add(-time.Hour), Username: "api::key"},
				}, s.run.History...)
			},
		},
		{name: "our key may not", before: func(s *sameID) { s.run.CanRetry = false }, want: managed.ActRefused, reason: "can't be retried"},
		{name: "a run that destroys", before: func(s *sameID) { s.run.Type = spacelift.RunTypeDestroy }, want: managed.ActRefused, reason: "DESTROY"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			api := &sameID{run: failed}
			if tc.before != nil {
				tc.before(api)
			}
			var suite testsuite.WorkflowTestSuite
			env := suite.NewTestActivityEnvironment()
			env.SetTestTimeout(time.Minute)
			acts := &activities.Activities{Accounts: map[spacelift.Account]activities.Spacelift{"acme": api}}
			env.RegisterActivity(acts)
			got, err := do[activities.RetryRunResult](env, acts.RetryRun, activities.RetryRunInput{Run: ref, FailedAt: at.Add(time.Minute + 417*time.Millisecond)})
			if err != nil || got.Outcome != tc.want || !strings.Contains(got.Reason, tc.reason) || api.sent != tc.sent {
				t.Errorf("%+v, %v, %d sent; want %s with %q", got, err, api.sent, tc.want, tc.reason)
			}
			if got.Outcome == managed.ActDone && got.New != ref {
				t.Errorf("the new run is %s", got.New)
			}
		})
	}
}

// sameID is an account that retries a run under its own id.
type sameID struct {
	activities.Spacelift // nothing else is called

	run  spacelift.Run
	sent int
}

func (s *sameID) Run(context.Context, spacelift.RunRef) (spacelift.Run, error) { return s.run, nil }

func (s *sameID) RunsOfStack(context.Context, spacelift.StackID, spacelift.RunType, int) (spacelift.Listing[spacelift.RunLine], error) {
	line := spacelift.RunLine{Ref: s.run.Ref, Type: s.run.Type, State: s.run.State, CreatedAt: s.run.CreatedAt}
	return spacelift.Listing[spacelift.RunLine]{Items: []spacelift.RunLine{line}, Complete: true}, nil
}

func (s *sameID) Viewer(context.Context) (spacelift.Viewer, error) {
	return spacelift.Viewer{ID: "api::key"}, nil
}

func (s *sameID) RetryRun(context.Context, spacelift.RunRef) (spacelift.RunOutcome, error) {
	s.sent++
	return spacelift.RunOutcome{Ref: s.run.Ref, State: "QUEUED"}, nil
}
