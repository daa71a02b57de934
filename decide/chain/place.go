package chain

import (
	"strings"

	"github.com/gantryhq/gantry/spacelift"
)

// PlaceQuestion asks a chain for the place of a run.
type PlaceQuestion struct {
	Run    spacelift.RunRef `json:"run"`
	Commit string           `json:"commit,omitempty"`
}

// Place is the place of a run within a chain.
type Place struct {
	Root        spacelift.RunRef    `json:"root"`
	After       []spacelift.StackID `json:"after,omitempty"`       // the stacks of the chain that the run's stack follows
	TriggeredBy []string            `json:"triggeredBy,omitempty"` // the people behind what went before

	// In says that the run's stack is part of the chain, other than as its root,
	// and the chain either has the run or works on its commit.
	In   bool `json:"in"`
	Ours bool `json:"ours,omitempty"` // the chain has the run

	// Waits says that the stack's turn has not come: it waits for others, for Reason.
	Waits  bool   `json:"waits,omitempty"`
	Reason string `json:"reason,omitempty"` // a sentence

	// Open says that the stack has neither finished nor been skipped: the chain may be
	// waiting for the run.
	Open bool `json:"open,omitempty"`

	// Listens says that a stack of the chain waits for the end of a run of this stack
	// outside the chain, or of the chain that one began.
	Listens bool `json:"listens,omitempty"`
}

// Place returns the place of a run. The run is part of the chain if the chain has it,
// or if it works on the chain's commit. A retry of the root begins a chain of its own.
func (c *Chain) Place(run spacelift.RunRef, commit string) (p Place) {
	defer func() { p.Listens = c.waitsOutside(run.Stack) }()
	p.Root = c.Root
	if !c.Known && c.EndedAt.IsZero() && commit != "" && commit == c.Commit && run.Stack != c.Root.Stack {
		p.In, p.Waits, p.Open, p.Reason = true, true, true, "the chain has not read yet which stacks follow"
		return p
	}
	i := c.index(run.Stack)
	if i <= 0 || run.Account != c.Root.Account || !c.EndedAt.IsZero() {
		return p
	}
	n, conditions := &c.Nodes[i], c.conditions()
	p.Ours = n.run(run.Run) != nil
	if p.In = p.Ours || commit != "" && commit == c.Commit; !p.In {
		return Place{Root: c.Root}
	}
	p.After, p.TriggeredBy = c.Parents(n), c.Triggerers(n)
	p.Waits = conditions[i].State == NodeWaiting && !conditions[i].Released
	p.Open = conditions[i].State != NodeFinished && conditions[i].State != NodeSkipped
	if p.Waits {
		p.Reason = strings.TrimSpace(c.waitsFor(n, conditions))
	}
	return p
}
