package activities

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/gantryhq/gantry/spacelift"
)

// edges reads "app<net,dns" as: app follows net and dns.
func edges(t *testing.T, list ...string) map[spacelift.StackID][]spacelift.StackID {
	t.Helper()
	after := map[spacelift.StackID][]spacelift.StackID{}
	for _, e := range list {
		stack, parents, ok := strings.Cut(e, "<")
		if !ok {
			t.Fatalf("%q is no edge", e)
		}
		for p := range strings.SplitSeq(parents, ",") {
			after[spacelift.StackID(stack)] = append(after[spacelift.StackID(stack)], spacelift.StackID(p))
		}
	}
	return after
}

func show(g ChainGraph) string {
	if len(g.Cycle) > 0 {
		return "cycle " + join(g.Cycle, " → ")
	}
	var all []string
	for _, s := range g.Stacks {
		all = append(all, fmt.Sprintf("%s<%s", s.Stack, join(s.After, ",")))
	}
	return strings.Join(all, " ")
}

func join(ids []spacelift.StackID, by string) string {
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = string(id)
	}
	return strings.Join(words, by)
}

func TestWhatFollowsAStack(t *testing.T) {
	for _, tc := range []struct {
		name  string
		edges []string
		want  string
	}{
		{"nothing", []string{"app<other"}, ""},
		{"a line", []string{"app<net", "web<app"}, "app<net web<app"},
		{"a fan-out", []string{"app<net", "dns<net"}, "dns<net app<net"},
		{"a fan-in", []string{"app<net", "dns<net", "web<dns,app"}, "dns<net app<net web<app,dns"},
		{"a parent that is not of the chain is not waited for", []string{"app<net,vault"}, "app<net"},
		{"named twice", []string{"app<net,net"}, "app<net"},
		{"upstream of the root", []string{"net<account", "app<net"}, "app<net"},
		{"follows itself", []string{"net<net"}, "cycle net → net"},
		{"in a circle with the root", []string{"app<net", "web<app", "net<web"}, "cycle net → app → web → net"},
		{"in a circle further down", []string{"app<net,web", "web<app"}, "cycle app → web → app"},
		{"a circle that does not concern it", []string{"app<net", "x<y", "y<x"}, "app<net"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := show(below("net", edges(t, tc.edges...))); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestAChainHasBounds(t *testing.T) {
	after := map[spacelift.StackID][]spacelift.StackID{}
	for i := range maxChain + 3 {
		after[spacelift.StackID(fmt.Sprintf("app-%04d", i))] = []spacelift.StackID{"net"}
	}
	if g := below("net", after); len(g.Stacks) != maxChain || !g.Partial {
		t.Errorf("%d stacks, partial %t", len(g.Stacks), g.Partial)
	}
}

// Whatever the labels say: either the path of a circle, which is one, or an
// order in which every stack comes after all that it follows.
func TestAnyLabelsAreAnOrderOrACircle(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(rt, "stacks")
		id := func(i int) spacelift.StackID { return spacelift.StackID(fmt.Sprintf("s%d", i)) }
		after := map[spacelift.StackID][]spacelift.StackID{}
		for i := range n {
			for _, p := range rapid.SliceOfN(rapid.IntRange(0, n-1), 0, 2).Draw(rt, "after") {
				after[id(i)] = append(after[id(i)], id(p))
			}
		}
		g := below(id(0), after)
		if len(g.Cycle) > 0 {
			for i, s := range g.Cycle[1:] {
				if !slices.Contains(after[s], g.Cycle[i]) {
					rt.Fatalf("%s does not follow %s", s, g.Cycle[i])
				}
			}
			if g.Cycle[0] != g.Cycle[len(g.Cycle)-1] {
				rt.Fatalf("%v is not closed", g.Cycle)
			}
			return
		}
		gone := []spacelift.StackID{id(0)}
		for _, s := range g.Stacks {
			for _, p := range s.After {
				if !slices.Contains(gone, p) {
					rt.Fatalf("%s comes before %s in %v", s.Stack, p, g.Stacks)
				}
			}
			if len(s.After) == 0 || slices.Contains(gone, s.Stack) {
				rt.Fatalf("%s has no place in %v", s.Stack, g.Stacks)
			}
			gone = append(gone, s.Stack)
		}
	})
}
