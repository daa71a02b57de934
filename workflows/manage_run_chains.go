package workflows

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// release starts Chain for the stacks that follow the run; the chain outlives
// this execution. It returns an error only when the execution is canceled.
func (m *manager) release(ctx workflow.Context, _ managed.Next) error {
	s := m.situation(ctx)
	key := s.Key()
	if why := s.LeavesReleasing(); why != "" {
		m.known.ReleaseNothing(key)
		m.known.Note(s.Now, managed.KindDecision, "the run releases nothing itself, because its stack's turn has not come: %s", why)
		return nil
	}
	graph, read := m.readFollowers(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if read && graph.Size+len(graph.Refused) == 0 {
		m.known.ReleaseNothing(key)
		return nil
	}
	opening := chain.Opening(s.Run, s.Commit.Hash, pagesOf(ctx))
	err := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            managed.ChainID(s.Run),
		ParentClosePolicy:     enums.PARENT_CLOSE_POLICY_ABANDON,
		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		TypedSearchAttributes: Typed(chain.Attributes(s.Run, chain.PhaseMoving)),
		StaticSummary:         opening.Summary,
		StaticDetails:         opening.Details,
	}), chain.Type, chain.Input{
		Root: s.Run, Commit: s.Commit.Hash, TriggeredBy: s.Triggerers(), Notify: s.Policy.Notify.Value, Listed: graph.At,
		Followers: s.Followers,
	}).GetChildWorkflowExecution().Get(ctx, nil)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	now := workflow.Now(ctx).UTC()
	m.known.BeginChain(key)
	switch {
	case temporal.IsWorkflowExecutionAlreadyStartedError(err):
		m.known.Note(now, managed.KindNote, "the stacks that follow were released before, by %s", managed.ChainID(s.Run))
	case err != nil:
		m.known.Note(now, managed.KindNote, "the stacks that follow could not be released: %s", because(err))
	case read && graph.Size == 0:
		m.known.Note(now, managed.KindAction, "Gantry releases no stack that follows: %s", managed.ChainID(s.Run))
	default:
		m.known.Note(now, managed.KindAction, "Gantry releases the stacks that follow: %s", managed.ChainID(s.Run))
	}
	for _, f := range graph.Refused {
		m.known.Note(now, managed.KindDecision, "%s", f.Sentence())
	}
	return nil
}

// readFollowers reads how many stacks follow, and which of them can't be released.
func (m *manager) readFollowers(ctx workflow.Context) (graph chain.Graph, read bool) {
	var a *activities.Activities
	in := activities.ReadChainInput{Account: m.known.Run.Account, Root: m.known.Run.Stack, Brief: true}
	if f := m.known.Followers; f != nil {
		in.Since, in.Followers = f.At, f.Stacks
	}
	err := workflow.ExecuteLocalActivity(withQuickCall(ctx), a.ReadChain, in).Get(ctx, &graph)
	graph.At = cmp.Or(graph.At, in.Since)
	return graph, err == nil
}

// readParents reads how far the stacks are that the run's stack follows, and
// notifies chains that wait for this run. It returns an error only when the
// execution is canceled.
func (m *manager) readParents(ctx workflow.Context, n managed.Next) error {
	var a *activities.Activities
	var found activities.Parents
	run := m.known.Run
	err := workflow.ExecuteLocalActivity(withGlance(ctx), a.ReadParents, activities.ReadParentsInput{Run: run, OpenWork: openWork(run.Account)}).Get(ctx, &found)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	now := workflow.Now(ctx).UTC()
	if err != nil {
		m.known.Failed(now, n.Do, "Gantry could not read whether the stacks that go first have finished: "+because(err))
		return nil
	}
	m.known.TakeParents(now, found.ParentsProgress)
	var joined []managed.ChainRef
	for _, c := range found.Chains {
		known := slices.ContainsFunc(m.known.Chains, func(k managed.ChainRef) bool { return k.Root == c.Root })
		if !known && c.Open && !c.Waits {
			joined = append(joined, refOf(c))
		}
	}
	if len(joined) == 0 {
		return nil
	}
	m.known.Join(joined)
	m.known.Parents.Stale = false
	s := m.situation(ctx)
	signalChains(ctx, joined, chain.News{Run: run, State: s.State, TriggeredBy: s.Triggerers()})
	return ctx.Err()
}

