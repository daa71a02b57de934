package workflows_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/workflows"
)

// triggerRig is a stack in an account that can trigger its runs.
type triggerRig struct {
	activities.Spacelift // TriggerRun makes no other calls than those below
	env                  *testsuite.TestWorkflowEnvironment

	stack   spacelift.Stack
	runs    []spacelift.RunLine // newest first
	away    time.Duration       // how long Spacelift doesn't answer
	loses   int                 // how many answers get lost
	refuses error
	sent    []spacelift.Trigger
	managed []managed.ManageRunInput
}

func newTriggerRig(t *testing.T) *triggerRig {
	t.Helper()
	r := &triggerRig{env: newEnvironment(), stack: spacelift.Stack{Account: "acme", ID: run.Stack, Labels: []string{spacelift.LabelManaged}}}
	// Gantry's key triggered a run before.
	r.runs = []spacelift.RunLine{{Ref: run, Type: spacelift.RunTypeTracked, TriggeredBy: "api::gantry"}}
	r.env.SetStartTime(started)
	r.env.RegisterActivity(&activities.Activities{Accounts: map[spacelift.Account]activities.Spacelift{"acme": r}})
	r.env.RegisterWorkflow(workflows.TriggerRun)
	r.env.RegisterWorkflowWithOptions(func(_ workflow.Context, in managed.ManageRunInput) (managed.RunStatus, error) {
		r.managed = append(r.managed, in)
		return managed.RunStatus{}, nil
	}, workflow.RegisterOptions{Name: managed.ManageRunType})
	return r
}

func (r *triggerRig) answers() error {
	if r.env.Now().Sub(started) < r.away {
		return errors.New("dial tcp: connection refused")
	}
	return nil
}

func (r *triggerRig) Stack(context.Context, spacelift.StackID) (spacelift.Stack, error) {
	return r.stack, r.answers()
}

func (r *triggerRig) RunsOfStack(_ context.Context, _ spacelift.StackID, _ spacelift.RunType, limit int) (spacelift.Listing[spacelift.RunLine], error) {
	return spacelift.Listing[spacelift.RunLine]{Items: r.runs[:min(limit, len(r.runs))]}, r.answers()
}

func (r *triggerRig) Viewer(context.Context) (spacelift.Viewer, error) {
	return spacelift.Viewer{ID: "api::gantry"}, nil
}

func (r *triggerRig) RunURL(ref spacelift.RunRef) string { return "https://acme/" + string(ref.Run) }

func (r *triggerRig) TriggerRun(_ context.Context, stack spacelift.StackID, how spacelift.Trigger) (spacelift.RunOutcome, error) {
	if err := errors.Join(r.answers(), r.refuses); err != nil {
		return spacelift.RunOutcome{}, err
	}
	r.sent = append(r.sent, how)
	made := spacelift.RunRef{Account: "acme", Stack: stack, Run: spacelift.RunID(fmt.Sprintf("MADE%d", len(r.sent)))}
	// jane triggers another one at the same time.
	r.runs = append([]spacelift.RunLine{
		{Ref: spacelift.RunRef{Account: "acme", Stack: stack, Run: "JANES"}, Type: how.Type, TriggeredBy: "jane"},
		{Ref: made, Type: how.Type, TriggeredBy: "api::gantry", CommitHash: how.CommitSHA},
	}, r.runs...)
	if r.loses > 0 {
		r.loses--
		return spacelift.RunOutcome{}, fmt.Errorf("trigger: %w", spacelift.ErrAmbiguous)
	}
	return spacelift.RunOutcome{Ref: made}, nil
}

// A person's request makes one run, whatever happens to Spacelift's answers, and the
// person is behind it: they may not approve it.
func TestTriggerRun(t *testing.T) {
	for _, tc := range []struct {
		name   string
		before func(*triggerRig)
		reason string // why no run was triggered; empty: one was
		sent   int
	}{
		{name: "immediately", sent: 1},
		{name: "the first run of the stack", before: func(r *triggerRig) { r.runs = nil }, sent: 1},
		{name: "after a minute without Spacelift", before: func(r *triggerRig) { r.away = time.Minute }, sent: 1},
		{name: "an answer got lost", before: func(r *triggerRig) { r.loses = 1 }, sent: 1},
		{name: "Gantry's own key holds the lock", before: func(r *triggerRig) { r.stack.Lock = &spacelift.Lock{By: "api::gantry"} }, sent: 1},
		{name: "a label can't be followed", before: func(r *triggerRig) { r.stack.Labels = append(r.stack.Labels, "gantry:approvals=many") }, sent: 1},
		{name: "Spacelift is away", before: func(r *triggerRig) { r.away = time.Hour }, reason: "connection refused"},
		{name: "the stack is disabled", before: func(r *triggerRig) { r.stack.Disabled = true }, reason: "the stack network-prod is held: the stack is disabled in Spacelift"},
		{name: "the stack is locked", before: func(r *triggerRig) { r.stack.Lock = &spacelift.Lock{By: "jane"} }, reason: "jane locked the stack"},
		{name: "the stack is not managed", before: func(r *triggerRig) { r.stack.Labels = nil }, reason: "does not carry the label gantry:managed"},
		{
			name: "Spacelift refuses", reason: "Spacelift would not trigger a run of network-prod: spacelift says: unknown commit",
			before: func(r *triggerRig) { r.refuses = &spacelift.GraphQLError{Messages: []string{"unknown commit"}} },
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newTriggerRig(t)
			if tc.before != nil {
				tc.before(r)
			}
			const commit = "9f2c1d7e4b8a06f35c21de90ab7741f6c3e85d12"
			r.env.ExecuteWorkflow(workflows.TriggerRun, managed.TriggerRunInput{Account: "acme", Stack: run.Stack, Type: spacelift.RunTypeProposed, Commit: commit, By: "ann"})
			var out managed.TriggerRunOutcome
			if err := r.env.GetWorkflowResult(&out); err != nil {
				t.Fatal(err)
			}
			made := spacelift.RunRef{Account: "acme", Stack: run.Stack, Run: "MADE1"}
			if tc.reason != "" {
				if !strings.Contains(out.Reason, tc.reason) || out.Run.Run != "" || len(r.sent)+len(r.managed) > 0 {
					t.Errorf("%+v after %v, want the reason %q", out, r.sent, tc.reason)
				}
				return
			}
			if diff := cmp.Diff(managed.TriggerRunOutcome{Run: made, URL: "https://acme/MADE1"}, out); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]spacelift.Trigger{{Type: spacelift.RunTypeProposed, CommitSHA: commit}}, r.sent); diff != "" {
				t.Errorf("sent (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]managed.ManageRunInput{{Run: made, Behind: []string{"ann"}}}, r.managed); diff != "" {
				t.Errorf("executions started (-want +got):\n%s", diff)
			}
		})
	}
}
