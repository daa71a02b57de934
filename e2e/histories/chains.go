package histories

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

const (
	app = spacelift.StackID("app-prod") // follows stack
	web = spacelift.StackID("web-prod") // follows app
)

// chained are the stories of runs that other stacks follow. Recorded is the
// execution of the run itself or, with tick, of the chain that it begins.
var chained = []story{
	{name: "chain-begun", labels: auto, plan: changes, script: chainOfThree},
	{name: "chain-of-three", labels: auto, plan: changes, tick: 1, script: chainOfThree},
	{name: "chain-skipped", labels: auto, plan: changes, tick: 1, script: func(ctx context.Context, t *player) error {
		return steps(
			t.followers,
			func() error { return t.sim.SetNextPlan(app, simulator.Plan{FailIn: spacelift.RunStatePlanning}) },
			func() error { return t.oneByOne(ctx, finished) },
			func() error { return t.runs(ctx, app) },
			func() error { return t.chain(ctx, chain.PhaseHeld) },
			func() error { return t.skip(ctx, chain.Skip{Stack: app, By: "jane", Note: "done by hand"}) },
			func() error { return t.runs(ctx, web) },
			func() error { return t.chain(ctx, chain.PhaseDone) },
		)
	}},
}

// behind are the stories of runs of stacks that follow others.
var behind = []story{
	{name: "plan-replaced", labels: append([]string{"gantry:after=" + string(first)}, auto...), plan: changes, script: func(ctx context.Context, t *player) error {
		return steps(
			t.goesFirst,
			func() error { return t.oneByOne(ctx, unconfirmed) },
			func() error { return t.timeline(ctx, "the plan waits for the stacks that go first") },
			t.firstFinishes,
			func() error { return t.comes(ctx) },
			func() error { return t.timeline(ctx, "takes the place of this one, whose plan is old") },
			func() error {
				return t.eventually(ctx, "the old plan to be discarded", func() (bool, error) {
					run, err := t.sim.Run(stack, t.ref.Run)
					return run.State == discarded, err
				})
			},
			func() error { return t.oneByOne(ctx, discarded) },
		)
	}},
}

// first is the stack that goes before stack.
const first = spacelift.StackID("account-prod")

// goesFirst pushes the run's commit to the stack that goes first.
func (t *player) goesFirst() error {
	if err := t.sim.AddStack(simulator.Stack{ID: first, Labels: manual}); err != nil {
		return err
	}
	run, err := t.sim.Run(stack, t.ref.Run)
	if err == nil {
		_, err = t.sim.Push(first, simulator.Commit{Hash: run.Commit.Hash}, simulator.Plan{Delta: changes})
	}
	return err
}

// firstFinishes lets the stack that goes first apply its changes.
func (t *player) firstFinishes() error {
	all, err := t.sim.Runs(first)
	if err != nil {
		return err
	}
	run := all[0]
	if err := t.sim.Confirm("jane", first, run.Ref.Run, ""); err != nil {
		return err
	}
	for !run.State.Terminal() {
		t.clock.Advance(time.Second)
		if run, err = t.sim.Run(first, run.Ref.Run); err != nil {
			return err
		}
	}
	return nil
}

// comes notifies the run that the chain of the first stack has reached it. That
// chain has ended, so the run's messages to it have no receiver.
func (t *player) comes(ctx context.Context) error {
	all, err := t.sim.Runs(first)
	if err != nil {
		return err
	}
	reached := managed.RunEvents{Chains: []managed.ChainRef{{Root: all[0].Ref, After: []spacelift.StackID{first}, TriggeredBy: []string{"jane"}}}}
	return t.temporal.SignalWorkflow(ctx, managed.ManageRunID(t.ref), "", managed.RunEventsSignal, reached)
}

func chainOfThree(ctx context.Context, t *player) error {
	return steps(
		t.followers,
		func() error { return t.oneByOne(ctx, finished) },
		func() error { return t.runs(ctx, app) },
		func() error { return t.runs(ctx, web) },
		func() error { return t.chain(ctx, chain.PhaseDone) },
	)
}

// followers adds the stacks that follow.
func (t *player) followers() error {
	t.ticks = append(t.ticks, managed.ChainID(t.ref))
	add := func(follower, parent spacelift.StackID) error {
		return t.sim.AddStack(simulator.Stack{ID: follower, Labels: []string{"gantry:managed", "gantry:after=" + string(parent)}})
	}
	return errors.Join(add(app, stack), add(web, app))
}

// runs waits for a follower's run, lets it end, and notifies its execution.
func (t *player) runs(ctx context.Context, follower spacelift.StackID) error {
	var run spacelift.Run
	err := t.eventually(ctx, "a run of "+string(follower), func() (bool, error) {
		all, err := t.sim.Runs(follower)
		if err != nil || len(all) == 0 {
			return false, err
		}
		run = all[0].Run
		return true, nil
	})
	if err != nil {
		return err
	}
	id := managed.ManageRunID(run.Ref)
	err = t.eventually(ctx, "its execution", func() (bool, error) {
		_, err := t.temporal.DescribeWorkflowExecution(ctx, id, "")
		return err == nil, nil // retried until it exists
	})
	if err != nil {
		return err
	}
	for !run.State.Terminal() {
		t.clock.Advance(time.Second)
		now, err := t.sim.Run(follower, run.Ref.Run)
		if err != nil {
			return err
		}
		run = now.Run
	}
	last := notification(run, run.StateVersion)
	if err := t.temporal.SignalWorkflow(ctx, id, "", managed.RunEventsSignal, managed.RunEvents{Events: []managed.RunEvent{last}}); err != nil {
		return fmt.Errorf("notify of %s: %w", run.Ref, err)
	}
	if err := t.temporal.GetWorkflow(ctx, id, "").Get(ctx, nil); err != nil {
		return fmt.Errorf("wait for %s: %w", id, err)
	}
	return nil
}

// chain waits until the chain is in a phase.
func (t *player) chain(ctx context.Context, phase chain.Phase) error {
	id := managed.ChainID(t.ref)
	if phase == chain.PhaseDone {
		return t.temporal.GetWorkflow(ctx, id, "").Get(ctx, nil)
	}
	return t.eventually(ctx, "the chain is "+string(phase), func() (bool, error) {
		var s chain.Status
		answer, err := t.temporal.QueryWorkflow(ctx, id, "", chain.Query)
		if err == nil {
			err = answer.Get(&s)
		}
		return s.Phase == phase, err
	})
}

func (t *player) skip(ctx context.Context, wish chain.Skip) error {
	handle, err := t.temporal.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		WorkflowID: managed.ChainID(t.ref), UpdateName: chain.SkipUpdate, Args: []any{wish}, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err == nil {
		err = handle.Get(ctx, nil)
	}
	return err
}

func (t *player) eventually(ctx context.Context, what string, ok func() (bool, error)) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		done, err := ok()
		if err != nil || done {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, context.Cause(ctx))
		case <-tick.C:
		}
	}
}
