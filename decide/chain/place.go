package chain

import (
	"strings"

	"github.com/gantryhq/gantry/spacelift"
)

// PlaceQuestion asks a chain where a run stands in it.
type PlaceQuestion struct {
	Run    spacelift.RunRef `json:"run"`
	Commit string           `json:"commit,omitempty"`
}

// Place is a chain, and where a run stands in it.
type Place struct {
	Root        spacelift.RunRef    `json:"root"`
	After       []spacelift.StackID `json:"after,omitempty"`       // the stacks of the chain that the run's stack follows
	TriggeredBy []string            `json:"triggeredBy,omitempty"` // the people behind what went before

	// In says that the run's stack is part of the chain, other than as its root,
	// and the chain either has the run or works on its commit.
	In   bool `json:"in"`
	Ours bool `json:"ours,omitempty"` // the chain has the run

	// Waits says that the chain has not come to the stack: it waits for others,
	// for Reason.
	Waits  bool   `json:"waits,omitempty"`
	Reason string `json:"reason,omitempty"` // a sentence

	// Open says that the chain is not through with the stack: the run may be what
	// it waits for.
	Open bool `json:"open,omitempty"`
}

// Place says where a run stands in the chain, which it is part of when the chain
// has it, or when it works on the chain's commit. What tries the root again begins
// a chain of its own.
func (c *Chain) Place(run spacelift.RunRef, commit string) (p Place) {
	p.Root = c.Root
	if !c.Known && c.EndedAt.IsZero() && commit != "" && commit == c.Commit && run.Stack != c.Root.Stack {
		p.In, p.Waits, p.Open, p.Reason = true, true, true, "the chain has not read yet who follows"
		return p
	}
	i := c.index(run.Stack)
	if i <= 0 || run.Account != c.Root.Account || !c.EndedAt.IsZero() {
		return p
	}
	n, lines := &c.Nodes[i], c.lines()
	p.Ours = n.run(run.Run) != nil
	if p.In = p.Ours || commit != "" && commit == c.Commit; !p.In {
		return Place{Root: c.Root}
	}
	p.After, p.TriggeredBy = c.Parents(n), c.Triggerers(n)
	p.Waits = lines[i].State == NodeWaiting && !lines[i].Released
	p.Open = lines[i].State != NodeFinished && lines[i].State != NodeSkipped
	if p.Waits {
		p.Reason = strings.TrimSpace(c.waitsFor(n, lines))
	}
	return p
}
