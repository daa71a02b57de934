package workflows

import (
	"strings"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
)

// release starts Rollout for the stacks that follow the run, which outlives this
// execution. It returns an error only when the execution is canceled.
func (m *manager) release(ctx workflow.Context, _ next) error {
	s := m.situation(ctx)
	key := s.key()
	if !s.followed() {
		var a *activities.Activities
		var graph activities.ChainGraph
		err := workflow.ExecuteLocalActivity(withQuickCall(ctx), a.ReadChain, activities.ReadChainInput{Account: s.Run.Account, Root: s.Run.Stack}).Get(ctx, &graph)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil && len(graph.Stacks)+len(graph.Cycle) == 0 {
			m.known.Released = &key
			return nil
		}
	}
	err := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            ChainID(s.Run),
		ParentClosePolicy:     enums.PARENT_CLOSE_POLICY_ABANDON,
		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		TypedSearchAttributes: startChainAttributes(s),
	}), RolloutType, RolloutInput{Root: s.Run}).GetChildWorkflowExecution().Get(ctx, nil)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	now := workflow.Now(ctx).UTC()
	m.known.began(key)
	switch {
	case temporal.IsWorkflowExecutionAlreadyStartedError(err):
		m.known.note(now, KindNote, "the stacks that follow were released before, by %s", ChainID(s.Run))
	case err != nil:
		m.known.note(now, KindNote, "the stacks that follow could not be released: %s", because(err))
	default:
		m.known.note(now, KindAction, "Gantry releases the stacks that follow: %s", ChainID(s.Run))
	}
	return nil
}

func startChainAttributes(s situation) temporal.SearchAttributes {
	var set []temporal.SearchAttributeUpdate
	for _, a := range chainAttributes(s.Run, ChainMoving) {
		set = append(set, a.key.ValueSet(a.value))
	}
	return temporal.NewSearchAttributes(set...)
}

// tellChains tells the chains that released the run how it ended. One that can't
// be told has ended, or finds out for itself.
func (m *manager) tellChains(ctx workflow.Context, n next) error {
	s := m.situation(ctx)
	tellOfRun(ctx, s.Released(), ChainNews{Run: s.Run, State: s.State, Outcome: n.Reason})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	key := s.key()
	m.known.ChainsTold = &key
	return nil
}

// tellOfRun tells chains of a run.
func tellOfRun(ctx workflow.Context, chains []ChainRef, news ChainNews) {
	told := make([]workflow.Future, len(chains))
	for i, c := range chains {
		told[i] = workflow.SignalExternalWorkflow(ctx, ChainID(c.Root), "", ChainNewsSignal, news)
	}
	var failed []string
	for i, c := range chains {
		if err := told[i].Get(ctx, nil); err != nil {
			failed = append(failed, ChainID(c.Root)+": "+because(err))
		}
	}
	if len(failed) > 0 {
		workflow.GetLogger(ctx).Info("a chain was not told", "run", news.Run.String(), "error", strings.Join(failed, "; "))
	}
}
