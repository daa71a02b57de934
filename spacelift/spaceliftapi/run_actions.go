package spaceliftapi

import (
	"cmp"
	"context"
	"fmt"

	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi/internal/operations"
)

// The methods below change runs. Besides the errors of every call, they return an
// *IllegalStateError when the run's state doesn't allow the change, and
// ErrAmbiguous when we can't tell whether it happened: read the run before you
// repeat the call.

// ConfirmRun confirms the plan that an UNCONFIRMED run has when Spacelift
// receives the request. WithRunMetadata leaves a text in the run.
func (c *Client) ConfirmRun(ctx context.Context, ref spacelift.RunRef, note string) (spacelift.RunOutcome, error) {
	var history []spacelift.Transition
	outcome, err := c.act(ref, spacelift.VerbConfirm, func(stack, run string) (*operations.RunOutcome, error) {
		data, err := operations.RunConfirm(ctx, c.api, stack, &run, orNull(note))
		if err != nil || data.RunConfirm == nil {
			return nil, err
		}
		history = fromHistory(data.RunConfirm.RunHistory)
		return &data.RunConfirm.RunOutcome, nil
	})
	if err == nil {
		outcome.History = history
	}
	return outcome, err
}

// DiscardRun rejects the plan of an UNCONFIRMED run.
func (c *Client) DiscardRun(ctx context.Context, ref spacelift.RunRef, note string) (spacelift.RunOutcome, error) {
	return c.act(ref, spacelift.VerbDiscard, func(stack, run string) (*operations.RunOutcome, error) {
		data, err := operations.RunDiscard(ctx, c.api, stack, &run, orNull(note))
		if err != nil {
			return nil, err
		}
		return data.RunDiscard, nil
	})
}

// CancelRun cancels a run that has not started: QUEUED or READY.
func (c *Client) CancelRun(ctx context.Context, ref spacelift.RunRef, note string) (spacelift.RunOutcome, error) {
	return c.act(ref, spacelift.VerbCancel, func(stack, run string) (*operations.RunOutcome, error) {
		data, err := operations.RunCancel(ctx, c.api, stack, run, orNull(note))
		if err != nil {
			return nil, err
		}
		return data.RunCancel, nil
	})
}

// StopRun asks a run in INITIALIZING or PLANNING to stop. The worker may ignore
// it.
func (c *Client) StopRun(ctx context.Context, ref spacelift.RunRef, note string) (spacelift.RunOutcome, error) {
	return c.act(ref, spacelift.VerbStop, func(stack, run string) (*operations.RunOutcome, error) {
		data, err := operations.RunStop(ctx, c.api, stack, run, orNull(note))
		if err != nil {
			return nil, err
		}
		return data.RunStop, nil
	})
}

// act changes one run, and checks that the answer is about that run.
func (c *Client) act(ref spacelift.RunRef, verb string, mutate func(stack, run string) (*operations.RunOutcome, error)) (spacelift.RunOutcome, error) {
	if err := c.own(ref); err != nil {
		return spacelift.RunOutcome{}, err
	}
	outcome, err := c.started(ref.Stack, func() (*operations.RunOutcome, error) {
		return mutate(string(ref.Stack), string(ref.Run))
	})
	if err == nil && outcome.Ref.Run != ref.Run {
		err = fmt.Errorf("%w: spacelift answered with run %s", spacelift.ErrAmbiguous, outcome.Ref.Run)
	}
	if err != nil {
		return spacelift.RunOutcome{}, fmt.Errorf("%s run %s: %w", verb, ref, err)
	}
	return outcome, nil
}

// RetryRun starts a finished run again. The outcome may name a new run:
// Spacelift doesn't document whether it creates one.
func (c *Client) RetryRun(ctx context.Context, ref spacelift.RunRef) (spacelift.RunOutcome, error) {
	return c.renew(ref, "retry", func() (*operations.RunOutcome, error) {
		data, err := operations.RunRetry(ctx, c.api, string(ref.Stack), string(ref.Run))
		if err != nil {
			return nil, err
		}
		return data.RunRetry, nil
	})
}

// PromoteRun makes a tracked run from a proposed one. The outcome names the new
// run.
func (c *Client) PromoteRun(ctx context.Context, ref spacelift.RunRef) (spacelift.RunOutcome, error) {
	return c.renew(ref, "promote", func() (*operations.RunOutcome, error) {
		data, err := operations.RunPromote(ctx, c.api, string(ref.Stack), string(ref.Run))
		if err != nil {
			return nil, err
		}
		return data.RunPromote, nil
	})
}

