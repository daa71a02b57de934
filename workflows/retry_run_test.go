package workflows_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	commonpb "go.temporal.io/api/common/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/workflows"
)

// retryRig is a run that failed, in an account that can retry it.
type retryRig struct {
	*testing.T
	activities.Spacelift // RetryRun makes no other calls than those below
	env                  *testsuite.TestWorkflowEnvironment
	activities           *activities.Activities

	failed   spacelift.Run
	again    spacelift.RunRef // what Spacelift makes of a retry
	away     time.Duration    // how long Spacelift does not answer
	loses    int              // how many answers get lost
	gone     bool             // Spacelift does not know the run
	sent     int
	made     []spacelift.RunLine
	managed  []managed.ManageRunInput
	signaled managed.RunEvents
}

func newRetryRig(t *testing.T) *retryRig {
	t.Helper()
	r := &retryRig{T: t, env: newEnvironment(), again: run}
	r.again.Run = "01KDX40000000000000000AGAIN"
	r.failed = spacelift.Run{
		Ref: run, Type: spacelift.RunTypeTracked, TriggeredBy: "ann", State: spacelift.RunStateFailed, StateVersion: 1, CanRetry: true, CreatedAt: started,
		History: []spacelift.Transition{{State: queued, At: started}, {State: spacelift.RunStateFailed, StateVersion: 1, At: started.Add(time.Minute)}},
	}
	r.env.SetStartTime(started.Add(time.Hour))
	r.activities = &activities.Activities{Accounts: map[spacelift.Account]activities.Spacelift{"acme": r}}
	r.env.RegisterActivity(r.activities)
	r.env.RegisterWorkflow(workflows.RetryRun)
	r.env.RegisterWorkflow(r.follows)
	r.env.RegisterWorkflow(r.beaten)
	r.env.RegisterWorkflow(r.awaited)
	r.env.RegisterWorkflow(r.outrun)
	r.env.RegisterWorkflow(ended)
	r.env.RegisterWorkflowWithOptions(func(_ workflow.Context, in managed.ManageRunInput) (managed.RunStatus, error) {
		r.managed = append(r.managed, in)
		return managed.RunStatus{}, nil
	}, workflow.RegisterOptions{Name: managed.ManageRunType})
	return r
}

func (r *retryRig) answers() error {
	if r.env.Now().Sub(started.Add(time.Hour)) < r.away {
		return errors.New("dial tcp: connection refused")
	}
	return nil
}

func (r *retryRig) Run(_ context.Context, ref spacelift.RunRef) (spacelift.Run, error) {
	if ref != run || r.gone {
		return spacelift.Run{}, spacelift.ErrNotFound
	}
	return r.failed, r.answers()
}

func (r *retryRig) RunsOfStack(context.Context, spacelift.StackID, spacelift.RunType, int) (spacelift.Listing[spacelift.RunLine], error) {
	return spacelift.Listing[spacelift.RunLine]{Items: append(r.made, spacelift.RunLine{Ref: run, Type: r.failed.Type, CreatedAt: started}), Complete: true}, r.answers()
}

func (r *retryRig) Viewer(context.Context) (spacelift.Viewer, error) {
	return spacelift.Viewer{ID: "api::gantry"}, nil
}

func (r *retryRig) RetryRun(context.Context, spacelift.RunRef) (spacelift.RunOutcome, error) {
	if err := r.answers(); err != nil {
		return spacelift.RunOutcome{}, err
	}
	r.sent++
	if r.again == run {
		r.failed.State, r.failed.StateVersion = queued, 2
		r.failed.History = append(r.failed.History, spacelift.Transition{State: queued, StateVersion: 2, At: r.env.Now()})
		return spacelift.RunOutcome{Ref: run}, nil
	}
	r.made = append(r.made, spacelift.RunLine{Ref: r.again, Type: r.failed.Type, State: queued, TriggeredBy: "api::gantry", CreatedAt: r.env.Now()})
	if r.loses > 0 {
		r.loses--
		return spacelift.RunOutcome{}, fmt.Errorf("retry: %w", spacelift.ErrAmbiguous)
	}
	return spacelift.RunOutcome{Ref: r.again}, nil
}

