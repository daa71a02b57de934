package chain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// graphClock schedules reads of the graph.
type graphClock struct {
	ReadAt    time.Time `json:"readAt,omitzero"`
	Stale     bool      `json:"stale,omitempty"`   // labels are known to have changed since
	Unchanged int       `json:"looks,omitempty"`   // reads in a row without a change
	Backoff   *backoff  `json:"trouble,omitempty"` // why it could not be read, the last time
}

const (
	// graphFresh is the age up to which a graph is good enough to trigger stacks by. A
	// held chain reads it that often; the pause doubles with each reading without a
	// change, up to graphLongest.
	graphFresh   = 10 * time.Minute
	graphLongest = 6 * time.Hour

	// graphTries is the number of failed reads after which the chain counts as held.
	graphTries = 3
)

// due reports whether the graph must be read before stacks are triggered by it.
func (g *graphClock) due(now time.Time) bool {
	return g.Stale || !now.Before(g.ReadAt.Add(graphFresh))
}

// heldDue returns the time at which a held chain reads the graph again.
func (g *graphClock) heldDue() time.Time {
	return g.ReadAt.Add(decide.Backoff(graphFresh, g.Unchanged, graphLongest))
}

// Sentence returns that the stacks are not released, and why.
func (r Exclusion) Sentence() string {
	names := make([]string, len(r.Stacks))
	for i, s := range r.Stacks {
		names[i] = string(s)
	}
	if r.More > 0 {
		names = append(names, fmt.Sprintf("%d more", r.More))
	}
	verb := "is"
	if len(names) > 1 {
		verb = "are"
	}
	return decide.Enumerate(names) + " " + verb + " not released: " + r.Reason
}

// excluded returns which stacks are not released, and why.
func excluded(all []Exclusion) string {
	texts := make([]string, len(all))
	for i, r := range all {
		texts[i] = r.Sentence()
	}
	return strings.Join(texts, "; ")
}

// RecordNoGraph records that the graph could not be read.
func (c *Chain) RecordNoGraph(at time.Time, reason string) {
	c.Graph.Backoff = c.Graph.Backoff.again(at, reason)
	if c.Graph.Backoff.Tries == 1 {
		c.note(at, managed.KindNote, "", "", "Gantry could not read which stacks follow: %s", reason)
	}
	if c.Known { // the known graph is good enough: each stack's labels are checked when its turn comes
		c.Graph.ReadAt, c.Graph.Stale, c.Graph.Unchanged = at, false, c.Graph.Unchanged+1
	}
}

// KnownFollowers are the stacks that follow the root, directly or not, as far as is
// known.
func (c *Chain) KnownFollowers() []spacelift.StackID {
	stacks := slices.Clone(c.Followers)
	for _, n := range c.Nodes[1:] {
		if len(n.After) > 0 { // others have left the chain
			stacks = append(stacks, n.Stack)
		}
	}
	return stacks
}

// TakeGraph takes the stacks that follow the root. New ones join the chain. Stacks that
// no longer follow leave it, unless they have a run: the chain waits for that run alone.
func (c *Chain) TakeGraph(at time.Time, g Graph) {
	first := !c.Known
	c.Graph = graphClock{ReadAt: at, Unchanged: c.Graph.Unchanged + 1}
	c.Known, c.Notify, c.Followers = true, g.Notify, nil
	if g.At.After(c.Listed) {
		c.Listed = g.At
	}
	if said := excluded(g.Refused); said != "" && said != excluded(c.Refusals) {
		c.note(at, managed.KindDecision, "", "", "%s", said)
		c.Graph.Unchanged = 0
	}
	c.Refusals = g.Refused
	known := map[spacelift.StackID]int{}
	for i := range c.Nodes {
		known[c.Nodes[i].Stack] = i
	}
	nodes := c.without(at, g.Stacks)
	shift := len(nodes) - 1 // the nth stack of the graph is at this and n
	for _, s := range g.Stacks {
		var node member
		if i, ok := known[s.Stack]; ok {
			node = c.Nodes[i]
		} else if !first {
			c.note(at, managed.KindNote, s.Stack, "", "%s joins the chain", s.Stack)
			c.MovedAt, c.Graph.Unchanged = at, 0
		}
		if node.Labels != s.Labels {
			node.Backoff = nil
			if node.Labels != "" {
				c.Graph.Unchanged = 0
			}
		}
		node.Follower, node.After = s, slices.Clone(s.After)
		for i, p := range node.After {
			if p > 0 {
				node.After[i] = p + shift
			}
		}
		nodes = append(nodes, node)
	}
	c.Nodes = nodes
	if len(g.Stacks) == 0 && len(g.Refused) > 0 && len(nodes) == 1 {
		c.Refused = "nothing is released: " + excluded(g.Refused)
	}
}

// without returns the root and the nodes that stay in the chain though the graph no
// longer has their stacks, and notes which leave it.
func (c *Chain) without(at time.Time, graph []Follower) []member {
	there := map[spacelift.StackID]bool{c.Root.Stack: true}
	for _, s := range graph {
		there[s.Stack] = true
	}
	nodes := []member{c.Nodes[0]}
	for _, n := range c.Nodes[1:] {
		switch {
		case there[n.Stack]:
		case len(n.Runs) > 0 || n.Skipped != nil || n.Releasing:
			n.After = nil
			nodes = append(nodes, n)
		default:
			c.note(at, managed.KindNote, n.Stack, "", "%s leaves the chain: it no longer follows, or is no longer managed", n.Stack)
			c.MovedAt, c.Graph.Unchanged = at, 0
		}
	}
	return nodes
}

// Graph is the set of stacks that follow a stack, by the labels that all managed stacks
// have now.
type Graph struct {
	// Stacks follow the root, directly or not, parents before those that follow
	// them. A brief graph has none.
	Stacks []Follower `json:"stacks,omitempty"`

	// Size is the number of stacks that follow, without the excluded ones.
	Size int `json:"size,omitempty"`

	// Refused are the stacks that follow and are not released.
	Refused []Exclusion `json:"refused,omitempty"`

	// Notify are the channels of the root's stack.
	Notify []string `json:"notify,omitempty"`

	At time.Time `json:"at,omitzero"` // when Spacelift was asked for the list of stacks
}

// Follower is a stack that may follow others.
type Follower struct {
	Stack spacelift.StackID `json:"stack"`

	// After are the stacks of the same chain that it follows, ascending. In a graph, 0
	// is the root and n the nth of Graph.Stacks; in a chain they are indexes of
	// Chain.Nodes. Ids would make a graph of thousands
	// of labels too long for a history. Stacks outside the chain are not waited
	// for.
	After []int `json:"after,omitempty"`

	// Labels is a fingerprint of all that the stack follows, outside the chain
	// too.
	Labels string `json:"labels,omitempty"`

	Notify []string `json:"notify,omitempty"` // its channels
}

// Exclusion says why stacks are not released.
type Exclusion struct {
	Stacks []spacelift.StackID `json:"stacks"`         // sorted; the first of them, if there are many
	More   int                 `json:"more,omitempty"` // how many are left out
	Reason string              `json:"reason"`         // continues the sentence "… is not released: "
}

// Bounds of one chain: its state travels in histories. With ids of the greatest
// length all of it stays below Temporal's 2 MB.
const (
	MaxStacks = 1000
	MaxEdges  = 5000

	// maxRefusals bounds the refusals of one chain, and maxNamed the stacks that
	// one of them names.
	maxExclusions = 10
	maxNamed      = 20
)
