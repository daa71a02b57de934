package activities_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi"
)

const stack = spacelift.StackID("network-prod")

// wait bounds a test's wait for what happens immediately.
const wait = time.Minute

var auto = []string{"gantry:confirm=auto", "gantry:managed"}

// rig is the activities with a client of a simulated account, and a run in it
// whose plan waits for confirmation.
type rig struct {
	*testing.T
	sim *simulator.Simulator
	env *testsuite.TestActivityEnvironment
	ref spacelift.RunRef

	acts     *activities.Activities
	secrets  map[spacelift.Account]func() string
	temporal *fakeTemporal
}

func newRig(t *testing.T, shape ...func(*simulator.Stack)) *rig {
	t.Helper()
	r := &rig{T: t, secrets: map[spacelift.Account]func() string{}, temporal: &fakeTemporal{}, sim: simulator.New(simulator.Options{Account: "acme", Seed: 1, Phases: simulator.Instant()})}
	t.Cleanup(r.sim.Close)
	server := httptest.NewServer(r.sim)
	t.Cleanup(server.Close)

	st := simulator.Stack{ID: stack, Labels: append([]string{"env:prod"}, auto...)}
	for _, s := range shape {
		s(&st)
	}
	r.must(r.sim.AddStack(st))
	key := r.sim.AddAPIKey(simulator.APIKey{})
	client, err := spaceliftapi.NewClient(spaceliftapi.Config{
		Account: "acme", Endpoint: server.URL, Credentials: spaceliftapi.APIKey{ID: key.ID, Secret: key.Secret}, Timeout: wait,
	})
	r.must(err)

	var suite testsuite.WorkflowTestSuite
	r.env = suite.NewTestActivityEnvironment()
	r.env.SetTestTimeout(time.Minute)
	r.acts = &activities.Activities{
		Accounts: map[spacelift.Account]activities.Spacelift{"acme": client}, WebhookSecrets: r.secrets, Temporal: r.temporal,
	}
	r.env.RegisterActivity(r.acts)

	run, err := r.sim.Push(stack, simulator.Commit{}, simulator.Plan{Delta: spacelift.Delta{Added: 3, Changed: 1}})
	r.must(err)
	r.ref = spacelift.RunRef{Account: "acme", Stack: stack, Run: run}
	r.reaches(spacelift.RunStateUnconfirmed)
	return r
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) reaches(s spacelift.RunState) {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	_, err := r.sim.WaitState(ctx, r.ref.Stack, r.ref.Run, s)
	r.must(err)
}

// rules returns the configuration in effect.
func (r *rig) rules() *policy.Definitions {
	if r.acts.Definitions == nil {
		return nil
	}
	return r.acts.Definitions()
}

// judged returns the input of a workflow that received these events.
func (r *rig) judged() managed.ConfirmRunInput {
	r.Helper()
	run, err := r.sim.Run(r.ref.Stack, r.ref.Run)
	r.must(err)
	return managed.ConfirmRunInput{
		Run: r.ref,
		Expect: managed.Expect{
			Type: run.Type, State: spacelift.RunStateUnconfirmed, StateVersion: 5,
			CommitHash: run.Commit.Hash, Delta: run.Delta,
		},
		Judged: managed.Judged{Policy: r.rules().Resolve(policy.Labelled(auto))}, PlanSince: noon.Add(-time.Hour),
		Note: "Confirmed by Gantry because of gantry:confirm=auto (state version 5).",
	}
}

// confirming is the request of a run that goes behind no other stack.
func confirming(in managed.ConfirmRunInput) activities.ConfirmRunInput {
	return activities.ConfirmRunInput{ConfirmRunInput: in}
}

func (r *rig) confirm(in managed.ConfirmRunInput) (managed.ConfirmResult, error) {
	r.Helper()
	return do[managed.ConfirmResult](r.env, r.acts.ConfirmRun, confirming(in))
}

// done is do where nothing may go wrong.
func done[T any](r *rig, activity, in any) T {
	r.Helper()
	result, err := do[T](r.env, activity, in)
	r.must(err)
	return result
}

func (r *rig) fault(f simulator.APIFault) {
	r.Helper()
	_, err := r.sim.InjectAPI(f)
	r.must(err)
}

// sent counts confirmations that reached Spacelift, whatever it made of them.
func (r *rig) sent() int { return r.calls("runConfirm") }

// calls counts the requests for a root field that reached Spacelift.
func (r *rig) calls(field string) int {
	n := 0
	for _, q := range r.sim.Requests() {
		if q.Fields[0] == field {
			n++
		}
	}
	return n
}

