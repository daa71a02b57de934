package activities

import (
	"context"
	"encoding/json"
	"fmt"

	"go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
)

// ReadEarlierInput is a question to the execution that closed last under a workflow
// id.
type ReadEarlierInput struct {
	ID    string `json:"id"` // workflow id
	Query string `json:"query"`
}

// Earlier is the answer of the execution; Found is false when Temporal keeps no
// closed one.
type Earlier struct {
	Found  bool            `json:"found"`
	Answer json.RawMessage `json:"answer,omitempty"`
}

// maxEarlier bounds the closed executions of one workflow id that are listed. There
// is mostly one; each continuation as new is another.
const maxEarlier = 100

// ReadEarlier queries the execution that closed last under a workflow id, while
// another one is open under the same id.
func (a *Activities) ReadEarlier(ctx context.Context, in ReadEarlierInput) (Earlier, error) {
	page, err := a.Temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		// A workflow id holds no quote: see spacelift.RunRef.Validate.
		Query: fmt.Sprintf("WorkflowId = '%s' AND ExecutionStatus != 'Running'", in.ID), PageSize: maxEarlier,
	})
	if err != nil {
		return Earlier{}, fmt.Errorf("list closed executions of %s: %w", in.ID, err)
	}
	last := closedLast(page.GetExecutions())
	if last == nil {
		return Earlier{}, nil
	}
	answer, found, err := query[json.RawMessage](ctx, a, in.ID, last.GetExecution().GetRunId(), in.Query)
	if err != nil {
		return Earlier{}, fmt.Errorf("query the closed execution of %s: %w", in.ID, err)
	}
	return Earlier{Found: found, Answer: answer}, nil
}

// closedLast returns the execution that closed last, nil if there is none. It skips
// executions that continued as new: the next one has their knowledge.
func closedLast(all []*workflowpb.WorkflowExecutionInfo) (last *workflowpb.WorkflowExecutionInfo) {
	for _, e := range all {
		switch {
		case e.GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW, e.GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING:
		case last == nil || e.GetCloseTime().AsTime().After(last.GetCloseTime().AsTime()):
			last = e
		}
	}
	return last
}
