package activities

import (
	"context"
	"errors"
	"fmt"

	"go.temporal.io/sdk/activity"

	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi"
)

// TriggerRunInput is a person's request for a run.
type TriggerRunInput struct {
	managed.TriggerRunInput

	// Newest is the stack's newest run of the type before the request, as NewestRun
	// returned it; empty for none.
	Newest spacelift.RunID `json:"newest,omitempty"`
}

// NewestRun returns the newest run of a type in a stack; empty if there is none.
func (a *Activities) NewestRun(ctx context.Context, in managed.TriggerRunInput) (spacelift.RunID, error) {
	api, err := a.account(in.Account)
	if err != nil {
		return "", err
	}
	listed, err := api.RunsOfStack(ctx, in.Stack, in.Type, 1)
	if err != nil || len(listed.Items) == 0 {
		return "", classify(ctx, err)
	}
	return listed.Items[0].Ref.Run, nil
}

// TriggerRun triggers a run of a managed stack, once however often it is attempted:
// Spacelift has no idempotency keys, so an attempt after the first looks for a newer run
// that Gantry's key triggered. Two requests for the same stack whose answers were both
// lost may get the same run.
func (a *Activities) TriggerRun(ctx context.Context, in TriggerRunInput) (managed.TriggerRunOutcome, error) {
	api, err := a.account(in.Account)
	if err != nil {
		return managed.TriggerRunOutcome{}, err
	}
	return checkedAnew(func() (managed.TriggerRunOutcome, error) {
		if activity.GetInfo(ctx).Attempt > 1 {
			made, err := a.triggeredBefore(ctx, api, in)
			if err != nil || made.Run != "" {
				return triggered(api, made), err
			}
		}
		return a.triggerRun(ctx, api, in)
	})
}

// triggeredBefore finds the run that an earlier attempt triggered.
func (a *Activities) triggeredBefore(ctx context.Context, api Spacelift, in TriggerRunInput) (made spacelift.RunRef, err error) {
	listed, err := api.RunsOfStack(ctx, in.Stack, in.Type, newerRuns)
	if err != nil {
		return made, classify(ctx, err)
	}
	for _, line := range listed.Items {
		if line.Ref.Run == in.Newest {
			break
		}
		if line.DriftDetection || in.Commit != "" && line.CommitHash != in.Commit {
			continue
		}
		us, err := a.ours(ctx, in.Account, line.TriggeredBy)
		if err != nil {
			return made, err
		}
		if us {
			made = line.Ref // the oldest of them
		}
	}
	return made, nil
}

func (a *Activities) triggerRun(ctx context.Context, api Spacelift, in TriggerRunInput) (managed.TriggerRunOutcome, error) {
	marked := spaceliftapi.WithRunMetadata(ctx, activity.GetInfo(ctx).WorkflowExecution.ID)
	how := spacelift.Trigger{Type: in.Type, CommitSHA: in.Commit}
	started, err := trigger(marked, api, in.Stack, how, func(s spacelift.Stack) (string, *managed.Block, error) {
		a.dropOwnLock(ctx, in.Account, &s.Brakes)
		why, block := chain.WhyNotTriggered(managed.ToTrigger, s, policy.Policy{})
		return why, block, nil
	})
	switch {
	case errors.Is(err, spacelift.ErrNotFound):
		return managed.TriggerRunOutcome{Reason: fmt.Sprintf("the stack %s does not exist: it was deleted, or Gantry's API key may not read it", in.Stack)}, nil
	case err != nil:
		return managed.TriggerRunOutcome{}, err
	case started.why != "":
		return managed.TriggerRunOutcome{Reason: started.why}, nil
	}
	return triggered(api, started.run), nil
}

func triggered(api Spacelift, run spacelift.RunRef) managed.TriggerRunOutcome {
	if run.Run == "" {
		return managed.TriggerRunOutcome{}
	}
	return managed.TriggerRunOutcome{Run: run, URL: api.RunURL(run)}
}
