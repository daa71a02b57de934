package activities

import (
	"context"
	"time"

	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/spacelift"
)

// ReadChainInput names a stack whose followers to read, direct or not.
type ReadChainInput struct {
	Account spacelift.Account `json:"account"`
	Root    spacelift.StackID `json:"root"`
	Brief   bool              `json:"brief,omitempty"` // the number of followers, and those that are refused, are enough

	// Since is the time at which Spacelift was asked for a list that is known. An older
	// one, of another replica, doesn't count.
	Since time.Time `json:"since,omitzero"`

	// Followers are stacks that are known to follow, directly or not. A list without one
	// of them counts only if it was read after the call began: the clock of the replica
	// that read it may be ahead, so that an old list seems to be as new as Since.
	Followers []spacelift.StackID `json:"followers,omitempty"`
}

// ReadChain reads which managed stacks follow a stack. Their other labels are read
// when their turn comes.
func (a *Activities) ReadChain(ctx context.Context, in ReadChainInput) (chain.Graph, error) {
	began := a.now()
	all, at, err := a.follows(ctx, in.Account, in.Since)
	if err == nil && at.Before(began) && !chain.AllFollow(all, in.Root, in.Followers) {
		all, at, err = a.follows(ctx, in.Account, began)
	}
	if err != nil {
		return chain.Graph{}, err
	}
	graph := chain.GraphOf(in.Root, all)
	graph.At = at
	if in.Brief {
		graph.Stacks = nil
	}
	return graph, nil
}
