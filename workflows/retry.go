package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// RetryRunType is the workflow type of RetryRun, which tries a failed run
// again. There is at most one at a time per run, under RetryRunID, whoever asks
// first: ManageRun by policy, or a person. Another begins only after one that
// made no run.
const RetryRunType = "RetryRun"

// RetryRunID is the workflow id of the retry of a run.
func RetryRunID(run spacelift.RunRef) string { return "retry/" + run.String() }

// RetryRunInput says which run and why.
type RetryRunInput struct {
	Run     spacelift.RunRef `json:"run"`
	By      string           `json:"by"`      // a person's name, or "gantry"
	Reason  string           `json:"reason"`  // a sentence
	Attempt int              `json:"attempt"` // of the new run: 2 for the first retry

	// TriggeredBy are who is behind the run: see RunStatus.Triggerers. What the API
	// shows is added.
	TriggeredBy []string `json:"triggeredBy,omitempty"`

	// Waits says that the run's execution has not ended, so that it is told; never
	// set by that itself.
	Waits bool `json:"waits,omitempty"`

	// Chains are what the run is part of, as far as is known: the new one will be
	// too.
	Chains []ChainRef `json:"chains,omitempty"`
}

// RetryRunOutcome is the result of RetryRun.
type RetryRunOutcome struct {
	New    spacelift.RunRef `json:"new,omitzero"`     // zero when it was not retried
	Reason string           `json:"reason,omitempty"` // why not, as a sentence

	// Block is what holds the stack, if that was why. It may pass.
	Block *spacelift.Block `json:"block,omitempty"`
}

// RetryOf says that a run tries another one again.
type RetryOf struct {
	Run     spacelift.RunRef `json:"run"`
	Attempt int              `json:"attempt"` // 2 for the first retry
	By      string           `json:"by"`      // a person's name, or "gantry"

	// After is the state version of the failure where both attempts have the same
	// id: all until then belongs to the one before. 0: they have not.
	After int `json:"after,omitempty"`

	// TriggeredBy are who triggered the attempts before, and who asked Gantry for
	// them: Spacelift names Gantry's own key alone.
	TriggeredBy []string `json:"triggeredBy,omitempty"`
}

// retried takes that somebody retried the run, and as what: a retry of the
// policy's is not needed any more.
func (r *record) retried(at time.Time, by string, as spacelift.RunRef) {
	if r.Retry == nil {
		r.Retry = &Retry{Attempt: r.RetryOf.attempt() + 1, Of: r.RetryOf.attempt() + 1, At: at}
	}
	r.Retry.made(as)
	if by != SourceGantry {
		r.Retry.By, r.Retry.Reason = by, by+" retried it"
		r.journal(at, KindPerson, by, "%s retried the run, as run %s", by, as.Run)
	}
}

// heldRetry puts a retry off that the stack's lock, or another brake, keeps from
// being made. It reports false when that has taken too long.
func (r *record) heldRetry(at time.Time, why string) bool {
	since := r.Retry.HeldSince
	if since.IsZero() {
		since = at
	}
	if at.Sub(since) >= retryHeld {
		return false
	}
	news := r.Retry.Held != why
	until := at.Add(min(max(at.Sub(since), blockFirst), blockMost))
	if r.Retry.postpone(at, until, fit(why, maxText)) && news {
		r.note(at, KindNote, "the retry waits: %s", why)
	}
	return true
}

// attempt is which attempt the run is; nil says that it is the first.
func (of *RetryOf) attempt() int {
	if of == nil {
		return 1
	}
	return of.Attempt
}

// names are all who are behind an attempt, as they were spelled.
func (of *RetryOf) names() []string {
	switch {
	case of == nil:
		return nil
	case of.By == SourceGantry:
		return of.TriggeredBy
	}
	return append(slices.Clone(of.TriggeredBy), of.By)
}

// Triggerers are the names of all who are behind the run: who triggered it, and
// who is behind the attempts that it tries again, the run whose place it takes, and
// what goes before it in a chain.
func (s RunStatus) Triggerers() []string {
	names := append([]string{s.TriggeredBy}, s.RetryOf.names()...)
	names = append(names, s.Behind...)
	for _, c := range s.Chains {
		names = append(names, c.TriggeredBy...)
	}
	return distinct(names)
}

// distinct leaves out what is empty, and names that stand there before, however
// they are spelled.
func distinct(names []string) (list []string) {
	for _, name := range names {
		if name != "" && !slices.ContainsFunc(list, func(n string) bool { return strings.EqualFold(n, name) }) {
			list = append(list, name)
		}
	}
	return list
}

// triesAgain takes that the run tries another one again, or under the same id
// itself. More than one retry may end up with the same run, and whoever is
// behind one of them stays it.
func (r *record) triesAgain(at time.Time, of RetryOf) {
	if of.Run == r.Run && of.After > r.after() {
		r.Again = &of
		r.retried(at, of.By, of.Run)
		return
	}
	was := r.RetryOf
	if was != nil && was.Run == of.Run {
		was, of = new(of), *was
	}
	of.After = max(of.After, r.after())
	of.TriggeredBy = distinct(append(slices.Clone(of.TriggeredBy), was.names()...))
	r.RetryOf = &of
}

// after is the state version that ended the attempt before under the same id; 0
// if there was none.
func (r *record) after() int {
	if r.RetryOf == nil {
		return 0
	}
	return r.RetryOf.After
}

// past reports whether an event is about an attempt before under the same id.
func (r *record) past(e RunEvent) bool { return r.after() > 0 && e.StateVersion <= r.after() }

