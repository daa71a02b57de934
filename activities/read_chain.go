package activities

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// ReadChainInput asks which stacks follow one, directly or not.
type ReadChainInput struct {
	Account spacelift.Account `json:"account"`
	Root    spacelift.StackID `json:"root"`
	Brief   bool              `json:"brief,omitempty"` // how many follow, and which are refused, is enough
}

// ChainGraph is what follows a stack, by the labels of all managed stacks as
// they are now.
type ChainGraph struct {
	// Stacks follow the root, directly or not, parents before those that follow
	// them. A brief graph has none.
	Stacks []ChainStack `json:"stacks,omitempty"`

	// Size is how many stacks follow, those that are refused left out.
	Size int `json:"size,omitempty"`

	// Refused are stacks that follow and are not released.
	Refused []ChainRefusal `json:"refused,omitempty"`

	// Notify are the channels of the root's stack.
	Notify []string `json:"notify,omitempty"`
}

// ChainStack is a stack that follows others.
type ChainStack struct {
	Stack spacelift.StackID `json:"stack"`

	// After are the stacks of the same chain that it follows, ascending: 0 is the
	// root and n the nth of ChainGraph.Stacks. Ids would make a graph of thousands
	// of labels too long for a history. Stacks outside the chain are not waited
	// for.
	After []int `json:"after"`

	// Labels is a fingerprint of all that the stack follows, outside the chain
	// too.
	Labels string `json:"labels"`

	Notify []string `json:"notify,omitempty"` // its channels
}

// ChainRefusal says why stacks are not released.
type ChainRefusal struct {
	Stacks []spacelift.StackID `json:"stacks"`         // sorted; the first of them, if there are many
	More   int                 `json:"more,omitempty"` // how many are left out
	Reason string              `json:"reason"`         // goes on with the sentence "… is not released: "
}

// Bounds of one chain: its state travels in histories. With ids of the greatest
// length all of it stays below Temporal's 2 MB.
const (
	MaxChainStacks = 1000
	MaxChainEdges  = 5000

	// maxRefusals bounds the refusals of one chain, and maxNamed the stacks that
	// one of them names.
	maxRefusals = 10
	maxNamed    = 20
)

// ReadChain reads which managed stacks follow a stack. What their other labels
// say, and whether those can be read, is looked at when it is their turn.
func (a *Activities) ReadChain(ctx context.Context, in ReadChainInput) (ChainGraph, error) {
	all, err := a.follows(ctx, in.Account)
	if err != nil {
		return ChainGraph{}, err
	}
	graph := below(in.Root, all)
	if in.Brief {
		graph.Stacks = nil
	}
	return graph, nil
}

// parentsOf are the stacks that a stack follows, by its policy, without itself.
func parentsOf(stack spacelift.StackID, after []string) []spacelift.StackID {
	var parents []spacelift.StackID
	for _, parent := range after {
		if parent != string(stack) {
			parents = append(parents, spacelift.StackID(parent))
		}
	}
	slices.Sort(parents)
	return slices.Compact(parents)
}

// fingerprint tells lists of stacks apart.
func fingerprint(stacks []spacelift.StackID) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", stacks))
	return hex.EncodeToString(sum[:8])
}

// followedBy turns "follows" around: for each stack, those that follow it,
// sorted.
func followedBy(all map[spacelift.StackID]following) map[spacelift.StackID][]spacelift.StackID {
	by := map[spacelift.StackID][]spacelift.StackID{}
	for stack, f := range all {
		for _, p := range f.After {
			by[p] = append(by[p], stack)
		}
	}
	for _, followers := range by {
		slices.Sort(followers)
	}
	return by
}

