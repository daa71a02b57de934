package workflows

import (
	"slices"

	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// waitingFor returns how an activity finds what waits for the end of a run.
func waitingFor(run spacelift.RunRef) activities.FindWaitingInput {
	return activities.FindWaitingInput{Run: run, Chains: chainsOf(run.Account)}
}

// readEnd is fetchRun for a run that may have ended: it remembers what waits for that, so
// that an end costs no event more.
func (m *manager) readEnd(ctx workflow.Context, why string) (spacelift.Run, error) {
	var a *activities.Activities
	var end activities.End
	err := workflow.ExecuteLocalActivity(summarized(withQuickCall(ctx), why), a.ReadEnd, waitingFor(m.known.Run)).Get(ctx, &end)
	m.waiting = end.Waiting
	return end.Run, err
}

// signalWaiting signals the runs and chains that wait for the end of the run. It
// returns an error only when the execution is canceled.
func (m *manager) signalWaiting(ctx workflow.Context, _ managed.Next) error {
	s := m.situation(ctx)
	found := m.waiting
	if found == nil {
		found = findWaiting(ctx, waitingFor(s.Run))
	}
	if s.Reached() { // the chain signals the others
		found.Runs = slices.DeleteFunc(found.Runs, func(id string) bool {
			run, err := managed.ParseRunID(id)
			return err != nil || run.Stack != s.Run.Stack
		})
	}
	m.waiting = nil // others may wait by the next time
	signalEnd(ctx, s.Run, *found)
	m.known.SignalWaiting(s.Key())
	return ctx.Err()
}

// findWaiting finds what waits for the end of a run or a chain; nothing if Temporal does
// not answer.
func findWaiting(ctx workflow.Context, in activities.FindWaitingInput) *activities.Waiting {
	var a *activities.Activities
	var found activities.Waiting
	if err := workflow.ExecuteLocalActivity(withGlance(ctx), a.FindWaiting, in).Get(ctx, &found); err != nil && ctx.Err() == nil {
		workflow.GetLogger(ctx).Info("nothing that waits for the end is signaled; it reads later", "run", in.Run.String(), "error", because(err))
	}
	return &found
}

// signalEnd signals executions that wait for the end of a run, or of the chain that it
// began, to read anew. Signals may be repeated. An execution that misses one reads later without it.
func signalEnd(ctx workflow.Context, run spacelift.RunRef, to activities.Waiting) {
	var a *activities.Activities
	for _, in := range []activities.SignalInput{
		{IDs: to.Runs, Signal: managed.RunEventsSignal, Payload: managed.RunEvents{Ended: run.Stack}},
		{IDs: to.Chains, Signal: chain.NewsSignal, Payload: chain.News{Run: run, Outside: true}},
	} {
		if len(in.IDs) == 0 {
			continue
		}
		err := workflow.ExecuteActivity(summarized(withOneBroadcast(ctx), "Signal what waits for this end"), a.SignalExecutions, in).Get(ctx, nil)
		if err != nil && ctx.Err() == nil {
			workflow.GetLogger(ctx).Info("not everything that waits for the end was signaled; it reads later", "run", run.String(), "error", because(err))
		}
	}
}