// retries runs RetryRun to its end.
func (r *retryRig) retries() managed.RetryRunOutcome {
	r.Helper()
	r.env.ExecuteWorkflow(workflows.RetryRun, managed.RetryRunInput{
		Run: run, By: "jane", Reason: "jane asked for it", Attempt: 3, TriggeredBy: []string{"bob"},
	})
	var out managed.RetryRunOutcome
	if err := r.env.GetWorkflowResult(&out); err != nil {
		r.Fatal(err)
	}
	return out
}

func TestRetryRun(t *testing.T) {
	of := managed.RetryOf{Run: run, Attempt: 3, By: "jane", TriggeredBy: []string{"bob", "ann"}}
	for _, tc := range []struct {
		name   string
		before func(*retryRig)
		reason string // why not; empty: it was retried
		sent   int
	}{
		{name: "immediately", sent: 1},
		{name: "after a day without Spacelift, nearly", before: func(r *retryRig) { r.away = 23 * time.Hour }, sent: 1},
		{name: "an answer got lost", before: func(r *retryRig) { r.loses = 1 }, sent: 1},
		{name: "under the same id", before: func(r *retryRig) { r.again = run }, sent: 1},
		{name: "it finished", before: func(r *retryRig) { r.failed.State = spacelift.RunStateFinished }, reason: "only failed runs are retried, and this one is in FINISHED"},
		{name: "it may not be", before: func(r *retryRig) { r.failed.CanRetry = false }, reason: "can't be retried"},
		{name: "it is not there", before: func(r *retryRig) { r.gone = true }, reason: "not found"},
		{
			name: "a person did", reason: "jdoe started it again",
			before: func(r *retryRig) {
				r.made = append(r.made, spacelift.RunLine{Ref: r.again, Type: r.failed.Type, State: queued, TriggeredBy: "jdoe", CreatedAt: started.Add(time.Hour)})
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRetryRig(t)
			if tc.before != nil {
				tc.before(r)
			}
			out := r.retries()
			if (out.New.Run != "") != (tc.reason == "") || !strings.Contains(out.Reason, tc.reason) || (out.Reason == "") != (tc.reason == "") || r.sent != tc.sent {
				t.Errorf("%+v after %d calls, want %d and a reason with %q", out, r.sent, tc.sent, tc.reason)
			}
			var want []managed.ManageRunInput
			if tc.reason == "" {
				want = append(want, managed.ManageRunInput{Run: r.again, RetryOf: &of})
			}
			if r.again == run {
				of.After = 1
				want[0].Reopened = true
				if sent := r.managed[0].Events; len(sent) != 1 || sent[0].State != queued || sent[0].StateVersion != 2 {
					t.Errorf("the execution begins with %+v, want what came after the failure", sent)
				}
			}
			if diff := cmp.Diff(want, r.managed, cmpopts.IgnoreFields(managed.ManageRunInput{}, "Events")); diff != "" {
				t.Errorf("executions started (-want +got):\n%s", diff)
			}
		})
	}
}

// The new run's first notification may be faster than we are.
func TestRetryRunSignalsTheExecutionThatIsThere(t *testing.T) {
	r := newRetryRig(t)
	r.env.ExecuteWorkflow(r.beaten)
	var out managed.RetryRunOutcome
	if err := r.env.GetWorkflowResult(&out); err != nil || out.New != r.again {
		t.Errorf("%+v, %v", out, err)
	}
	if len(r.managed) > 0 {
		t.Errorf("another execution was started: %+v", r.managed)
	}
	want := managed.RunEvents{RetryOf: &managed.RetryOf{Run: run, Attempt: 2, By: "gantry", TriggeredBy: []string{"ann"}}}
	if diff := cmp.Diff(want, r.signaled); diff != "" {
		t.Errorf("signaled (-want +got):\n%s", diff)
	}
}

