package activities_test

import (
	"context"
	"errors"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/gantryhq/gantry/activities"
)

// closed is a Temporal with executions of one workflow id that have closed. Each
// answers with its run id.
type closed struct {
	activities.Temporal

	all     []*workflowpb.WorkflowExecutionInfo
	away    bool // it lists nothing
	cleaned bool // their histories are gone
}

func (c closed) ListWorkflow(_ context.Context, req *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	if c.away || req.GetQuery() != "WorkflowId = 'run/acme/net/1' AND ExecutionStatus != 'Running'" {
		return nil, errors.New("deadline exceeded")
	}
	return &workflowservice.ListWorkflowExecutionsResponse{Executions: c.all}, nil
}

func (c closed) QueryWorkflow(_ context.Context, id, runID, query string, _ ...any) (converter.EncodedValue, error) {
	if c.cleaned || id != "run/acme/net/1" || query != "record" {
		return nil, serviceerror.NewNotFound("no execution")
	}
	payloads, err := converter.GetDefaultDataConverter().ToPayloads(runID)
	return answer{payloads}, err
}

func closedAt(runID string, minute int, status enums.WorkflowExecutionStatus) *workflowpb.WorkflowExecutionInfo {
	at := time.Date(2026, 1, 1, 10, minute, 0, 0, time.UTC)
	return &workflowpb.WorkflowExecutionInfo{Execution: &commonpb.WorkflowExecution{RunId: runID}, Status: status, CloseTime: timestamppb.New(at)}
}

// The execution that closed last answers; one that continued as new has left all
// that it knew to the next.
func TestReadEarlier(t *testing.T) {
	const (
		completed = enums.WORKFLOW_EXECUTION_STATUS_COMPLETED
		ended     = enums.WORKFLOW_EXECUTION_STATUS_TERMINATED
		continued = enums.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW
	)
	three := []*workflowpb.WorkflowExecutionInfo{closedAt("first", 1, completed), closedAt("third", 30, continued), closedAt("second", 20, ended)}
	for _, tc := range []struct {
		name     string
		temporal closed
		want     string
		fails    bool
	}{
		{"three of them", closed{all: three}, `"second"`, false},
		{"none", closed{}, "", false},
		{"its history is gone", closed{all: three, cleaned: true}, "", false},
		{"Temporal does not answer", closed{away: true}, "", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := &activities.Activities{Temporal: tc.temporal}
			got, err := a.ReadEarlier(t.Context(), activities.ReadEarlierInput{ID: "run/acme/net/1", Query: "record"})
			if (err != nil) != tc.fails || string(got.Answer) != tc.want || got.Found != (tc.want != "") {
				t.Errorf("%+v, %v; want %s", got, err, tc.want)
			}
		})
	}
}
