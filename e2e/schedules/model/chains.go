package model

import "slices"

// Graph is the order that labels give to stacks: each managed stack with those
// that it follows (docs/how-to/chains.md).
type Graph map[string][]string

// NewGraph returns the order of the managed stacks among these.
func NewGraph(policies map[string]Policy) Graph {
	g := Graph{}
	for stack, p := range policies {
		if !p.Managed {
			continue
		}
		g[stack] = nil
		for _, parent := range p.After {
			if q, found := policies[parent]; found && q.Managed && !slices.Contains(g[stack], parent) {
				g[stack] = append(g[stack], parent)
			}
		}
	}
	return g
}

// Above returns the stacks that go first, directly or not, in no order.
func (g Graph) Above(stack string) []string {
	var above []string
	next := slices.Clone(g[stack])
	for len(next) > 0 {
		s := next[0]
		next = next[1:]
		if slices.Contains(above, s) {
			continue
		}
		above = append(above, s)
		next = append(next, g[s]...)
	}
	return above
}

// Circular reports whether the stack is on a circle, or behind one.
func (g Graph) Circular(stack string) bool {
	return slices.ContainsFunc(append(g.Above(stack), stack), func(s string) bool { return slices.Contains(g.Above(s), s) })
}
