package workflows

import (
	"fmt"
	"slices"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/spacelift"
)

// RetryRunType is the workflow type of RetryRun, which tries a failed run
// again. There is at most one per run, under RetryRunID, whoever asks first:
// ManageRun by policy, or a person.
const RetryRunType = "RetryRun"

// RetryRunID is the workflow id of the one retry of a run.
func RetryRunID(run spacelift.RunRef) string { return "retry/" + run.String() }

// RetryRunInput says which run and why.
type RetryRunInput struct {
	Run     spacelift.RunRef `json:"run"`
	By      string           `json:"by"`      // a person's name, or "gantry"
	Reason  string           `json:"reason"`  // a sentence
	Attempt int              `json:"attempt"` // of the new run: 2 for the first retry

	// FailedAt is when the run failed, by Spacelift's clock; zero: not known, the
	// API is asked.
	FailedAt time.Time `json:"failedAt,omitzero"`

	// Chains are what the run is part of: the new one will be too.
	Chains []ChainRef `json:"chains,omitempty"`
}

// RetryRunOutcome is the result of RetryRun.
type RetryRunOutcome struct {
	New    spacelift.RunRef `json:"new,omitzero"`     // zero when it was not retried
	Reason string           `json:"reason,omitempty"` // why not, as a sentence
}

// RetryOf says that a run tries another one again.
type RetryOf struct {
	Run     spacelift.RunRef `json:"run"`
	Attempt int              `json:"attempt"` // 2 for the first retry
	By      string           `json:"by"`
}

// RetryRun tries a failed run again, once, and sees to it that the new run is
// managed as that. What keeps it from doing so is its result; it fails only when
// it is canceled, or started for a run that cannot exist.
func RetryRun(ctx workflow.Context, in RetryRunInput) (RetryRunOutcome, error) {
	if err := in.Run.Validate(); err != nil {
		return RetryRunOutcome{}, temporal.NewNonRetryableApplicationError(fmt.Sprintf("retry run %s: %v", in.Run, err), ErrTypeImpossibleRun, err)
	}
	result, err := retry(ctx, in)
	switch {
	case ctx.Err() != nil:
		return RetryRunOutcome{}, ctx.Err()
	case err != nil:
		return RetryRunOutcome{Reason: because(err)}, nil
	case result.Outcome != activities.ActDone:
		return RetryRunOutcome{Reason: result.Reason}, nil
	}
	// Once it was begun it is brought to its end, whoever cancels.
	ctx, stop := workflow.NewDisconnectedContext(ctx)
	defer stop()
	manageRetry(ctx, result.New, RetryOf{Run: in.Run, Attempt: max(in.Attempt, 2), By: in.By}, in.Chains)
	return RetryRunOutcome{New: result.New}, nil
}

func retry(ctx workflow.Context, in RetryRunInput) (result activities.RetryRunResult, err error) {
	var a *activities.Activities
	if in.FailedAt.IsZero() {
		var run spacelift.Run
		if err := workflow.ExecuteActivity(withRetrying(ctx), a.ReadRun, in.Run).Get(ctx, &run); err != nil {
			return result, err
		}
		failed, ok := failure(run)
		if !ok {
			return activities.RetryRunResult{
				Outcome: activities.ActRefused, Reason: fmt.Sprintf("only failed runs are retried, and this one is in %s", run.State),
			}, nil
		}
		in.FailedAt = failed.At
	}
	err = workflow.ExecuteActivity(withRetrying(ctx), a.RetryRun, activities.RetryRunInput{Run: in.Run, FailedAt: in.FailedAt}).Get(ctx, &result)
	return result, err
}

// failure is the failure that a run is in.
func failure(run spacelift.Run) (spacelift.Transition, bool) {
	if run.State != spacelift.RunStateFailed {
		return spacelift.Transition{}, false
	}
	for _, t := range slices.Backward(run.History) {
		if t.State == spacelift.RunStateFailed {
			return t, true
		}
	}
	return spacelift.Transition{}, false
}

// manageRetry starts the execution of the new run, so that it knows whose retry
// it is; or tells it, if its first notification was faster.
//
// Whether Spacelift retries under a new id is not documented. Under the same
// one, the execution that saw the run fail has ended or is about to: another
// begins, which is the one case where a run has two.
func manageRetry(ctx workflow.Context, run spacelift.RunRef, of RetryOf, chains []ChainRef) {
	reuse := enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
	if run == of.Run {
		reuse = enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE
	}
	start := func() error {
		return workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
			WorkflowID: ManageRunID(run), ParentClosePolicy: enums.PARENT_CLOSE_POLICY_ABANDON, WorkflowIDReusePolicy: reuse,
		}), ManageRunType, ManageRunInput{Run: run, Generation: CurrentGeneration, RetryOf: &of, Chains: chains}).GetChildWorkflowExecution().Get(ctx, nil)
	}
	err := start()
	if temporal.IsWorkflowExecutionAlreadyStartedError(err) {
		err = workflow.SignalExternalWorkflow(ctx, ManageRunID(run), "", RunEventsSignal, RunEvents{RetryOf: &of, Chains: chains}).Get(ctx, nil)
		if err != nil && run == of.Run {
			err = start() // it has ended in the meantime
		}
	}
	if err != nil {
		workflow.GetLogger(ctx).Warn("the run that tries again is not told of it", "run", run.String(), "retryOf", of.Run.String(), "error", err)
	}
	tellOfRun(ctx, chains, ChainNews{Run: run})
}
