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

// graphClock says when the graph was read, and when it is to be read again.
type graphClock struct {
	ReadAt  time.Time `json:"readAt,omitzero"`
	Stale   bool      `json:"stale,omitempty"`   // labels are known to have changed since
	Looks   int       `json:"looks,omitempty"`   // how often in a row that told nothing new
	Trouble *later    `json:"trouble,omitempty"` // why it could not be read, the last time
}

const (
	// graphFresh is how long the graph is not read again before stacks are
	// triggered. In a held chain that doubles with each reading that tells nothing
	// new, up to graphMost.
	graphFresh = 10 * time.Minute
	graphMost  = 6 * time.Hour

	// graphTries is how often the graph may fail to be read before the chain
	// counts as held.
	graphTries = 3
)

// due reports whether the graph is to be read before stacks are triggered, which
// are those whose labels the chain is about to act on.
func (g *graphClock) due(now time.Time) bool {
	return g.Stale || !now.Before(g.ReadAt.Add(graphFresh))
}

// heldDue is when a held chain reads it.
func (g *graphClock) heldDue() time.Time {
	return g.ReadAt.Add(decide.Backoff(graphFresh, g.Looks, graphMost))
}

// RefusalSentence says that the stacks of a refusal are not released.
func RefusalSentence(r Exclusion) string {
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

// excluded says what is not released, and why.
func excluded(all []Exclusion) string {
	texts := make([]string, len(all))
	for i, r := range all {
		texts[i] = RefusalSentence(r)
	}
	return strings.Join(texts, "; ")
}

// NoGraph takes that nobody could say who follows.
func (c *Chain) NoGraph(at time.Time, reason string) {
	c.Graph.Trouble = c.Graph.Trouble.again(at, reason)
	if c.Graph.Trouble.Tries == 1 {
		c.note(at, managed.KindNote, "", "", "Gantry could not read who follows: %s", reason)
	}
	if c.Known { // what is known will do, and each stack is looked at when it is its turn
		c.Graph.ReadAt, c.Graph.Stale, c.Graph.Looks = at, false, c.Graph.Looks+1
	}
}

// TakeGraph takes what follows the root. What was not known before joins the
// chain. What is no longer there leaves it, unless it has a run: then that is
// waited for, and nothing else.
func (c *Chain) TakeGraph(at time.Time, g Graph) {
	first := !c.Known
	c.Graph = graphClock{ReadAt: at, Looks: c.Graph.Looks + 1}
	c.Known, c.Notify = true, g.Notify
	if said := excluded(g.Refused); said != "" && said != excluded(c.Refusals) {
		c.note(at, managed.KindDecision, "", "", "%s", said)
		c.Graph.Looks = 0
	}
	c.Refusals = g.Refused
	known := map[spacelift.StackID]int{}
	for i := range c.Nodes {
		known[c.Nodes[i].Stack] = i
	}
	nodes := c.without(at, g.Stacks)
	shift := len(nodes) - 1 // the nth stack of the graph is at this and n
	for _, s := range g.Stacks {
		node := member{Stack: s.Stack}
		if i, ok := known[s.Stack]; ok {
			node = c.Nodes[i]
		} else if !first {
			c.note(at, managed.KindNote, s.Stack, "", "%s joins the chain", s.Stack)
			c.MovedAt, c.Graph.Looks = at, 0
		}
		if node.Labels != s.Labels {
			node.Trouble = nil
			if node.Labels != "" {
				c.Graph.Looks = 0
			}
		}
		node.Labels, node.Notify = s.Labels, s.Notify
		node.After = slices.Clone(s.After)
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
			c.MovedAt, c.Graph.Looks = at, 0
		}
	}
	return nodes
}

// Graph is what follows a stack, by the labels of all managed stacks as
// they are now.
type Graph struct {
	// Stacks follow the root, directly or not, parents before those that follow
	// them. A brief graph has none.
	Stacks []Follower `json:"stacks,omitempty"`

	// Size is how many stacks follow, those that are refused left out.
	Size int `json:"size,omitempty"`

	// Refused are stacks that follow and are not released.
	Refused []Exclusion `json:"refused,omitempty"`

	// Notify are the channels of the root's stack.
	Notify []string `json:"notify,omitempty"`
}

// Follower is a stack that follows others.
type Follower struct {
	Stack spacelift.StackID `json:"stack"`

	// After are the stacks of the same chain that it follows, ascending: 0 is the
	// root and n the nth of Graph.Stacks. Ids would make a graph of thousands
	// of labels too long for a history. Stacks outside the chain are not waited
	// for.
	After []int `json:"after"`

	// Labels is a fingerprint of all that the stack follows, outside the chain
	// too.
	Labels string `json:"labels"`

	Notify []string `json:"notify,omitempty"` // its channels
}

// Exclusion says why stacks are not released.
type Exclusion struct {
	Stacks []spacelift.StackID `json:"stacks"`         // sorted; the first of them, if there are many
	More   int                 `json:"more,omitempty"` // how many are left out
	Reason string              `json:"reason"`         // goes on with the sentence "… is not released: "
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