// The new run may even have ended by then: what is known of it gets whose retry it was.
func TestRetryRunTellsARunThatHasEnded(t *testing.T) {
	r := newRetryRig(t)
	r.env.ExecuteWorkflow(r.outrun)
	var out managed.RetryRunOutcome
	if err := r.env.GetWorkflowResult(&out); err != nil || out.New != r.again {
		t.Errorf("%+v, %v", out, err)
	}
	want := []managed.ManageRunInput{{Run: r.again, Reopened: true, RetryOf: &managed.RetryOf{Run: run, Attempt: 2, By: "gantry", TriggeredBy: []string{"ann"}}}}
	if diff := cmp.Diff(want, r.managed); diff != "" {
		t.Errorf("executions started (-want +got):\n%s", diff)
	}
}

// outrun retries a run whose new run's execution has ended.
func (r *retryRig) outrun(ctx workflow.Context) (out managed.RetryRunOutcome, err error) {
	if err := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{WorkflowID: managed.ManageRunID(r.again)}), ended).Get(ctx, nil); err != nil {
		return out, err
	}
	err = workflow.ExecuteChildWorkflow(ctx, workflows.RetryRun, managed.RetryRunInput{Run: run, By: "gantry", Attempt: 2}).Get(ctx, &out)
	return out, err
}

// ended is an execution that has nothing to do.
func ended(workflow.Context) error { return nil }

// The execution of the run that failed may wait for the time of the policy's own
// retry.
func TestRetryRunSignalsTheExecutionThatWaits(t *testing.T) {
	r := newRetryRig(t)
	r.env.ExecuteWorkflow(r.awaited)
	if err := r.env.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(managed.RunEvents{Retried: &managed.Retried{By: "jane", As: r.again}}, r.signaled); diff != "" {
		t.Errorf("signaled (-want +got):\n%s", diff)
	}
	if len(r.managed) != 1 || r.managed[0].Run != r.again {
		t.Errorf("executions started: %+v", r.managed)
	}
}

// awaited retries a run while its execution continues.
func (r *retryRig) awaited(ctx workflow.Context) error {
	there := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{WorkflowID: managed.ManageRunID(run)}), r.follows)
	if err := there.GetChildWorkflowExecution().Get(ctx, nil); err != nil {
		return err
	}
	err := workflow.ExecuteChildWorkflow(ctx, workflows.RetryRun, managed.RetryRunInput{Run: run, By: "jane", Attempt: 2, Waits: true}).Get(ctx, nil)
	return errors.Join(err, there.Get(ctx, nil))
}

// beaten retries a run while an execution follows the new one already.
func (r *retryRig) beaten(ctx workflow.Context) (out managed.RetryRunOutcome, err error) {
	there := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{WorkflowID: managed.ManageRunID(r.again)}), r.follows)
	if err := there.GetChildWorkflowExecution().Get(ctx, nil); err != nil {
		return out, err
	}
	err = workflow.ExecuteChildWorkflow(ctx, workflows.RetryRun, managed.RetryRunInput{Run: run, By: "gantry", Attempt: 2}).Get(ctx, &out)
	return out, errors.Join(err, there.Get(ctx, nil))
}

// follows is an execution that receives one signal.
func (r *retryRig) follows(ctx workflow.Context) error {
	workflow.GetSignalChannel(ctx, managed.RunEventsSignal).Receive(ctx, &r.signaled)
	return nil
}

