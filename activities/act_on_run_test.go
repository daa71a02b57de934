package activities_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/testsuite"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// acted is the result of an activity and what Spacelift saw of it.
type acted struct {
	outcome managed.ActOutcome
	reason  string // part of it
	calls   int    // of the mutation
}

func (r *rig) wants(got managed.ActResult, want acted, mutation string) {
	r.Helper()
	if got.Outcome != want.outcome || !strings.Contains(got.Reason, want.reason) || (got.Reason == "") != (want.outcome == managed.ActDone) {
		r.Errorf("%s: %s; want %s with %q", got.Outcome, got.Reason, want.outcome, want.reason)
	}
	if n := r.calls(mutation); n != want.calls {
		r.Errorf("%s was sent %d times, want %d", mutation, n, want.calls)
	}
	if got.Run.Ref != r.ref || len(got.Run.History) == 0 {
		r.Errorf("does not show the run as it was read: %+v", got.Run)
	}
}

func (r *rig) shows(state spacelift.RunState) {
	r.Helper()
	run, err := r.sim.Run(stack, r.ref.Run)
	r.must(err)
	if run.State != state {
		r.Errorf("the run is in %s, want %s", run.State, state)
	}
}

func TestDiscardRun(t *testing.T) {
	const note = "Discarded by Gantry: nobody approved within 24h."
	for _, tc := range []struct {
		name   string
		before func(*rig)
		want   acted
		state  spacelift.RunState
	}{
		{"as judged", nil, acted{managed.ActDone, "", 1}, "DISCARDED"},
		{
			"a person discarded it", func(r *rig) { r.must(r.sim.Discard("jane", stack, r.ref.Run, "no")) },
			acted{managed.ActMoot, "jane discarded", 0}, "DISCARDED",
		},
		{
			"a person confirmed it", func(r *rig) { r.must(r.sim.Confirm("jane", stack, r.ref.Run, "go")); r.reaches("FINISHED") },
			acted{managed.ActMoot, "jane confirmed", 0}, "FINISHED",
		},
		{
			"a replan made another plan", func(r *rig) { r.must(r.sim.Replan("jane", stack, r.ref.Run)); r.reaches("UNCONFIRMED") },
			acted{managed.ActMoot, "UNCONFIRMED (9), not in UNCONFIRMED (5)", 0}, "UNCONFIRMED",
		},
		{
			"an earlier attempt did it", func(r *rig) { r.must(r.sim.Discard("api::key", stack, r.ref.Run, note+" [gantry: discard 5]")) },
			acted{managed.ActDone, "", 0}, "DISCARDED",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			if tc.before != nil {
				tc.before(r)
			}
			got := done[managed.ActResult](r, r.acts.DiscardRun, activities.DiscardRunInput{Run: r.ref, StateVersion: 5, Note: note})
			r.wants(got, tc.want, "runDiscard")
			r.shows(tc.state)
		})
	}
}

// An answer that gets lost is no answer: the next attempt finds what was done.
func TestDiscardRunAfterALostAnswer(t *testing.T) {
	r := newRig(t)
	in := activities.DiscardRunInput{Run: r.ref, StateVersion: 5, Note: "Discarded by Gantry."}
	r.fault(simulator.APIFault{Kind: simulator.LostResponse, Field: "runDiscard", Times: 1})
	if _, err := do[managed.ActResult](r.env, r.acts.DiscardRun, in); err == nil || nonRetryable(err) {
		t.Fatalf("the first attempt ended with %v, want an error worth another attempt", err)
	}
	r.wants(done[managed.ActResult](r, r.acts.DiscardRun, in), acted{managed.ActDone, "", 1}, "runDiscard")
}

// While the API is behind the notifications, nothing is decided.
func TestDiscardRunWaitsForTheAPI(t *testing.T) {
	r := newRig(t)
	_, err := do[managed.ActResult](r.env, r.acts.DiscardRun, activities.DiscardRunInput{Run: r.ref, StateVersion: 9, Note: "no"})
	if err == nil || nonRetryable(err) || r.calls("runDiscard") > 0 {
		t.Errorf("%v after %d calls, want an error worth another attempt", err, r.calls("runDiscard"))
	}
}

