package activities

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// FindWaitingInput names a run that has ended, or that began a chain that has.
type FindWaitingInput struct {
	Run spacelift.RunRef `json:"run"`

	// Chain says that the chain has ended, and Stacks are those that it didn't reach.
	Chain  bool                `json:"chain,omitempty"`
	Stacks []spacelift.StackID `json:"stacks,omitempty"`

	Chains FindChainsInput `json:"chains"` // the open chains; see FindChains
}

// Waiting lists executions that wait for the end of a run or a chain, by their
// workflow ids.
type Waiting struct {
	Runs   []string `json:"runs,omitempty"`
	Chains []string `json:"chains,omitempty"`
}

// maxWaiting bounds the runs that are signaled. Others read what they wait for after a
// time.
const maxWaiting = 1000

// FindWaiting finds the open executions that wait for the end of a run or a chain: runs
// that wait for other stacks or for another run of their own, and chains that wait for
// something outside of them. It misses those that the visibility store does not list yet.
func (a *Activities) FindWaiting(ctx context.Context, in FindWaitingInput) (Waiting, error) {
	stacks, known := in.Stacks, true
	var by map[spacelift.StackID][]spacelift.StackID
	if !in.Chain {
		by = a.knownFollowers(in.Run.Account)
		stacks, known = stacksBehind(by, in.Run.Stack)
		in.Chains.Among = stacks
	}
	found, err := a.waitingRuns(ctx, in.Run, stacks, known)
	if by != nil {
		found = nearest(found, by, in.Run.Stack)
	}
	if err != nil || known && len(stacks) == 0 && !in.Chain {
		return Waiting{Runs: found}, err
	}
	ctx, cancel := context.WithTimeout(ctx, chainsTimeout)
	defer cancel()
	in.Chains.Run = in.Run
	chains, err := a.FindChains(ctx, in.Chains)
	return Waiting{Runs: found, Chains: chains.Listening}, err
}

// End is a run that may have ended.
type End struct {
	Run     spacelift.Run `json:"run"`
	Waiting *Waiting      `json:"waiting,omitempty"` // for its end; nil if it has not ended, or that is not known
}

// waitingPatience bounds the search for what waits, for a caller that wants the run most.
const waitingPatience = time.Second

// ReadEnd reads a run that may have ended and, if it has, finds what waits for that.
func (a *Activities) ReadEnd(ctx context.Context, in FindWaitingInput) (End, error) {
	run, err := a.ReadRun(ctx, in.Run)
	if err != nil || !run.State.Terminal() {
		return End{Run: run}, err
	}
	ctx, cancel := context.WithTimeout(ctx, waitingPatience)
	defer cancel()
	waiting, err := a.FindWaiting(ctx, in)
	if err != nil {
		return End{Run: run}, nil // the workflow searches again
	}
	return End{Run: run, Waiting: &waiting}, nil
}

// knownFollowers returns who follows each stack of an account, if this replica knows it by a
// list that is not old: the few calls for the list are for those that must know.
func (a *Activities) knownFollowers(account spacelift.Account) map[spacelift.StackID][]spacelift.StackID {
	graph := a.graphs.known(account)
	if a.now().Sub(graph.at) >= nobodyGood {
		return nil
	}
	return graph.by
}

// maxBehind bounds the stacks by which runs and chains are chosen.
const maxBehind = 100

// stacksBehind returns the stacks that follow one, directly or not: what waits for its run is of
// one of them. !few: they are many, or not known.
func stacksBehind(by map[spacelift.StackID][]spacelift.StackID, stack spacelift.StackID) (stacks []spacelift.StackID, few bool) {
	all := chain.Reach(by, stack)
	delete(all, stack)
	if by == nil || len(all) > maxBehind {
		return nil, false
	}
	return slices.Sorted(maps.Keys(all)), true
}

// nearest returns those of the runs that wait for a run of a stack: of the stack itself, and
// on each way behind it the first that has any. Others wait for these.
func nearest(ids []string, by map[spacelift.StackID][]spacelift.StackID, stack spacelift.StackID) []string {
	waiting := map[spacelift.StackID]bool{}
	for _, id := range ids {
		waiting[stackOf(id)] = true
	}
	open := map[spacelift.StackID][]spacelift.StackID{} // the ways without the stacks that have one
	for from, followers := range by {
		if from == stack || !waiting[from] {
			open[from] = followers
		}
	}
	reached := chain.Reach(open, stack)
	return slices.DeleteFunc(ids, func(id string) bool { return !reached[stackOf(id)] })
}

// stackOf returns the stack of a run by the workflow id of its execution.
func stackOf(id string) spacelift.StackID {
	run, _ := managed.ParseRunID(id) // only such ids are listed
	return run.Stack
}

// waitingRuns lists the runs that wait for another run: those of its stack and of some
// others, or of all stacks while these are not known. It leaves out the run that ended.
func (a *Activities) waitingRuns(ctx context.Context, ended spacelift.RunRef, others []spacelift.StackID, known bool) (ids []string, err error) {
	in := SignalInput{
		// An account's name holds no quote: see spacelift.ValidateAccount.
		Query: fmt.Sprintf("WorkflowType = '%s' AND %s = '%s' AND %s IN ('%s', '%s', '%s') AND ExecutionStatus = 'Running'", managed.ManageRunType,
			managed.AttrAccount, ended.Account, managed.AttrPhase, managed.PhaseHolding, managed.PhaseRetrying, managed.PhaseDone),
		Stack: managed.AttrStack,
	}
	if known {
		in.Stacks = append(in.Stacks, string(ended.Stack))
		for _, s := range others {
			in.Stacks = append(in.Stacks, string(s))
		}
	}
	for _, query := range in.queries() {
		found, _, err := a.executions(ctx, query, maxWaiting-len(ids), managed.AttrPhase)
		if err != nil {
			return nil, err
		}
		for _, e := range found {
			if run, err := managed.ParseRunID(e.ID); err == nil && run != ended && e.waitsForOthers() {
				ids = append(ids, e.ID)
			}
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(ids))), nil
}

// waitsForOthers reports whether a run waits for stacks that go first, or for another
// run of its stack, as far as it is listed. A run that has ended, and is open all the
// same, may wait for a chain.
func (e execution) waitsForOthers() bool {
	if e.Values[0] == string(managed.PhaseDone) {
		return true
	}
	listed, _ := memoOf[managed.Listed](e, managed.ListedMemo)
	if listed.Wait == nil {
		return false
	}
	what := listed.Wait.For.What
	return what == managed.WaitChain || what == managed.WaitStack
}
