package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
)

// signalWaiting signals the runs and chains that wait for the end of the run. It
// returns an error only when the execution is canceled.
func (m *manager) signalWaiting(ctx workflow.Context, _ managed.Next) error {
	s := m.situation(ctx)
	signalWaiting(ctx, activities.FindWaitingInput{Run: s.Run, Reached: s.Reached(), Chains: chainsOf(s.Run.Account)})
	m.known.SignalWaiting(s.Key())
	return ctx.Err()
}

// signalWaiting signals whatever waits for the end of a run or a chain to read anew.
// Signals may be repeated. Whoever misses one reads later without it.
func signalWaiting(ctx workflow.Context, in activities.FindWaitingInput) {
	var a *activities.Activities
	var found activities.Waiting
	err := workflow.ExecuteLocalActivity(withGlance(ctx), a.FindWaiting, in).Get(ctx, &found)
	if err == nil && len(found.Runs) > 0 {
		err = signalAll(ctx, found.Runs, managed.RunEventsSignal, managed.RunEvents{Ended: in.Run.Stack})
	}
	if err == nil && len(found.Chains) > 0 {
		err = signalAll(ctx, found.Chains, chain.NewsSignal, chain.News{Run: in.Run, Outside: true})
	}
	if err != nil && ctx.Err() == nil {
		workflow.GetLogger(ctx).Info("what waits for the end was not signaled; it reads later", "run", in.Run.String(), "error", because(err))
	}
}

// signalAll sends a signal to executions.
func signalAll(ctx workflow.Context, ids []string, signal string, payload any) error {
	var a *activities.Activities
	in := activities.SignalInput{IDs: ids, Signal: signal, Payload: payload}
	return workflow.ExecuteActivity(summarized(withOneBroadcast(ctx), "Signal what waits for this end"), a.TellOfRules, in).Get(ctx, nil)
}
