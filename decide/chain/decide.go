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

// Next is what to do about a chain, and why.
type Next struct {
	Phase  Phase
	Reason string // a sentence for people
	Finish bool

	Graph   bool               // read who follows
	Look    []spacelift.RunRef // read these runs
	Newer   []spacelift.RunRef // and these, and whether newer ones took their place
	Trigger []int              // trigger a run of each of these nodes

	// Until is when to decide anew at the latest; zero for no such time.
	Until time.Time

	Lines []line // of each node
}

// line is how a node stands in the chain.
type line struct {
	State    NodeState
	Released bool         // all that it follows lets it go
	Lets     EdgeDecision // whether it lets those go that follow it
}

// Decide says what to do about a chain. It is the only place where a
// follower is released: a stack is triggered once all that it follows in the
// chain has finished, by what the API shows, or was skipped, and has no run that
// counts.
func Decide(c *Chain, now time.Time) Next {
	n := Next{Lines: c.lines()}
	if !c.EndedAt.IsZero() {
		return n.finish("%s", c.Outcome)
	}
	if c.Stopped != nil {
		return n.finish("%s stopped the chain%s", c.Stopped.By, decide.AfterColon(c.Stopped.Note))
	}
	if c.Refused != "" {
		return n.finish("%s", c.Refused)
	}
	root := c.Nodes[0].current()
	switch {
	case root.State.Terminal() && root.State != spacelift.RunStateFinished:
		return n.finish("nothing is released: %s", root.end(c.Root.Stack))
	case root.lost():
		return n.finish("nothing is released: Spacelift does not know run %s", root.Run)
	}
	n.decide(c, now)
	if n.Finish {
		return n
	}
	over := c.MovedAt.Add(quietAtMost)
	if !now.Before(over) {
		return n.finish("Gantry gave the chain up: nothing moved for %d days; %s", int(quietAtMost.Hours()/24), n.Reason)
	}
	releasing := slices.ContainsFunc(n.Lines, func(l line) bool { return l.State == NodeReleasing })
	if !releasing { // triggering has an end of its own, sooner
		n.by(over)
	}
	return n
}

// decide says what to do about a chain that may go on.
func (n *Next) decide(c *Chain, now time.Time) {
	n.look(c, now)
	root := c.Nodes[0].current()
	switch {
	case root.State == "" && root.Looks >= rootTries:
		n.held("Gantry can't read the run that begins the chain; it tries again")
		return
	case root.State == "":
		n.moving("Gantry reads the run that begins the chain")
		return
	case root.State != spacelift.RunStateFinished:
		n.moving("Spacelift shows run %s in %s; nothing is released before it has finished", root.Run, root.State)
		return
	case !c.Known:
		n.unknown(c, now)
		return
	case len(c.Nodes) == 1:
		*n = n.finish("%s", c.nobody())
		return
	}
	through, moving := n.trigger(c, now)
	for _, i := range n.Trigger {
		// One that could not be triggered before is looked at by whoever tries again.
		n.Graph = n.Graph || c.Graph.due(now) && c.Nodes[i].Trouble == nil
	}
	n.Graph = n.Graph || c.Graph.Stale
	switch {
	case through:
		*n = n.finish("%s", c.through(n.Lines))
	case moving:
		n.moving("%s", c.progress(n.Lines))
	default:
		n.held("%s", c.whyHeld(n.Lines))
		again := c.Graph.heldDue()
		n.Graph = n.Graph || !now.Before(again)
		n.by(again)
	}
}

// rootTries is how often the run that begins a chain may fail to be read before
// the chain counts as held.
const rootTries = 5

// unknown is reading who follows, and trying again when that fails.
func (n *Next) unknown(c *Chain, now time.Time) {
	t := c.Graph.Trouble
	if n.Graph = t == nil || !now.Before(t.Until); !n.Graph {
		n.by(t.Until)
	}
	switch {
	case t == nil:
		n.moving("Gantry reads who follows")
	case t.Tries < graphTries:
		n.moving("Gantry does not know yet who follows: %s", t.Reason)
	default:
		n.held("Gantry can't read who follows, and goes on trying: %s", t.Reason)
	}
}

