package workflows

import (
	"fmt"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/policy"
	"github.com/gantryhq/gantry/spacelift"
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

// tellChains tells the chains that released the run how it ended, or before that
// who wants it stopped. One that can't be told has ended, or finds out for itself.
func (m *manager) tellChains(ctx workflow.Context, n next) error {
	s := m.situation(ctx)
	news := ChainNews{Run: s.Run, State: s.State}
	if s.Stop != nil {
		news.StoppedBy = s.Stop.By
		m.known.Stopping.ChainsTold = true
	}
	if s.State.Terminal() {
		key := s.key()
		m.known.ChainsTold, news.Outcome = &key, n.Reason
	}
	tellOfRun(ctx, s.Released(), news)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return nil
}

// maxAskedChains bounds the open chains of an account that are asked for a run.
const maxAskedChains = 200

// Chains that do not answer are asked again: after a process died they take some
// ten seconds to go on, and a retry that they are not told of leaves them held.
const (
	askedChains      = 4 // times, of some seconds each
	askedChainsAfter = 3 * time.Second
)

// findChains finds the chains that released a run which does not know of any: its
// execution may have ended before a chain could tell it. It finds none rather
// than keep the run from being retried for long.
func findChains(ctx workflow.Context, run spacelift.Run) (chains []ChainRef) {
	if !policy.MayFollow(run.StackLabels) {
		return nil
	}
	var a *activities.Activities
	var found activities.FoundChains
	for times := 1; ; times++ {
		err := workflow.ExecuteLocalActivity(withGlance(ctx), a.FindChains, activities.FindChainsInput{
			// An account's name holds no quote: see spacelift.ValidateAccount.
			List: fmt.Sprintf("WorkflowType = '%s' AND %s = '%s' AND ExecutionStatus = 'Running'", RolloutType, AttrAccount.GetName(), run.Ref.Account),
			Run:  run.Ref, Query: ChainQuery, Limit: maxAskedChains,
		}).Get(ctx, &found)
		if err == nil && found.Complete || len(found.Chains) > 0 || ctx.Err() != nil {
			break
		}
		if times == askedChains {
			workflow.GetLogger(ctx).Warn("a run that is retried may be part of a chain that is not told", "run", run.Ref.String(), "error", err)
			break
		}
		if workflow.Sleep(ctx, askedChainsAfter) != nil {
			break
		}
	}
	for _, c := range found.Chains {
		chains = append(chains, ChainRef{Root: c.Root, After: c.After})
	}
	return chains
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
