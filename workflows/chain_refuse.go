package workflows

// refuseSkip says why a stack is not skipped for somebody; nil if it is.
func (c *chain) refuseSkip(wish SkipStack) *refusal {
	if used := c.Keys.use(wish.Key); used != "" {
		return reused(used, wish.content())
	}
	if no := c.refuseEnded(); no != nil {
		return no
	}
	n := c.node(wish.Stack)
	switch {
	case n == nil && !c.Known:
		return refuse(ErrTypeNotSkippable, "Gantry has not read yet which stacks follow; ask again in a moment")
	case n == nil:
		return refuse(ErrTypeNotInChain, "the stack %s is not part of this chain", wish.Stack)
	case n.Stack == c.Root.Stack:
		return refuse(ErrTypeNotSkippable, "the chain begins with the run of %s; stop the chain instead", n.Stack)
	}
	if n.Releasing {
		return refuse(ErrTypeTooLate, "Gantry is triggering a run of %s right now", n.Stack)
	}
	switch n.state() {
	case NodeFinished:
		return refuse(ErrTypeNotSkippable, "run %s of %s finished already", n.current().Run, n.Stack)
	case NodeSkipped:
		return refuse(ErrTypeAlreadyDecided, "%s skipped %s already", n.Skipped.By, n.Stack)
	case NodeRunning:
		return refuse(ErrTypeNotSkippable, "run %s of %s goes on; stop it first, or wait for its end", n.current().Run, n.Stack)
	}
	return nil
}

// refuseStop says why the chain is not stopped for somebody; nil if it is.
func (c *chain) refuseStop(wish StopChain) *refusal {
	if used := c.Keys.use(wish.Key); used != "" {
		return reused(used, wish.content())
	}
	return c.refuseEnded()
}

func (c *chain) refuseEnded() *refusal {
	if c.Stopped != nil {
		return refuse(ErrTypeTooLate, "%s stopped the chain already", c.Stopped.By)
	}
	if !c.EndedAt.IsZero() {
		return refuse(ErrTypeTooLate, "the chain has ended")
	}
	return nil
}
