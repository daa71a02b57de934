package histories

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/freeze"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/notify"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// configuration is the configuration that the stories' labels refer to.
var configuration = policy.Config{
	Channels: []string{"deploys", "oncall"},
	Profiles: []policy.Profile{
		{Name: "two", Confirm: new(policy.ConfirmManual), Approvals: new(2), Notify: []string{"deploys"}},
		{
			Name: "hurried", Confirm: new(policy.ConfirmManual), ApprovalTimeout: new(policy.Duration(time.Minute)),
			Notify: []string{"deploys"},
		},
		{
			Name: "escalated", Confirm: new(policy.ConfirmManual), Notify: []string{"deploys"},
			Escalation: []policy.Step{{After: policy.Duration(time.Minute), Notify: []string{"oncall"}}},
		},
		{Name: "retried", Confirm: new(policy.ConfirmAuto), Retries: new(1), RetryBackoff: new(policy.Duration(time.Second)), ReadLogs: new(true)},
	},
}

var (
	two     = []string{"env:prod", "gantry:managed", "gantry:profile=two"}
	byHand  = []string{"env:prod", "gantry:managed", "gantry:confirm=manual"}
	hurried = []string{"env:prod", "gantry:managed", "gantry:profile=hurried"}
	ladder  = []string{"env:prod", "gantry:managed", "gantry:profile=escalated"}
	retried = []string{"env:prod", "gantry:managed", "gantry:profile=retried"}
)

// people are the stories in which people or deadlines decide.
var people = []story{
	{name: "approved-by-two", labels: two, plan: changes, script: func(ctx context.Context, t *player) error {
		return steps(
			func() error { return t.oneByOne(ctx, unconfirmed) },
			func() error { return t.says(ctx, "ann", managed.Approve) },
			func() error { return t.says(ctx, "bob", managed.Approve) },
			func() error { return t.oneByOne(ctx, finished) },
			t.confirmedOnce,
		)
	}},
	{name: "rejected", labels: byHand, plan: changes, script: func(ctx context.Context, t *player) error {
		return steps(
			func() error { return t.oneByOne(ctx, unconfirmed) },
			func() error { return t.says(ctx, "ann", managed.Reject) },
			func() error { return t.oneByOne(ctx, discarded) },
		)
	}},
	{name: "revoked", labels: two, plan: changes, script: func(ctx context.Context, t *player) error {
		return steps(
			func() error { return t.oneByOne(ctx, unconfirmed) },
			func() error { return t.says(ctx, "ann", managed.Approve) },
			func() error { return t.says(ctx, "ann", managed.Revoke) },
			func() error { return t.says(ctx, "bob", managed.Approve) },
			func() error { return t.sim.Discard("jane", stack, t.ref.Run, "no") },
			func() error { return t.oneByOne(ctx, discarded) },
		)
	}},
	{name: "objected", labels: byHand, plan: changes, script: func(ctx context.Context, t *player) error {
		return steps(
			func() error { return t.oneByOne(ctx, unconfirmed) },
			t.away,
			func() error { return t.says(ctx, "ann", managed.Approve) },
			func() error { return t.says(ctx, "bob", managed.Reject) },
			t.back,
			func() error { return t.becomes(ctx, discarded) },
			func() error { return t.oneByOne(ctx, discarded) },
		)
	}},
	{name: "timed-out", labels: hurried, plan: changes, script: func(ctx context.Context, t *player) error {
		return steps(
			func() error { return t.oneByOne(ctx, unconfirmed) },
			func() error { return t.becomes(ctx, discarded) },
			func() error { return t.oneByOne(ctx, discarded) },
		)
	}},
	{name: "escalated", labels: ladder, plan: changes, script: func(ctx context.Context, t *player) error {
		return steps(
			func() error { return t.oneByOne(ctx, unconfirmed) },
			func() error { return t.timeline(ctx, "sent through oncall") },
			func() error { return t.says(ctx, "ann", managed.Approve) },
			func() error { return t.oneByOne(ctx, finished) },
			t.confirmedOnce,
		)
	}},
	{name: "gate-closed-then-open", labels: byHand, plan: changes, script: func(ctx context.Context, t *player) error {
		return steps(
			func() error {
				return t.declare(ctx, freeze.Declare{ID: "short", By: "jane", Reason: "a moment", Until: time.Now().Add(20 * time.Second)})
			},
			func() error { return t.oneByOne(ctx, unconfirmed) },
			func() error { return t.says(ctx, "ann", managed.Approve) },
			func() error { return t.phase(ctx, managed.PhaseHolding) },
			func() error { return t.phase(ctx, managed.PhaseApplying) },
			func() error { return t.oneByOne(ctx, finished) },
			t.confirmedOnce,
		)
	}},
	{name: "freeze-lifted", labels: auto, plan: changes, script: func(ctx context.Context, t *player) error {
		return steps(
			func() error { return t.declare(ctx, freeze.Declare{ID: "audit", By: "jane", Reason: "audit"}) },
			func() error { return t.oneByOne(ctx, unconfirmed) },
			func() error { return t.phase(ctx, managed.PhaseHolding) },
			func() error { return t.listed(ctx) },
			func() error { return t.lift(ctx, freeze.Lift{ID: "audit", By: "jane"}) },
			func() error { return t.phase(ctx, managed.PhaseApplying) },
			func() error { return t.oneByOne(ctx, finished) },
			t.confirmedOnce,
		)
	}},
	{name: "retried", labels: retried, plan: changes, script: func(ctx context.Context, t *player) error {
		return steps(
			func() error {
				return t.sim.ChangePlan(stack, t.ref.Run, func(p *simulator.Plan) {
					p.FailIn, p.FailNote = spacelift.RunStatePlanning, "no available workers"
				})
			},
			func() error { return t.oneByOne(ctx, spacelift.RunStateFailed) },
		)
	}},
	{name: "failed-while-applying", labels: retried, plan: changes, script: func(ctx context.Context, t *player) error {
		return steps(
			func() error {
				return t.sim.ChangePlan(stack, t.ref.Run, func(p *simulator.Plan) {
					p.FailIn, p.FailNote = spacelift.RunStateApplying, "no available workers"
				})
			},
			func() error { return t.oneByOne(ctx, spacelift.RunStateFailed) },
			t.confirmedOnce,
		)
	}},
	{name: "review-passed-on", labels: byHand, plan: changes, script: func(ctx context.Context, t *player) error {
		return steps(
			func() error { return t.oneByOne(ctx, spacelift.RunStatePlanning) },
			func() error { return t.sim.SetApprovals(stack, 1) },
			func() error { return t.oneByOne(ctx, unconfirmed) },
			func() error { return t.says(ctx, "ann", managed.Approve) },
			func() error { return t.oneByOne(ctx, finished) },
			t.confirmedOnce,
		)
	}},
	{name: "stopped", labels: auto, plan: changes, script: func(ctx context.Context, t *player) error {
		return steps(
			func() error { return t.oneByOne(ctx, spacelift.RunStatePlanning) },
			func() error {
				return t.asks(ctx, managed.StopUpdate, managed.StopRequest{By: decide.Person{Name: "ann"}, Note: "the wrong branch"})
			},
			func() error { return t.oneByOne(ctx, spacelift.RunStateStopped) },
		)
	}},
	{name: "confirmed-elsewhere", labels: two, plan: changes, script: func(ctx context.Context, t *player) error {
		return steps(
			func() error { return t.oneByOne(ctx, unconfirmed) },
			func() error { return t.says(ctx, "ann", managed.Approve) },
			func() error { return t.sim.Confirm("jane", stack, t.ref.Run, "go") },
			func() error { return t.oneByOne(ctx, finished) },
		)
	}},
}