func TestConfirmRun(t *testing.T) {
	for _, tc := range []struct {
		name   string
		shape  func(*simulator.Stack)
		before func(*rig)
		in     func(*managed.ConfirmRunInput)
		want   managed.ConfirmOutcome
		reason string
		sent   int // confirmations sent
		done   int // confirmations by us that Spacelift carried out
	}{
		{name: "as judged", want: managed.Confirmed, sent: 1, done: 1},
		{
			name:   "a person was faster",
			before: func(r *rig) { r.must(r.sim.Confirm("jane", stack, r.ref.Run, "go")); r.reaches("FINISHED") },
			want:   managed.AlreadyConfirmed, reason: "jane confirmed",
		},
		{
			name:   "a person discarded it",
			before: func(r *rig) { r.must(r.sim.Discard("jane", stack, r.ref.Run, "no")) },
			want:   managed.AnotherPlan, reason: "DISCARDED (6)",
		},
		{
			name:   "the label that allows it is gone",
			before: func(r *rig) { r.must(r.sim.SetLabels(stack, "gantry:managed")) },
			want:   managed.RulesChanged, reason: "labels",
		},
		{
			name: "the plan is larger than judged",
			in:   func(in *managed.ConfirmRunInput) { in.Expect.Delta = &spacelift.Delta{Added: 1} },
			want: managed.AnotherPlan, reason: "the plan is +3 ~1 -0",
		},
		{
			name:  "an approval policy asks for a review",
			shape: func(s *simulator.Stack) { s.Approvals = 1 },
			want:  managed.ConfirmRefused, reason: "approval policy",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var shapes []func(*simulator.Stack)
			if tc.shape != nil {
				shapes = append(shapes, tc.shape)
			}
			r := newRig(t, shapes...)
			in := r.judged()
			if tc.before != nil {
				tc.before(r)
			}
			if tc.in != nil {
				tc.in(&in)
			}
			got, err := r.confirm(in)
			r.must(err)
			if got.Outcome != tc.want || !strings.Contains(got.Reason, tc.reason) {
				t.Errorf("%s: %s; want %s with %q", got.Outcome, got.Reason, tc.want, tc.reason)
			}
			if got.Run.Ref != r.ref || len(got.Run.History) < 6 {
				t.Errorf("does not show the run as it was read: %+v", got.Run)
			}
			if r.sent() != tc.sent || len(r.sim.Mutations("runConfirm")) != tc.done {
				t.Errorf("%d confirmations sent and %d carried out, want %d and %d", r.sent(), len(r.sim.Mutations("runConfirm")), tc.sent, tc.done)
			}
		})
	}
}

// An answer that gets lost is no answer: the next attempt looks, finds what the
// first one did, and sends nothing.
func TestConfirmRunAfterALostAnswer(t *testing.T) {
	r := newRig(t)
	in := r.judged()
	r.fault(simulator.APIFault{Kind: simulator.LostResponse, Field: "runConfirm", Times: 1})

	if _, err := r.confirm(in); err == nil || nonRetryable(err) {
		t.Fatalf("the first attempt ended with %v, want an error worth another attempt", err)
	}
	r.reaches(spacelift.RunStateConfirmed)
	got, err := r.confirm(in)
	r.must(err)

	if got.Outcome != managed.AlreadyConfirmed || !got.ByUs {
		t.Errorf("%s (by us %t): %s; want it recognized as ours", got.Outcome, got.ByUs, got.Reason)
	}
	if r.sent() != 1 {
		t.Errorf("%d confirmations were sent, want 1", r.sent())
	}
}

func TestConfirmRunNotesWhatDidIt(t *testing.T) {
	r := newRig(t)
	in := r.judged()
	if _, err := r.confirm(in); err != nil {
		t.Fatal(err)
	}
	request := r.sim.Mutations("runConfirm")[0]
	if want := in.Note + " [gantry: confirm 5]"; request.Arguments["note"] != want {
		t.Errorf("note is %q, want %q", request.Arguments["note"], want)
	}
	if request.Metadata == "" {
		t.Error("the run's metadata does not name the execution")
	}
}

