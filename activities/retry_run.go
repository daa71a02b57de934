package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// RetryRunInput names a failed run.
type RetryRunInput struct {
	Run      spacelift.RunRef `json:"run"`
	FailedAt time.Time        `json:"failedAt"` // by Spacelift's clock, to find what an earlier attempt began; must be set

	// Judged has what a retry by policy rests on; nil for one that a person asked for.
	Judged *managed.Judged `json:"judged,omitempty"`
}

// RetryRunResult is the result of RetryRun.
type RetryRunResult struct {
	Outcome managed.ActOutcome `json:"outcome"`
	Reason  string             `json:"reason,omitempty"`
	ByUs    bool               `json:"byUs,omitempty"`  // Gantry's key started the new run: by this attempt or an earlier one
	Actor   string             `json:"actor,omitempty"` // who started it before this attempt, where known
	Block   *managed.Block     `json:"block,omitempty"` // with ActBlocked
	New     spacelift.RunRef   `json:"new,omitzero"`    // the retry; may be the same run
}

const (
	// Settled is the time after a lost answer by which the lists must show its
	// effect. Assumption: Spacelift documents no such time.
	Settled = 30 * time.Second

	// newerRuns bounds the newest runs of a stack that are read.
	newerRuns = 100
)

// RetryRun retries a failed run once, however often it is attempted: Spacelift has
// no idempotency keys, so each attempt first looks for the retry of an earlier one.
// That is a run of the same stack, type and commit from after the failure. A run
// that another person started serves too, and makes the retry moot.
//
// RetryRun doesn't take a stack back to an older commit than that of a newer run,
// doesn't retry on a locked stack, and makes no retry by a policy that the stack doesn't
// have any more.
func (a *Activities) RetryRun(ctx context.Context, in RetryRunInput) (RetryRunResult, error) {
	api, err := a.account(in.Run.Account)
	if err != nil {
		return RetryRunResult{}, err
	}
	in.FailedAt = in.FailedAt.Truncate(time.Second) // the API's times are whole seconds
	return checkedAnew(func() (RetryRunResult, error) { return a.retryRun(ctx, api, in) })
}

func (a *Activities) retryRun(ctx context.Context, api Spacelift, in RetryRunInput) (RetryRunResult, error) {
	run, err := a.read(ctx, api, in.Run)
	if err != nil {
		return RetryRunResult{}, err
	}
	found, err := a.begun(ctx, api, in, run)
	if err != nil || found.Outcome != "" {
		return found, err
	}
	// The search takes calls of its own, and the retry must be based on the last
	// reading.
	if run, err = a.read(ctx, api, in.Run); err != nil {
		return RetryRunResult{}, err
	}
	read := time.Now()
	if found := retryable(in, run); found.Outcome != "" {
		return found, nil
	}
	if in.Judged != nil {
		switch no, err := a.forbids(ctx, run, managed.ToRetryByPolicy, in.Judged, nil); {
		case err != nil:
			return RetryRunResult{}, err
		case no != nil:
			return RetryRunResult{Outcome: managed.ActForbidden, Reason: no.Reason}, nil
		}
	}
	again, err := api.RetryRun(fresh(ctx, read), in.Run)
	switch {
	case err == nil:
		return RetryRunResult{Outcome: managed.ActDone, ByUs: true, New: again.Ref}, nil
	case errors.Is(err, spacelift.ErrAmbiguous):
		return RetryRunResult{}, unclear(ctx, err)
	case !refusal(err):
		return RetryRunResult{}, classify(ctx, err)
	}
	// A person may have locked the stack in the meantime: then it shows.
	if run, readErr := a.read(ctx, api, in.Run); readErr == nil {
		if held := (managed.Standing{Run: run.Ref, Brakes: run.Brakes}).Forbids(managed.ToRetry); held != nil {
			return RetryRunResult{Outcome: managed.ActBlocked, Reason: held.Reason, Block: held.Block}, nil
		}
	}
	if activity.GetInfo(ctx).Attempt < patience && !is[*spacelift.IllegalStateError](err) {
		return RetryRunResult{}, err
	}
	return RetryRunResult{Outcome: managed.ActRefused, Reason: err.Error()}, nil
}

// retryable returns why a run should not be retried as it is now. An empty outcome
// means that it may be.
func retryable(in RetryRunInput, run spacelift.Run) RetryRunResult {
	_, again := resumed(run, in.FailedAt)
	held := managed.Standing{Run: run.Ref, Brakes: run.Brakes}.Forbids(managed.ToRetry)
	switch {
	case again, run.State != spacelift.RunStateFailed:
		return RetryRunResult{Outcome: managed.ActRefused, Reason: fmt.Sprintf("only failed runs are retried, and this one is in %s", run.State)}
	case held != nil:
		return RetryRunResult{Outcome: managed.ActBlocked, Reason: held.Reason, Block: held.Block}
	case !run.CanRetry:
		return RetryRunResult{Outcome: managed.ActRefused, Reason: "Spacelift says that this run can't be retried, at least not with Gantry's API key"}
	}
	return RetryRunResult{}
}

