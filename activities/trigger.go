package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/gantryhq/gantry/spacelift"
)

// TriggerFollowerInput asks for a tracked run of a stack whose turn it is.
type TriggerFollowerInput struct {
	Account spacelift.Account   `json:"account"`
	Stack   spacelift.StackID   `json:"stack"`
	After   []spacelift.StackID `json:"after"`             // the stacks of the chain that it follows
	Parents []ParentRun         `json:"parents,omitempty"` // their runs, but for those that were skipped

	// Since is from when on a run that Gantry's key triggered may be this one,
	// by Spacelift's clock. Again says that an earlier execution of this activity
	// ended without anybody knowing whether it triggered one.
	Since time.Time `json:"since"`
	Again bool      `json:"again,omitempty"`
}

// ParentRun is a run that has finished, so that a follower is released.
type ParentRun struct {
	Run       spacelift.RunRef `json:"run"`
	CreatedAt time.Time        `json:"createdAt"`
}

// FollowOutcome says what came of TriggerFollower.
type FollowOutcome string

// The outcomes.
const (
	FollowTriggered FollowOutcome = "triggered" // by this attempt or an earlier one
	FollowAdopted   FollowOutcome = "adopted"   // Spacelift made a run of its own accord, and that one counts
	FollowHeld      FollowOutcome = "held"      // nothing was done, and something must change first
)

// TriggerFollowerResult says what came of it.
type TriggerFollowerResult struct {
	Outcome FollowOutcome    `json:"outcome"`
	Reason  string           `json:"reason,omitempty"` // a sentence, unless triggered
	ByUs    bool             `json:"byUs,omitempty"`   // Gantry's key triggered the run: by this attempt or an earlier one
	Block   *Block           `json:"block,omitempty"`  // when held by a brake in Spacelift, such as a lock
	Run     spacelift.RunRef `json:"run,omitzero"`     // zero when held
}

// TriggerFollower triggers a tracked run of a stack, on the commit the stack
// tracks, once however often it is attempted: Spacelift has no idempotency
// keys, so each attempt after the first looks for what an earlier one did.
//
// A stack that depends on a parent in Spacelift too gets a run from Spacelift
// itself: one that was made for a parent's run is adopted, whatever became of
// it, and no second one is triggered.
func (a *Activities) TriggerFollower(ctx context.Context, in TriggerFollowerInput) (TriggerFollowerResult, error) {
	api, err := a.account(in.Account)
	if err != nil {
		return TriggerFollowerResult{}, err
	}
	return checkedAnew(func() (TriggerFollowerResult, error) { return a.triggerFollower(ctx, api, in) })
}

func (a *Activities) triggerFollower(ctx context.Context, api Spacelift, in TriggerFollowerInput) (TriggerFollowerResult, error) {
	info := activity.GetInfo(ctx)
	lines, err := api.RunsOfStack(ctx, in.Stack, spacelift.RunTypeTracked, newerRuns)
	if errors.Is(err, spacelift.ErrNotFound) {
		return heldBack("the stack %s is not there: it was deleted, or Gantry's API key may not see it", in.Stack), nil
	}
	if err != nil {
		return TriggerFollowerResult{}, classify(ctx, err)
	}
	slices.Reverse(lines.Items) // the oldest first: of several the first is meant
	if in.Again || info.Attempt > 1 {
		run, found, err := a.triggered(ctx, in, lines.Items)
		if err != nil {
			return TriggerFollowerResult{}, err
		}
		if found {
			return TriggerFollowerResult{Outcome: FollowTriggered, ByUs: true, Run: run}, nil
		}
	}
	if run, parent, found := in.native(lines.Items); found {
		return TriggerFollowerResult{Outcome: FollowAdopted, Run: run, Reason: fmt.Sprintf(
			"Spacelift made run %s itself, because the stack depends on %s there", run.Run, parent)}, nil
	}
	stack, err := api.Stack(ctx, in.Stack)
	if err != nil {
		return TriggerFollowerResult{}, classify(ctx, err)
	}
	read := time.Now()
	if why := a.whyNotTriggered(stack, in.After); why != "" {
		return heldBack("%s", why), nil
	}
	a.dropOwnLock(ctx, in.Account, &stack.Brakes)
	if block := stack.StartBlock(); block != nil {
		return TriggerFollowerResult{Outcome: FollowHeld, Reason: fmt.Sprintf("the stack %s is held: %s", in.Stack, block.Reason), Block: block}, nil
	}

	// The run names the chain it belongs to, for policies and people.
	marked := spacelift.WithRunMetadata(ctx, info.WorkflowExecution.ID+" "+string(in.Stack))
	started, err := api.TriggerRun(fresh(marked, read), in.Stack, spacelift.Trigger{})
	switch {
	case err == nil:
		return TriggerFollowerResult{Outcome: FollowTriggered, ByUs: true, Run: started.Ref}, nil
	case errors.Is(err, spacelift.ErrAmbiguous):
		return TriggerFollowerResult{}, unclear(ctx, err)
	case !refusal(err):
		return TriggerFollowerResult{}, classify(ctx, err)
	}
	return heldBack("Spacelift would not trigger a run of %s: %v", in.Stack, err), nil
}

// triggered finds the run that an earlier attempt triggered.
func (a *Activities) triggered(ctx context.Context, in TriggerFollowerInput, lines []spacelift.RunLine) (spacelift.RunRef, bool, error) {
	since := in.Since.Truncate(time.Second) // the API's times are whole seconds
	for _, line := range lines {
		if line.DriftDetection || line.CreatedAt.Before(since) {
			continue
		}
		us, err := a.ours(ctx, in.Account, line.TriggeredBy)
		if err != nil {
			return spacelift.RunRef{}, false, err
		}
		if us {
			return line.Ref, true, nil
		}
	}
	return spacelift.RunRef{}, false, nil
}

// native finds the run that Spacelift made because the stack depends on a
// parent there too. Spacelift queues it when the parent's run is made, and
// names the parent's stack as who triggered it
// (https://docs.spacelift.io/concepts/stack/stack-dependencies).
func (in TriggerFollowerInput) native(lines []spacelift.RunLine) (run spacelift.RunRef, parent spacelift.StackID, found bool) {
	for _, line := range lines {
		if line.DriftDetection {
			continue
		}
		for _, p := range in.Parents {
			if line.TriggeredBy == string(p.Run.Stack) && !line.CreatedAt.Before(p.CreatedAt.Truncate(time.Second)) {
				return line.Ref, p.Run.Stack, true
			}
		}
	}
	return spacelift.RunRef{}, "", false
}

func heldBack(format string, args ...any) TriggerFollowerResult {
	return TriggerFollowerResult{Outcome: FollowHeld, Reason: fmt.Sprintf(format, args...)}
}