// openWork returns how an activity finds the open chains and runs of an account.
func openWork(account spacelift.Account) activities.OpenWork {
	return activities.OpenWork{Chains: chainsOf(account), Executions: managed.RunPrefix, Query: managed.StatusQuery, Done: string(managed.PhaseDone)}
}

func refOf(c chain.Place) managed.ChainRef {
	return managed.ChainRef{Root: c.Root, After: c.After, TriggeredBy: c.TriggeredBy}
}

// replace triggers a new run in place of this one, whose plan is old, and has it
// managed as part of the same chains. It returns an error only when the execution
// is canceled.
func (m *manager) replace(ctx workflow.Context, n managed.Next) error {
	var a *activities.Activities
	var result activities.ReplaceRunResult
	s := m.situation(ctx)
	err := m.call(ctx, n, a.ReplaceRun, activities.ReplaceRunInput{Run: s.Run, StateVersion: s.StateVersion}, &result)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	now := workflow.Now(ctx).UTC()
	switch {
	case temporal.IsCanceledError(err):
		return nil
	case err != nil:
		result.Reason = because(err)
	default:
		m.known.Learn(now, result.Run)
	}
	if result.Outcome != managed.ActDone {
		m.known.Failed(now, n.Do, "the plan is old, and no run was triggered in its place: "+result.Reason)
		return nil
	}
	m.known.ReplacedBy(now, result.New)
	chains, behind := s.Released(), managed.Bounded(s.Triggerers())
	startOrSignal(ctx, managed.ManageRunInput{Run: result.New, Chains: chains, Behind: behind}, managed.RunEvents{Chains: chains, Behind: behind})
	signalChains(ctx, chains, chain.News{Run: result.New, TriggeredBy: behind})
	return ctx.Err()
}

// startRun starts the execution of a run, which outlives the one that starts it.
func startRun(ctx workflow.Context, in managed.ManageRunInput, reuse enums.WorkflowIdReusePolicy) workflow.Future {
	opening := managed.Opening(in.Run, in.Events, pagesOf(ctx))
	return workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            managed.ManageRunID(in.Run),
		ParentClosePolicy:     enums.PARENT_CLOSE_POLICY_ABANDON,
		WorkflowIDReusePolicy: reuse,
		TypedSearchAttributes: Typed(managed.StartAttributes(in.Run, in.Events)),
		Memo:                  managed.StartMemo(in.Run, in.Events, in.Chains),
		StaticSummary:         opening.Summary,
		StaticDetails:         opening.Details,
	}), managed.ManageRunType, in).GetChildWorkflowExecution()
}

// signalRun sends events to the execution of a run.
func signalRun(ctx workflow.Context, run spacelift.RunRef, news managed.RunEvents) workflow.Future {
	return workflow.SignalExternalWorkflow(ctx, managed.ManageRunID(run), "", managed.RunEventsSignal, news)
}

// startTries bounds the attempts to start or signal an execution that begins or
// ends in between.
const startTries = 3

// startOrSignal starts the execution of a run with what is known of where the run comes
// from, or signals that if its first notification was faster. If the execution has ended
// by then, another one takes it over and adds it.
func startOrSignal(ctx workflow.Context, in managed.ManageRunInput, news managed.RunEvents) {
	reuse := enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
	var err error
	for range startTries {
		if in.Reopened {
			reuse = enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE
		}
		err = startRun(ctx, in, reuse).Get(ctx, nil)
		if !temporal.IsWorkflowExecutionAlreadyStartedError(err) {
			break
		}
		if err = signalRun(ctx, in.Run, news).Get(ctx, nil); err == nil {
			break
		}
		in.Reopened = true
	}
	if err != nil {
		workflow.GetLogger(ctx).Warn("the run does not know where it comes from: what it tries again, its chains and the people behind it", "run", in.Run.String(), "error", err)
	}
}