// nextAttempt starts the execution of the next attempt under the same id, with
// what is known of that already.
func (r *record) nextAttempt() ManageRunInput {
	of := *r.Again
	of.TriggeredBy = distinct(append(slices.Clone(of.TriggeredBy), r.RetryOf.names()...))
	next := record{RetryOf: &of}
	return ManageRunInput{
		Run: r.Run, RetryOf: &of, Chains: r.facts().Released(), Behind: r.Behind,
		Events: slices.DeleteFunc(slices.Clone(r.Events), next.past),
	}
}

// Retried says that a person retried a run, and as what.
type Retried struct {
	By string           `json:"by"`
	As spacelift.RunRef `json:"as"`
}

// RetryRun tries a failed run again, once, and sees to it that the new run is
// managed as that. What keeps it from doing so is its result; it fails only when
// it is canceled, or started for a run that cannot exist.
func RetryRun(ctx workflow.Context, in RetryRunInput) (RetryRunOutcome, error) {
	if err := in.Run.Validate(); err != nil {
		return RetryRunOutcome{}, temporal.NewNonRetryableApplicationError(fmt.Sprintf("retry run %s: %v", in.Run, err), ErrTypeImpossibleRun, err)
	}
	failed, result, err := retry(ctx, &in)
	switch {
	case ctx.Err() != nil:
		return RetryRunOutcome{}, ctx.Err()
	case err != nil:
		return RetryRunOutcome{Reason: because(err)}, nil
	case result.Outcome != managed.ActDone:
		return RetryRunOutcome{Reason: result.Reason, Block: result.Block}, nil
	}
	// Once it was begun it is brought to its end, whoever cancels.
	ctx, stop := workflow.NewDisconnectedContext(ctx)
	defer stop()
	of := RetryOf{Run: in.Run, Attempt: max(in.Attempt, 2), By: in.By, TriggeredBy: in.TriggeredBy}
	if result.New == in.Run {
		of.After = failed.StateVersion
	}
	manageRetry(ctx, result.New, of, in.Chains)
	if in.Waits && result.New != in.Run {
		// Before this execution ends: the policy's own retry may begin when it has.
		told := RunEvents{Retried: &Retried{By: in.By, As: result.New}}
		if err := workflow.SignalExternalWorkflow(ctx, ManageRunID(in.Run), "", RunEventsSignal, told).Get(ctx, nil); err != nil {
			workflow.GetLogger(ctx).Info("the run that failed is not told of its retry", "run", in.Run.String(), "error", err)
		}
	}
	return RetryRunOutcome{New: result.New}, nil
}

// retry reads the run, and tries it again if it has failed. What else it learns of the
// run on the way it adds to the input.
func retry(ctx workflow.Context, in *RetryRunInput) (failed spacelift.Transition, result activities.RetryRunResult, err error) {
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
	in.TriggeredBy = distinct(append(in.TriggeredBy, run.TriggeredBy))
	if len(in.Chains) == 0 {
		// Now, and not between the retry and its execution.
		in.Chains = findChains(ctx, run)
	}
	began := workflow.Now(ctx)
	for wait := blockFirst; ; wait = min(2*wait, blockMost) {
		result = activities.RetryRunResult{}
		err = workflow.ExecuteActivity(withRetrying(ctx), a.RetryRun, activities.RetryRunInput{Run: in.Run, FailedAt: failed.At}).Get(ctx, &result)
		// Who asked waits for a moment and decides about a block; nobody does later.
		waited := workflow.Now(ctx).Sub(began)
		if err != nil || result.Outcome != managed.ActBlocked || waited < retryWait || waited > retryHeld {
			return failed, result, err
		}
		if err := workflow.Sleep(ctx, wait); err != nil {
			return failed, result, err
		}
	}
}

// retryHeld is how long a retry waits for a lock, or whatever else blocks the
// stack, before it is given up.
const retryHeld = 24 * time.Hour

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
func manageRetry(ctx workflow.Context, run spacelift.RunRef, of RetryOf, chains []ChainRef) {
	in := ManageRunInput{Run: run, RetryOf: &of, Chains: chains}
	reuse := enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
	if run == of.Run {
		reuse = enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE
		in.Events, in.Reopened = begunAgain(ctx, of), true
	}
	var err error
	for range sameIDTries {
		err = workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
			WorkflowID: ManageRunID(run), ParentClosePolicy: enums.PARENT_CLOSE_POLICY_ABANDON, WorkflowIDReusePolicy: reuse,
		}), ManageRunType, in).GetChildWorkflowExecution().Get(ctx, nil)
		if !temporal.IsWorkflowExecutionAlreadyStartedError(err) {
			break
		}
		err = workflow.SignalExternalWorkflow(ctx, ManageRunID(run), "", RunEventsSignal, RunEvents{RetryOf: &of, Chains: chains}).Get(ctx, nil)
		if err == nil || run != of.Run {
			break
		}
		// It has ended in the meantime.
	}
	if err != nil {
		workflow.GetLogger(ctx).Warn("the run that tries again is not told of it", "run", run.String(), "retryOf", of.Run.String(), "error", err)
	}
	tellOfRun(ctx, chains, ChainNews{Run: run})
}

// sameIDTries bounds how often the execution of a run may end or begin between
// two looks.
const sameIDTries = 3

// begunAgain reads what a run has come to that is tried again under its own id:
// the notifications of that may have met an execution that had ended.
func begunAgain(ctx workflow.Context, of RetryOf) []RunEvent {
	var a *activities.Activities
	var run spacelift.Run
	if err := workflow.ExecuteLocalActivity(withQuickCall(ctx), a.ReadRun, of.Run).Get(ctx, &run); err != nil {
		return nil // it finds out for itself
	}
	attempt := record{RetryOf: &of}
	return slices.DeleteFunc(fromRead(run, workflow.Now(ctx).UTC()), attempt.past)
}