func TestReviewRun(t *testing.T) {
	for _, tc := range []struct {
		name     string
		approved int // reviews that the approval policy asks for
		before   func(*rig)
		decision spacelift.ReviewDecision
		want     acted
		needs    bool // an approval policy still asks afterwards
		stays    bool // a rejection fails nothing
	}{
		{name: "approve", approved: 1, decision: spacelift.ReviewApprove, want: acted{managed.ActDone, "", 1}},
		{name: "approve, and others must too", approved: 2, decision: spacelift.ReviewApprove, want: acted{managed.ActDone, "", 1}, needs: true},
		{name: "nothing asks", decision: spacelift.ReviewApprove, want: acted{managed.ActMoot, "no approval policy", 0}},
		{
			name: "somebody approved", approved: 1, decision: spacelift.ReviewApprove,
			before: func(r *rig) { r.must(r.sim.Review("jane", stack, r.ref.Run, "APPROVE", "")) },
			want:   acted{managed.ActMoot, "no approval policy", 0},
		},
		{name: "reject", approved: 1, decision: spacelift.ReviewReject, want: acted{managed.ActDone, "", 1}},
		{name: "nothing asks to reject", decision: spacelift.ReviewReject, want: acted{managed.ActMoot, "no approval policy", 0}, stays: true},
		{
			name: "somebody approved before the rejection", approved: 1, decision: spacelift.ReviewReject,
			before: func(r *rig) { r.must(r.sim.Review("jane", stack, r.ref.Run, "APPROVE", "")) },
			want:   acted{managed.ActMoot, "no approval policy", 0}, stays: true,
		},
		{
			name: "rejected already", approved: 1, decision: spacelift.ReviewReject,
			before: func(r *rig) { r.must(r.sim.Review("jane", stack, r.ref.Run, "REJECT", "")) },
			want:   acted{managed.ActDone, "", 0},
		},
		{
			name: "discarded meanwhile", approved: 1, decision: spacelift.ReviewApprove,
			before: func(r *rig) { r.must(r.sim.Discard("jane", stack, r.ref.Run, "")) },
			want:   acted{managed.ActMoot, "DISCARDED (6)", 0},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, func(s *simulator.Stack) { s.Approvals = tc.approved })
			if tc.before != nil {
				tc.before(r)
			}
			in := activities.ReviewRunInput{Run: r.ref, StateVersion: 5, Decision: tc.decision, Judged: r.approved(), Note: "approved by jane and joe"}
			r.wants(done[managed.ActResult](r, r.acts.ReviewRun, in), tc.want, "runReview")
			run, err := r.sim.Run(stack, r.ref.Run)
			r.must(err)
			if run.NeedsApproval != tc.needs {
				t.Errorf("needs approval: %t", run.NeedsApproval)
			}
			if rejected := run.State == spacelift.RunStateFailed; rejected != (tc.decision == spacelift.ReviewReject && !tc.stays) {
				t.Errorf("the run is in %s", run.State)
			}
		})
	}
	t.Run("in the queue", func(t *testing.T) {
		r := newRig(t)
		r.must(r.sim.AddStack(simulator.Stack{ID: "app-prod", Labels: []string{"gantry:managed"}, Approvals: 1, ApproveQueued: true}))
		run, err := r.sim.Push("app-prod", simulator.Commit{}, simulator.Plan{})
		r.must(err)
		ref := spacelift.RunRef{Account: "acme", Stack: "app-prod", Run: run}
		in := activities.ReviewRunInput{Run: ref, StateVersion: 0, Decision: spacelift.ReviewApprove, Judged: &managed.Judged{Policy: r.rules().Resolve(policy.Labelled([]string{"gantry:managed"}))}}
		if got := done[managed.ActResult](r, r.acts.ReviewRun, in); got.Outcome != managed.ActDone || !got.Run.NeedsApproval {
			t.Errorf("%+v", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		defer cancel()
		_, err = r.sim.WaitState(ctx, "app-prod", run, spacelift.RunStateFinished)
		r.must(err)
	})
}

// approved returns what an approval of people rests on by the rules and labels as they are now.
func (r *rig) approved() *managed.Judged {
	r.Helper()
	s, err := r.sim.Stack(stack)
	r.must(err)
	by := r.rules()
	j := &managed.Judged{Policy: by.Resolve(policy.Labelled(s.Labels)), Approved: true}
	if j.Policy.Expressions.Any() {
		plan, err := r.acts.Accounts["acme"].PlannedResources(r.Context(), r.ref)
		r.must(err)
		j.Verdicts = by.Judge(j.Policy, plan, noon)
	}
	return j
}

// configure sets the configuration in effect.
func (r *rig) configure(c policy.Config) {
	r.Helper()
	rules, err := policy.Compile(c)
	r.must(err)
	r.acts.Definitions = func() *policy.Definitions { return rules }
}

// An approval is passed on to Spacelift, and a plan is left to people there, only by the
// rules that it was judged by. A plan is left to people only while Gantry could confirm it
// itself: a freeze or a lock that came after the decision counts.
func TestAnApprovalInSpaceliftIsCheckedAnew(t *testing.T) {
	guarded := func(hold string) func(*rig) {
		return func(r *rig) {
			r.configure(policy.Config{Profiles: []policy.Profile{{Name: "guarded", HoldWhen: &hold}}})
			r.must(r.sim.SetLabels(stack, "gantry:managed", "gantry:profile=guarded"))
		}
	}
	labels := func(labels ...string) func(*rig) { return func(r *rig) { r.must(r.sim.SetLabels(stack, labels...)) } }
	forbidden := func(why string) acted { return acted{managed.ActForbidden, why, 0} }
	passed := acted{managed.ActDone, "", 1}
	for _, tc := range []struct {
		name    string
		judged  func(*rig)
		verdict *policy.Verdicts // that it was judged by, if another
		since   func(*rig)
		release acted
		review  acted
	}{
		{name: "nothing forbids it", release: passed, review: passed},
		{name: "a freeze", since: (*rig).freezes, release: forbidden("audit"), review: passed},
		{name: "a lock", since: func(r *rig) { r.must(r.sim.Lock("joe", stack, "mine")) }, release: forbidden("joe"), review: passed},
		{name: "a label that can't be read", judged: labels("gantry:managed", "gantry:aprovals=2"), release: forbidden("gantry:aprovals=2"), review: forbidden("gantry:aprovals=2")},
		{
			name: "labels that ask people, or more of them", since: labels("gantry:managed", "gantry:confirm=no-deletes", "gantry:approvals=2"),
			release: forbidden("gantry:approvals=2"), review: forbidden("gantry:approvals=2"),
		},
		{
			name: "a profile that asks people", judged: labels("gantry:managed", "env:prod"), since: func(r *rig) {
				r.configure(policy.Config{
					Profiles: []policy.Profile{{Name: "prod", Approvals: new(2)}},
					Rules:    []policy.StackRule{{Name: "production", Match: policy.Match{Labels: []string{"env:prod"}}, Profile: "prod", Locked: true}},
				})
			}, release: forbidden("the policy is not the one"), review: forbidden("the policy is not the one"),
		},
		{name: "a window that a rule about another label asks for", judged: func(r *rig) {
			r.configure(policy.Config{
				Windows:  []policy.Window{{Name: "night", TimeZone: "UTC", Allow: []policy.Recurrence{{Start: "2026-01-05T22:00", Duration: policy.Duration(8 * time.Hour), RRule: "FREQ=DAILY"}}}},
				Profiles: []policy.Profile{{Name: "prod", Windows: []string{"night"}}},
				Rules:    []policy.StackRule{{Name: "production", Match: policy.Match{Labels: []string{"env:prod"}}, Profile: "prod", Locked: true}},
			})
			r.must(r.sim.SetLabels(stack, "gantry:managed", "env:prod"))
		}, release: forbidden("night"), review: passed},
		{
			name: "an expression that holds the plan", judged: guarded("plan.changed > 0"),
			release: forbidden("holdWhen"), review: passed,
		},
		{name: "an expression that doesn't", judged: guarded("plan.deleted > 0"), release: passed, review: passed},
		{
			name: "an expression with another result", judged: guarded("plan.changed > 0"), verdict: &policy.Verdicts{},
			release: forbidden("other results"), review: forbidden("other results"),
		},
		{name: "it isn't managed any more", since: labels(), release: forbidden("gantry:managed"), review: forbidden("gantry:managed")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, releases := range []bool{true, false} {
				r := newRig(t, func(s *simulator.Stack) { s.Approvals = 1 })
				r.clock(noon)
				if tc.judged != nil {
					tc.judged(r)
				}
				in := activities.ReviewRunInput{Run: r.ref, StateVersion: 5, Decision: spacelift.ReviewApprove, Judged: r.approved(), Releases: releases, Note: "Approved."}
				if tc.verdict != nil {
					in.Judged.Verdicts = tc.verdict
				}
				if tc.since != nil {
					tc.since(r)
				}
				want := tc.review
				if releases {
					want = tc.release
				}
				r.wants(done[managed.ActResult](r, r.acts.ReviewRun, in), want, "runReview")
			}
		})
	}
}

