package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// chainNext is what to do about a chain, and why.
type chainNext struct {
	Phase  ChainPhase
	Reason string // a sentence for people
	Finish bool

	Graph   bool                // read who follows
	Look    []spacelift.RunRef  // read these runs
	Trigger []spacelift.StackID // trigger a run of each of these

	// Until is when to decide anew at the latest; zero for no such time.
	Until time.Time

	Edges []ChainEdge // as decided now; At is zero for those that are new
}

// decideChain says what to do about a chain. It is the only place where a
// follower is released: a stack is triggered once all that it follows in the
// chain has finished, by what the API shows, or was skipped, and it never was
// before.
func decideChain(c chain, now time.Time) chainNext {
	n := chainNext{Edges: c.edges()}
	if !c.EndedAt.IsZero() {
		return n.finish("%s", c.Outcome)
	}
	if c.Stopped != nil {
		return n.finish("%s stopped the chain%s", c.Stopped.By, afterColon(c.Stopped.Note))
	}
	if c.Refused != "" {
		return n.finish("%s", c.Refused)
	}
	root := c.Nodes[0].current()
	switch {
	case root.State.Terminal() && root.State != spacelift.RunStateFinished:
		return n.finish("nothing is released: %s", root.end())
	case root.lost():
		return n.finish("nothing is released: Spacelift does not know run %s", root.Run.Run)
	}
	n.look(c, now)
	switch {
	case root.State == "":
		return n.moving("Gantry reads the run that begins the chain")
	case root.State != spacelift.RunStateFinished:
		return n.moving("Spacelift shows run %s in %s; nothing is released before it has finished", root.Run.Run, root.State)
	case !c.Known:
		if c.Trouble != nil && now.Before(c.Trouble.Until) {
			n.by(c.Trouble.Until)
			return n.moving("Gantry does not know yet who follows: %s", c.Trouble.Reason)
		}
		n.Graph = true
		return n.moving("Gantry reads who follows")
	case len(c.Nodes) == 1:
		return n.finish("no stack follows %s", c.Root.Stack)
	}
	through, moving := true, false
	for i := range c.Nodes {
		node := &c.Nodes[i]
		switch state := node.state(); state {
		case NodeFinished, NodeSkipped:
			continue
		case NodeRunning, NodeReleasing:
			moving = true
		case NodeWaiting, NodeHeld:
			switch {
			case node.Releasing || !n.released(node.Stack):
			case node.Trouble == nil:
				n.Trigger, moving = append(n.Trigger, node.Stack), true
			case now.Before(node.Trouble.Until):
				n.by(node.Trouble.Until)
			default: // another try does not end the holding
				n.Trigger = append(n.Trigger, node.Stack)
			}
		}
		through = false
	}
	if through {
		return n.finish("%s", c.through())
	}
	if moving {
		return n.moving("%s", c.progress())
	}
	n.Phase, n.Reason = ChainHeld, c.whyHeld()
	if since := c.HeldSince; !since.IsZero() {
		if !now.Before(since.Add(heldAtMost)) {
			return n.finish("Gantry gave the chain up: nothing moved for %d days; %s", int(heldAtMost.Hours()/24), n.Reason)
		}
		n.by(since.Add(heldAtMost))
	}
	return n
}

func (n chainNext) finish(format string, args ...any) chainNext {
	return chainNext{Phase: ChainDone, Finish: true, Reason: fmt.Sprintf(format, args...), Edges: n.Edges}
}

func (n chainNext) moving(format string, args ...any) chainNext {
	n.Phase, n.Reason = ChainMoving, fmt.Sprintf(format, args...)
	return n
}

func (n *chainNext) by(t time.Time) {
	if n.Until.IsZero() || t.Before(n.Until) {
		n.Until = t
	}
}

// look finds the runs to read: those that go on, and those that stopped the
// line, in case Spacelift takes one up again under the same id.
func (n *chainNext) look(c chain, now time.Time) {
	for i := range c.Nodes {
		node := &c.Nodes[i]
		if s := node.state(); s == NodeFinished || s == NodeSkipped {
			continue
		}
		for j := range node.Runs {
			r := &node.Runs[j]
			switch {
			case r.lost():
			case r.Look.After(now):
				n.by(r.Look)
			default:
				n.Look = append(n.Look, r.Run)
			}
		}
	}
}

// released reports whether all that a stack follows lets it go.
func (n *chainNext) released(stack spacelift.StackID) bool {
	for _, e := range n.Edges {
		if e.To == stack && e.Decision != EdgeReleases {
			return false
		}
	}
	return true
}

// state says how a stack is, by itself: what it follows is not looked at.
func (n *chainNode) state() NodeState {
	r := n.current()
	switch {
	case r.through():
		return NodeFinished
	case n.Skipped != nil:
		return NodeSkipped
	case r != nil && (r.State.Terminal() || r.lost()):
		return NodeFailed
	case r != nil:
		return NodeRunning
	case n.Trouble != nil:
		return NodeHeld
	case n.Releasing:
		return NodeReleasing
	}
	return NodeWaiting
}

// edges decides about each stack following another. What is decided once a
// stack has got a run stays: that is why it got one.
func (c *chain) edges() []ChainEdge {
	var all []ChainEdge
	passes := map[spacelift.StackID]bool{}
	for i := range c.Nodes { // parents come before those that follow them
		node := &c.Nodes[i]
		pass := true
		for _, parent := range node.After {
			e := c.edge(parent, node, passes[parent])
			pass = pass && e.Decision == EdgeReleases
			all = append(all, e)
		}
		state := node.state()
		passes[node.Stack] = state == NodeFinished || state == NodeSkipped && pass
	}
	return all
}

