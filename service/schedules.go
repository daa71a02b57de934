package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/reconcile"
	"github.com/gantryhq/gantry/spacelift"
)

const (
	// tickTimeout ends an execution of Reconcile that is stuck, so that the next
	// one can start.
	tickTimeout = 10 * time.Minute

	// catchUp bounds how late a tick begins after Temporal was down. Later ones
	// are skipped, because one tick makes up for all. Temporal's minimum is 10s.
	catchUp = 10 * time.Second
)

// keepSchedules sets the schedule of each account, retries until Temporal accepts
// it, and returns when ctx ends.
func keepSchedules(ctx context.Context, c client.Client, o Options) error {
	wait := firstRetry
	for left := o.Config.Accounts; len(left) > 0; {
		err := setSchedule(ctx, c.ScheduleClient(), spacelift.Account(left[0].Name), o)
		if err == nil {
			left, wait = left[1:], firstRetry
			continue
		}
		o.Log.WarnContext(ctx, "can't set the schedule of Reconcile; trying again", "account", left[0].Name, "in", wait.String(), "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = min(2*wait, lastRetry)
	}
	<-ctx.Done()
	return nil
}

// setSchedule sets an account's schedule as configured and starts a tick
// immediately, to catch up with what happened while no worker ran.
//
// Every replica does this when it starts, and only then, so they don't fight:
// with one configuration the result is the same, and ticks never overlap. A
// schedule that an operator paused stays paused.
func setSchedule(ctx context.Context, schedules client.ScheduleClient, account spacelift.Account, o Options) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	handle := schedules.GetHandle(ctx, reconcile.ID(account))
	if o.Config.Reconcile.Interval == 0 {
		err := handle.Delete(ctx)
		if _, gone := errors.AsType[*serviceerror.NotFound](err); err != nil && !gone {
			return fmt.Errorf("delete schedule %s: %w", handle.GetID(), err)
		}
		return nil
	}
	spec, action := schedule(account, o)
	_, err := schedules.Create(ctx, client.ScheduleOptions{
		ID: handle.GetID(), Spec: spec, Action: action, Overlap: enums.SCHEDULE_OVERLAP_POLICY_SKIP, CatchupWindow: catchUp,
		TriggerImmediately: true,
	})
	if !errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
		if err != nil {
			return fmt.Errorf("create schedule %s: %w", handle.GetID(), err)
		}
		return nil
	}
	err = handle.Update(ctx, client.ScheduleUpdateOptions{DoUpdate: func(in client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
		now := in.Description.Schedule
		now.Spec, now.Action = &spec, action
		now.Policy = &client.SchedulePolicies{Overlap: enums.SCHEDULE_OVERLAP_POLICY_SKIP, CatchupWindow: catchUp}
		return &client.ScheduleUpdate{Schedule: &now}, nil
	}})
	if err != nil {
		return fmt.Errorf("update schedule %s: %w", handle.GetID(), err)
	}
	described, err := handle.Describe(ctx)
	if err == nil && !described.Schedule.State.Paused {
		err = handle.Trigger(ctx, client.ScheduleTriggerOptions{Overlap: enums.SCHEDULE_OVERLAP_POLICY_SKIP})
	}
	if err != nil {
		return fmt.Errorf("trigger schedule %s: %w", handle.GetID(), err)
	}
	return nil
}

// schedule returns when and how Reconcile runs. The jitter keeps many accounts,
// and many installations, from calling Spacelift in the same second.
func schedule(account spacelift.Account, o Options) (client.ScheduleSpec, *client.ScheduleWorkflowAction) {
	every := o.Config.Reconcile.Interval
	opening := reconcile.Opening(account, decide.Pages(o.Config.PublicURL))
	return client.ScheduleSpec{
			Intervals: []client.ScheduleIntervalSpec{{Every: every}}, Jitter: every / 10,
		}, &client.ScheduleWorkflowAction{
			ID: reconcile.ID(account), Workflow: reconcile.Type, TaskQueue: o.Config.Temporal.TaskQueue,
			Args: []any{reconcile.Input{
				Account: account, Interval: every, Webhook: o.Config.Guardian.Webhook, Reenable: o.Config.Guardian.Reenable,
				Notify: o.Config.Guardian.Notify,
			}},
			WorkflowRunTimeout:    tickTimeout,
			StaticSummary:         opening.Summary,
			StaticDetails:         opening.Details,
			TypedSearchAttributes: temporal.NewSearchAttributes(temporal.NewSearchAttributeKeyKeyword(managed.AttrAccount).ValueSet(string(account))),
		}
}
