package activities

import (
	"context"

	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/spacelift"
)

// ReadChainInput asks which stacks follow one, directly or not.
type ReadChainInput struct {
	Account spacelift.Account `json:"account"`
	Root    spacelift.StackID `json:"root"`
	Brief   bool              `json:"brief,omitempty"` // how many follow, and which are refused, is enough
}

// ReadChain reads which managed stacks follow a stack. What their other labels
// say, and whether those can be read, is looked at when it is their turn.
func (a *Activities) ReadChain(ctx context.Context, in ReadChainInput) (chain.Graph, error) {
	all, err := a.follows(ctx, in.Account)
	if err != nil {
		return chain.Graph{}, err
	}
	graph := chain.GraphOf(in.Root, all)
	if in.Brief {
		graph.Stacks = nil
	}
	return graph, nil
}
