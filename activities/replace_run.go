package activities

import (
	"context"
	"fmt"

	"go.temporal.io/sdk/activity"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi"
)

// ReplaceRunInput names a run whose plan is old.
type ReplaceRunInput struct {
	Run          spacelift.RunRef `json:"run"`
	StateVersion int              `json:"stateVersion"` // of UNCONFIRMED
}

// ReplaceRunResult is the result of ReplaceRun.
type ReplaceRunResult struct {
	Outcome managed.ActOutcome `json:"outcome"`
	Reason  string             `json:"reason,omitempty"` // a sentence, unless done
	New     spacelift.RunRef   `json:"new,omitzero"`     // the run that takes the place, when done
	Run     spacelift.Run      `json:"run"`
}

// ReplaceRun has a newer run wait in the queue behind one that waits to be
// confirmed: one that exists, of any commit, or else a new one on the same commit.
// It leaves the run itself as it is.
//
// It is safe to repeat: each attempt looks for the run of an earlier one.
func (a *Activities) ReplaceRun(ctx context.Context, in ReplaceRunInput) (ReplaceRunResult, error) {
	api, err := a.account(in.Run.Account)
	if err != nil {
		return ReplaceRunResult{}, err
	}
	return checkedAnew(func() (ReplaceRunResult, error) { return a.replaceRun(ctx, api, in) })
}

func (a *Activities) replaceRun(ctx context.Context, api Spacelift, in ReplaceRunInput) (ReplaceRunResult, error) {
	run, err := a.upToDate(ctx, api, in.Run, in.StateVersion)
	if err != nil {
		return ReplaceRunResult{}, err
	}
	result := ReplaceRunResult{Outcome: managed.ActMoot, Run: kept(run)}
	if run.State != spacelift.RunStateUnconfirmed || run.StateVersion != in.StateVersion {
		result.Reason = fmt.Sprintf("the run is in %s (%d), not in %s (%d)", run.State, run.StateVersion, spacelift.RunStateUnconfirmed, in.StateVersion)
		return result, nil
	}
	_, lines, err := trackedRuns(ctx, api, in.Run.Stack)
	if err != nil {
		return ReplaceRunResult{}, err
	}
	for _, l := range lines {
		if l.Ref.Run == in.Run.Run {
			break // the others are older
		}
		if !l.State.Terminal() {
			result.Outcome, result.New = managed.ActDone, l.Ref
			return result, nil
		}
	}
	result.Outcome = managed.ActRefused
	marked := spaceliftapi.WithRunMetadata(ctx, activity.GetInfo(ctx).WorkflowExecution.ID)
	started, err := a.triggerAfter(marked, api, in.Run.Account, in.Run.Stack, run.Commit.Hash, newestOf(lines))
	switch {
	case err != nil:
		return ReplaceRunResult{}, err
	case started.why != "":
		result.Reason = started.why
	default:
		result.Outcome, result.New = managed.ActDone, started.run
	}
	return result, nil
}