// An old plan is discarded only by the policy that says so: who takes the label off that
// makes it old keeps the plan.
func TestAnOldPlanIsCheckedAnew(t *testing.T) {
	for name, tc := range map[string]struct {
		since []string
		want  acted
	}{
		"nothing changed":                   {[]string{"gantry:managed", "gantry:after=net"}, acted{managed.ActDone, "", 1}},
		"the stack follows no one any more": {[]string{"gantry:managed"}, acted{managed.ActForbidden, "the policy is not the one", 0}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.must(r.sim.SetLabels(stack, "gantry:managed", "gantry:after=net"))
			in := activities.DiscardRunInput{Run: r.ref, StateVersion: 5, Judged: r.approved(), Note: "Discarded by Gantry: the plan is old."}
			r.must(r.sim.SetLabels(stack, tc.since...))
			r.wants(done[managed.ActResult](r, r.acts.DiscardRun, in), tc.want, "runDiscard")
		})
	}
}

// A run is ended in the way that its state allows.
func TestStopRun(t *testing.T) {
	const note = "Stopped by jane through Gantry."
	paused := func(states ...spacelift.RunState) simulator.Plan {
		p := simulator.Plan{Delta: spacelift.Delta{Added: 1}, Phases: simulator.Phases{}}
		for _, s := range states {
			p.Phases[s] = wait
		}
		return p
	}
	for _, tc := range []struct {
		state    spacelift.RunState
		before   func(*rig)
		want     acted
		mutation string
		ends     spacelift.RunState
	}{
		{state: "READY", want: acted{managed.ActDone, "", 1}, mutation: "runCancel", ends: "CANCELED"},
		{state: "PREPARING", want: acted{managed.ActRefused, "in a moment", 0}, mutation: "runStop", ends: "PREPARING"},
		{state: "INITIALIZING", want: acted{managed.ActDone, "", 1}, mutation: "runStop", ends: "STOPPED"},
		{state: "PLANNING", want: acted{managed.ActDone, "", 1}, mutation: "runStop", ends: "STOPPED"},
		{state: "UNCONFIRMED", want: acted{managed.ActDone, "", 1}, mutation: "runDiscard", ends: "DISCARDED"},
		{
			state: "APPLYING", before: func(r *rig) { r.must(r.sim.Confirm("jane", stack, r.ref.Run, "")); r.reaches("APPLYING") },
			want: acted{managed.ActRefused, "a run in APPLYING can't be stopped", 0}, mutation: "runStop", ends: "APPLYING",
		},
		{
			state: "DISCARDED", before: func(r *rig) { r.must(r.sim.Discard("joe", stack, r.ref.Run, "no")) },
			want: acted{managed.ActMoot, "DISCARDED", 0}, mutation: "runDiscard", ends: "DISCARDED",
		},
		{
			state: "DISCARDED", before: func(r *rig) { r.must(r.sim.Discard("api::key", stack, r.ref.Run, note+" [gantry: discard 5]")) },
			want: acted{managed.ActDone, "", 0}, mutation: "runDiscard", ends: "DISCARDED",
		},
	} {
		t.Run(string(tc.state), func(t *testing.T) {
			r := newRig(t)
			r.must(r.sim.Discard("joe", stack, r.ref.Run, ""))
			run, err := r.sim.Push(stack, simulator.Commit{}, paused(tc.state))
			r.must(err)
			r.ref.Run = run
			before := r.calls(tc.mutation)
			if tc.before != nil {
				r.reaches(spacelift.RunStateUnconfirmed)
				tc.before(r)
			}
			r.reaches(tc.state)
			got := done[managed.ActResult](r, r.acts.StopRun, activities.StopRunInput{Run: r.ref, Note: note})
			tc.want.calls += before
			r.wants(got, tc.want, tc.mutation)
			r.reaches(tc.ends)
		})
	}
}

