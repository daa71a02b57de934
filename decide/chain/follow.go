package chain

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/gantryhq/gantry/spacelift"
)

// Following is the part of a managed stack's policy that chains need.
type Following struct {
	After  []spacelift.StackID // the stacks that it follows, sorted
	Notify []string            // its channels
}

// ParentsOf returns the stacks that a stack follows by its policy, without itself.
func ParentsOf(stack spacelift.StackID, after []string) []spacelift.StackID {
	var parents []spacelift.StackID
	for _, parent := range after {
		if parent != string(stack) {
			parents = append(parents, spacelift.StackID(parent))
		}
	}
	slices.Sort(parents)
	return slices.Compact(parents)
}

// LabelsFingerprint identifies a list of stacks.
func LabelsFingerprint(stacks []spacelift.StackID) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", stacks))
	return hex.EncodeToString(sum[:8])
}

// FollowedBy returns, for each stack, the stacks that follow it, sorted.
func FollowedBy(all map[spacelift.StackID]Following) map[spacelift.StackID][]spacelift.StackID {
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

// AllFollow reports whether all of some stacks follow the root, directly or not.
func AllFollow(all map[spacelift.StackID]Following, root spacelift.StackID, stacks []spacelift.StackID) bool {
	reached := Reach(FollowedBy(all), root)
	return !slices.ContainsFunc(stacks, func(s spacelift.StackID) bool { return !reached[s] })
}

// GraphOf finds the stacks that follow the root. Stacks on a circle, and those behind
// it, are excluded: none of them can go first. All others are released as if those
// were not there.
func GraphOf(root spacelift.StackID, all map[spacelift.StackID]Following) Graph {
	by := FollowedBy(all)
	reached := Reach(by, root)
	waits := waitsIn(reached, all)
	graph := Graph{Notify: all[root].Notify}
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
		stack := Follower{Stack: s, Labels: LabelsFingerprint(all[s].After), Notify: all[s].Notify}
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
		if !whole || len(graph.Stacks) == MaxStacks || edges+len(stack.After) > MaxEdges {
			tooMany, left[s] = append(tooMany, s), true
			continue
		}
		slices.Sort(stack.After)
		edges += len(stack.After)
		graph.Stacks = append(graph.Stacks, stack)
		place[s] = len(graph.Stacks)
	}
	graph.Size = len(graph.Stacks)
	graph.excludeCircles(reached, all, by)
	graph.exclude(tooMany, fmt.Sprintf("a chain holds at most %d stacks that follow each other by at most %d labels; split it, or let fewer stacks follow", MaxStacks, MaxEdges))
	return graph
}

// waitsIn counts, for each of some stacks, the others that it waits for.
func waitsIn(stacks map[spacelift.StackID]bool, all map[spacelift.StackID]Following) map[spacelift.StackID]int {
	waits := map[spacelift.StackID]int{}
	for s := range stacks {
		for _, p := range all[s].After {
			if stacks[p] {
				waits[s]++
			}
		}
	}
	return waits
}

// Reach returns a stack and all that follow it, directly or not, given the followers of
// each.
func Reach(by map[spacelift.StackID][]spacelift.StackID, root spacelift.StackID) map[spacelift.StackID]bool {
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

// excludeCircles excludes stacks that are on a circle or behind one: each of them
// follows another of them.
func (g *Graph) excludeCircles(left map[spacelift.StackID]bool, all map[spacelift.StackID]Following, by map[spacelift.StackID][]spacelift.StackID) {
	for len(left) > 0 {
		circle := circleIn(left, all)
		var stacks []spacelift.StackID
		for s := range Reach(by, circle[0]) {
			if left[s] {
				stacks = append(stacks, s)
				delete(left, s)
			}
		}
		g.exclude(stacks, "the labels lead in a circle: "+arrows(circle))
	}
}

// circleIn returns a circle among stacks that each follow another of them, as a
// path that ends where it begins.
func circleIn(left map[spacelift.StackID]bool, all map[spacelift.StackID]Following) []spacelift.StackID {
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

// exclude records that stacks are not released. Beyond maxExclusions they add up.
func (g *Graph) exclude(stacks []spacelift.StackID, reason string) {
	if len(stacks) == 0 {
		return
	}
	if len(g.Refused) == maxExclusions {
		last := &g.Refused[maxExclusions-1]
		last.More += len(stacks)
		last.Reason = "the labels lead in more circles than Gantry names"
		return
	}
	slices.Sort(stacks)
	named := slices.Clone(stacks[:min(len(stacks), maxNamed)])
	g.Refused = append(g.Refused, Exclusion{Stacks: named, More: len(stacks) - len(named), Reason: reason})
}

// arrows writes a path through stacks. The middle of a long one is left out.
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
