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

// Freezes keeps the freezes of an account. It never ends by itself.
//
// Runs that wait are notified whenever a freeze that covers their stack is
// declared, begins, ends or is lifted, so that they look at their gate again.
// That happens beside everything else: nobody who declares or lifts a freeze
// waits for it. Confirming does not rely on it: that asks for the freezes
// itself.
func Freezes(ctx workflow.Context, in freeze.Input) error {
	k, err := newKeeper(ctx, in)
	if err != nil {
		return err
	}
	for {
		now := workflow.Now(ctx).UTC()
		k.book.Turn(now)
		if stacks, due := k.book.NotifyNow(now, k.notifying); due {
			k.notify(ctx, stacks)
		}
		if workflow.GetInfo(ctx).GetContinueAsNewSuggested() && !k.notifying {
			// Handlers never yield, so what they changed is in the book already.
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
	changed   bool // since the main loop looked last
	notifying bool // runs are being notified
	log       log.Logger
}

func newKeeper(ctx workflow.Context, in freeze.Input) (*keeper, error) {
	if err := spacelift.ValidateAccount(in.Account); err != nil {
		return nil, temporal.NewNonRetryableApplicationError(fmt.Sprintf("keep the freezes of account %q: its name %v", in.Account, err), freeze.ErrTypeImpossibleAccount, err)
	}
	k := &keeper{account: in.Account, log: log.With(workflow.GetLogger(ctx), "account", in.Account)}
	if in.Known != nil {
		k.book = *in.Known
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
				_, _, no := k.book.Judge(now(ctx), wish)
				return asError(no)
			}}),
		workflow.SetUpdateHandlerWithOptions(ctx, freeze.LiftUpdate,
			func(ctx workflow.Context, wish freeze.Lift) (policy.Freeze, error) { return k.lift(now(ctx), wish) },
			workflow.UpdateHandlerOptions{Validator: func(ctx workflow.Context, wish freeze.Lift) error {
				_, _, no := k.book.Find(now(ctx), wish)
				return asError(no)
			}}),
	)
}

func (k *keeper) declare(now time.Time, wish freeze.Declare) (policy.Freeze, error) {
	f, repeated, no := k.book.Judge(now, wish)
	if no != nil {
		return f, asError(no)
	}
	k.book.Remember(wish.Key, freeze.DeclarationOf(wish.ID))
	if repeated {
		return f, nil
	}
	k.book.Add(now, f)
	k.changed = true
	k.log.Info("freeze declared", "freeze", f.ID, "by", f.DeclaredBy, "from", f.From, "until", f.Until, "stacks", len(f.Stacks))
	return f, nil
}

func (k *keeper) lift(now time.Time, wish freeze.Lift) (policy.Freeze, error) {
	f, repeated, no := k.book.Find(now, wish)
	if no != nil {
		return f, asError(no)
	}
	k.book.Remember(wish.Key, freeze.LiftOf(wish.ID))
	if repeated {
		return f, nil
	}
	f = k.book.End(now, wish)
	k.changed = true
	k.log.Info("freeze lifted", "freeze", f.ID, "by", wish.By)
	return f, nil
}

// wait returns when a freeze was declared or lifted, when runs have been
// notified, or when the time has come for what the book holds.
func (k *keeper) wait(ctx workflow.Context) error {
	changed := func() bool { return k.changed }
	defer func() { k.changed = false }()
	due := k.book.Due(k.notifying)
	if due.IsZero() {
		return workflow.Await(ctx, changed)
	}
	_, err := workflow.AwaitWithTimeout(ctx, due.Sub(workflow.Now(ctx)), changed)
	return err
}

// notify begins to make the runs of these stacks that wait look at their gate
// again; of all stacks if there are none. Those that can't be reached are left
// to Reconcile.
func (k *keeper) notify(ctx workflow.Context, stacks []string) {
	k.notifying = true
	workflow.Go(ctx, func(ctx workflow.Context) {
		defer func() { k.notifying, k.changed = false, true }()
		var a *activities.Activities
		var told activities.Told
		in := notifyOfRules(k.account)
		in.Stacks, in.Stack = stacks, managed.AttrStack
		err := workflow.ExecuteActivity(withTelling(ctx), a.TellOfRules, in).Get(ctx, &told)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			k.log.Error("runs that wait were not notified of freezes; Reconcile does it", "error", err)
		case !told.Complete || told.Failed > 0:
			k.log.Warn("not every run that waits was notified of freezes; Reconcile does it", "notified", told.Executions, "failed", told.Failed)
		}
	})
}

// notifyOfRules makes all runs of an account that wait look at their gate again.
func notifyOfRules(account spacelift.Account) activities.TellInput {
	return activities.TellInput{
		// An account's name holds no quote: see spacelift.ValidateAccount.
		Query: fmt.Sprintf("WorkflowType = '%s' AND %s = '%s' AND %s IN ('%s', '%s') AND ExecutionStatus = 'Running'",
			managed.ManageRunType, managed.AttrAccount, account, managed.AttrPhase, managed.PhaseWaiting, managed.PhaseHolding),
		Signal: managed.RunEventsSignal, Payload: managed.RunEvents{RulesChanged: true}, Limit: reconcile.MaxExecutions,
	}
}
