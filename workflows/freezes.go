package workflows

import (
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/freeze"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/decide/reconcile"
	"github.com/gantryhq/gantry/spacelift"
)

// Freezes keeps the freezes of an account. It ends only when it is canceled.
//
// It signals runs that wait whenever a freeze that covers their stack is
// declared, begins, ends or is lifted, so that they check their gate again. This
// happens in the background: a person who declares or lifts a freeze doesn't wait
// for it. Confirming doesn't rely on it: ConfirmRun reads the freezes itself.
func Freezes(ctx workflow.Context, in freeze.Input) error {
	k, err := newKeeper(ctx, in)
	if err != nil {
		return err
	}
	for {
		now := workflow.Now(ctx).UTC()
		k.book.Turn(now)
		workflow.SetCurrentDetails(ctx, k.book.Details(k.account, now, pagesOf(ctx)))
		if stacks, due := k.book.NotifyNow(now, k.notifying); due {
			k.notify(ctx, stacks)
		}
		if fullHistory(ctx) && !k.notifying {
			// Handlers never yield, so their changes are in the book already.
			if err := workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) }); err != nil {
				return err
			}
			return workflow.NewContinueAsNewError(ctx, Freezes, freeze.Input{Account: k.account, Known: &k.book})
		}
		if err := k.wait(ctx); err != nil {
			return err
		}
	}
}

// keeper is an execution of Freezes at work.
type keeper struct {
	account   spacelift.Account
	book      freeze.Book
	changed   bool // since the last turn of the main loop
	notifying bool // runs are being notified
	log       log.Logger
}

func newKeeper(ctx workflow.Context, in freeze.Input) (*keeper, error) {
	if err := spacelift.ValidateAccount(in.Account); err != nil {
		return nil, temporal.NewNonRetryableApplicationError(fmt.Sprintf("keep the freezes of account %q: its name %v", in.Account, err), freeze.ErrTypeImpossibleAccount, err)
	}
	k := &keeper{account: in.Account, log: log.With(workflow.GetLogger(ctx), "account", in.Account)}
	if in.Known != nil {
		k.book, *in.Known = *in.Known, freeze.Book{} // the SDK keeps the input
	}
	now := func(ctx workflow.Context) time.Time { return workflow.Now(ctx).UTC() }
	return k, errors.Join(
		workflow.SetQueryHandler(ctx, freeze.Query, func() ([]policy.Freeze, error) { return k.book.Freezes(), nil }),
		workflow.SetQueryHandler(ctx, freeze.NotifyingQuery, func() (bool, error) { return k.notifying, nil }),
		workflow.SetUpdateHandlerWithOptions(ctx, freeze.DeclareUpdate,
			func(ctx workflow.Context, wish freeze.Declare) (policy.Freeze, error) {
				return k.declare(now(ctx), wish)
			},
			workflow.UpdateHandlerOptions{Validator: func(ctx workflow.Context, wish freeze.Declare) error {
				return asError(k.book.RefuseDeclare(now(ctx), wish))
			}}),
		workflow.SetUpdateHandlerWithOptions(ctx, freeze.LiftUpdate,
			func(ctx workflow.Context, wish freeze.Lift) (policy.Freeze, error) { return k.lift(now(ctx), wish) },
			workflow.UpdateHandlerOptions{Validator: func(ctx workflow.Context, wish freeze.Lift) error {
				return asError(k.book.RefuseLift(now(ctx), wish))
			}}),
	)
}

func (k *keeper) declare(now time.Time, wish freeze.Declare) (policy.Freeze, error) {
	f, fresh, r := k.book.Declare(now, wish)
	if r != nil || !fresh {
		return f, asError(r)
	}
	k.changed = true
	k.log.Info("freeze declared", "freeze", f.ID, "by", f.DeclaredBy, "from", f.From, "until", f.Until, "stacks", len(f.Stacks))
	return f, nil
}

func (k *keeper) lift(now time.Time, wish freeze.Lift) (policy.Freeze, error) {
	f, fresh, r := k.book.Lift(now, wish)
	if r != nil || !fresh {
		return f, asError(r)
	}
	k.changed = true
	k.log.Info("freeze lifted", "freeze", f.ID, "by", wish.By)
	return f, nil
}

// wait returns when a freeze was declared or lifted, when all runs have been
// signaled, or when something in the book is due.
func (k *keeper) wait(ctx workflow.Context) error {
	changed := func() bool { return k.changed }
	defer func() { k.changed = false }()
	due := k.book.Due(k.notifying)
	if due.IsZero() {
		return workflow.Await(ctx, changed)
	}
	_, err := awaitFor(ctx, due.Sub(workflow.Now(ctx)), "Next change of the freezes", changed)
	return err
}

// notify begins to signal the waiting runs of these stacks, or of all stacks if
// there are none, to check their gate again. Reconcile signals those that can't be
// reached.
func (k *keeper) notify(ctx workflow.Context, stacks []string) {
	k.notifying = true
	workflow.Go(ctx, func(ctx workflow.Context) {
		defer func() { k.notifying, k.changed = false, true }()
		var a *activities.Activities
		var result activities.SignalResult
		in := rulesChanged(k.account)
		in.Stacks, in.Stack = stacks, managed.AttrStack
		err := workflow.ExecuteActivity(summarized(withBroadcast(ctx), "Signal waiting runs that the freezes changed"), a.SignalExecutions, in).Get(ctx, &result)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			k.log.Error("runs that wait were not notified of freezes; Reconcile notifies them", "error", err)
		case !result.Complete || result.Failed > 0:
			k.log.Warn("not every run that waits was notified of freezes; Reconcile notifies the others", "notified", result.Executions, "failed", result.Failed)
		}
	})
}

// rulesChanged returns how an activity signals all waiting runs of an account to
// check their gate again.
func rulesChanged(account spacelift.Account) activities.SignalInput {
	return activities.SignalInput{
		// An account's name holds no quote: see spacelift.ValidateAccount.
		Query: fmt.Sprintf("WorkflowType = '%s' AND %s = '%s' AND %s IN ('%s', '%s') AND ExecutionStatus = 'Running'",
			managed.ManageRunType, managed.AttrAccount, account, managed.AttrPhase, managed.PhaseWaiting, managed.PhaseHolding),
		Signal: managed.RunEventsSignal, Payload: managed.RunEvents{RulesChanged: true}, Limit: reconcile.MaxExecutions,
	}
}
