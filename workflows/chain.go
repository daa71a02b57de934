package workflows

import (
	"fmt"
	"slices"

	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// Chain releases the stacks that follow a run that finished, and those that
// follow them: a chain. There is one execution per run that begins one, under
// ChainID, started by that run's ManageRun. People skip stacks and stop chains
// through SkipUpdate and StopUpdate.
//
// Query answers with a Status at any time, even when the execution has
// closed; the last one is its result. PlaceQuery answers with the place of a run
// in the chain. Chain fails only when it is canceled, or started for a run that
// cannot exist.
func Chain(ctx workflow.Context, in chain.Input) (chain.Status, error) {
	r, err := newReleaser(ctx, in)
	if err != nil {
		return chain.Status{}, err
	}
	for {
		r.takeNews(ctx)
		next := r.decide(ctx)
		acted, err := r.carryOut(ctx, next)
		if err != nil {
			return chain.Status{}, err
		}
		if acted {
			continue
		}
		done, err := r.settle(ctx, next)
		if err != nil {
			return chain.Status{}, err
		}
		if done {
			return r.known.Status(workflow.Now(ctx).UTC()), nil
		}
	}
}

// settle publishes where the chain is when there is nothing left to do, and ends
// the execution, continues it as a new one, or waits. It reports whether the
// execution is done.
func (r *releaser) settle(ctx workflow.Context, next chain.Next) (done bool, err error) {
	r.sender.send(func() []managed.Notice { return r.known.Outbox }, r.known.Sent)
	workflow.SetCurrentDetails(ctx, r.known.Details(next, pagesOf(ctx)))
	held, err := r.writeHeld(ctx, next)
	if err != nil {
		return false, err
	}
	if err := upsert(ctx, chain.Attributes(r.known.Root, next.Phase), held); err != nil {
		return false, err
	}
	if !next.Finish && (!fullHistory(ctx) || r.triggering > 0) {
		return false, r.wait(ctx, next)
	}
	if next.Finish && !r.signaled {
		r.signaled = true
		in := waitingFor(r.known.Root)
		in.Chain, in.Stacks = true, r.known.Unreached()
		signalEnd(ctx, in.Run, *findWaiting(ctx, in))
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
	}
	// Nothing yields after finish, so no news is left behind.
	if err := r.finish(ctx, next.Finish); err != nil || r.hasNews() {
		return false, err
	}
	if next.Finish {
		return true, nil
	}
	return false, workflow.NewContinueAsNewError(ctx, Chain, chain.Input{Root: r.known.Root, Known: &r.known})
}

// writeHeld writes the memo that lists read, if the chain is held and the memo says
// something else. It reports whether it did.
func (r *releaser) writeHeld(ctx workflow.Context, next chain.Next) (bool, error) {
	if next.Phase != chain.PhaseHeld {
		return false, nil
	}
	want := r.known.WhyHeld(next)
	if !want.Differs(memoOf[chain.Held](ctx, chain.HeldMemo)) {
		return false, nil
	}
	return true, workflow.UpsertMemo(ctx, map[string]any{chain.HeldMemo: want})
}

// releaser is an execution of Chain at work.
type releaser struct {
	known      chain.Chain
	news       workflow.ReceiveChannel
	changed    bool // something happened that may change what to do
	triggering int  // followers that are being triggered
	signaled   bool // what waits for the end of the chain knows of it
	sender     sender
	log        log.Logger

	triggers     workflow.Context // that followers are triggered under
	stopTriggers workflow.CancelFunc
}

// maxParallel bounds the followers that are triggered, and the runs that are read,
// at the same time.
const maxParallel = 10

func newReleaser(ctx workflow.Context, in chain.Input) (*releaser, error) {
	if err := in.Root.Validate(); err != nil {
		return nil, temporal.NewNonRetryableApplicationError(fmt.Sprintf("release the stacks that follow run %s: %v", in.Root, err), managed.ErrTypeImpossibleRun, err)
	}
	r := &releaser{
		known: chain.New(in.Root, workflow.GetInfo(ctx).WorkflowStartTime.UTC()),
		news:  workflow.GetSignalChannel(ctx, chain.NewsSignal),
		log:   workflow.GetLogger(ctx),

		sender: newSender(ctx),
	}
	r.known.MovedAt = workflow.Now(ctx).UTC()
	r.known.Commit = decide.Fit(in.Commit, decide.MaxName)
	r.known.Listed, r.known.Followers = in.Listed, in.Followers
	r.known.TriggeredBy, r.known.Notify = managed.Bounded(managed.Distinct(in.TriggeredBy)), in.Notify
	if in.Known != nil {
		r.known, *in.Known = *in.Known, chain.Chain{} // the SDK keeps the input
	}
	r.triggers, r.stopTriggers = workflow.WithCancel(ctx)
	return r, r.listen(ctx)
}

// listen registers the queries and updates.
func (r *releaser) listen(ctx workflow.Context) error {
	err := workflow.SetQueryHandler(ctx, chain.Query, func() (chain.Status, error) {
		return r.known.Status(workflow.Now(ctx).UTC()), nil
	})
	if err != nil {
		return fmt.Errorf("answer %s: %w", chain.Query, err)
	}
	err = workflow.SetQueryHandler(ctx, chain.PlaceQuery, func(asked chain.PlaceQuestion) (chain.Place, error) {
		return r.known.Place(asked.Run, asked.Commit), nil
	})
	if err != nil {
		return fmt.Errorf("answer %s: %w", chain.PlaceQuery, err)
	}
	err = workflow.SetUpdateHandlerWithOptions(ctx, chain.SkipUpdate, r.skip, workflow.UpdateHandlerOptions{
		Validator: func(wish chain.Skip) error { return asError(r.known.RefuseSkip(wish)) },
	})
	if err != nil {
		return fmt.Errorf("take %s: %w", chain.SkipUpdate, err)
	}
	err = workflow.SetUpdateHandlerWithOptions(ctx, chain.StopUpdate, r.stop, workflow.UpdateHandlerOptions{
		Validator: func(wish chain.Stop) error { return asError(r.known.RefuseStop(wish)) },
	})
	if err != nil {
		return fmt.Errorf("take %s: %w", chain.StopUpdate, err)
	}
	return nil
}

// skip lets the chain continue as if a stack's run had finished. Nothing yields
// between its validator and this.
func (r *releaser) skip(ctx workflow.Context, wish chain.Skip) (chain.Status, error) {
	now := workflow.Now(ctx).UTC()
	if r.known.Keys.Remember(wish.Key, wish.Content()) {
		r.known.Skip(now, wish)
		r.changed = true
	}
	return r.known.Status(now), nil
}

// stop ends the chain.
func (r *releaser) stop(ctx workflow.Context, wish chain.Stop) (chain.Status, error) {
	now := workflow.Now(ctx).UTC()
	if r.known.Keys.Remember(wish.Key, wish.Content()) {
		r.known.Stop(now, wish)
		r.changed = true
	}
	return r.known.Status(now), nil
}

// takeNews takes everything that has come in.
func (r *releaser) takeNews(ctx workflow.Context) {
	r.changed = false
	for waiting := r.news.Len(); waiting > 0; waiting = r.news.Len() {
		var news chain.News // fresh each time: decoding leaves absent fields alone
		if r.news.ReceiveAsync(&news) {
			r.known.Take(workflow.Now(ctx).UTC(), news)
		}
	}
}

// hasNews reports whether something came in that may change what to do.
func (r *releaser) hasNews() bool { return r.news.Len() > 0 || r.changed }

func (r *releaser) decide(ctx workflow.Context) chain.Next {
	now := workflow.Now(ctx).UTC()
	n := chain.Decide(&r.known, now)
	if r.known.Apply(now, n) {
		r.log.Info("chain", "root", r.known.Root.String(), "phase", n.Phase, "reason", n.Reason)
	}
	return n
}

// carryOut carries out the decision, and reports whether it was more than to wait.
func (r *releaser) carryOut(ctx workflow.Context, n chain.Next) (acted bool, err error) {
	switch {
	case len(n.Read) > 0:
		err = r.readRuns(ctx, n.Read[:min(len(n.Read), maxParallel)])
	case len(n.Newer) > 0:
		err = r.findNewer(ctx, n.Newer[0])
	case n.Graph:
		err = r.readGraph(ctx)
	case len(n.Trigger) > 0 && r.triggering < maxParallel && !fullHistory(ctx):
		r.trigger(ctx, n.Trigger[0])
	default:
		return false, nil
	}
	return true, err
}

// readRuns reads runs. It returns an error only when the execution is canceled.
func (r *releaser) readRuns(ctx workflow.Context, refs []spacelift.RunRef) error {
	var a *activities.Activities
	answers := make([]workflow.Future, len(refs))
	for i, ref := range refs {
		answers[i] = workflow.ExecuteLocalActivity(summarized(withQuickCall(ctx), string(ref.Stack)), a.ReadRun, ref)
	}
	for i, ref := range refs {
		var run spacelift.Run
		err := answers[i].Get(ctx, &run)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			r.known.RecordUnread(workflow.Now(ctx).UTC(), ref, notFound(err))
			continue
		}
		r.known.Observe(workflow.Now(ctx).UTC(), run)
	}
	return nil
}

