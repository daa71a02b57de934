package histories

import (
	"context"
	"fmt"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/gantryhq/gantry/decide/freeze"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// freezesAndRetries are the stories of executions besides those of runs. The
// player has their ids, as those of ticks; tick is the number of the recorded one.
var freezesAndRetries = []story{
	{name: "freezes-declared-and-lifted", labels: manual, plan: changes, tick: 1, script: func(ctx context.Context, t *player) error {
		return steps(
			func() error { return t.oneByOne(ctx, unconfirmed) },
			func() error { return t.phase(ctx, managed.PhaseWaiting) },
			func() error { return t.listed(ctx) },
			func() error { return t.declare(ctx, freeze.Declare{ID: "audit", By: "jane", Reason: "audit"}) },
			func() error {
				return t.declare(ctx, freeze.Declare{ID: "short", By: "jane", Reason: "a moment", Stacks: []string{string(stack)}, Until: time.Now().Add(time.Second)})
			},
			func() error { return t.frozen(ctx, "audit") },
			func() error { return t.lift(ctx, freeze.Lift{ID: "audit", By: "joe"}) },
			func() error { return t.frozen(ctx) },
			func() error { return t.sim.Discard("jane", stack, t.ref.Run, "not today") },
			func() error { return t.oneByOne(ctx, discarded) },
		)
	}},
	{name: "retry-of-a-failed-run", labels: manual, plan: changes, tick: 1, script: func(ctx context.Context, t *player) error {
		return steps(
			func() error { return t.fails(ctx) },
			func() error { return t.retry(ctx) },
		)
	}},
	{name: "triggered-by-a-person", labels: manual, plan: changes, tick: 1, script: func(ctx context.Context, t *player) error {
		return steps(
			func() error { return t.fails(ctx) },
			func() error { return t.trigger(ctx) },
		)
	}},
}

// updated sends an update to the account's freezes, and starts them with the first.
func (t *player) updated(ctx context.Context, update string, wish any) error {
	id := freeze.ID(account)
	if len(t.ticks) == 0 {
		_, err := t.temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: id, TaskQueue: t.queue}, freeze.Type, freeze.Input{Account: account})
		if err != nil {
			return fmt.Errorf("start freezes: %w", err)
		}
		t.ticks = append(t.ticks, id)
	}
	handle, err := t.temporal.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		WorkflowID: id, UpdateName: update, Args: []any{wish}, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err == nil {
		err = handle.Get(ctx, nil)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", update, err)
	}
	return t.notified(ctx)
}

// notified waits until all runs are notified of a change of the freezes, so that a
// story's cost doesn't depend on the speed of that.
func (t *player) notified(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		busy := true
		answer, err := t.temporal.QueryWorkflow(ctx, freeze.ID(account), "", freeze.NotifyingQuery)
		if err == nil {
			err = answer.Get(&busy)
		}
		if err != nil {
			return fmt.Errorf("query freezes: %w", err)
		}
		if !busy {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("runs are still being notified: %w", context.Cause(ctx))
		case <-tick.C:
		}
	}
}

func (t *player) declare(ctx context.Context, wish freeze.Declare) error {
	return t.updated(ctx, freeze.DeclareUpdate, wish)
}

func (t *player) lift(ctx context.Context, wish freeze.Lift) error {
	return t.updated(ctx, freeze.LiftUpdate, wish)
}

// frozen waits until exactly these freezes exist.
func (t *player) frozen(ctx context.Context, ids ...string) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var now []policy.Freeze
		answer, err := t.temporal.QueryWorkflow(ctx, freeze.ID(account), "", freeze.Query)
		if err == nil {
			err = answer.Get(&now)
		}
		if err != nil {
			return fmt.Errorf("query freezes: %w", err)
		}
		same := len(now) == len(ids)
		for i := range now {
			same = same && now[i].ID == ids[i]
		}
		if same {
			return t.notified(ctx)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the freezes are %v and never became %v: %w", now, ids, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// fails lets the run fail.
func (t *player) fails(ctx context.Context) error {
	err := t.sim.ChangePlan(stack, t.ref.Run, func(p *simulator.Plan) {
		p.FailIn, p.FailNote = spacelift.RunStatePlanning, "no available workers"
	})
	if err != nil {
		return err
	}
	return t.oneByOne(ctx, spacelift.RunStateFailed)
}

// retry retries the run, as a person would.
func (t *player) retry(ctx context.Context) error {
	id := managed.RetryRunID(t.ref)
	run, err := t.temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: id, TaskQueue: t.queue}, managed.RetryRunType,
		managed.RetryRunInput{Run: t.ref, By: "jane", Reason: "jane asked for it", Attempt: 2})
	if err != nil {
		return fmt.Errorf("start the retry: %w", err)
	}
	var out managed.RetryRunOutcome
	if err := run.Get(ctx, &out); err != nil {
		return fmt.Errorf("retry: %w", err)
	}
	if out.New.Run == "" || out.New == t.ref {
		return fmt.Errorf("the retry made %s: %s", out.New, out.Reason)
	}
	t.ticks = append(t.ticks, id)
	return nil
}

// trigger triggers another run of the stack, as a person would.
func (t *player) trigger(ctx context.Context) error {
	id := managed.TriggerRunID(account, "01KDX4A7B3C5D7E9F1G3H5J7K9")
	run, err := t.temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: id, TaskQueue: t.queue}, managed.TriggerRunType,
		managed.TriggerRunInput{Account: account, Stack: stack, Type: spacelift.RunTypeTracked, By: "jane"})
	if err != nil {
		return fmt.Errorf("start the trigger: %w", err)
	}
	var out managed.TriggerRunOutcome
	if err := run.Get(ctx, &out); err != nil {
		return fmt.Errorf("trigger: %w", err)
	}
	if out.Run.Run == "" || out.Run == t.ref {
		return fmt.Errorf("the trigger made %s: %s", out.Run, out.Reason)
	}
	t.ticks = append(t.ticks, id)
	return nil
}
