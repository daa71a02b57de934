package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// updateTimeout bounds how long a caller waits for an execution to take a
// decision and to do what follows from it.
const updateTimeout = 10 * time.Second

// Waits before an update without an answer is sent again. An execution that
// begins, or continues as new, takes updates within milliseconds.
const (
	firstResend = 50 * time.Millisecond
	lastResend  = time.Second
)

// errTypeClosedMeanwhile is Temporal's own refusal of updates that an execution
// had taken but not done when it ended.
const errTypeClosedMeanwhile = "AcceptedUpdateCompletedWorkflow"

// update sends an update to an execution and reads what came of it. whyClosed
// says what it means that there is no open execution; it may say that the
// answer is open still, with an *unansweredError.
//
// While it is open, the update is sent again until updateTimeout. Temporal does
// an update of one id once, in one execution. In one that continued as new our
// own keys identify a repeat; a request without a key is refused there at worst,
// because the person has said so already: nothing counts twice.
func (h *handlers) update(ctx context.Context, o client.UpdateWorkflowOptions, result any, whyClosed func(context.Context, error) error) error {
	ctx, cancel := context.WithTimeout(ctx, updateTimeout)
	defer cancel()
	key := o.UpdateID
	if key == "" {
		o.UpdateID = ulid.Make().String()
	}
	for wait := firstResend; ; wait = min(2*wait, lastResend) {
		err := answered(h.updateOnce(ctx, o, result), key)
		if _, closed := errors.AsType[*serviceerror.NotFound](err); closed || isType(err, errTypeClosedMeanwhile) {
			err = answered(whyClosed(ctx, err), key)
		}
		if !is[*unansweredError](err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

func (h *handlers) updateOnce(ctx context.Context, o client.UpdateWorkflowOptions, result any) error {
	handle, err := h.temporal.UpdateWorkflow(ctx, o)
	if err != nil {
		return err
	}
	return handle.Get(ctx, result)
}

// answered marks the errors that leave open whether a change will count: it
// was sent, and the worker or Temporal was too slow or away.
func answered(err error, key string) error {
	if err == nil || !temporalAway(err) {
		return err
	}
	return &unansweredError{err: err, repeatable: key != ""}
}

// unansweredError reports that a change was sent and may still happen.
type unansweredError struct {
	err        error
	repeatable bool // it has a key, so a repeat counts once
}

func (e *unansweredError) Error() string { return "no answer yet: " + e.err.Error() }

func (e *unansweredError) Unwrap() error { return e.err }

func (e *unansweredError) remedy() string {
	if e.repeatable {
		return "the request was sent and may still count; send it again with the same Idempotency-Key, and it counts once"
	}
	return "the request was sent and may still count; check the result before sending it again. With an Idempotency-Key, sending it again is safe"
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
		return fmt.Errorf("describe execution of %s: %w", ref, err)
	case found.GetWorkflowExecutionInfo().GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING: // it was continuing as new
		return &unansweredError{err: closed, repeatable: this.key != ""}
	}
	return &endedError{"an operator closed its execution in Temporal while the run was " + string(status.State)}
}

// endedError reports that a run has ended, and how.
type endedError struct{ outcome string }

func (e *endedError) Error() string { return "the run has ended: " + e.outcome }

// updateChain sends an update to a chain's execution and waits until it is done.
func (h *handlers) updateChain(ctx context.Context, root spacelift.RunRef, name string, this change, wish any) (chain.Status, error) {
	var status chain.Status
	err := h.update(ctx, client.UpdateWorkflowOptions{
		WorkflowID: managed.ChainID(root), UpdateName: name, UpdateID: this.updateID(), Args: []any{wish},
		WaitForStage: client.WorkflowUpdateStageCompleted,
	}, &status, func(ctx context.Context, closed error) error { return h.whyChainClosed(ctx, root, this, closed) })
	return status, err
}

// whyChainClosed explains an update that found no open execution.
func (h *handlers) whyChainClosed(ctx context.Context, root spacelift.RunRef, this change, closed error) error {
	status, err := h.chain(ctx, root)
	if err != nil {
		return err
	}
	if status.Phase == chain.PhaseDone {
		return &chainEndedError{status.Summary}
	}
	ctx, cancel := context.WithTimeout(ctx, temporalTimeout)
	defer cancel()
	found, err := h.temporal.DescribeWorkflowExecution(ctx, managed.ChainID(root), "")
	switch {
	case err != nil:
		return fmt.Errorf("describe %s: %w", managed.ChainID(root), err)
	case found.GetWorkflowExecutionInfo().GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING: // it was continuing as new
		return &unansweredError{err: closed, repeatable: this.key != ""}
	}
	return &chainEndedError{"an operator closed its execution in Temporal"}
}

// chainEndedError reports that a chain has ended, and how.
type chainEndedError struct{ outcome string }

func (e *chainEndedError) Error() string { return "the chain has ended: " + e.outcome }