// findNewer reads a run that holds up the chain, and whether a newer run took its
// place without a signal. It returns an error only when the execution is canceled.
func (r *releaser) findNewer(ctx workflow.Context, ref spacelift.RunRef) error {
	var a *activities.Activities
	var found activities.Successor
	err := workflow.ExecuteLocalActivity(summarized(withQuickCall(ctx), string(ref.Stack)), a.ReadSuccessor, ref).Get(ctx, &found)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	now := workflow.Now(ctx).UTC()
	if err != nil {
		r.known.RecordUnread(now, ref, notFound(err))
		return nil
	}
	r.known.Observe(now, found.Run)
	if found.Newer.Run != "" {
		r.known.RecordNewer(now, found.Newer)
	}
	return nil
}

// readGraph reads the stacks that follow. It returns an error only when the execution is
// canceled.
func (r *releaser) readGraph(ctx workflow.Context) error {
	var a *activities.Activities
	var graph chain.Graph
	root := r.known.Root
	err := workflow.ExecuteLocalActivity(withOneTry(ctx), a.ReadChain, activities.ReadChainInput{
		Account: root.Account, Root: root.Stack, Since: r.known.Listed, Followers: r.known.KnownFollowers(),
	}).Get(ctx, &graph)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	now := workflow.Now(ctx).UTC()
	if err != nil {
		r.known.RecordNoGraph(now, because(err))
		return nil
	}
	r.known.TakeGraph(now, graph)
	if packed := r.known.PackedStacks(); !slices.Equal(packed, memoOf[[]byte](ctx, chain.StacksMemo)) {
		return workflow.UpsertMemo(ctx, map[string]any{chain.StacksMemo: packed})
	}
	return nil
}

