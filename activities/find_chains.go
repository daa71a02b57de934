package activities

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/activity"
	"golang.org/x/sync/errgroup"

	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/spacelift"
)

// FindChainsInput names a run and the open chains to ask for it.
type FindChainsInput struct {
	Run    spacelift.RunRef `json:"run"`
	Commit string           `json:"commit,omitempty"` // what it works on
	List   string           `json:"list"`             // the chains to ask, https://docs.temporal.io/list-filter
	Query  string           `json:"query"`            // takes a PlaceQuestion and answers with a Place
	Limit  int              `json:"limit"`            // chains at most, the newest

	// Among asks only the chains that may have one of these stacks, as far as they are
	// listed; empty: all. Each that is asked has to be replayed, unless a worker has room
	// for it, and one that can't answer holds up the run.
	Among []spacelift.StackID `json:"among,omitempty"`
}

// FoundChains lists the chains that a run is part of.
type FoundChains struct {
	Chains   []chain.Place `json:"chains,omitempty"`
	Complete bool          `json:"complete"`         // false: there were more than the limit, or some did not answer in time
	Silent   int           `json:"silent,omitempty"` // how many did not answer

	// Listening are the workflow ids of chains that wait for the end of the run.
	Listening []string `json:"listening,omitempty"`
}

// chainsTimeout bounds the time for the answers of all chains: a retry waits for
// them.
const chainsTimeout = 8 * time.Second

// FindChains asks chains whether a run is part of them. It leaves out the one that asks,
// those that do not answer, and those that have ended, which need no news.
func (a *Activities) FindChains(ctx context.Context, in FindChainsInput) (FoundChains, error) {
	ctx, cancel := context.WithTimeout(ctx, chainsTimeout)
	defer cancel()
	listed, complete, err := a.executions(ctx, in.List, in.Limit)
	if err != nil {
		return FoundChains{}, err
	}
	answers, failed := make([]chain.Place, len(listed)), make([]error, len(listed))
	itself := callerOf(ctx)
	var group errgroup.Group
	group.SetLimit(parallelCalls)
	for i, e := range listed {
		if e.ID == itself || !in.mayHave(e) { // a local activity keeps the execution from answering
			continue
		}
		group.Go(func() error {
			answers[i], failed[i] = a.placeIn(ctx, e.ID, in)
			return nil
		})
	}
	_ = group.Wait() // each keeps its own error
	var found FoundChains
	for i, place := range answers {
		if failed[i] != nil {
			found.Silent++
		}
		if place.In {
			found.Chains = append(found.Chains, place)
		}
		if place.Listens {
			found.Listening = append(found.Listening, listed[i].ID)
		}
	}
	found.Complete = complete && found.Silent == 0
	return found, nil
}

// mayHave reports whether a chain may have one of the stacks, as it is listed.
func (in FindChainsInput) mayHave(e execution) bool {
	packed, ok := memoOf[[]byte](e, chain.StacksMemo)
	return len(in.Among) == 0 || !ok || slices.ContainsFunc(in.Among, func(s spacelift.StackID) bool { return chain.MayFollow(packed, s) })
}

// callerOf returns the workflow id of the execution that an activity works for; empty if
// there is none.
func callerOf(ctx context.Context) string {
	if !activity.IsActivity(ctx) {
		return ""
	}
	return activity.GetInfo(ctx).WorkflowExecution.ID
}

// placeIn asks a chain for the place of a run in it.
func (a *Activities) placeIn(ctx context.Context, id string, in FindChainsInput) (chain.Place, error) {
	place, _, err := query[chain.Place](ctx, a, id, "", in.Query, chain.PlaceQuestion{Run: in.Run, Commit: in.Commit})
	if err != nil {
		return chain.Place{}, fmt.Errorf("query %s: %w", id, err)
	}
	return place, nil
}
