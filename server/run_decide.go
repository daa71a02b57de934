package server

import (
	"context"
	"fmt"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/spacelift"
)

// DecideRun hands the bearer's decision to the run's execution.
func (h *handlers) DecideRun(ctx context.Context, req genserver.DecideRunRequestObject) (genserver.DecideRunResponseObject, error) {
	ref, err := h.runRef(req.Account, req.Stack, req.Run)
	if err != nil {
		return nil, err
	}
	this, err := changeOf(ctx, managed.DecideUpdate, req.Params.IdempotencyKey, req.Body)
	if err != nil {
		return nil, err
	}
	decision := fromAPIDecisionRequest(*req.Body)
	decision.By, decision.Key = principalOf(ctx), this.key
	status, err := h.updateRun(ctx, ref, managed.DecideUpdate, this, decision)
	h.gate.metrics.decided(decision.Verdict, err)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", decision.Verdict, ref, err)
	}
	h.log.InfoContext(ctx, "decision", "run", ref.String(), "verdict", decision.Verdict, "by", decision.By.Name)
	return genserver.DecideRun200JSONResponse(toAPIRun(status)), nil
}

// StopRun hands the bearer's wish to end the run to its execution.
func (h *handlers) StopRun(ctx context.Context, req genserver.StopRunRequestObject) (genserver.StopRunResponseObject, error) {
	ref, err := h.runRef(req.Account, req.Stack, req.Run)
	if err != nil {
		return nil, err
	}
	this, err := changeOf(ctx, managed.StopUpdate, req.Params.IdempotencyKey, req.Body)
	if err != nil {
		return nil, err
	}
	by := principalOf(ctx)
	status, err := h.updateRun(ctx, ref, managed.StopUpdate, this, managed.StopRequest{By: by, Note: noteOf(req.Body), Key: this.key})
	if err != nil {
		return nil, fmt.Errorf("stop %s: %w", ref, err)
	}
	h.log.InfoContext(ctx, "stop", "run", ref.String(), "by", by.Name)
	return genserver.StopRun200JSONResponse(toAPIRun(status)), nil
}

// updateRun sends an update to the execution of a run and waits until it is
// done.
func (h *handlers) updateRun(ctx context.Context, ref spacelift.RunRef, name string, this change, content any) (managed.RunStatus, error) {
	var status managed.RunStatus
	err := h.update(ctx, client.UpdateWorkflowOptions{
		WorkflowID: managed.ManageRunID(ref), UpdateName: name, UpdateID: this.updateID(), Args: []any{content},
		WaitForStage: client.WorkflowUpdateStageCompleted,
	}, &status, func(ctx context.Context, closed error) error { return h.whyClosed(ctx, ref, this, closed) })
	return status, err
}

// whyClosed explains an update that found no open execution: the run has
// ended, or nobody here knows it.
func (h *handlers) whyClosed(ctx context.Context, ref spacelift.RunRef, this change, closed error) error {
	ctx, cancel := context.WithTimeout(ctx, temporalTimeout)
	defer cancel()
	status, err := h.status(ctx, ref)
	if err != nil {
		return err
	}
	if status.Phase == managed.PhaseDone {
		return &endedError{status.Outcome}
	}
	found, err := h.temporal.DescribeWorkflowExecution(ctx, managed.ManageRunID(ref), "")
	switch {
	case err != nil:
		return fmt.Errorf("look at execution of %s: %w", ref, err)
	case found.GetWorkflowExecutionInfo().GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING: // it was continuing as new
		return &unansweredError{err: closed, repeatable: this.key != ""}
	}
	return &endedError{"somebody closed its execution in Temporal while the run was " + string(status.State)}
}

// endedError says that a run has ended, and how.
type endedError struct{ outcome string }

func (e *endedError) Error() string { return "the run has ended: " + e.outcome }

func fromAPIDecisionRequest(r api.DecisionRequest) managed.Decision {
	return managed.Decision{Verdict: managed.Verdict(r.Verdict), Note: deref(r.Note), StateVersion: r.StateVersion}
}

// noteOf returns the note of a body that may be missing.
func noteOf(body *api.ActionRequest) string {
	if body == nil {
		return ""
	}
	return deref(body.Note)
}
