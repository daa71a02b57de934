package workflows

import (
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// FreezesType is the workflow type of Freezes: one execution per account, which
// is the durable store of its freezes. It starts with the first one declared.
const FreezesType = "Freezes"

// FreezesInput starts Freezes, and carries what it knows when it continues as
// new. Who starts it sets Account alone.
type FreezesInput struct {
	Account spacelift.Account `json:"account"`
	Known   *freezeBook       `json:"known,omitempty"`
}

// DeclareFreezeUpdate takes a DeclareFreeze and answers with the policy.Freeze.
// LiftFreezeUpdate takes a LiftFreeze and answers with the policy.Freeze lifted.
const (
	DeclareFreezeUpdate = "declare"
	LiftFreezeUpdate    = "lift"
)

// DeclareFreeze is a person's wish that Gantry confirm nothing for a time.
type DeclareFreeze struct {
	ID     string    `json:"id"` // chosen by the caller, so that a repeat is the same freeze
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	Stacks []string  `json:"stacks,omitempty"` // empty: all of the account
	From   time.Time `json:"from,omitzero"`    // zero: from now on
	Until  time.Time `json:"until,omitzero"`   // zero: until it is lifted
	Key    string    `json:"key,omitempty"`    // idempotency key; empty for none
}

// LiftFreeze ends a freeze before its time.
type LiftFreeze struct {
	ID  string `json:"id"`
	By  string `json:"by"`
	Key string `json:"key,omitempty"` // idempotency key; empty for none
}

// The types of the errors that refuse these updates. An id or a key that was
// used for something else is refused with ErrTypeKeyReused.
const (
	ErrTypeUnknownFreeze = "UnknownFreeze" // there is no such freeze, or it is over
	ErrTypeBadFreeze     = "BadFreeze"     // it ends before it begins, has no reason, or the like
	ErrTypeFreezesFull   = "FreezesFull"   // there is no room for another one
)

// ErrTypeImpossibleAccount is the type of the error for an account that cannot
// exist.
const ErrTypeImpossibleAccount = "ImpossibleAccount"

// Freezes keeps the freezes of an account. It never ends by itself.
//
// Runs that wait are notified whenever a freeze that covers their stack is
// declared, begins, ends or is lifted, so that they look at their gate again.
// That happens beside everything else: nobody who declares or lifts a freeze
// waits for it. Confirming does not rely on it: that asks for the freezes
// itself.
func Freezes(ctx workflow.Context, in FreezesInput) error {
	k, err := newKeeper(ctx, in)
	if err != nil {
		return err
	}
	for {
		now := workflow.Now(ctx).UTC()
		k.book.turn(now)
		if stacks, due := k.book.notifyNow(now, k.notifying); due {
			k.notify(ctx, stacks)
		}
		if workflow.GetInfo(ctx).GetContinueAsNewSuggested() && !k.notifying {
			// Handlers never yield, so what they changed is in the book already.
			if err := workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) }); err != nil {
				return err
			}
			return workflow.NewContinueAsNewError(ctx, Freezes, FreezesInput{Account: k.account, Known: &k.book})
		}
		if err := k.wait(ctx); err != nil {
			return err
		}
	}
}

// keeper is an execution of Freezes at work.
type keeper struct {
	account   spacelift.Account
	book      freezeBook
	changed   bool // since the main loop looked last
	notifying bool // runs are being notified
	log       log.Logger
}

func newKeeper(ctx workflow.Context, in FreezesInput) (*keeper, error) {
	if err := spacelift.ValidateAccount(in.Account); err != nil {
		return nil, temporal.NewNonRetryableApplicationError(fmt.Sprintf("keep the freezes of account %q: its name %v", in.Account, err), ErrTypeImpossibleAccount, err)
	}
	k := &keeper{account: in.Account, log: log.With(workflow.GetLogger(ctx), "account", in.Account)}
	if in.Known != nil {
		k.book = *in.Known
	}
	now := func(ctx workflow.Context) time.Time { return workflow.Now(ctx).UTC() }
	return k, errors.Join(
		workflow.SetQueryHandler(ctx, activities.FreezesQuery, func() ([]policy.Freeze, error) { return k.book.freezes(), nil }),
		workflow.SetQueryHandler(ctx, activities.NotifyingQuery, func() (bool, error) { return k.notifying, nil }),
		workflow.SetUpdateHandlerWithOptions(ctx, DeclareFreezeUpdate,
			func(ctx workflow.Context, wish DeclareFreeze) (policy.Freeze, error) {
				return k.declare(now(ctx), wish)
			},
			workflow.UpdateHandlerOptions{Validator: func(ctx workflow.Context, wish DeclareFreeze) error {
				_, _, no := k.book.judge(now(ctx), wish)
				return asError(no)
			}}),
		workflow.SetUpdateHandlerWithOptions(ctx, LiftFreezeUpdate,
			func(ctx workflow.Context, wish LiftFreeze) (policy.Freeze, error) { return k.lift(now(ctx), wish) },
			workflow.UpdateHandlerOptions{Validator: func(ctx workflow.Context, wish LiftFreeze) error {
				_, _, no := k.book.find(now(ctx), wish)
				return asError(no)
			}}),
	)
}

func (k *keeper) declare(now time.Time, wish DeclareFreeze) (policy.Freeze, error) {
	f, repeated, no := k.book.judge(now, wish)
	if no != nil {
		return f, asError(no)
	}
	k.book.remember(wish.Key, declarationOf(wish.ID))
	if repeated {
		return f, nil
	}
	k.book.add(now, f)
	k.changed = true
	k.log.Info("freeze declared", "freeze", f.ID, "by", f.DeclaredBy, "from", f.From, "until", f.Until, "stacks", len(f.Stacks))
	return f, nil
}

func (k *keeper) lift(now time.Time, wish LiftFreeze) (policy.Freeze, error) {
	f, repeated, no := k.book.find(now, wish)
	if no != nil {
		return f, asError(no)
	}
	k.book.remember(wish.Key, liftOf(wish.ID))
	if repeated {
		return f, nil
	}
	f = k.book.end(now, wish)
	k.changed = true
	k.log.Info("freeze lifted", "freeze", f.ID, "by", wish.By)
	return f, nil
}

// wait returns when a freeze was declared or lifted, when runs have been
// notified, or when the time has come for what the book holds.
func (k *keeper) wait(ctx workflow.Context) error {
	changed := func() bool { return k.changed }
	defer func() { k.changed = false }()
	due := k.book.due(k.notifying)
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
		Signal: managed.RunEventsSignal, Payload: managed.RunEvents{RulesChanged: true}, Limit: maxExecutions,
	}
}
