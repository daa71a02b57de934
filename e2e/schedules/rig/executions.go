package rig

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/gantryhq/gantry/e2e/schedules/history"
)

// Execution is an open execution of a run or a chain.
type Execution struct{ ID, Stack string }

// OpenExecutions returns the open executions of runs and chains, but those of runs
// whose stack is gone: Spacelift can't say how such a run ended, so Gantry follows
// it for a day.
func (r *Rig) OpenExecutions(ctx context.Context) (open []Execution, err error) {
	var page []byte
	for {
		answer, err := r.executor.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Query:         `ExecutionStatus = "Running" AND (WorkflowId STARTS_WITH "run/" OR WorkflowId STARTS_WITH "chain/")`,
			NextPageToken: page, PageSize: 500,
		})
		if err != nil {
			return nil, fmt.Errorf("list open executions: %w", err)
		}
		for _, e := range answer.GetExecutions() {
			found := Execution{ID: e.GetExecution().GetWorkflowId()}
			found.Stack, _ = runOf(found.ID)
			if _, exists := r.Spacelift.StackNow(found.Stack); exists || found.Stack == "" {
				open = append(open, found)
			}
		}
		if page = answer.GetNextPageToken(); len(page) == 0 {
			return open, nil
		}
	}
}

// runOf returns the stack and the run that an execution manages; nothing for one of
// a chain.
func runOf(id string) (stack, run string) {
	parts := strings.Split(id, "/")
	if len(parts) != 4 || parts[0] != "run" {
		return "", ""
	}
	return parts[2], parts[3]
}

// listPatiently lists executions, again and again for as long as a busy machine may
// need.
func (r *Rig) listPatiently(ctx context.Context, in *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	for over := time.Now().Add(startTime); ; wait(ctx, time.Second) {
		answer, err := r.executor.ListWorkflow(ctx, in)
		if err == nil || ctx.Err() != nil || time.Now().After(over) {
			return answer, err
		}
	}
}

// RecordExecutions records every execution that Temporal knows.
func (r *Rig) RecordExecutions(ctx context.Context) error {
	var page []byte
	for {
		answer, err := r.listPatiently(ctx, &workflowservice.ListWorkflowExecutionsRequest{NextPageToken: page, PageSize: 100})
		if err != nil {
			return fmt.Errorf("list executions: %w", err)
		}
		for _, e := range answer.GetExecutions() {
			record := &history.Execution{
				ID: e.GetExecution().GetWorkflowId(), Type: e.GetType().GetName(), Status: e.GetStatus().String(),
				Start: e.GetStartTime().AsTime(), Events: int(e.GetHistoryLength()), Bytes: int(e.GetHistorySizeBytes()),
			}
			if e.GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING { // lists show the size of closed ones alone
				shown, err := r.executor.DescribeWorkflowExecution(ctx, record.ID, "")
				if err != nil {
					return fmt.Errorf("describe execution %s: %w", record.ID, err)
				}
				record.Events, record.Bytes = int(shown.GetWorkflowExecutionInfo().GetHistoryLength()), int(shown.GetWorkflowExecutionInfo().GetHistorySizeBytes())
			}
			record.Stack, record.Run = runOf(record.ID)
			r.History.Add(history.Record{Schedule: history.ScheduleOf(record.Stack), Execution: record})
		}
		if page = answer.GetNextPageToken(); len(page) == 0 {
			return nil
		}
	}
}