// trigger finds the stacks whose turn it is. It reports whether nothing is left
// to do, and whether anything moves.
func (n *Next) trigger(c *Chain, now time.Time) (through, moving bool) {
	through = true
	for i := range c.Nodes {
		node, line := &c.Nodes[i], n.Lines[i]
		switch line.State {
		case NodeFinished, NodeSkipped:
			continue
		case NodeRunning, NodeReleasing:
			moving = true
		case NodeWaiting, NodeHeld:
			t := node.Trouble
			switch {
			case node.Releasing || !line.Released:
			case t == nil:
				n.Trigger, moving = append(n.Trigger, i), true
			case now.Before(t.Until):
				n.by(t.Until)
				moving = moving || t.Waits
			default: // another try does not end the holding
				n.Trigger = append(n.Trigger, i)
				moving = moving || t.Waits
			}
		}
		through = false
	}
	return through, moving
}

func (n Next) finish(format string, args ...any) Next {
	return Next{Phase: PhaseDone, Finish: true, Reason: fmt.Sprintf(format, args...), Lines: n.Lines}
}

func (n *Next) moving(format string, args ...any) {
	n.Phase, n.Reason = PhaseMoving, fmt.Sprintf(format, args...)
}

func (n *Next) held(format string, args ...any) {
	n.Phase, n.Reason = PhaseHeld, fmt.Sprintf(format, args...)
}

func (n *Next) by(t time.Time) {
	if n.Until.IsZero() || t.Before(n.Until) {
		n.Until = t
	}
}

// look finds the runs to read: those that go on, and those that stopped the
// line, in case Spacelift takes one up again under the same id, or somebody made
// another there.
func (n *Next) look(c *Chain, now time.Time) {
	for i := range c.Nodes {
		node := &c.Nodes[i]
		if s := n.Lines[i].State; s == NodeFinished || s == NodeSkipped {
			continue
		}
		current := node.current()
		for j := range node.Runs {
			r := &node.Runs[j]
			switch {
			case r.lost() || r.Void:
			case r.Look.After(now):
				n.by(r.Look)
			case i > 0 && r == current && n.Lines[i].State == NodeFailed:
				n.Newer = append(n.Newer, c.Ref(node.Stack, r.Run))
			default:
				n.Look = append(n.Look, c.Ref(node.Stack, r.Run))
			}
		}
	}
}

// lines says how all nodes stand. Parents come before those that follow them.
func (c *Chain) lines() []line {
	lines := make([]line, len(c.Nodes))
	for i := range c.Nodes {
		l := line{State: c.Nodes[i].state(), Released: true, Lets: EdgeWaits}
		for _, p := range c.Nodes[i].After {
			l.Released = l.Released && lines[p].Lets == EdgeReleases
		}
		switch l.State {
		case NodeFinished:
			l.Lets = EdgeReleases
		case NodeSkipped:
			if l.Released {
				l.Lets = EdgeReleases
			}
		case NodeFailed, NodeHeld:
			l.Lets = EdgeStops
		}
		lines[i] = l
	}
	return lines
}

// Apply keeps since when each stack is as it is, and since when nothing moves.
// What stops the line, and the stacks that are let go, are written to the journal.
// It returns the stacks that can't be triggered and could before.
func (c *Chain) Apply(at time.Time, n Next) (stuck []int) {
	for i, l := range n.Lines {
		node := &c.Nodes[i]
		if node.State == l.State {
			continue
		}
		node.State, node.Since, c.MovedAt = l.State, at, at
		if l.State == NodeHeld {
			stuck = append(stuck, i)
		}
		switch {
		case l.State == NodeReleasing:
			c.note(at, managed.KindDecision, node.Stack, "", "%s is released: %s", node.Stack, c.whyReleased(node))
		case l.Lets == EdgeStops:
			c.note(at, managed.KindDecision, node.Stack, "", "what follows %s is stopped: %s", node.Stack, c.why(i, l))
		}
	}
	switch {
	case n.Finish && !c.EndedAt.IsZero():
	case n.Finish:
		c.EndedAt, c.Outcome, c.HeldSince = at, decide.Fit(n.Reason, decide.MaxText), time.Time{}
		c.note(at, managed.KindDecision, "", "", "the chain has ended: %s", n.Reason)
	case n.Phase != PhaseHeld:
		c.HeldSince = time.Time{}
	case c.HeldSince.IsZero():
		c.HeldSince = at
		c.note(at, managed.KindDecision, "", "", "the chain is held: %s", n.Reason)
	}
	return stuck
}

// maxWhy bounds how many stacks a sentence about a chain speaks of.
const maxWhy = 5

