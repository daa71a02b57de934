package workflows

import (
	"fmt"
	"slices"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// RetryRun tries a failed run again, once, and sees to it that the new run is
// managed as that. What keeps it from doing so is its result; it fails only when
// it is canceled, or started for a run that cannot exist.
func RetryRun(ctx workflow.Context, in managed.RetryRunInput) (managed.RetryRunOutcome, error) {
	if err := in.Run.Validate(); err != nil {
		return managed.RetryRunOutcome{}, temporal.NewNonRetryableApplicationError(fmt.Sprintf("retry run %s: %v", in.Run, err), managed.ErrTypeImpossibleRun, err)
	}
	failed, result, err := retry(ctx, &in)
	switch {
	case ctx.Err() != nil:
		return managed.RetryRunOutcome{}, ctx.Err()
	case err != nil:
		return managed.RetryRunOutcome{Reason: because(err)}, nil
	case result.Outcome != managed.ActDone:
		return managed.RetryRunOutcome{Reason: result.Reason, Block: result.Block}, nil
	}
	// Once it was begun it is brought to its end, whoever cancels.
	ctx, stop := workflow.NewDisconnectedContext(ctx)
	defer stop()
	of := managed.RetryOf{Run: in.Run, Attempt: max(in.Attempt, 2), By: in.By, TriggeredBy: in.TriggeredBy}
	if result.New == in.Run {
		of.After = failed.StateVersion
	}
	manageRetry(ctx, result.New, of, in.Chains)
	if in.Waits && result.New != in.Run {
		// Before this execution ends: the policy's own retry may begin when it has.
		told := managed.RunEvents{Retried: &managed.Retried{By: in.By, As: result.New}}
		if err := workflow.SignalExternalWorkflow(ctx, managed.ManageRunID(in.Run), "", managed.RunEventsSignal, told).Get(ctx, nil); err != nil {
			workflow.GetLogger(ctx).Info("the run that failed is not told of its retry", "run", in.Run.String(), "error", err)
		}
	}
	return managed.RetryRunOutcome{New: result.New}, nil
}

// retry reads the run, and tries it again if it has failed. What else it learns of the
// run on the way it adds to the input.
func retry(ctx workflow.Context, in *managed.RetryRunInput) (failed spacelift.Transition, result activities.RetryRunResult, err error) {
	var a *activities.Activities
	var run spacelift.Run
	if err := workflow.ExecuteActivity(withRetrying(ctx), a.ReadRun, in.Run).Get(ctx, &run); err != nil {
		return failed, result, err
	}
	failed, ok := failure(run)
	if !ok {
		result.Outcome, result.Reason = managed.ActRefused, fmt.Sprintf("only failed runs are retried, and this one is in %s", run.State)
		return failed, result, nil
	}
	in.TriggeredBy = managed.Distinct(append(in.TriggeredBy, run.TriggeredBy))
	if len(in.Chains) == 0 {
		// Now, and not between the retry and its execution.
		in.Chains = findChains(ctx, run)
	}
	began := workflow.Now(ctx)
	for wait := managed.BlockFirst; ; wait = min(2*wait, managed.BlockMost) {
		result = activities.RetryRunResult{}
		err = workflow.ExecuteActivity(withRetrying(ctx), a.RetryRun, activities.RetryRunInput{Run: in.Run, FailedAt: failed.At}).Get(ctx, &result)
		// Who asked waits for a moment and decides about a block; nobody does later.
		waited := workflow.Now(ctx).Sub(began)
		if err != nil || result.Outcome != managed.ActBlocked || waited < retryWait || waited > managed.RetryHeld {
			return failed, result, err
		}
		if err := workflow.Sleep(ctx, wait); err != nil {
			return failed, result, err
		}
	}
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
// one, the execution that saw the run fail makes room for another if it is told
// in time; if it has ended, another begins here. Neither waits for the other.
func manageRetry(ctx workflow.Context, run spacelift.RunRef, of managed.RetryOf, chains []managed.ChainRef) {
	in := managed.ManageRunInput{Run: run, RetryOf: &of, Chains: chains}
	reuse := enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
	if run == of.Run {
		reuse = enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE
		in.Events, in.Reopened = begunAgain(ctx, of), true
	}
	var err error
	for range sameIDTries {
		err = workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
			WorkflowID: managed.ManageRunID(run), ParentClosePolicy: enums.PARENT_CLOSE_POLICY_ABANDON, WorkflowIDReusePolicy: reuse,
		}), managed.ManageRunType, in).GetChildWorkflowExecution().Get(ctx, nil)
		if !temporal.IsWorkflowExecutionAlreadyStartedError(err) {
			break
		}
		err = workflow.SignalExternalWorkflow(ctx, managed.ManageRunID(run), "", managed.RunEventsSignal, managed.RunEvents{RetryOf: &of, Chains: chains}).Get(ctx, nil)
		if err == nil || run != of.Run {
			break
		}
		// It has ended in the meantime.
	}
	if err != nil {
		workflow.GetLogger(ctx).Warn("the run that tries again is not told of it", "run", run.String(), "retryOf", of.Run.String(), "error", err)
	}
	tellOfRun(ctx, chains, chain.News{Run: run})
}

// sameIDTries bounds how often the execution of a run may end or begin between
// two looks.
const sameIDTries = 3

// begunAgain reads what a run has come to that is tried again under its own id:
// the notifications of that may have met an execution that had ended.
func begunAgain(ctx workflow.Context, of managed.RetryOf) []managed.RunEvent {
	var a *activities.Activities
	var run spacelift.Run
	if err := workflow.ExecuteLocalActivity(withQuickCall(ctx), a.ReadRun, of.Run).Get(ctx, &run); err != nil {
		return nil // it finds out for itself
	}
	attempt := managed.Record{RetryOf: &of}
	return slices.DeleteFunc(managed.FromRead(run, workflow.Now(ctx).UTC()), attempt.Past)
}