func (c *chain) edge(from spacelift.StackID, to *chainNode, passes bool) ChainEdge {
	was := slices.IndexFunc(c.Edges, func(e ChainEdge) bool { return e.From == from && e.To == to.Stack })
	if was >= 0 && (len(to.Runs) > 0 || to.Releasing) {
		return c.Edges[was]
	}
	e := ChainEdge{From: from, To: to.Stack}
	e.Decision, e.Reason = c.judge(c.node(from), passes)
	if was >= 0 && c.Edges[was].Decision == e.Decision && c.Edges[was].Reason == e.Reason {
		e.At = c.Edges[was].At
	}
	return e
}

// judge says whether a stack lets those go that follow it.
func (c *chain) judge(from *chainNode, passes bool) (d EdgeDecision, reason string) {
	r := from.current()
	switch from.state() {
	case NodeFinished:
		return EdgeReleases, fmt.Sprintf("run %s of %s finished", r.Run.Run, from.Stack)
	case NodeSkipped:
		if !passes {
			return EdgeWaits, fmt.Sprintf("%s is skipped, and waits for what it follows", from.Stack)
		}
		return EdgeReleases, fmt.Sprintf("%s skipped %s%s", from.Skipped.By, from.Stack, afterColon(from.Skipped.Note))
	case NodeFailed:
		if r.lost() {
			return EdgeStops, fmt.Sprintf("Spacelift does not know run %s of %s any more", r.Run.Run, from.Stack)
		}
		return EdgeStops, r.end()
	case NodeHeld:
		return EdgeStops, fmt.Sprintf("%s is not triggered: %s", from.Stack, from.Trouble.Reason)
	case NodeRunning:
		return EdgeWaits, fmt.Sprintf("run %s of %s goes on", r.Run.Run, from.Stack)
	}
	return EdgeWaits, fmt.Sprintf("%s has not run yet", from.Stack)
}

// record keeps what was decided about the edges, and since when nothing moves.
// What lets a stack go or stops it is written to the journal.
func (c *chain) record(at time.Time, n chainNext) {
	for i, e := range n.Edges {
		if !e.At.IsZero() {
			continue
		}
		n.Edges[i].At = at
		was := slices.IndexFunc(c.Edges, func(b ChainEdge) bool { return b.From == e.From && b.To == e.To })
		if e.Decision != EdgeWaits || was >= 0 && c.Edges[was].Decision == EdgeStops {
			c.note(at, KindDecision, e.To, "", "%s %s %s: %s", e.From, e.Decision, e.To, e.Reason)
		}
	}
	c.Edges = n.Edges
	switch {
	case n.Finish && !c.EndedAt.IsZero():
	case n.Finish:
		c.EndedAt, c.Outcome, c.HeldSince = at, n.Reason, time.Time{}
		c.note(at, KindDecision, "", "", "the chain has ended: %s", n.Reason)
	case n.Phase != ChainHeld:
		c.HeldSince = time.Time{}
	case c.HeldSince.IsZero():
		c.HeldSince = at
		c.note(at, KindDecision, "", "", "the chain is held: %s", n.Reason)
	}
}

// through says how a chain ended that nothing is left of.
func (c *chain) through() string {
	finished, skipped := c.count()
	text := fmt.Sprintf("all of it is through: %s finished", runs(finished))
	if len(skipped) > 0 {
		text += ", and " + enumerate(skipped) + " was skipped"
	}
	return text
}

// progress says how far a chain is that moves.
func (c *chain) progress() string {
	finished, _ := c.count()
	text := fmt.Sprintf("%d of %s finished", finished, runs(len(c.Nodes)))
	var going []string
	for i := range c.Nodes {
		switch node := &c.Nodes[i]; node.state() {
		case NodeRunning:
			going = append(going, string(node.Stack))
		case NodeReleasing:
			going = append(going, fmt.Sprintf("%s (being triggered)", node.Stack))
		}
	}
	if len(going) > 0 {
		text += "; now: " + enumerate(going)
	}
	return text
}

func (c *chain) count() (finished int, skipped []string) {
	for i := range c.Nodes {
		switch node := &c.Nodes[i]; node.state() {
		case NodeFinished:
			finished++
		case NodeSkipped:
			skipped = append(skipped, string(node.Stack))
		}
	}
	return finished, skipped
}

func runs(n int) string {
	if n == 1 {
		return "1 run"
	}
	return fmt.Sprintf("%d runs", n)
}

// whyHeld says what keeps a chain in which nothing moves, and what would mend it.
func (c *chain) whyHeld() string {
	var all []string
	for i := range c.Nodes {
		if node := &c.Nodes[i]; node.state() == NodeFailed || node.state() == NodeHeld {
			_, why := c.judge(node, false)
			all = append(all, why)
		}
	}
	return strings.Join(all, "; ") + "; the line goes on when a retry finishes, what is in the way is mended, or an operator skips it"
}

// release is what triggering a follower needs to know.
type release struct {
	After   []spacelift.StackID
	Parents []chainRun // the runs that let it go; those that were skipped have none
	Since   time.Time  // by Spacelift's clock, before the follower was let go
	Again   bool       // it may have been triggered before
}

func (c *chain) release(stack spacelift.StackID) release {
	node := c.node(stack)
	r := release{After: node.After, Again: node.Unsure, Since: c.Nodes[0].current().EndedAt}
	for _, parent := range node.After {
		run := c.node(parent).current()
		if run == nil || run.State != spacelift.RunStateFinished {
			continue
		}
		r.Parents = append(r.Parents, *run)
		if run.EndedAt.After(r.Since) {
			r.Since = run.EndedAt
		}
	}
	return r
}