// says sends a person's decision.
func (t *player) says(ctx context.Context, who string, v managed.Verdict) error {
	return t.asks(ctx, managed.DecideUpdate, managed.Decision{Verdict: v, By: decide.Person{Name: who}, Note: "recorded"})
}

// asks sends an update to the run's execution and waits for its answer.
func (t *player) asks(ctx context.Context, update string, wish any) error {
	handle, err := t.temporal.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		WorkflowID: managed.ManageRunID(t.ref), UpdateName: update, Args: []any{wish}, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err == nil {
		err = handle.Get(ctx, nil)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", update, err)
	}
	return nil
}

// becomes waits until the simulated run is in a state.
func (t *player) becomes(ctx context.Context, state spacelift.RunState) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		run, err := t.sim.Run(stack, t.ref.Run)
		if err != nil || run.State == state {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the run is in %s and never reached %s: %w", run.State, state, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// forget ends the executions that outlive the story, such as the one that retries
// its run, and removes the account's freezes: their worker ends with the story, so
// they couldn't answer the next one.
func (t *player) forget(ctx context.Context) error {
	freezes := &common.WorkflowExecution{WorkflowId: freeze.ID(account)}
	_, err := t.temporal.WorkflowService().DeleteWorkflowExecution(ctx, &workflowservice.DeleteWorkflowExecutionRequest{
		Namespace: client.DefaultNamespace, WorkflowExecution: freezes,
	})
	if _, none := errors.AsType[*serviceerror.NotFound](err); err != nil && !none {
		return fmt.Errorf("delete the freezes: %w", err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := t.temporal.DescribeWorkflowExecution(ctx, freezes.GetWorkflowId(), "")
		_, gone := errors.AsType[*serviceerror.NotFound](err)
		open, err := t.temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Query: "ExecutionStatus = 'Running'"})
		if err != nil {
			return fmt.Errorf("list open executions: %w", err)
		}
		if gone && len(open.GetExecutions()) == 0 {
			return nil
		}
		for _, e := range open.GetExecutions() {
			// Lists lag a little: it may have ended by now.
			_ = t.temporal.TerminateWorkflow(ctx, e.GetExecution().GetWorkflowId(), e.GetExecution().GetRunId(), "its story has ended")
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// silent is a channel that accepts every message.
type silent struct{}

func (silent) Send(context.Context, string, notify.Message) error { return nil }
