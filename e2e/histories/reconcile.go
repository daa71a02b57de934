package histories

import (
	"context"
	"fmt"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/reconcile"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

const webhookSecret = "recorded-nowhere"

// webhook gives the account the webhook that Reconcile watches.
func (t *player) webhook() error {
	return t.sim.AddNamedWebhook(simulator.NamedWebhook{ID: "gantry", Endpoint: "https://gantry.example/webhook", Secret: webhookSecret})
}

// webhookOff gives the account that webhook after ten failures.
func (t *player) webhookOff() error {
	return t.sim.AddNamedWebhook(simulator.NamedWebhook{ID: "gantry", Endpoint: "https://gantry.example/webhook", Secret: webhookSecret, Disabled: true})
}

// reconcile runs Reconcile once, long after all earlier steps.
func (t *player) reconcile(ctx context.Context) error {
	id := fmt.Sprintf("%s-%s-%d", reconcile.ID(account), t.queue, len(t.ticks)+1)
	run, err := t.temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: id, TaskQueue: t.queue}, reconcile.Type,
		reconcile.Input{Account: account, Interval: 2 * time.Minute, Webhook: "gantry", Reenable: true})
	if err != nil {
		return fmt.Errorf("start reconcile: %w", err)
	}
	var report reconcile.Report
	if err := run.Get(ctx, &report); err != nil {
		return fmt.Errorf("reconcile: %w", err)
	}
	if report.Outcome != reconcile.OutcomeDone {
		return fmt.Errorf("reconcile is %s: %s", report.Outcome, report.Reason)
	}
	t.ticks = append(t.ticks, id)
	return nil
}

// listed waits until lists show the execution in the state of its run, and no
// other open execution.
func (t *player) listed(ctx context.Context) error {
	want, err := t.sim.Run(stack, t.ref.Run)
	if err != nil {
		return err
	}
	if want.State == spacelift.RunStateConfirmed {
		want.State = spacelift.RunStateApplying // the state in lists once Gantry has confirmed a plan
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	query := fmt.Sprintf("WorkflowType = '%s' AND ExecutionStatus = 'Running'", managed.ManageRunType)
	mine := fmt.Sprintf("%s AND WorkflowId = '%s' AND %s = '%s'", query, managed.ManageRunID(t.ref), managed.AttrRunState, want.State)
	for {
		all, err := t.temporal.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: query})
		if err != nil {
			return fmt.Errorf("count executions: %w", err)
		}
		found, err := t.temporal.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: mine})
		if err != nil {
			return fmt.Errorf("count executions: %w", err)
		}
		if all.GetCount() == 1 && found.GetCount() == 1 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d executions are listed, %d of them in %s: %w", all.GetCount(), found.GetCount(), want.State, context.Cause(ctx))
		case <-tick.C:
		}
	}
}
