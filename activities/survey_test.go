package activities_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/simulator"
)

// do executes an activity and decodes its result.
func do[T any](env *testsuite.TestActivityEnvironment, activity, in any) (result T, err error) {
	value, err := env.ExecuteActivity(activity, in)
	if err != nil {
		return result, err
	}
	return result, value.Get(&result)
}

func TestReadRunShowsHistoryAndOurLabels(t *testing.T) {
	r := newRig(t)
	var a *activities.Activities
	run, err := do[spacelift.Run](r.env, a.ReadRun, r.ref)
	r.must(err)
	if run.State != spacelift.RunStateUnconfirmed || len(run.History) != 6 || !slices.Equal(run.StackLabels, auto) {
		t.Errorf("read %+v", run)
	}
	gone := r.ref
	gone.Run = "01KDXGONE00000000000000000"
	_, err = do[spacelift.Run](r.env, a.ReadRun, gone)
	if app, ok := errors.AsType[*temporal.ApplicationError](err); !ok || app.Type() != activities.ErrTypeNotFound || !app.NonRetryable() {
		t.Errorf("a run that is not there: %v", err)
	}
}

// The list leaves out what nobody looks at, and tells what it cost.
func TestRunsInProgress(t *testing.T) {
	r := newRig(t)
	for i := range 60 {
		id := spacelift.StackID(fmt.Sprintf("stack-%02d", i))
		r.must(r.sim.AddStack(simulator.Stack{ID: id, Labels: []string{"env:dev"}}))
		_, err := r.sim.Push(id, simulator.Commit{}, simulator.Plan{Delta: spacelift.Delta{Added: 1}})
		r.must(err)
	}
	var a *activities.Activities
	for _, tc := range []struct {
		pages, runs, calls int
		complete           bool
	}{{10, 61, 2, true}, {1, 50, 1, false}} {
		found, err := do[activities.RunsInProgress](r.env, a.RunsInProgress, activities.RunsInProgressInput{Account: "acme", Pages: tc.pages})
		r.must(err)
		if len(found.Runs) != tc.runs || found.Calls != tc.calls || found.Complete != tc.complete {
			t.Errorf("%d pages: %d runs with %d calls, complete %t; want %+v", tc.pages, len(found.Runs), found.Calls, found.Complete, tc)
		}
		for _, line := range found.Runs {
			if line.Title != "" || line.StackName != "" || slices.Contains(line.StackLabels, "env:dev") {
				t.Errorf("the list holds more than it needs: %+v", line)
			}
		}
	}
	if _, err := do[activities.RunsInProgress](r.env, a.RunsInProgress, activities.RunsInProgressInput{Account: "globex", Pages: 1}); err == nil {
		t.Error("an account that is not configured has runs")
	}
}

// Only lists tell what keeps a run in the queue: no notification does.
func TestRunsInProgressTellsWhatNeedsApproval(t *testing.T) {
	r := newRig(t)
	r.must(r.sim.AddStack(simulator.Stack{ID: "app-prod", Approvals: 1, ApproveQueued: true}))
	id, err := r.sim.Push("app-prod", simulator.Commit{}, simulator.Plan{})
	r.must(err)
	var a *activities.Activities
	found, err := do[activities.RunsInProgress](r.env, a.RunsInProgress, activities.RunsInProgressInput{Account: "acme", Pages: 1})
	r.must(err)
	for _, line := range found.Runs {
		if line.NeedsApproval != (line.Ref.Run == id) {
			t.Errorf("%s needs approval: %t", line.Ref, line.NeedsApproval)
		}
	}
}

func TestEnableWebhookNeedsTheSecret(t *testing.T) {
	r := newRig(t)
	r.must(r.sim.AddNamedWebhook(simulator.NamedWebhook{ID: "gantry", Endpoint: "https://gantry.example/webhook", Secret: "x", Disabled: true}))
	var a *activities.Activities
	in := activities.WebhookInput{Account: "acme", ID: "gantry"}
	_, err := do[activities.Webhook](r.env, a.EnableWebhook, in)
	if app, ok := errors.AsType[*temporal.ApplicationError](err); !ok || app.Type() != activities.ErrTypeNoSecret || !app.NonRetryable() {
		t.Errorf("without a secret: %v", err)
	}
	hook, err := do[activities.Webhook](r.env, a.ReadWebhook, in)
	r.must(err)
	if hook != (activities.Webhook{ID: "gantry", Calls: 1}) {
		t.Errorf("the webhook is %+v", hook)
	}
}

