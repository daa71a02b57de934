package workflows_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/freeze"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/workflows"
)

// freezeRig is an execution of Freezes, and runs that wait.
type freezeRig struct {
	*testing.T
	env *testsuite.TestWorkflowEnvironment

	asked, answered int // updates

	mu       sync.Mutex
	away     bool            // Temporal's lists fail
	signaled []time.Duration // when runs were signaled, since the start

	others []time.Duration // when runs of other stacks were signaled
}

func newFreezeRig(t *testing.T) *freezeRig {
	t.Helper()
	r := &freezeRig{T: t, env: newEnvironment()}
	r.env.SetStartTime(started)
	r.env.RegisterActivity(&activities.Activities{Temporal: r})
	return r
}

func (r *freezeRig) ListWorkflow(_ context.Context, req *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	want := "WorkflowType = 'ManageRun' AND GantryAccount = 'acme' AND GantryPhase IN ('waiting', 'holding') AND ExecutionStatus = 'Running'"
	switch {
	case r.away:
		return nil, serviceerror.NewUnavailable("temporal is away")
	case req.GetQuery() == want || req.GetQuery() == want+" AND GantryStack IN ('app-prod', 'network-prod')":
	case req.GetQuery() == want+" AND GantryStack IN ('app-prod')":
		r.others = append(r.others, r.env.Now().Sub(started))
		return &workflowservice.ListWorkflowExecutionsResponse{}, nil
	default:
		return nil, serviceerror.NewInvalidArgument("the query is " + req.GetQuery())
	}
	return &workflowservice.ListWorkflowExecutionsResponse{Executions: []*workflowpb.WorkflowExecutionInfo{
		{Execution: &commonpb.WorkflowExecution{WorkflowId: managed.ManageRunID(run)}},
	}}, nil
}

func (r *freezeRig) QueryWorkflow(context.Context, string, string, string, ...any) (converter.EncodedValue, error) {
	return nil, serviceerror.NewUnimplemented("nobody is asked")
}

func (r *freezeRig) SignalWorkflow(_ context.Context, id, _, name string, arg any) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	payload, err := converter.GetDefaultDataConverter().ToPayload(arg)
	if err != nil {
		return err
	}
	var batch managed.RunEvents
	if err := converter.GetDefaultDataConverter().FromPayload(payload, &batch); err != nil {
		return err
	}
	if id != managed.ManageRunID(run) || name != managed.RunEventsSignal || !batch.RulesChanged || len(batch.Events) > 0 {
		r.Errorf("%s was signaled %s of %+v", id, name, batch)
	}
	r.signaled = append(r.signaled, r.env.Now().Sub(started))
	return nil
}

// at does something at a time of the story.
func (r *freezeRig) at(d time.Duration, do func()) { r.env.RegisterDelayedCallback(do, d) }

// asks sends an update, and checks what came of it once it is answered: that is
// after what happens now.
func (r *freezeRig) asks(update string, wish any, check func(policy.Freeze, error)) {
	r.asked++
	answer := func(f policy.Freeze, err error) {
		r.answered++
		check(f, err)
	}
	r.env.UpdateWorkflow(update, fmt.Sprintf("update-%d", r.asked), &testsuite.TestUpdateCallback{
		OnReject: func(err error) { answer(policy.Freeze{}, err) },
		OnAccept: func() {},
		OnComplete: func(result any, err error) {
			f, _ := result.(policy.Freeze)
			answer(f, err)
		},
	}, wish)
}

func (r *freezeRig) grants(update string, wish any, check []func(policy.Freeze)) {
	r.asks(update, wish, func(f policy.Freeze, err error) {
		if err != nil {
			r.Errorf("%s %+v: %v", update, wish, err)
		}
		for _, c := range check {
			c(f)
		}
	})
}

func (r *freezeRig) declares(wish freeze.Declare, check ...func(policy.Freeze)) {
	r.grants(freeze.DeclareUpdate, wish, check)
}

func (r *freezeRig) lifts(wish freeze.Lift, check ...func(policy.Freeze)) {
	r.grants(freeze.LiftUpdate, wish, check)
}

func (r *freezeRig) refuses(update string, wish any, kind string) {
	r.asks(update, wish, func(_ policy.Freeze, err error) {
		if app, ok := errors.AsType[*temporal.ApplicationError](err); !ok || app.Type() != kind || app.Message() == "" {
			r.Errorf("%s %+v: %v, want it refused as %s", update, wish, err, kind)
		}
	})
}

// holds checks which freezes the execution answers with.
func (r *freezeRig) holds(ids ...string) {
	r.Helper()
	answer, err := r.env.QueryWorkflow(freeze.Query)
	var all []policy.Freeze
	if err == nil {
		err = answer.Get(&all)
	}
	if err != nil || all == nil {
		r.Errorf("query: %v, %v", all, err)
	}
	var got []string
	for _, f := range all {
		got = append(got, f.ID)
	}
	if !slices.Equal(got, ids) {
		r.Errorf("after %s there are the freezes %v, want %v", r.env.Now().Sub(started), got, ids)
	}
}

// keeps runs the story until it continues as new, long after everything else.
func (r *freezeRig) keeps(in freeze.Input) freeze.Input {
	r.Helper()
	r.env.ExecuteWorkflow(workflows.Freezes, in)
	again, ok := errors.AsType[*workflow.ContinueAsNewError](r.env.GetWorkflowError())
	if !ok {
		r.Fatalf("the execution ended with %v, want it to continue as new", r.env.GetWorkflowError())
	}
	if r.answered != r.asked {
		r.Errorf("%d of %d updates were answered", r.answered, r.asked)
	}
	var next freeze.Input
	if err := converter.GetDefaultDataConverter().FromPayloads(again.Input, &next); err != nil {
		r.Fatal(err)
	}
	return next
}

// ends lets the execution continue as new, with one last wish to wake it.
func (r *freezeRig) ends(d time.Duration) {
	r.at(d, func() {
		r.env.SetContinueAsNewSuggested(true)
		r.declares(freeze.Declare{ID: "last", By: "rig", Reason: "the story ends"})
	})
}

func (r *freezeRig) wasSignaledAt(at ...time.Duration) {
	r.Helper()
	if diff := cmp.Diff(at, r.signaled); diff != "" {
		r.Errorf("runs were signaled at (-want +got):\n%s", diff)
	}
}

var audit = freeze.Declare{ID: "f1", By: "jane", Reason: "audit"}
