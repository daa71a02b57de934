package workflows_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"

	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// HoldsOfStacks answers like Spacelift's API: nothing is attached to any stack.
func (r *rig) HoldsOfStacks(ctx context.Context) ([]spacelift.HeldStack, error) {
	labelled, err := r.LabelsOfStacks(ctx)
	var all []spacelift.HeldStack
	for _, s := range labelled {
		all = append(all, spacelift.HeldStack{LabelledStack: s, Hold: spacelift.Hold{CanWrite: true}})
	}
	return all, err
}

func (r *rig) Policies(context.Context, ...string) (spacelift.Listing[spacelift.Policy], error) {
	return spacelift.Listing[spacelift.Policy]{Complete: true}, nil
}

// LabelsOfStacks answers like Spacelift's API.
func (r *rig) LabelsOfStacks(context.Context) ([]spacelift.LabelledStack, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mute {
		return nil, errors.New("dial tcp: connection refused")
	}
	var all []spacelift.LabelledStack
	for _, s := range r.others {
		all = append(all, spacelift.LabelledStack{ID: s.ID, Labels: s.Labels})
	}
	return all, nil
}

// RunsOfStack answers like Spacelift's API: for stacks that go first, and for the
// run's own stack, of which nothing newer is known than what the story triggered.
func (r *rig) RunsOfStack(_ context.Context, stack spacelift.StackID, _ spacelift.RunType, _ int) (spacelift.Listing[spacelift.RunLine], error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found spacelift.Listing[spacelift.RunLine]
	switch {
	case r.away:
		return found, errors.New("dial tcp: connection refused")
	case stack == run.Stack:
		for _, q := range r.queued {
			if r.env.Now().Sub(q.CreatedAt) >= r.listLag {
				found.Items = append(found.Items, q)
			}
		}
		found.Items = append(found.Items, lineOf(r.truth))
	case len(r.parents) == 0 || r.parents[stack].Ref.Run == "":
		return found, spacelift.ErrNotFound
	default:
		found.Items = append(found.Items, lineOf(r.parents[stack]))
	}
	return found, nil
}

func lineOf(run spacelift.Run) spacelift.RunLine {
	return spacelift.RunLine{
		Ref: run.Ref, Type: run.Type, State: run.State, CommitHash: run.Commit.Hash, TriggeredBy: run.TriggeredBy, CreatedAt: run.CreatedAt, StackLabels: run.StackLabels,
	}
}

// Stack answers like Spacelift's API.
func (r *rig) Stack(_ context.Context, id spacelift.StackID) (spacelift.Stack, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if id != run.Stack {
		return spacelift.Stack{}, spacelift.ErrNotFound
	}
	return spacelift.Stack{Account: "acme", ID: id, Labels: r.truth.StackLabels}, nil
}

// TriggerRun answers like Spacelift's API.
func (r *rig) TriggerRun(_ context.Context, stack spacelift.StackID, how spacelift.Trigger) (spacelift.RunOutcome, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuses != nil {
		return spacelift.RunOutcome{}, r.refuses
	}
	ref := spacelift.RunRef{Account: "acme", Stack: stack, Run: "01KDXFRESH000000000000000"}
	r.queued = append(r.queued, spacelift.RunLine{Ref: ref, Type: spacelift.RunTypeTracked, State: queued, CommitHash: how.CommitSHA, CreatedAt: r.env.Now()})
	if r.listLag > 0 && len(r.queued) == 1 {
		return spacelift.RunOutcome{}, fmt.Errorf("trigger: %w: EOF", spacelift.ErrAmbiguous)
	}
	return spacelift.RunOutcome{Ref: ref, State: queued}, nil
}

// goesFirst sets the run of a stack that goes before the run's.
func (r *rig) goesFirst(stack spacelift.StackID, commit string, states ...spacelift.RunState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.parents == nil {
		r.parents = map[spacelift.StackID]spacelift.Run{}
	}
	p := r.parents[stack]
	p.Ref = spacelift.RunRef{Account: "acme", Stack: stack, Run: spacelift.RunID("01KDXPARENT" + string(stack))}
	p.Type, p.Commit.Hash, p.StackLabels = spacelift.RunTypeTracked, commit, []string{"gantry:managed"}
	for _, s := range states {
		p.State, p.StateVersion = s, len(p.History)
		p.History = append(p.History, spacelift.Transition{State: s, StateVersion: p.StateVersion, At: r.env.Now().UTC()})
	}
	r.parents[stack] = p
}

// ListWorkflow is Temporal's visibility store, in which the story's chains are
// open, and an earlier execution of the run may have closed.
func (t temporalOf) ListWorkflow(_ context.Context, req *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	t.world.mu.Lock()
	defer t.world.mu.Unlock()
	var page workflowservice.ListWorkflowExecutionsResponse
	if strings.Contains(req.GetQuery(), "WorkflowId = '"+managed.ManageRunID(run)+"' AND ExecutionStatus != 'Running'") {
		switch {
		case t.world.blind:
			return nil, errors.New("deadline exceeded")
		case t.world.earlier != nil:
			page.Executions = append(page.Executions, &workflowpb.WorkflowExecutionInfo{
				Execution: &commonpb.WorkflowExecution{WorkflowId: managed.ManageRunID(run), RunId: "earlier"},
				Status:    enums.WORKFLOW_EXECUTION_STATUS_COMPLETED,
			})
		}
		return &page, nil
	}
	for _, c := range t.world.chains {
		page.Executions = append(page.Executions, &workflowpb.WorkflowExecutionInfo{Execution: &commonpb.WorkflowExecution{WorkflowId: managed.ChainID(c.Root)}})
	}
	return &page, nil
}

// place answers like a chain that is asked for the place of a run in it.
func (w *world) place(id string) (converter.EncodedValue, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.chains {
		if managed.ChainID(c.Root) == id {
			b, err := json.Marshal(c)
			return answered(b), err
		}
	}
	return nil, serviceerror.NewNotFound("no such execution")
}

// opens makes a chain be open in Temporal.
func (r *rig) opens(places ...chain.Place) {
	r.world.set(func() { r.world.chains = places })
}