// below finds what follows the root. Stacks on a circle, and those behind it,
// are refused: nothing can say which of them goes first. All others are released
// as if those were not there.
func below(root spacelift.StackID, all map[spacelift.StackID]following) ChainGraph {
	by := followedBy(all)
	reached := reach(by, root)
	waits := map[spacelift.StackID]int{} // for so many stacks of the chain
	for s := range reached {
		for _, p := range all[s].After {
			if reached[p] {
				waits[s]++
			}
		}
	}
	graph := ChainGraph{Notify: all[root].Notify}
	place := map[spacelift.StackID]int{}
	ready := []spacelift.StackID{root}
	if waits[root] > 0 {
		ready = nil
	}
	var tooMany []spacelift.StackID
	left := map[spacelift.StackID]bool{} // the same
	edges := 0
	for len(ready) > 0 {
		s := ready[0]
		ready = ready[1:]
		for _, f := range by[s] {
			if waits[f]--; waits[f] == 0 {
				ready = append(ready, f)
			}
		}
		delete(reached, s)
		if s == root {
			place[s] = 0
			continue
		}
		stack := ChainStack{Stack: s, Labels: fingerprint(all[s].After), Notify: all[s].Notify}
		whole := true
		for _, p := range all[s].After {
			at, known := place[p]
			switch {
			case known:
				stack.After = append(stack.After, at)
			case left[p]:
				whole = false
			}
		}
		if !whole || len(graph.Stacks) == MaxChainStacks || edges+len(stack.After) > MaxChainEdges {
			tooMany, left[s] = append(tooMany, s), true
			continue
		}
		slices.Sort(stack.After)
		edges += len(stack.After)
		graph.Stacks = append(graph.Stacks, stack)
		place[s] = len(graph.Stacks)
	}
	graph.Size = len(graph.Stacks)
	graph.refuseCircles(reached, all, by)
	graph.refuse(tooMany, fmt.Sprintf("a chain holds at most %d stacks that follow each other by at most %d labels; split it, or let fewer stacks follow", MaxChainStacks, MaxChainEdges))
	return graph
}

// reach finds a stack and all that follow it, directly or not.
func reach(by map[spacelift.StackID][]spacelift.StackID, root spacelift.StackID) map[spacelift.StackID]bool {
	reached := map[spacelift.StackID]bool{root: true}
	for next := []spacelift.StackID{root}; len(next) > 0; next = next[1:] {
		for _, f := range by[next[0]] {
			if !reached[f] {
				reached[f] = true
				next = append(next, f)
			}
		}
	}
	return reached
}

// refuseCircles refuses stacks that are on a circle or behind one: each of them
// follows another of them.
func (g *ChainGraph) refuseCircles(left map[spacelift.StackID]bool, all map[spacelift.StackID]following, by map[spacelift.StackID][]spacelift.StackID) {
	for len(left) > 0 {
		circle := circleIn(left, all)
		var stacks []spacelift.StackID
		for s := range reach(by, circle[0]) {
			if left[s] {
				stacks = append(stacks, s)
				delete(left, s)
			}
		}
		g.refuse(stacks, "the labels lead in a circle: "+arrows(circle))
	}
}

// circleIn finds a circle among stacks that each follow another of them, as a
// path that ends where it begins.
func circleIn(left map[spacelift.StackID]bool, all map[spacelift.StackID]following) []spacelift.StackID {
	at := spacelift.StackID("")
	for s := range left {
		if at == "" || s < at {
			at = s
		}
	}
	var path []spacelift.StackID // each follows the next
	for {
		if i := slices.Index(path, at); i >= 0 {
			path = path[i:]
			break
		}
		path = append(path, at)
		next := slices.IndexFunc(all[at].After, func(p spacelift.StackID) bool { return left[p] })
		at = all[at].After[next]
	}
	slices.Reverse(path)
	first := slices.Index(path, slices.Min(path))
	path = append(slices.Clone(path[first:]), path[:first]...)
	return append(path, path[0])
}

// refuse notes that stacks are not released. Beyond maxRefusals they add up.
func (g *ChainGraph) refuse(stacks []spacelift.StackID, reason string) {
	if len(stacks) == 0 {
		return
	}
	if len(g.Refused) == maxRefusals {
		last := &g.Refused[maxRefusals-1]
		last.More += len(stacks)
		last.Reason = "the labels lead in more circles than Gantry names"
		return
	}
	slices.Sort(stacks)
	named := slices.Clone(stacks[:min(len(stacks), maxNamed)])
	g.Refused = append(g.Refused, ChainRefusal{Stacks: named, More: len(stacks) - len(named), Reason: reason})
}

// arrows writes a way through stacks. Of a long one the middle is left out.
func arrows(stacks []spacelift.StackID) string {
	words := make([]string, len(stacks))
	for i, s := range stacks {
		words[i] = string(s)
	}
	if len(words) > maxNamed {
		words = slices.Concat(words[:maxNamed-2], []string{fmt.Sprintf("%d more", len(words)-maxNamed+1)}, words[len(words)-1:])
	}
	return strings.Join(words, " → ")
}

// whyNotTriggered says why Gantry triggers no run of a stack, by how the stack is
// now; empty if nothing speaks against it. A brake of Spacelift's is named beside.
func (a *Activities) whyNotTriggered(ctx context.Context, account spacelift.Account, s spacelift.Stack) (why string, block *managed.Block) {
	policy := a.Rules.Resolve(s.Labels).Of(s.ID)
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