// notifyChains signals to the chains that released the run how it ended, or before
// that who wants it stopped. A chain that can't be reached has ended, or reads the
// run later.
func (m *manager) notifyChains(ctx workflow.Context, n managed.Next) error {
	s := m.situation(ctx)
	news := chain.News{Run: s.Run, State: s.State, TriggeredBy: s.Triggerers()}
	if s.Stop != nil {
		news.StoppedBy = s.Stop.By
	}
	if s.State.Terminal() {
		news.Outcome = n.Reason
	}
	m.known.NotifyChains(s.Key())
	signalChains(ctx, s.Released(), news)
	return ctx.Err()
}

// maxAskedChains bounds the open chains of an account that Gantry lists for a run; it asks
// few of them.
const maxAskedChains = 1000

// chainsOf returns how an activity finds the open chains of an account and asks
// them for the place of a run.
func chainsOf(account spacelift.Account) activities.FindChainsInput {
	return activities.FindChainsInput{
		// An account's name holds no quote: see spacelift.ValidateAccount.
		List:  fmt.Sprintf("WorkflowType = '%s' AND %s = '%s' AND ExecutionStatus = 'Running'", chain.Type, managed.AttrAccount, account),
		Query: chain.PlaceQuery, Limit: maxAskedChains,
	}
}

// Gantry asks chains that do not answer again: after a process died they take some
// ten seconds to continue, and a retry that they do not know of leaves them held.
const (
	findChainsTries = 4 // of some seconds each
	findChainsPause = 3 * time.Second
)

// findChains returns the chains that released a run whose execution does not know
// of any: it may have ended before a chain could signal it. It returns none rather
// than delay a retry for long.
func findChains(ctx workflow.Context, run spacelift.Run) (chains []managed.ChainRef) {
	if !policy.MayFollow(run.StackLabels) {
		return nil
	}
	var a *activities.Activities
	in := chainsOf(run.Ref.Account)
	in.Run, in.Among = run.Ref, []spacelift.StackID{run.Ref.Stack}
	var found activities.FoundChains
	for times := 1; ; times++ {
		err := workflow.ExecuteLocalActivity(withGlance(ctx), a.FindChains, in).Get(ctx, &found)
		if err == nil && found.Complete || len(found.Chains) > 0 || ctx.Err() != nil {
			break
		}
		if times == findChainsTries {
			workflow.GetLogger(ctx).Warn("a run that is retried may be part of a chain that does not know of the retry", "run", run.Ref.String(), "error", err)
			break
		}
		if sleep(ctx, findChainsPause, "Pause before chains that did not answer are asked again") != nil {
			break
		}
	}
	for _, c := range found.Chains {
		if c.Ours {
			chains = append(chains, refOf(c))
		}
	}
	return chains
}

// signalChains sends news of a run to chains.
func signalChains(ctx workflow.Context, chains []managed.ChainRef, news chain.News) {
	sent := make([]workflow.Future, len(chains))
	for i, c := range chains {
		sent[i] = workflow.SignalExternalWorkflow(ctx, managed.ChainID(c.Root), "", chain.NewsSignal, news)
	}
	var failed []string
	for i, c := range chains {
		if err := sent[i].Get(ctx, nil); err != nil {
			failed = append(failed, managed.ChainID(c.Root)+": "+because(err))
		}
	}
	if len(failed) > 0 {
		workflow.GetLogger(ctx).Info("a chain was not signaled", "run", news.Run.String(), "error", strings.Join(failed, "; "))
	}
}
