package service

import (
	"context"
	"errors"
	"fmt"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/audit"
	"github.com/gantryhq/gantry/spacelift"
)

// audited is a client of Spacelift that records each mutation in the audit log. Notes
// name the people whose decision it was.
type audited struct {
	activities.Spacelift
	account spacelift.Account
	log     *audit.Log
}

// record records a mutation. An entry that can't be written waits in the log: the
// mutation is made.
func (a audited) record(ctx context.Context, mutation string, on audit.Entry, err error) {
	on.By, on.Action, on.Account, on.Result = audit.Gantry, mutation, string(a.account), audit.Done
	if err != nil {
		on.Result, on.Detail = audit.Failed, err.Error()
		if errors.Is(err, spacelift.ErrAmbiguous) {
			on.Result = audit.Unanswered
		}
	}
	_ = a.log.Record(context.WithoutCancel(ctx), on)
}

func of(ref spacelift.RunRef, note string) audit.Entry {
	return audit.Entry{Stack: string(ref.Stack), Run: string(ref.Run), Why: note}
}

func (a audited) ConfirmRun(ctx context.Context, ref spacelift.RunRef, note string) (spacelift.RunOutcome, error) {
	out, err := a.Spacelift.ConfirmRun(ctx, ref, note)
	a.record(ctx, "runConfirm", of(ref, note), err)
	return out, err
}

func (a audited) DiscardRun(ctx context.Context, ref spacelift.RunRef, note string) (spacelift.RunOutcome, error) {
	out, err := a.Spacelift.DiscardRun(ctx, ref, note)
	a.record(ctx, "runDiscard", of(ref, note), err)
	return out, err
}

func (a audited) CancelRun(ctx context.Context, ref spacelift.RunRef, note string) (spacelift.RunOutcome, error) {
	out, err := a.Spacelift.CancelRun(ctx, ref, note)
	a.record(ctx, "runCancel", of(ref, note), err)
	return out, err
}

func (a audited) StopRun(ctx context.Context, ref spacelift.RunRef, note string) (spacelift.RunOutcome, error) {
	out, err := a.Spacelift.StopRun(ctx, ref, note)
	a.record(ctx, "runStop", of(ref, note), err)
	return out, err
}

func (a audited) ReviewRun(ctx context.Context, ref spacelift.RunRef, decision spacelift.ReviewDecision, note string) error {
	err := a.Spacelift.ReviewRun(ctx, ref, decision, note)
	e := of(ref, note)
	e.After = string(decision)
	a.record(ctx, "runReview", e, err)
	return err
}

func (a audited) RetryRun(ctx context.Context, ref spacelift.RunRef) (spacelift.RunOutcome, error) {
	out, err := a.Spacelift.RetryRun(ctx, ref)
	e := of(ref, "")
	if err == nil {
		e.After = "run " + string(out.Ref.Run)
	}
	a.record(ctx, "runRetry", e, err)
	return out, err
}

func (a audited) TriggerRun(ctx context.Context, stack spacelift.StackID, how spacelift.Trigger) (spacelift.RunOutcome, error) {
	out, err := a.Spacelift.TriggerRun(ctx, stack, how)
	e := audit.Entry{Stack: string(stack), Run: string(out.Ref.Run), After: "commit " + how.CommitSHA}
	a.record(ctx, "runTrigger", e, err)
	return out, err
}

func (a audited) UpdateNamedWebhook(ctx context.Context, id string, in spacelift.NamedWebhookInput) (spacelift.NamedWebhook, error) {
	out, err := a.Spacelift.UpdateNamedWebhook(ctx, id, in)
	a.record(ctx, "namedWebhooksIntegrationUpdate", audit.Entry{On: "webhook " + id, After: fmt.Sprintf("enabled %t", in.Enabled)}, err)
	return out, err
}
