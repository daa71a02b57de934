package activities

import (
	"context"
	"errors"
	"fmt"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"

	"github.com/gantryhq/gantry/spacelift"
)

// RunsInProgressInput asks for the runs of an account that have not ended.
type RunsInProgressInput struct {
	Account spacelift.Account `json:"account"`
	Pages   int               `json:"pages"` // at most; of 50 runs
}

// RunsInProgress is what Spacelift's search showed.
type RunsInProgress struct {
	Runs     []spacelift.RunLine `json:"runs,omitempty"` // ref, state, need of approval, creation and Gantry's labels alone
	Complete bool                `json:"complete"`
	Calls    int                 `json:"calls"` // to Spacelift's API
}

// runsPerPage is how many runs the client asks for in one call.
const runsPerPage = 50

// RunsInProgress lists the runs in progress, whatever their stack's labels.
func (a *Activities) RunsInProgress(ctx context.Context, in RunsInProgressInput) (RunsInProgress, error) {
	api, err := a.account(in.Account)
	if err != nil {
		return RunsInProgress{}, err
	}
	found, err := api.RunsInProgress(ctx, in.Pages)
	if err != nil {
		return RunsInProgress{}, classify(ctx, err)
	}
	list := RunsInProgress{Complete: found.Complete, Calls: max(1, (len(found.Items)+runsPerPage-1)/runsPerPage)}
	for _, line := range found.Items {
		a.dropOwnLock(ctx, in.Account, &line.Brakes)
		// The list ends up in a history: what nobody looks at stays out of it.
		list.Runs = append(list.Runs, spacelift.RunLine{
			Ref: line.Ref, State: line.State, NeedsApproval: line.NeedsApproval, CreatedAt: line.CreatedAt,
			StackLabels: spacelift.OurLabels(line.StackLabels), Brakes: line.Brakes,
		})
	}
	return list, nil
}

// ExecutionsInput asks Temporal's visibility store.
type ExecutionsInput struct {
	Query     string `json:"query"`            // https://docs.temporal.io/list-filter
	Attribute string `json:"attribute"`        // keyword search attribute to return
	Second    string `json:"second,omitempty"` // and another
	Limit     int    `json:"limit"`
}

// Executions is what the visibility store knows, which may be a moment old.
type Executions struct {
	List     []Execution `json:"list,omitempty"`
	Complete bool        `json:"complete"`
}

// Execution is one execution.
type Execution struct {
	ID     string `json:"id"`               // workflow id
	Value  string `json:"value,omitempty"`  // of the attribute asked for
	Second string `json:"second,omitempty"` // of the second one
}

// executionsPerPage is Temporal's own limit on a page.
const executionsPerPage = 1000

// ListExecutions lists executions, at most Limit of them.
func (a *Activities) ListExecutions(ctx context.Context, in ExecutionsInput) (Executions, error) {
	var found Executions
	var token []byte
	for {
		page, err := a.Temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Query: in.Query, PageSize: int32(min(executionsPerPage, in.Limit)), NextPageToken: token,
		})
		if err != nil {
			return Executions{}, fmt.Errorf("list executions: %w", err)
		}
		for _, e := range page.GetExecutions() {
			if len(found.List) == in.Limit {
				return found, nil
			}
			found.List = append(found.List, Execution{
				ID:     e.GetExecution().GetWorkflowId(),
				Value:  keyword(e.GetSearchAttributes(), in.Attribute),
				Second: keyword(e.GetSearchAttributes(), in.Second),
			})
		}
		if token = page.GetNextPageToken(); len(token) == 0 {
			found.Complete = true
			return found, nil
		}
	}
}

func keyword(attrs *commonpb.SearchAttributes, name string) string {
	var value string
	if payload := attrs.GetIndexedFields()[name]; payload != nil {
		// A value that is no string counts as missing.
		_ = converter.GetDefaultDataConverter().FromPayload(payload, &value)
	}
	return value
}

// QueryInput asks an execution.
type QueryInput struct {
	ID    string `json:"id"` // workflow id
	Query string `json:"query"`
}

// Known is the part of a run's status that says how far its execution has
// heard of it. Its fields are those of the answer to the query.
type Known struct {
	Exists bool               `json:"exists"` // an execution exists, open or closed
	Phase  string             `json:"phase,omitempty"`
	State  spacelift.RunState `json:"state,omitempty"`
	States []KnownState       `json:"states,omitempty"`

	NeedsApproval bool `json:"needsApproval,omitempty"` // in State

	Block  *Block   `json:"block,omitempty"` // of the stack, as last read in State
	Labels []string `json:"labels,omitempty"`
}

// KnownState is a state that an execution has heard of.
type KnownState struct {
	State        spacelift.RunState `json:"state"`
	StateVersion int                `json:"stateVersion"`
}

// AskExecution asks an execution what it knows. That there is none is an answer.
func (a *Activities) AskExecution(ctx context.Context, in QueryInput) (Known, error) {
	answer, err := a.Temporal.QueryWorkflow(ctx, in.ID, "", in.Query)
	if _, missing := errors.AsType[*serviceerror.NotFound](err); missing {
		return Known{}, nil
	}
	if err != nil {
		return Known{}, fmt.Errorf("ask %s: %w", in.ID, err)
	}
	var known Known
	if err := answer.Get(&known); err != nil {
		return Known{}, fmt.Errorf("ask %s: %w", in.ID, err)
	}
	known.Exists = true
	return known, nil
}
