package spacelift

import (
	"cmp"
	"context"
	"fmt"

	"github.com/gantryhq/gantry/spacelift/internal/operations"
)

// RunOutcome is the run in a mutation's answer. The state may be the previous
// one: StopRun, for example, only asks.
type RunOutcome struct {
	Ref   RunRef   `json:"ref"`
	Type  RunType  `json:"type"`
	State RunState `json:"state"`

	// History is the run's history after a confirmation, oldest first: it shows
	// which plan was confirmed.
	History []Transition `json:"history,omitempty"`
}

// The methods below change runs. Besides the errors of every call, they return an
// *IllegalStateError when the run's state doesn't allow the change, and
// ErrAmbiguous when we can't tell whether it happened: read the run before you
// repeat the call.

// ConfirmRun confirms the plan that an UNCONFIRMED run has when Spacelift
// receives the request. WithRunMetadata leaves a text in the run.
func (c *Client) ConfirmRun(ctx context.Context, ref RunRef, note string) (RunOutcome, error) {
	var history []Transition
	outcome, err := c.act(ref, VerbConfirm, func(stack, run string) (*operations.RunOutcome, error) {
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
func (c *Client) DiscardRun(ctx context.Context, ref RunRef, note string) (RunOutcome, error) {
	return c.act(ref, VerbDiscard, func(stack, run string) (*operations.RunOutcome, error) {
		data, err := operations.RunDiscard(ctx, c.api, stack, &run, orNull(note))
		if err != nil {
			return nil, err
		}
		return data.RunDiscard, nil
	})
}

// CancelRun cancels a run that has not started: QUEUED or READY.
func (c *Client) CancelRun(ctx context.Context, ref RunRef, note string) (RunOutcome, error) {
	return c.act(ref, VerbCancel, func(stack, run string) (*operations.RunOutcome, error) {
		data, err := operations.RunCancel(ctx, c.api, stack, run, orNull(note))
		if err != nil {
			return nil, err
		}
		return data.RunCancel, nil
	})
}

// StopRun asks a run in INITIALIZING or PLANNING to stop. The worker may ignore
// it.
func (c *Client) StopRun(ctx context.Context, ref RunRef, note string) (RunOutcome, error) {
	return c.act(ref, VerbStop, func(stack, run string) (*operations.RunOutcome, error) {
		data, err := operations.RunStop(ctx, c.api, stack, run, orNull(note))
		if err != nil {
			return nil, err
		}
		return data.RunStop, nil
	})
}

// act changes one run, and checks that the answer is about that run.
func (c *Client) act(ref RunRef, verb string, mutate func(stack, run string) (*operations.RunOutcome, error)) (RunOutcome, error) {
	if err := c.own(ref); err != nil {
		return RunOutcome{}, err
	}
	outcome, err := c.started(ref.Stack, func() (*operations.RunOutcome, error) {
		return mutate(string(ref.Stack), string(ref.Run))
	})
	if err == nil && outcome.Ref.Run != ref.Run {
		err = fmt.Errorf("%w: spacelift answered with run %s", ErrAmbiguous, outcome.Ref.Run)
	}
	if err != nil {
		return RunOutcome{}, fmt.Errorf("%s run %s: %w", verb, ref, err)
	}
	return outcome, nil
}

// RetryRun starts a finished run again. The outcome may name a new run:
// Spacelift doesn't document whether it creates one.
func (c *Client) RetryRun(ctx context.Context, ref RunRef) (RunOutcome, error) {
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
func (c *Client) PromoteRun(ctx context.Context, ref RunRef) (RunOutcome, error) {
	return c.renew(ref, "promote", func() (*operations.RunOutcome, error) {
		data, err := operations.RunPromote(ctx, c.api, string(ref.Stack), string(ref.Run))
		if err != nil {
			return nil, err
		}
		return data.RunPromote, nil
	})
}

// renew makes a run from another.
func (c *Client) renew(ref RunRef, verb string, mutate func() (*operations.RunOutcome, error)) (RunOutcome, error) {
	if err := c.own(ref); err != nil {
		return RunOutcome{}, err
	}
	outcome, err := c.started(ref.Stack, mutate)
	if err != nil {
		return RunOutcome{}, fmt.Errorf("%s run %s: %w", verb, ref, err)
	}
	return outcome, nil
}

// Trigger holds the options of TriggerRun.
type Trigger struct {
	Type       RunType        // RunTypeTracked when empty, or RunTypeProposed
	CommitSHA  string         // empty: the commit that the stack tracks now, or else its branch's head
	ForceApply ForceApplyMode // needs self-hosted 5.1.0 or newer when set
}

// ForceApplyMode makes a tracked run apply an empty plan.
type ForceApplyMode string

// The modes of forced applies.
const (
	ForceApplySingle  ForceApplyMode = "SINGLE"  // this run
	ForceApplyCascade ForceApplyMode = "CASCADE" // this run and those of the dependents it triggers
)

// TriggerRun starts a run. WithRunMetadata leaves a text in it.
func (c *Client) TriggerRun(ctx context.Context, stack StackID, how Trigger) (RunOutcome, error) {
	outcome, err := c.started(stack, func() (*operations.RunOutcome, error) {
		sha, kind := orNull(how.CommitSHA), new(string(cmp.Or(how.Type, RunTypeTracked)))
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
		return RunOutcome{}, fmt.Errorf("trigger run of stack %s: %w", stack, err)
	}
	return outcome, nil
}

// CreateTask runs a shell command in the stack's environment. WithRunMetadata
// leaves a text in the task.
func (c *Client) CreateTask(ctx context.Context, stack StackID, command string, skipInitialization bool) (RunOutcome, error) {
	outcome, err := c.started(stack, func() (*operations.RunOutcome, error) {
		data, err := operations.TaskCreate(ctx, c.api, string(stack), command, &skipInitialization)
		if err != nil {
			return nil, err
		}
		return data.TaskCreate, nil
	})
	if err != nil {
		return RunOutcome{}, fmt.Errorf("create task in stack %s: %w", stack, err)
	}
	return outcome, nil
}

// started carries out a mutation that answers with a run.
func (c *Client) started(stack StackID, mutate func() (*operations.RunOutcome, error)) (RunOutcome, error) {
	run, err := mutate()
	switch {
	case err != nil:
		return RunOutcome{}, refusedRun(err)
	case run == nil || run.Id == "":
		return RunOutcome{}, errNoObject
	}
	return RunOutcome{
		Ref:   RunRef{Account: c.account, Stack: stack, Run: RunID(run.Id)},
		Type:  RunType(run.Type),
		State: RunState(run.State),
	}, nil
}

// errNoObject reports that a mutation's answer has neither an error nor the
// object it should have changed.
var errNoObject = fmt.Errorf("%w: spacelift sent an empty answer", ErrAmbiguous)

// ReviewDecision is a verdict for approval policies.
type ReviewDecision string

// The verdicts.
const (
	ReviewApprove ReviewDecision = "APPROVE"
	ReviewReject  ReviewDecision = "REJECT"
)

// ReviewRun sends a verdict to Spacelift, which then evaluates its approval
// policies again. Spacelift accepts it in the states that are Reviewable. It
// counts the latest review of each reviewer, and Gantry is one reviewer.
func (c *Client) ReviewRun(ctx context.Context, ref RunRef, decision ReviewDecision, note string) error {
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
func (c *Client) CommentRun(ctx context.Context, ref RunRef, body string) error {
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

// DependencyStatus is the result of an external dependency.
type DependencyStatus string

// The results of an external dependency. FAILED fails the runs that wait for it.
const (
	DependencyFinished DependencyStatus = "FINISHED"
	DependencySkipped  DependencyStatus = "SKIPPED"
	DependencyFailed   DependencyStatus = "FAILED"
)

// MarkExternalDependency releases the runs that a push policy made wait for the
// dependency. The key needs write access to the spaces of all of them.
// https://docs.spacelift.io/concepts/policy/push-policy/run-external-dependencies
func (c *Client) MarkExternalDependency(ctx context.Context, dependency string, status DependencyStatus) error {
	data, err := operations.RunExternalDependencyMarkAsCompleted(ctx, c.api, dependency, string(status))
	if err == nil && data.RunExternalDependencyMarkAsCompleted == nil {
		err = errNoObject
	}
	if err != nil {
		return fmt.Errorf("mark external dependency %s: %w", dependency, err)
	}
	return nil
}