// begun finds a run that makes a retry needless or wrong. An empty outcome means: go
// ahead.
func (a *Activities) begun(ctx context.Context, api Spacelift, in RetryRunInput, run spacelift.Run) (RetryRunResult, error) {
	if t, ok := resumed(run, in.FailedAt); ok {
		// Spacelift doesn't document whether a retry keeps its id. If it names no one
		// else, it was Gantry.
		us, err := a.ours(ctx, in.Run.Account, t.Username)
		if err != nil {
			return RetryRunResult{}, err
		}
		return startedBy(us || t.Username == "", t.Username, run.Ref), nil
	}
	if run.State != spacelift.RunStateFailed {
		return RetryRunResult{Outcome: managed.ActRefused, Reason: fmt.Sprintf("only failed runs are retried, and this one is in %s", run.State)}, nil
	}
	switch run.Type {
	case spacelift.RunTypeTracked, spacelift.RunTypeProposed, spacelift.RunTypeTask:
	default:
		return RetryRunResult{Outcome: managed.ActRefused, Reason: fmt.Sprintf("Gantry does not retry %s runs", run.Type)}, nil
	}
	newer, err := newerThan(ctx, api, run)
	if err != nil {
		return RetryRunResult{}, err
	}
	for _, line := range slices.Backward(newer) { // the oldest first
		if line.CreatedAt.Before(in.FailedAt) || !sameWork(run, line) {
			continue
		}
		us, err := a.ours(ctx, in.Run.Account, line.TriggeredBy)
		if err != nil {
			return RetryRunResult{}, err
		}
		if us || takesPlace(line.State) {
			return startedBy(us, line.TriggeredBy, line.Ref), nil
		}
	}
	for _, line := range newer {
		if run.Type == spacelift.RunTypeTracked && line.CommitHash != run.Commit.Hash && takesPlace(line.State) {
			return RetryRunResult{Outcome: managed.ActMoot, Reason: fmt.Sprintf(
				"run %s works on another commit, %s, and is newer: retrying would take the stack back to %s",
				line.Ref.Run, line.CommitHash, run.Commit.Hash)}, nil
		}
	}
	return RetryRunResult{}, nil
}

// newerThan lists the newer runs of a run's stack and type, newest first.
func newerThan(ctx context.Context, api Spacelift, run spacelift.Run) ([]spacelift.RunLine, error) {
	listed, err := api.RunsOfStack(ctx, run.Ref.Stack, run.Type, newerRuns)
	if err != nil {
		return nil, classify(ctx, err)
	}
	itself := slices.IndexFunc(listed.Items, func(line spacelift.RunLine) bool { return line.Ref.Run == run.Ref.Run })
	if itself < 0 {
		return listed.Items, nil
	}
	return listed.Items[:itself], nil
}

// sameWork reports whether a listed run does the same work as another one.
func sameWork(run spacelift.Run, line spacelift.RunLine) bool {
	return line.Type == run.Type && line.CommitHash == run.Commit.Hash && line.Branch == run.Branch &&
		line.DriftDetection == run.DriftDetection && (run.Type != spacelift.RunTypeTask || line.Title == run.Title)
}

// takesPlace reports whether a newer run in this state has changed the stack or
// still may. A failed one counts: its commit is what people want.
func takesPlace(s spacelift.RunState) bool {
	switch s {
	case spacelift.RunStateCanceled, spacelift.RunStateDiscarded, spacelift.RunStateSkipped, spacelift.RunStateStopped:
		return false
	}
	return true
}

// resumed returns the state that a run entered after it failed.
func resumed(run spacelift.Run, failedAt time.Time) (spacelift.Transition, bool) {
	for i, t := range slices.Backward(run.History) {
		switch {
		case t.State != spacelift.RunStateFailed || t.At.After(failedAt):
		case i+1 < len(run.History):
			return run.History[i+1], true
		default:
			return spacelift.Transition{}, false
		}
	}
	return spacelift.Transition{}, false
}

func startedBy(us bool, who string, run spacelift.RunRef) RetryRunResult {
	switch {
	case us:
		return RetryRunResult{Outcome: managed.ActDone, ByUs: true, Actor: who, New: run} // by an earlier attempt
	case who == "":
		return RetryRunResult{Outcome: managed.ActMoot, New: run, Reason: fmt.Sprintf("it was started again already, as run %s", run.Run)}
	}
	return RetryRunResult{Outcome: managed.ActMoot, Actor: who, New: run, Reason: fmt.Sprintf("%s started it again already, as run %s", who, run.Run)}
}
