package chain

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/gantryhq/gantry/spacelift"
)

// edges reads "app<net,dns" as: app follows net and dns.
func edges(t *testing.T, list ...string) map[spacelift.StackID]Following {
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
	return labelled(after)
}

// labelled returns what chains need of labels that name those stacks.
func labelled(after map[spacelift.StackID][]spacelift.StackID) map[spacelift.StackID]Following {
	all := map[spacelift.StackID]Following{}
	for stack, parents := range after {
		words := make([]string, len(parents))
		for i, p := range parents {
			words[i] = string(p)
		}
		all[stack] = Following{After: ParentsOf(stack, words)}
	}
	return all
}

// parents are the ids of what a stack of a graph follows.
func (g Graph) parents(root spacelift.StackID, s Follower) []spacelift.StackID {
	ids := make([]spacelift.StackID, len(s.After))
	for i, at := range s.After {
		if ids[i] = root; at > 0 {
			ids[i] = g.Stacks[at-1].Stack
		}
	}
	return ids
}

func show(g Graph) string {
	var all []string
	for _, s := range g.Stacks {
		parents := g.parents("net", s)
		slices.Sort(parents)
		all = append(all, fmt.Sprintf("%s<%s", s.Stack, join(parents, ",")))
	}
	for _, r := range g.Refused {
		all = append(all, fmt.Sprintf("not %s: %s", join(r.Stacks, ","), r.Reason))
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
		{"a fan-out", []string{"app<net", "dns<net"}, "app<net dns<net"},
		{"a fan-in", []string{"app<net", "dns<net", "web<dns,app"}, "app<net dns<net web<app,dns"},
		{"a parent that is not of the chain is not waited for", []string{"app<net,vault"}, "app<net"},
		{"named twice", []string{"app<net,net"}, "app<net"},
		{"upstream of the root", []string{"net<account", "app<net"}, "app<net"},
		{"follows itself", []string{"net<net", "app<net,app"}, "app<net"},
		{"in a circle with the root", []string{"app<net", "web<app", "net<web", "dns<net"}, "not app,dns,net,web: the labels lead in a circle: app → web → net → app"},
		{"in a circle further down", []string{"app<net,web", "web<app", "dns<net"}, "dns<net not app,web: the labels lead in a circle: app → web → app"},
		{"behind a circle", []string{"app<net,web", "web<app", "mail<web,dns", "dns<net"}, "dns<net not app,mail,web: the labels lead in a circle: app → web → app"},
		{"in two circles", []string{"app<net,web", "web<app", "b<net,c", "c<b"}, "not app,web: the labels lead in a circle: app → web → app not b,c: the labels lead in a circle: b → c → b"},
		{"a circle that does not concern it", []string{"app<net", "x<y", "y<x"}, "app<net"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := show(GraphOf("net", edges(t, tc.edges...))); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// A chain holds a bounded number of stacks and labels. What is beyond is named,
// with what follows it.
func TestAChainHasBounds(t *testing.T) {
	for _, tc := range []struct {
		name    string
		after   func(add func(stack string, parents ...string))
		stacks  int
		refused []string
	}{
		{"too many stacks", func(add func(string, ...string)) {
			for i := range MaxStacks + 2 {
				add(fmt.Sprintf("app-%04d", i), "net")
			}
			add("web", "app-1001")
		}, MaxStacks, []string{"app-1000", "app-1001", "web"}},
		{"too many labels", func(add func(string, ...string)) {
			var parents []string
			for i := range 100 {
				parents = append(parents, fmt.Sprintf("a-%03d", i))
				add(parents[i], "net")
			}
			for i := range 50 {
				add(fmt.Sprintf("b-%03d", i), parents...)
			}
		}, 100 + (MaxEdges-100)/100, []string{"b-049"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			after := map[spacelift.StackID][]spacelift.StackID{}
			tc.after(func(stack string, parents ...string) {
				for _, p := range parents {
					after[spacelift.StackID(stack)] = append(after[spacelift.StackID(stack)], spacelift.StackID(p))
				}
			})
			g := GraphOf("net", labelled(after))
			if g.Size != tc.stacks || len(g.Stacks) != tc.stacks || len(g.Refused) != 1 {
				t.Fatalf("%d stacks, and %d refusals", g.Size, len(g.Refused))
			}
			if got := join(g.Refused[0].Stacks, " "); got != strings.Join(tc.refused, " ") || !strings.Contains(g.Refused[0].Reason, "a chain holds at most 1000 stacks") {
				t.Errorf("refused %s: %s", got, g.Refused[0].Reason)
			}
		})
	}
}

// Whatever the labels say: each stack that follows is either in an order in which
// it comes after all that it follows, or refused, and then it is on a circle or
// behind one that is named.
func TestAnyLabelsAreAnOrderAndCircles(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(rt, "stacks")
		id := func(i int) spacelift.StackID { return spacelift.StackID(fmt.Sprintf("s%d", i)) }
		after := map[spacelift.StackID][]spacelift.StackID{}
		for i := range n {
			for _, p := range rapid.SliceOfN(rapid.IntRange(0, n-1), 0, 2).Draw(rt, "after") {
				after[id(i)] = append(after[id(i)], id(p))
			}
		}
		all := labelled(after)
		g := GraphOf(id(0), all)
		gone := []spacelift.StackID{id(0)}
		for _, s := range g.Stacks {
			for _, p := range g.parents(id(0), s) {
				if !slices.Contains(gone, p) || !slices.Contains(all[s.Stack].After, p) {
					rt.Fatalf("%s comes before %s in %v", s.Stack, p, g.Stacks)
				}
			}
			if len(s.After) == 0 || slices.Contains(gone, s.Stack) {
				rt.Fatalf("%s has no place in %v", s.Stack, g.Stacks)
			}
			gone = append(gone, s.Stack)
		}
		var refused []spacelift.StackID
		for _, r := range g.Refused {
			_, path, found := strings.Cut(r.Reason, "circle: ")
			circle := strings.Split(path, " → ")
			if !found || len(circle) < 3 || circle[0] != circle[len(circle)-1] {
				rt.Fatalf("%q names no circle", r.Reason)
			}
			for i, s := range circle[1:] {
				if !slices.Contains(all[spacelift.StackID(s)].After, spacelift.StackID(circle[i])) {
					rt.Fatalf("%s does not follow %s", s, circle[i])
				}
			}
			refused = append(refused, r.Stacks...)
		}
		for s := range Reach(FollowedBy(all), id(0)) {
			in, out := slices.Contains(gone, s), slices.Contains(refused, s)
			if s != id(0) && in == out {
				rt.Fatalf("%s is in the order: %t, and refused: %t", s, in, out)
			}
			blocked := slices.ContainsFunc(all[s].After, func(p spacelift.StackID) bool { return slices.Contains(refused, p) })
			if out && !blocked {
				rt.Fatalf("%s is refused and follows nothing that is", s)
			}
		}
	})
}
