package chain

import (
	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/managed"
)

// RefuseSkip returns why a person may not skip a stack; nil if they may.
func (c *Chain) RefuseSkip(wish Skip) *decide.Refusal {
	if repeated, refusal := c.Keys.Check(wish.Key, wish.Content()); repeated || refusal != nil {
		return refusal
	}
	if refusal := c.refuseEnded(); refusal != nil {
		return refusal
	}
	n := c.Node(wish.Stack)
	switch {
	case n == nil && !c.Known:
		return decide.Refuse(ErrTypeNotSkippable, "Gantry has not read yet which stacks follow; ask again in a moment")
	case n == nil:
		return decide.Refuse(ErrTypeNotInChain, "the stack %s is not part of this chain", wish.Stack)
	case n.Stack == c.Root.Stack:
		return decide.Refuse(ErrTypeNotSkippable, "the chain begins with the run of %s; stop the chain instead", n.Stack)
	}
	if n.Releasing {
		return decide.Refuse(managed.ErrTypeTooLate, "Gantry is triggering a run of %s right now", n.Stack)
	}
	switch n.state() {
	case NodeFinished:
		return decide.Refuse(ErrTypeNotSkippable, "run %s of %s finished already", n.current().Run, n.Stack)
	case NodeSkipped:
		return decide.Refuse(managed.ErrTypeAlreadyDecided, "%s skipped %s already", n.Skipped.By, n.Stack)
	case NodeRunning:
		return decide.Refuse(ErrTypeNotSkippable, "run %s of %s is in progress; stop it first, or wait for its end", n.current().Run, n.Stack)
	}
	return nil
}

// RefuseStop returns why a person may not stop the chain; nil if they may.
func (c *Chain) RefuseStop(wish Stop) *decide.Refusal {
	if repeated, refusal := c.Keys.Check(wish.Key, wish.Content()); repeated || refusal != nil {
		return refusal
	}
	return c.refuseEnded()
}

func (c *Chain) refuseEnded() *decide.Refusal {
	if c.Stopped != nil {
		return decide.Refuse(managed.ErrTypeTooLate, "%s stopped the chain already", c.Stopped.By)
	}
	if !c.EndedAt.IsZero() {
		return decide.Refuse(managed.ErrTypeTooLate, "the chain has ended")
	}
	return nil
}