// The execution of the run that failed may have ended before a chain could signal
// it that it is part of one: then the chain is asked for. That nobody answers
// keeps no run from being managed.
func TestRetryRunFindsTheChain(t *testing.T) {
	root := spacelift.RunRef{Account: "acme", Stack: "account-prod", Run: "01KDXROOT0000000000000000"}
	ref := managed.ChainRef{Root: root, After: []spacelift.StackID{"account-prod"}}
	for _, tc := range []struct {
		name   string
		labels []string
		known  []managed.ChainRef
		away   error
		silent int // questions that get no answer
		asked  bool
		want   []managed.ChainRef
	}{
		{name: "of a stack that follows another", labels: []string{"gantry:after=account-prod", "gantry:managed"}, asked: true, want: []managed.ChainRef{ref}},
		{name: "of one that may", labels: []string{"depends-on:account-prod", "gantry:managed"}, asked: true, want: []managed.ChainRef{ref}},
		{name: "of one that follows nobody", labels: []string{"gantry:managed"}},
		{name: "which it knows", labels: []string{"gantry:after=account-prod"}, known: []managed.ChainRef{ref}, want: []managed.ChainRef{ref}},
		{name: "once the chain answers", labels: []string{"gantry:after=account-prod"}, silent: 2, asked: true, want: []managed.ChainRef{ref}},
		{name: "though the chain never answers", labels: []string{"gantry:after=account-prod"}, silent: 100, asked: true},
		{name: "while Temporal does not list", labels: []string{"gantry:after=account-prod"}, away: errors.New("deadline exceeded"), asked: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRetryRig(t)
			r.failed.StackLabels = tc.labels
			there := &chainThere{away: tc.away, silent: tc.silent, place: chain.Place{Root: root, After: ref.After, In: true, Ours: true, Open: true}}
			r.activities.Temporal = there
			var sent []chain.News
			r.env.OnSignalExternalWorkflow(anyArg, managed.ChainID(root), anyArg, chain.NewsSignal, anyArg).Return(
				func(_, _, _, _ string, news any) error { sent = append(sent, news.(chain.News)); return nil }).Maybe()
			r.env.ExecuteWorkflow(workflows.RetryRun, managed.RetryRunInput{Run: run, By: "jane", Attempt: 2, Chains: tc.known})
			var out managed.RetryRunOutcome
			if err := r.env.GetWorkflowResult(&out); err != nil || out.New != r.again {
				t.Fatalf("%+v, %v", out, err)
			}
			if len(r.managed) != 1 {
				t.Fatalf("executions started: %+v", r.managed)
			}
			if diff := cmp.Diff(tc.want, r.managed[0].Chains); diff != "" {
				t.Errorf("chains (-want +got):\n%s", diff)
			}
			if len(sent) != len(tc.want) || len(sent) > 0 && sent[0].Run != r.again {
				t.Errorf("the chain is signaled %+v", sent)
			}
			if (there.listed != "") != tc.asked {
				t.Errorf("asked for chains with %q", there.listed)
			}
			if want := "WorkflowType = 'Chain' AND GantryAccount = 'acme' AND ExecutionStatus = 'Running'"; tc.asked && there.listed != want {
				t.Errorf("asked with %q, want %q", there.listed, want)
			}
		})
	}
}

// chainThere is a Temporal in which one chain is open.
type chainThere struct {
	activities.Temporal // RetryRun asks for nothing else

	place  chain.Place
	away   error
	silent int
	listed string
}

func (c *chainThere) ListWorkflow(_ context.Context, req *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	c.listed = req.GetQuery()
	return &workflowservice.ListWorkflowExecutionsResponse{Executions: []*workflowpb.WorkflowExecutionInfo{
		{Execution: &commonpb.WorkflowExecution{WorkflowId: managed.ChainID(c.place.Root)}},
	}}, c.away
}

func (c *chainThere) QueryWorkflow(_ context.Context, id, _, query string, _ ...any) (converter.EncodedValue, error) {
	if id != managed.ChainID(c.place.Root) || query != chain.PlaceQuery {
		return nil, fmt.Errorf("%s was asked for its %s", id, query)
	}
	if c.silent--; c.silent >= 0 {
		return nil, errors.New("deadline exceeded")
	}
	b, err := json.Marshal(c.place)
	return answered(b), err
}

func TestRetryRunGivesUp(t *testing.T) {
	r := newRetryRig(t)
	r.away = 48 * time.Hour
	if out := r.retries(); out.New.Run != "" || out.Reason == "" || r.sent > 0 {
		t.Errorf("%+v after %d calls", out, r.sent)
	}
}

func TestRetryRunOfAnImpossibleRun(t *testing.T) {
	r := newRetryRig(t)
	r.env.ExecuteWorkflow(workflows.RetryRun, managed.RetryRunInput{Run: spacelift.RunRef{Account: "acme", Stack: "a/b", Run: "c"}})
	if app, ok := errors.AsType[*temporal.ApplicationError](r.env.GetWorkflowError()); !ok || app.Type() != managed.ErrTypeImpossibleRun {
		t.Errorf("it ended with %v", r.env.GetWorkflowError())
	}
}
