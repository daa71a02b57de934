package activities

import (
	"context"
	"fmt"

	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
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

// whyNotTriggered says why Gantry triggers no run of a stack, by how the stack is
// now; empty if nothing speaks against it. A brake of Spacelift's is named beside.
func (a *Activities) whyNotTriggered(ctx context.Context, account spacelift.Account, s spacelift.Stack) (why string, block *managed.Block) {
	policy := a.Definitions.Resolve(s.Labels).Of(s.ID)
	switch {
	case !spacelift.Managed(s.Labels):
		return fmt.Sprintf("the stack %s no longer carries %s", s.ID, spacelift.LabelManaged), nil
	case len(policy.Problems) > 0:
		p := policy.Problems[0]
		return fmt.Sprintf("the label %s of the stack %s can't be followed: %s; %s", p.Label, s.ID, p.Problem, p.Remedy), nil
	}
	a.dropOwnLock(ctx, account, &s.Brakes)
	if block := s.StartBlock(); block != nil {
		return fmt.Sprintf("the stack %s is held: %s", s.ID, block.Reason), block
	}
	return "", nil
}