// few joins the first of many sentences.
func few(all []string) string {
	if more := len(all) - maxWhy; more > 0 {
		all = append(all[:maxWhy:maxWhy], fmt.Sprintf("%d more", more))
	}
	return strings.Join(all, "; ")
}

// fewNames writes the first of many names as in a sentence.
func fewNames(names []string) string {
	if more := len(names) - maxWhy; more > 0 {
		names = append(names[:maxWhy:maxWhy], fmt.Sprintf("%d more", more))
	}
	return decide.Enumerate(names)
}

// whyReleased says what let a stack go.
func (c *Chain) whyReleased(n *member) string {
	var all []string
	for _, p := range n.After {
		all = append(all, c.why(p, line{State: c.Nodes[p].state(), Released: true}))
	}
	return few(all)
}

// nobody says how a chain ended that has no stacks.
func (c *Chain) nobody() string {
	text := "no stack follows " + string(c.Root.Stack)
	if len(c.Refusals) > 0 {
		text = excluded(c.Refusals)
	}
	return text
}

// through says how a chain ended that nothing is left of.
func (c *Chain) through(lines []line) string {
	finished, skipped := c.count(lines)
	text := fmt.Sprintf("all of it is through: %s finished", runs(finished))
	if len(skipped) > 0 {
		text += ", and " + fewNames(skipped) + " was skipped"
	}
	if len(c.Refusals) > 0 {
		text += "; " + excluded(c.Refusals)
	}
	return text
}

// progress says how far a chain is that moves.
func (c *Chain) progress(lines []line) string {
	finished, _ := c.count(lines)
	text := fmt.Sprintf("%d of %s finished", finished, runs(len(c.Nodes)))
	var going []string
	for i := range c.Nodes {
		node := &c.Nodes[i]
		switch {
		case lines[i].State == NodeRunning:
			going = append(going, string(node.Stack))
		case lines[i].State == NodeReleasing:
			going = append(going, fmt.Sprintf("%s (being triggered)", node.Stack))
		case lines[i].State == NodeWaiting && node.Trouble != nil && lines[i].Released:
			going = append(going, fmt.Sprintf("%s (%s)", node.Stack, node.Trouble.Reason))
		}
	}
	if len(going) > 0 {
		text += "; now: " + fewNames(going)
	}
	return text
}

func (c *Chain) count(lines []line) (finished int, skipped []string) {
	for i, l := range lines {
		switch l.State {
		case NodeFinished:
			finished++
		case NodeSkipped:
			skipped = append(skipped, string(c.Nodes[i].Stack))
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
func (c *Chain) whyHeld(lines []line) string {
	var all []string
	for i, l := range lines {
		if l.Lets == EdgeStops {
			all = append(all, c.why(i, l))
		}
	}
	return few(all) + "; the line goes on when a retry finishes, what is in the way is mended, or an operator skips it"
}

// why says why a node stands as it does, as those see it that follow it.
func (c *Chain) why(i int, l line) string {
	n := &c.Nodes[i]
	r := n.current()
	switch l.State {
	case NodeFinished:
		if r.State == spacelift.RunStateSkipped {
			return fmt.Sprintf("Spacelift skipped run %s of %s%s", r.Run, n.Stack, decide.AfterColon(r.Note))
		}
		return fmt.Sprintf("run %s of %s finished", r.Run, n.Stack)
	case NodeSkipped:
		if !l.Released {
			return fmt.Sprintf("%s is skipped, and waits for what it follows", n.Stack)
		}
		return fmt.Sprintf("%s skipped %s%s", n.Skipped.By, n.Stack, decide.AfterColon(n.Skipped.Note))
	case NodeFailed:
		if r.lost() {
			return fmt.Sprintf("Spacelift does not know run %s of %s any more", r.Run, n.Stack)
		}
		return r.end(n.Stack)
	case NodeHeld:
		return fmt.Sprintf("%s is not triggered: %s", n.Stack, n.Trouble.Reason)
	case NodeRunning:
		return fmt.Sprintf("run %s of %s goes on", r.Run, n.Stack)
	}
	return fmt.Sprintf("%s has not run yet", n.Stack)
}

// release is what triggering a follower needs to know.
type release struct {
	turn
	After []spacelift.StackID
	Begun time.Time // when the root's run was created
	Void  []spacelift.RunID
}

func (c *Chain) Release(i int) release {
	n := &c.Nodes[i]
	return release{turn: c.turn(n), After: c.Parents(n), Begun: c.Nodes[0].current().CreatedAt, Void: n.voids()}
}
