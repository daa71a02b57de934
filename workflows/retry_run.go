package workflows

import (
	"fmt"
	"slices"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// RetryRun retries a failed run, once, and has the new run managed as its retry.
// Its result is the new run, or the reason why there is none. RetryRun fails only
// when it is canceled, or started for a run that cannot exist.
func RetryRun(ctx workflow.Context, in managed.RetryRunInput) (managed.RetryRunOutcome, error) {
	if err := in.Run.Validate(); err != nil {
		return managed.RetryRunOutcome{}, temporal.NewNonRetryableApplicationError(fmt.Sprintf("retry run %s: %v", in.Run, err), managed.ErrTypeImpossibleRun, err)
	}
	failed, result, err := retryRun(ctx, &in)
	switch {
	case ctx.Err() != nil:
		return managed.RetryRunOutcome{}, ctx.Err()
	case err != nil:
		return managed.RetryRunOutcome{Reason: because(err)}, nil
	case result.Outcome != managed.ActDone:
		return managed.RetryRunOutcome{Reason: result.Reason, Block: result.Block, Forbidden: result.Outcome == managed.ActForbidden}, nil
	}
	// The new run exists, so cancellation no longer stops this.
	ctx, stop := workflow.NewDisconnectedContext(ctx)
	defer stop()
	of := managed.RetryOf{Run: in.Run, Attempt: max(in.Attempt, 2), By: in.By, TriggeredBy: in.TriggeredBy}
	if result.New == in.Run {
		of.After = failed.StateVersion
	}
	manageRetry(ctx, result.New, of, in.Chains)
	if in.Waits && result.New != in.Run {
		// Before this execution ends: the policy's own retry may begin when it has.
		news := managed.RunEvents{Retried: &managed.Retried{By: in.By, As: result.New}}
		if err := signalRun(ctx, in.Run, news).Get(ctx, nil); err != nil {
			workflow.GetLogger(ctx).Info("the run that failed does not know of its retry", "run", in.Run.String(), "error", err)
		}
	}
	return managed.RetryRunOutcome{New: result.New}, nil
}

// retryRun reads the run, and retries it if it has failed. It adds to the input
// what it learns of the run on the way.
func retryRun(ctx workflow.Context, in *managed.RetryRunInput) (failed spacelift.Transition, result activities.RetryRunResult, err error) {
	show := func(what string) { workflow.SetCurrentDetails(ctx, in.Details(what, pagesOf(ctx))) }
	show("Gantry reads the run that failed")
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
		// Before the retry, so that its execution starts right after it.
		in.Chains = findChains(ctx, run)
	}
	began := workflow.Now(ctx)
	show("Gantry asks Spacelift for another run")
	for wait := managed.BlockFirst; ; wait = min(2*wait, managed.BlockMost) {
		result = activities.RetryRunResult{}
		err = workflow.ExecuteActivity(summarized(withRetrying(ctx), in.Reason), a.RetryRun, activities.RetryRunInput{Run: in.Run, FailedAt: failed.At, Judged: in.Judged}).Get(ctx, &result)
		// For a moment, the caller waits and decides about a block. Later nobody does.
		waited := workflow.Now(ctx).Sub(began)
		if err != nil || result.Outcome != managed.ActBlocked || waited < retryWait || waited > managed.RetryHeld {
			return failed, result, err
		}
		show(result.Reason)
		if err := sleep(ctx, wait, in.Headline()+". "+result.Reason); err != nil {
			return failed, result, err
		}
	}
}

// failure returns the transition by which a run has failed, if it has.
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

// manageRetry has the new run managed, so that it knows whose retry it is.
//
// Spacelift doesn't document whether a retry has a new id. If it keeps the id, the
// execution that saw the run fail makes room for another if the signal reaches it;
// if it has ended, another one begins here. Neither waits for the other.
func manageRetry(ctx workflow.Context, run spacelift.RunRef, of managed.RetryOf, chains []managed.ChainRef) {
	in := managed.ManageRunInput{Run: run, RetryOf: &of, Chains: chains}
	if run == of.Run {
		in.Events, in.Reopened = begunAgain(ctx, of), true
	}
	startOrSignal(ctx, in, managed.RunEvents{RetryOf: &of, Chains: chains})
	signalChains(ctx, chains, chain.News{Run: run})
}

// begunAgain reads the events of a run that was retried under its own id: their
// notifications may have met an execution that had ended.
func begunAgain(ctx workflow.Context, of managed.RetryOf) []managed.RunEvent {
	run, err := fetchRun(ctx, of.Run, "Read the run that is tried again under its own id")
	if err != nil {
		return nil // its execution reads the run later
	}
	attempt := managed.Record{RetryOf: &of}
	return slices.DeleteFunc(managed.FromRead(run, workflow.Now(ctx).UTC()), attempt.Past)
}