// trigger begins to trigger a run of a follower, and doesn't wait for it: the
// other followers continue.
func (r *releaser) trigger(ctx workflow.Context, i int) {
	released, node := r.known.ReleaseOf(i), &r.known.Nodes[i]
	node.Releasing = true
	r.triggering++
	stack := node.Stack
	in := activities.TriggerFollowerInput{
		Account: r.known.Root.Account, Stack: stack, After: released.After, Labels: node.Labels,
		Begun: released.Begun, Commit: r.known.Commit, Ended: released.Ended, Applied: released.Applied, Void: released.Void,
		OpenWork: openWork(r.known.Root.Account),
	}
	workflow.Go(ctx, func(ctx workflow.Context) {
		defer func() { r.triggering--; r.changed = true }()
		var a *activities.Activities
		var result activities.TriggerFollowerResult
		err := workflow.ExecuteActivity(summarized(withSpaceliftCall(r.triggers), string(stack)), a.TriggerFollower, in).Get(ctx, &result)
		now := workflow.Now(ctx).UTC()
		switch {
		case err != nil:
			r.known.RecordFailure(now, stack, because(err))
		case result.Outcome == activities.FollowHeld:
			r.known.RecordFailure(now, stack, result.Reason)
			r.known.TryAfter(stack, result.Of.Stack)
		case result.Outcome == activities.FollowWaits:
			r.known.RecordWait(now, stack, result.Reason)
			r.known.TryAfter(stack, result.Of.Stack)
		case result.Outcome == activities.FollowRelabelled:
			r.known.RecordRelabeled(now, stack, result.Reason)
		default:
			run := r.known.Ref(stack, result.Run.Run)
			r.known.RecordTriggered(now, run, howTriggered(result), result.Keeps)
			r.manage(ctx, run)
		}
	})
}

func howTriggered(result activities.TriggerFollowerResult) string {
	if result.Outcome == activities.FollowAdopted {
		return result.Reason
	}
	return "Gantry triggered run " + string(result.Run.Run)
}

// manage has a run of the chain managed as one: it starts the run's execution, or
// signals it if the first notification was faster. If that fails, the chain reads
// the run to learn of its end.
func (r *releaser) manage(ctx workflow.Context, ref spacelift.RunRef) {
	n := r.known.Node(ref.Stack)
	in := managed.ManageRunInput{Run: ref, Chains: []managed.ChainRef{{Root: r.known.Root, After: r.known.Parents(n), TriggeredBy: r.known.Triggerers(n)}}}
	run, err := fetchRun(ctx, ref, string(ref.Stack))
	if err == nil {
		now := workflow.Now(ctx).UTC()
		r.known.Observe(now, run)
		in.Events = managed.FromRead(run, now)
	}
	news := managed.RunEvents{Chains: in.Chains}
	if run.State.Terminal() { // no later notification replaces those of the end
		news.Events = in.Events
	}
	startOrSignal(ctx, in, news)
}

// wait returns when there is something new to decide.
func (r *releaser) wait(ctx workflow.Context, n chain.Next) error {
	if n.Until.IsZero() {
		return await(ctx, r.hasNews)
	}
	_, err := awaitFor(ctx, n.Until.Sub(workflow.Now(ctx)), r.known.Headline(n), r.hasNews)
	return err
}

// finish waits until all updates have returned and no follower is being triggered;
// at the end of the chain it stops triggering. Messages that are being sent get
// closingWait to arrive.
func (r *releaser) finish(ctx workflow.Context, end bool) error {
	if end {
		r.stopTriggers()
	}
	if r.sender.busy() {
		if _, err := awaitFor(ctx, closingWait, waitForMessages, func() bool { return !r.sender.busy() || !end && r.hasNews() }); err != nil {
			return err
		}
	}
	if !end && !r.hasNews() { // the next execution sends what has not arrived
		if err := r.sender.callOff(ctx); err != nil {
			return err
		}
	}
	return await(ctx, func() bool { return r.triggering == 0 && workflow.AllHandlersFinished(ctx) })
}