// An error that trying again can fix is retried; others end the activity.
func TestConfirmRunErrors(t *testing.T) {
	for _, tc := range []struct {
		name   string
		before func(*rig, *managed.ConfirmRunInput)
		kind   string // of a final error; empty: worth another attempt
	}{
		{name: "server in trouble", before: func(r *rig, _ *managed.ConfirmRunInput) {
			r.fault(simulator.APIFault{Kind: simulator.ServerError, Field: "runConfirm"})
		}},
		{name: "an error without a known cause", before: func(r *rig, _ *managed.ConfirmRunInput) {
			r.fault(simulator.APIFault{Kind: simulator.NotExecutable, Field: "runConfirm", Message: "internal failure"})
		}},
		{name: "the API is behind", before: func(_ *rig, in *managed.ConfirmRunInput) { in.Expect.StateVersion = 9 }},
		{name: "no such run", kind: activities.ErrTypeNotFound, before: func(_ *rig, in *managed.ConfirmRunInput) { in.Run.Run = "01KDX00000000000000000NONE" }},
		{name: "no such account", kind: activities.ErrTypeUnknownAccount, before: func(_ *rig, in *managed.ConfirmRunInput) { in.Run.Account = "other" }},
		{name: "key refused", kind: activities.ErrTypeUnauthorized, before: func(r *rig, _ *managed.ConfirmRunInput) {
			r.fault(simulator.APIFault{Kind: simulator.Unauthorized})
		}},
		{name: "another schema", kind: activities.ErrTypeSchemaMismatch, before: func(r *rig, _ *managed.ConfirmRunInput) {
			r.fault(simulator.APIFault{Kind: simulator.NotExecutable, Field: "runConfirm", Message: `Cannot query field "note" on type "Run".`})
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			in := r.judged()
			tc.before(r, &in)
			_, err := r.confirm(in)
			if err == nil {
				t.Fatal("no error")
			}
			app, _ := errors.AsType[*temporal.ApplicationError](err)
			if nonRetryable(err) != (tc.kind != "") || app == nil || tc.kind != "" && app.Type() != tc.kind {
				t.Errorf("error %v is final: %t; want kind %q", err, nonRetryable(err), tc.kind)
			}
			if done := r.sim.Mutations("runConfirm"); len(done) != 0 {
				t.Errorf("%d confirmations were carried out", len(done))
			}
		})
	}
}

// Somebody acts in the moment between looking and confirming.
func TestConfirmRunLosesTheRace(t *testing.T) {
	ref := spacelift.RunRef{Account: "acme", Stack: stack, Run: "01KDX3V4T8Q2M5N7P9R1S3T5V7"}
	plan := spacelift.Run{
		Ref: ref, Type: spacelift.RunTypeTracked, State: spacelift.RunStateUnconfirmed, StateVersion: 0, StackLabels: auto,
		History: []spacelift.Transition{{State: spacelift.RunStateUnconfirmed}},
	}
	in := managed.ConfirmRunInput{
		Run: ref, Expect: managed.Expect{Type: plan.Type, State: plan.State},
		Judged: managed.Judged{Policy: (*policy.Definitions)(nil).Resolve(policy.Labelled(auto))}, Note: "Confirmed by Gantry.",
	}
	for _, tc := range []struct {
		name   string
		then   spacelift.RunState // what somebody made of it
		want   managed.ConfirmOutcome
		reason string
	}{
		{"confirmed", spacelift.RunStateConfirmed, managed.AlreadyConfirmed, "jane confirmed"},
		{"discarded", spacelift.RunStateDiscarded, managed.AnotherPlan, "DISCARDED (1)"},
		{"nothing, it is locked", "", managed.ConfirmRefused, "the stack is locked"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			api := &racing{run: plan, then: tc.then}
			var suite testsuite.WorkflowTestSuite
			env := suite.NewTestActivityEnvironment()
			env.SetTestTimeout(time.Minute)
			env.RegisterActivity(&activities.Activities{
				Accounts: map[spacelift.Account]activities.Spacelift{"acme": api}, Temporal: &fakeTemporal{never: true},
			})
			var a *activities.Activities
			value, err := env.ExecuteActivity(a.ConfirmRun, confirming(in))
			if err != nil {
				t.Fatal(err)
			}
			var got managed.ConfirmResult
			if err := value.Get(&got); err != nil {
				t.Fatal(err)
			}
			if got.Outcome != tc.want || !strings.Contains(got.Reason, tc.reason) {
				t.Errorf("%s: %s; want %s with %q", got.Outcome, got.Reason, tc.want, tc.reason)
			}
			if api.sent != 1 {
				t.Errorf("%d confirmations were sent, want 1", api.sent)
			}
		})
	}
}

// racing is an account where a person acts between check and act.
type racing struct {
	activities.Spacelift // nothing else is called

	run  spacelift.Run
	then spacelift.RunState
	sent int
}

func (r *racing) LabelsOfStacks(context.Context) ([]spacelift.LabelledStack, error) { return nil, nil }

func (r *racing) Run(context.Context, spacelift.RunRef) (spacelift.Run, error) { return r.run, nil }

func (r *racing) ConfirmRun(context.Context, spacelift.RunRef, string) (spacelift.RunOutcome, error) {
	r.sent++
	if r.then != "" {
		r.run.State, r.run.StateVersion = r.then, 1
		r.run.History = append(r.run.History, spacelift.Transition{State: r.then, StateVersion: 1, Username: "jane"})
	}
	return spacelift.RunOutcome{}, &spacelift.IllegalStateError{Refusal: &spacelift.GraphQLError{Messages: []string{"the stack is locked"}}}
}

func nonRetryable(err error) bool {
	app, ok := errors.AsType[*temporal.ApplicationError](err)
	return ok && app.NonRetryable()
}
