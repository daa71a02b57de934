package activities

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/gantryhq/gantry/spacelift"
)

// ReadChainInput asks which stacks follow one, directly or not.
type ReadChainInput struct {
	Account spacelift.Account `json:"account"`
	Root    spacelift.StackID `json:"root"`
}

// ChainGraph is what follows a stack, by the labels of all managed stacks as
// they are now.
type ChainGraph struct {
	// Stacks are those that follow the root, directly or not, parents before
	// those that follow them. It is empty with a Cycle.
	Stacks []ChainStack `json:"stacks,omitempty"`

	// Cycle is a path that leads back to where it begins: nothing can say which
	// of its stacks goes first.
	Cycle []spacelift.StackID `json:"cycle,omitempty"`

	// Partial says that there are more: more follow the root than one chain may
	// hold.
	Partial bool `json:"partial,omitempty"`
}

// ChainStack is a stack that follows others.
type ChainStack struct {
	Stack spacelift.StackID   `json:"stack"`
	After []spacelift.StackID `json:"after"` // of the same chain, sorted; stacks outside it are not waited for
}

// maxChain bounds the stacks of one chain: its state travels in histories.
const maxChain = 500

// ReadChain reads which managed stacks follow a stack. What their other labels
// say, and whether those can be read, is looked at when it is their turn.
func (a *Activities) ReadChain(ctx context.Context, in ReadChainInput) (ChainGraph, error) {
	after, err := a.follows(ctx, in.Account)
	if err != nil {
		return ChainGraph{}, err
	}
	return below(in.Root, after), nil
}

// followedBy turns "follows" around: for each stack, those that follow it,
// sorted.
func followedBy(after map[spacelift.StackID][]spacelift.StackID) map[spacelift.StackID][]spacelift.StackID {
	by := map[spacelift.StackID][]spacelift.StackID{}
	for stack, parents := range after {
		for _, p := range parents {
			by[p] = append(by[p], stack)
		}
	}
	for _, followers := range by {
		slices.Sort(followers)
	}
	return by
}

// below finds what follows the root.
func below(root spacelift.StackID, after map[spacelift.StackID][]spacelift.StackID) ChainGraph {
	by := followedBy(after)
	reached := map[spacelift.StackID]bool{root: true}
	var path, order []spacelift.StackID // order: followers before what they follow
	done := map[spacelift.StackID]bool{}
	var cycle []spacelift.StackID
	var visit func(spacelift.StackID)
	visit = func(s spacelift.StackID) {
		if i := slices.Index(path, s); i >= 0 {
			cycle = append(slices.Clone(path[i:]), s)
			return
		}
		if done[s] {
			return
		}
		path = append(path, s)
		reached[s] = true
		for _, f := range by[s] {
			if visit(f); cycle != nil {
				return
			}
		}
		path = path[:len(path)-1]
		done[s] = true
		order = append(order, s)
	}
	if visit(root); cycle != nil {
		return ChainGraph{Cycle: cycle}
	}
	var graph ChainGraph
	for _, s := range slices.Backward(order) {
		if s == root {
			continue
		}
		if len(graph.Stacks) == maxChain {
			graph.Partial = true
			break
		}
		parents := slices.DeleteFunc(slices.Clone(after[s]), func(p spacelift.StackID) bool { return !reached[p] })
		slices.Sort(parents)
		graph.Stacks = append(graph.Stacks, ChainStack{Stack: s, After: slices.Compact(parents)})
	}
	return graph
}

// whyNotTriggered says why a stack is not triggered as a follower of others, by
// how it is now; empty if nothing speaks against it.
func (a *Activities) whyNotTriggered(s spacelift.Stack, after []spacelift.StackID) string {
	policy := a.Rules.Resolve(s.Labels)
	switch {
	case !spacelift.Managed(s.Labels):
		return fmt.Sprintf("the stack %s no longer carries %s", s.ID, spacelift.LabelManaged)
	case len(policy.Problems) > 0:
		p := policy.Problems[0]
		return fmt.Sprintf("the label %s of the stack %s can't be followed: %s; %s", p.Label, s.ID, p.Problem, p.Remedy)
	}
	var gone []string
	for _, parent := range after {
		if !slices.Contains(policy.After.Value, string(parent)) {
			gone = append(gone, string(parent))
		}
	}
	if len(gone) > 0 {
		return fmt.Sprintf("the stack %s no longer follows %s", s.ID, strings.Join(gone, " and "))
	}
	return ""
}
