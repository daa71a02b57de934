package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/api/serviceerror"
	"golang.org/x/sync/errgroup"

	"github.com/gantryhq/gantry/spacelift"
)

// FindChainsInput asks which chains a run is part of.
type FindChainsInput struct {
	Run   spacelift.RunRef `json:"run"`
	List  string           `json:"list"`  // the chains to ask, https://docs.temporal.io/list-filter
	Query string           `json:"query"` // what to ask each
	Limit int              `json:"limit"` // chains at most, the newest
}

// FoundChains are the chains that released a run.
type FoundChains struct {
	Chains   []FoundChain `json:"chains,omitempty"`
	Complete bool         `json:"complete"` // false: there were more than the limit, or some did not answer in time
}

// FoundChain is a chain, and where a run stands in it.
type FoundChain struct {
	Root  spacelift.RunRef    `json:"root"`
	After []spacelift.StackID `json:"after,omitempty"`
}

// chainsAnswer is how long chains have for their answers, all together: a retry
// waits for them.
const chainsAnswer = 8 * time.Second

// FindChains asks chains whether they released a run. Those that do not answer
// are left out; those that ended meanwhile need no news.
func (a *Activities) FindChains(ctx context.Context, in FindChainsInput) (FoundChains, error) {
	ctx, cancel := context.WithTimeout(ctx, chainsAnswer)
	defer cancel()
	listed, err := a.ListExecutions(ctx, ExecutionsInput{Query: in.List, Limit: in.Limit})
	if err != nil {
		return FoundChains{}, err
	}
	answers, failed := make([]*FoundChain, len(listed.List)), make([]error, len(listed.List))
	var group errgroup.Group
	group.SetLimit(tellers)
	for i, e := range listed.List {
		group.Go(func() error {
			answers[i], failed[i] = a.placeIn(ctx, e.ID, in)
			return nil
		})
	}
	_ = group.Wait() // each keeps its own error
	found := FoundChains{Complete: listed.Complete && errors.Join(failed...) == nil}
	for _, c := range answers {
		if c != nil {
			found.Chains = append(found.Chains, *c)
		}
	}
	return found, nil
}

// placeIn asks a chain where a run stands in it; nil if it did not release it.
func (a *Activities) placeIn(ctx context.Context, chain string, in FindChainsInput) (*FoundChain, error) {
	answer, err := a.Temporal.QueryWorkflow(ctx, chain, "", in.Query)
	if _, gone := errors.AsType[*serviceerror.NotFound](err); gone {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", chain, err)
	}
	var status struct { // the part of the answer that matters here
		Root  spacelift.RunRef `json:"root"`
		Nodes []struct {
			Stack spacelift.StackID   `json:"stack"`
			After []spacelift.StackID `json:"after"`
			Runs  []spacelift.RunID   `json:"runs"`
		} `json:"nodes"`
	}
	if err := answer.Get(&status); err != nil {
		return nil, fmt.Errorf("ask %s: %w", chain, err)
	}
	for _, n := range status.Nodes {
		// What tries the root again begins a chain of its own.
		if n.Stack == in.Run.Stack && n.Stack != status.Root.Stack && slices.Contains(n.Runs, in.Run.Run) {
			return &FoundChain{Root: status.Root, After: n.After}, nil
		}
	}
	return nil, nil
}