// Somebody else may have switched it on: then nothing is sent.
func TestEnableWebhookLooksFirst(t *testing.T) {
	r := newRig(t)
	r.must(r.sim.AddNamedWebhook(simulator.NamedWebhook{ID: "gantry", Endpoint: "https://gantry.example/webhook", Secret: "x"}))
	r.secrets["acme"] = func() string { return "x" }
	var a *activities.Activities
	hook, err := do[activities.Webhook](r.env, a.EnableWebhook, activities.WebhookInput{Account: "acme", ID: "gantry"})
	r.must(err)
	if hook != (activities.Webhook{ID: "gantry", Enabled: true, Calls: 1}) || len(r.sim.Mutations("namedWebhooksIntegrationUpdate")) != 0 {
		t.Errorf("the webhook is %+v after %d updates", hook, len(r.sim.Mutations("namedWebhooksIntegrationUpdate")))
	}
}

// executions is a Temporal with so many executions.
type executions struct{ n int }

func (e executions) ListWorkflow(_ context.Context, req *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	begin := 0
	if t := req.GetNextPageToken(); len(t) > 0 {
		if _, err := fmt.Sscan(string(t), &begin); err != nil {
			return nil, err
		}
	}
	var page workflowservice.ListWorkflowExecutionsResponse
	for i := begin; i < min(e.n, begin+int(req.GetPageSize())); i++ {
		value, err := converter.GetDefaultDataConverter().ToPayload("PLANNING")
		if err != nil {
			return nil, err
		}
		phase, err := converter.GetDefaultDataConverter().ToPayload("waiting")
		if err != nil {
			return nil, err
		}
		page.Executions = append(page.Executions, &workflowpb.WorkflowExecutionInfo{
			Execution:        &commonpb.WorkflowExecution{WorkflowId: strconv.Itoa(i)},
			SearchAttributes: &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{"GantryRunState": value, "GantryPhase": phase}},
		})
	}
	if end := begin + len(page.Executions); end < e.n {
		page.NextPageToken = fmt.Append(nil, end)
	}
	return &page, nil
}

func (e executions) QueryWorkflow(_ context.Context, id, _, _ string, _ ...any) (converter.EncodedValue, error) {
	return nil, serviceerror.NewNotFound("no execution " + id)
}

func (e executions) SignalWorkflow(_ context.Context, id, _, _ string, _ any) error {
	return serviceerror.NewNotFound("no execution " + id)
}

func TestListExecutions(t *testing.T) {
	for _, tc := range []struct {
		there, limit, want int
		complete           bool
	}{{0, 10, 0, true}, {2500, 5000, 2500, true}, {2500, 1500, 1500, false}, {10, 10, 10, true}} {
		a := &activities.Activities{Temporal: executions{tc.there}}
		found, err := a.ListExecutions(t.Context(), activities.ExecutionsInput{Query: "x", Attribute: "GantryRunState", Second: "GantryPhase", Limit: tc.limit})
		if err != nil || len(found.List) != tc.want || found.Complete != tc.complete {
			t.Errorf("%d of %d: %d, complete %t, %v", tc.limit, tc.there, len(found.List), found.Complete, err)
		}
		if tc.want > 0 {
			if diff := cmp.Diff(activities.Execution{ID: "0", Value: "PLANNING", Second: "waiting"}, found.List[0]); diff != "" {
				t.Errorf("execution (-want +got):\n%s", diff)
			}
		}
	}
}

// That there is no execution is an answer.
func TestAskExecutionThatIsNotThere(t *testing.T) {
	a := &activities.Activities{Temporal: executions{}}
	known, err := a.AskExecution(t.Context(), activities.QueryInput{ID: "run/a/b/c", Query: "status"})
	if err != nil || known.Exists {
		t.Errorf("%+v, %v", known, err)
	}
}