// renew makes a run from another.
func (c *Client) renew(ref spacelift.RunRef, verb string, mutate func() (*operations.RunOutcome, error)) (spacelift.RunOutcome, error) {
	if err := c.own(ref); err != nil {
		return spacelift.RunOutcome{}, err
	}
	outcome, err := c.started(ref.Stack, mutate)
	if err != nil {
		return spacelift.RunOutcome{}, fmt.Errorf("%s run %s: %w", verb, ref, err)
	}
	return outcome, nil
}

// TriggerRun starts a run. WithRunMetadata leaves a text in it.
func (c *Client) TriggerRun(ctx context.Context, stack spacelift.StackID, how spacelift.Trigger) (spacelift.RunOutcome, error) {
	outcome, err := c.started(stack, func() (*operations.RunOutcome, error) {
		sha, kind := orNull(how.CommitSHA), new(string(cmp.Or(how.Type, spacelift.RunTypeTracked)))
		if how.ForceApply != "" {
			data, err := operations.RunTriggerForced(ctx, c.api, string(stack), sha, kind, new(string(how.ForceApply)))
			if err != nil {
				return nil, err
			}
			return data.RunTrigger, nil
		}
		data, err := operations.RunTrigger(ctx, c.api, string(stack), sha, kind)
		if err != nil {
			return nil, err
		}
		return data.RunTrigger, nil
	})
	if err != nil {
		return spacelift.RunOutcome{}, fmt.Errorf("trigger run of stack %s: %w", stack, err)
	}
	return outcome, nil
}

// CreateTask runs a shell command in the stack's environment. WithRunMetadata
// leaves a text in the task.
func (c *Client) CreateTask(ctx context.Context, stack spacelift.StackID, command string, skipInitialization bool) (spacelift.RunOutcome, error) {
	outcome, err := c.started(stack, func() (*operations.RunOutcome, error) {
		data, err := operations.TaskCreate(ctx, c.api, string(stack), command, &skipInitialization)
		if err != nil {
			return nil, err
		}
		return data.TaskCreate, nil
	})
	if err != nil {
		return spacelift.RunOutcome{}, fmt.Errorf("create task in stack %s: %w", stack, err)
	}
	return outcome, nil
}

// started carries out a mutation that answers with a run.
func (c *Client) started(stack spacelift.StackID, mutate func() (*operations.RunOutcome, error)) (spacelift.RunOutcome, error) {
	run, err := mutate()
	switch {
	case err != nil:
		return spacelift.RunOutcome{}, refusedRun(err)
	case run == nil || run.Id == "":
		return spacelift.RunOutcome{}, errNoObject
	}
	return spacelift.RunOutcome{
		Ref:   spacelift.RunRef{Account: c.account, Stack: stack, Run: spacelift.RunID(run.Id)},
		Type:  spacelift.RunType(run.Type),
		State: spacelift.RunState(run.State),
	}, nil
}

// errNoObject reports that a mutation's answer has neither an error nor the
// object it should have changed.
var errNoObject = fmt.Errorf("%w: spacelift sent an empty answer", spacelift.ErrAmbiguous)

// ReviewRun sends a verdict to Spacelift, which then evaluates its approval
// policies again. Spacelift accepts it in the states that are Reviewable. It
// counts the latest review of each reviewer, and Gantry is one reviewer.
func (c *Client) ReviewRun(ctx context.Context, ref spacelift.RunRef, decision spacelift.ReviewDecision, note string) error {
	if err := c.own(ref); err != nil {
		return err
	}
	data, err := operations.RunReview(ctx, c.api, string(ref.Stack), new(string(ref.Run)), string(decision), orNull(note))
	if err == nil && data.RunReview == nil {
		err = errNoObject
	}
	if err != nil {
		return fmt.Errorf("review run %s: %w", ref, refusedRun(err))
	}
	return nil
}

// CommentRun leaves a comment on a run.
func (c *Client) CommentRun(ctx context.Context, ref spacelift.RunRef, body string) error {
	if err := c.own(ref); err != nil {
		return err
	}
	data, err := operations.RunComment(ctx, c.api, string(ref.Stack), string(ref.Run), body)
	if err == nil && data.RunComment == nil {
		err = errNoObject
	}
	if err != nil {
		return fmt.Errorf("comment run %s: %w", ref, refusedRun(err))
	}
	return nil
}

// MarkExternalDependency releases the runs that a push policy made wait for the
// dependency. The key needs write access to the spaces of all of them.
// https://docs.spacelift.io/concepts/policy/push-policy/run-external-dependencies
func (c *Client) MarkExternalDependency(ctx context.Context, dependency string, status spacelift.DependencyStatus) error {
	data, err := operations.RunExternalDependencyMarkAsCompleted(ctx, c.api, dependency, string(status))
	if err == nil && data.RunExternalDependencyMarkAsCompleted == nil {
		err = errNoObject
	}
	if err != nil {
		return fmt.Errorf("mark external dependency %s: %w", dependency, err)
	}
	return nil
}