// The run changes between check and act: another attempt checks again.
func TestStopRunLosesTheRace(t *testing.T) {
	ref := spacelift.RunRef{Account: "acme", Stack: stack, Run: "01KDX3V4T8Q2M5N7P9R1S3T5V7"}
	api := &moving{states: []spacelift.RunState{"READY", "INITIALIZING", "INITIALIZING"}, ref: ref}
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.SetTestTimeout(time.Minute)
	acts := &activities.Activities{Accounts: map[spacelift.Account]activities.Spacelift{"acme": api}}
	env.RegisterActivity(acts)
	in := activities.StopRunInput{Run: ref, Note: "stop"}
	if _, err := do[managed.ActResult](env, acts.StopRun, in); err == nil || nonRetryable(err) {
		t.Fatalf("%v, want an error worth another attempt", err)
	}
	got, err := do[managed.ActResult](env, acts.StopRun, in)
	if err != nil || got.Outcome != managed.ActDone || got.Verb != "stop" {
		t.Errorf("%+v, %v", got, err)
	}
}

// moving is an account where a run changes with every read, and that refuses
// what the new state does not allow.
type moving struct {
	activities.Spacelift // nothing else is called

	ref    spacelift.RunRef
	states []spacelift.RunState
	reads  int
}

func (m *moving) Run(context.Context, spacelift.RunRef) (spacelift.Run, error) {
	state := m.states[m.reads]
	m.reads++
	return spacelift.Run{Ref: m.ref, State: state, StateVersion: m.reads, History: []spacelift.Transition{{State: state, StateVersion: m.reads}}}, nil
}

func (m *moving) CancelRun(context.Context, spacelift.RunRef, string) (spacelift.RunOutcome, error) {
	return spacelift.RunOutcome{}, &spacelift.IllegalStateError{Refusal: &spacelift.GraphQLError{Messages: []string{"it is no longer in the queue"}}}
}

func (m *moving) StopRun(context.Context, spacelift.RunRef, string) (spacelift.RunOutcome, error) {
	return spacelift.RunOutcome{Ref: m.ref, State: "INITIALIZING"}, nil
}

// A refusal of Spacelift's is reported in its own words.
func TestDiscardRunRefused(t *testing.T) {
	r := newRig(t)
	r.fault(simulator.APIFault{Kind: simulator.NotExecutable, Field: "runDiscard", Message: "the stack is locked by joe"})
	got := done[managed.ActResult](r, r.acts.DiscardRun, activities.DiscardRunInput{Run: r.ref, StateVersion: 5, Note: "no"})
	r.wants(got, acted{managed.ActRefused, "locked by joe", 1}, "runDiscard")
}
