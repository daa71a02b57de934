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

// Next is the next step of a chain, and its reason.
type Next struct {
	Phase  Phase
	Reason string // a sentence for people
	Finish bool

	Graph   bool               // read which stacks follow
	Read    []spacelift.RunRef // read these runs
	Newer   []spacelift.RunRef // and these, and whether newer ones replace them
	Trigger []int              // trigger a run of each of these nodes

	// Until is the time by which to decide again; zero for none.
	Until time.Time

	Conditions []condition // of each node
}

// condition is the state of a node within its chain.
type condition struct {
	State    NodeState
	Released bool         // every stack that it follows releases it
	Lets     EdgeDecision // whether it releases the stacks that follow it
}

// Decide returns the next step of a chain. It is the only place that releases a
// follower: a stack is triggered once every stack that it follows in the chain has
// finished, as the API shows, or was skipped, and it has no run that counts.
func Decide(c *Chain, now time.Time) Next {
	n := Next{Conditions: c.conditions()}
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
	over := c.MovedAt.Add(patience)
	if !now.Before(over) {
		return n.finish("Gantry gave the chain up: nothing moved for %d days; %s", int(patience.Hours()/24), n.Reason)
	}
	releasing := slices.ContainsFunc(n.Conditions, func(l condition) bool { return l.State == NodeReleasing })
	if !releasing { // triggering has an end of its own, sooner
		n.by(over)
	}
	return n
}

// decide decides about a chain that may continue.
func (n *Next) decide(c *Chain, now time.Time) {
	n.reads(c, now)
	root := c.Nodes[0].current()
	switch {
	case root.State == "" && root.Reads >= rootTries:
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
		*n = n.finish("%s", c.withoutFollowers())
		return
	}
	through, moving := n.trigger(c, now)
	for _, i := range n.Trigger {
		// A stack that could not be triggered before is checked by the next try.
		n.Graph = n.Graph || c.Graph.due(now) && c.Nodes[i].Backoff == nil
	}
	n.Graph = n.Graph || c.Graph.Stale
	switch {
	case through:
		*n = n.finish("%s", c.through(n.Conditions))
	case moving:
		n.moving("%s", c.progress(n.Conditions))
	default:
		n.held("%s", c.whyHeld(n.Conditions))
		again := c.Graph.heldDue()
		n.Graph = n.Graph || !now.Before(again)
		n.by(again)
	}
}

// rootTries is the number of failed reads of the root after which the chain counts
// as held.
const rootTries = 5

// unknown decides about a chain that has not read yet which stacks follow.
func (n *Next) unknown(c *Chain, now time.Time) {
	t := c.Graph.Backoff
	if n.Graph = t == nil || !now.Before(t.Until); !n.Graph {
		n.by(t.Until)
	}
	switch {
	case t == nil:
		n.moving("Gantry reads which stacks follow")
	case t.Tries < graphTries:
		n.moving("Gantry does not know yet which stacks follow: %s", t.Reason)
	default:
		n.held("Gantry can't read which stacks follow; it tries again: %s", t.Reason)
	}
}

// trigger finds the stacks whose turn has come. It reports whether nothing is left
// to do, and whether anything moves.
func (n *Next) trigger(c *Chain, now time.Time) (through, moving bool) {
	through = true
	for i := range c.Nodes {
		node, condition := &c.Nodes[i], n.Conditions[i]
		switch condition.State {
		case NodeFinished, NodeSkipped:
			continue
		case NodeRunning, NodeReleasing:
			moving = true
		case NodeWaiting, NodeHeld:
			t := node.Backoff
			switch {
			case node.Releasing || !condition.Released:
			case t == nil:
				n.Trigger, moving = append(n.Trigger, i), true
			case now.Before(t.Until):
				n.by(t.Until)
				moving = moving || t.Waits
			default: // another try doesn't end the hold
				n.Trigger = append(n.Trigger, i)
				moving = moving || t.Waits
			}
		}
		through = false
	}
	return through, moving
}

func (n Next) finish(format string, args ...any) Next {
	return Next{Phase: PhaseDone, Finish: true, Reason: fmt.Sprintf(format, args...), Conditions: n.Conditions}
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

// reads finds the runs to read: those in progress, and failed ones, in case Spacelift
// resumes one under the same id, or somebody made another one there.
func (n *Next) reads(c *Chain, now time.Time) {
	for i := range c.Nodes {
		node := &c.Nodes[i]
		if s := n.Conditions[i].State; s == NodeFinished || s == NodeSkipped {
			continue
		}
		current := node.current()
		for j := range node.Runs {
			r := &node.Runs[j]
			switch {
			case r.lost() || r.Void:
			case r.NextRead.After(now):
				n.by(r.NextRead)
			case i > 0 && r == current && n.Conditions[i].State == NodeFailed:
				n.Newer = append(n.Newer, c.Ref(node.Stack, r.Run))
			default:
				n.Read = append(n.Read, c.Ref(node.Stack, r.Run))
			}
		}
	}
}

// conditions returns the state of every node. Parents come before their followers.
func (c *Chain) conditions() []condition {
	conditions := make([]condition, len(c.Nodes))
	for i := range c.Nodes {
		l := condition{State: c.Nodes[i].state(), Released: true, Lets: EdgeWaits}
		for _, p := range c.Nodes[i].After {
			l.Released = l.Released && conditions[p].Lets == EdgeReleases
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
		conditions[i] = l
	}
	return conditions
}

// Apply records a decision: since when each stack is in its state and since when
// nothing moves, journal entries, and the messages that the change calls for. It
// reports whether the chain is held or has ended since then.
func (c *Chain) Apply(at time.Time, n Next) (news bool) {
	heldSince, ended := c.HeldSince, !c.EndedAt.IsZero()
	stuck := c.record(at, n)
	c.notify(at, n, heldSince, ended, stuck)
	return !ended && n.Finish || heldSince.IsZero() && !c.HeldSince.IsZero()
}

// record records a decision. It returns the stacks that can't be triggered and could
// before.
func (c *Chain) record(at time.Time, n Next) (stuck []int) {
	for i, l := range n.Conditions {
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
			c.note(at, managed.KindDecision, node.Stack, "", "nothing behind %s is released: %s", node.Stack, c.why(i, l))
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

// maxWhy bounds the stacks that a sentence names.
const maxWhy = 5

// few joins the first sentences of many.
func few(all []string) string {
	if more := len(all) - maxWhy; more > 0 {
		all = append(all[:maxWhy:maxWhy], fmt.Sprintf("%d more", more))
	}
	return strings.Join(all, "; ")
}

// fewNames lists the first names of many.
func fewNames(names []string) string {
	if more := len(names) - maxWhy; more > 0 {
		names = append(names[:maxWhy:maxWhy], fmt.Sprintf("%d more", more))
	}
	return decide.Enumerate(names)
}

// whyReleased returns why a stack is released.
func (c *Chain) whyReleased(n *member) string {
	var all []string
	for _, p := range n.After {
		all = append(all, c.why(p, condition{State: c.Nodes[p].state(), Released: true}))
	}
	return few(all)
}

// withoutFollowers returns the outcome of a chain without stacks.
func (c *Chain) withoutFollowers() string {
	text := "no stack follows " + string(c.Root.Stack)
	if len(c.Refusals) > 0 {
		text = excluded(c.Refusals)
	}
	return text
}

// through returns the outcome of a chain in which every stack finished or was skipped.
func (c *Chain) through(conditions []condition) string {
	finished, skipped := c.count(conditions)
	text := fmt.Sprintf("the chain is complete: %s finished", runs(finished))
	if len(skipped) > 0 {
		text += ", and " + fewNames(skipped) + " was skipped"
	}
	if len(c.Refusals) > 0 {
		text += "; " + excluded(c.Refusals)
	}
	return text
}

// progress returns a sentence about a chain that moves.
func (c *Chain) progress(conditions []condition) string {
	finished, _ := c.count(conditions)
	text := fmt.Sprintf("%d of %s finished", finished, runs(len(c.Nodes)))
	var going []string
	for i := range c.Nodes {
		node := &c.Nodes[i]
		switch {
		case conditions[i].State == NodeRunning:
			going = append(going, string(node.Stack))
		case conditions[i].State == NodeReleasing:
			going = append(going, fmt.Sprintf("%s (being triggered)", node.Stack))
		case conditions[i].State == NodeWaiting && node.Backoff != nil && conditions[i].Released:
			going = append(going, fmt.Sprintf("%s (%s)", node.Stack, node.Backoff.Reason))
		}
	}
	if len(going) > 0 {
		text += "; now: " + fewNames(going)
	}
	return text
}

func (c *Chain) count(conditions []condition) (finished int, skipped []string) {
	for i, l := range conditions {
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

// whyHeld returns why nothing moves in a chain, and the remedies.
func (c *Chain) whyHeld(conditions []condition) string {
	return few(c.stops(conditions)) + "; the chain continues when a retry finishes, the problem is fixed, or an operator skips the stack"
}

// stops returns a sentence about each stack that stops those that follow it.
func (c *Chain) stops(conditions []condition) (all []string) {
	for i, l := range conditions {
		if l.Lets == EdgeStops {
			all = append(all, c.why(i, l))
		}
	}
	return all
}

// why returns why a node does or does not release the stacks that follow it.
func (c *Chain) why(i int, l condition) string {
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
		return fmt.Sprintf("%s is not triggered: %s", n.Stack, n.Backoff.Reason)
	case NodeRunning:
		return fmt.Sprintf("run %s of %s is in progress", r.Run, n.Stack)
	}
	return fmt.Sprintf("%s has not run yet", n.Stack)
}

// release is the input for triggering a follower.
type release struct {
	turn
	After []spacelift.StackID
	Begun time.Time // when the root's run was created
	Void  []spacelift.RunID
}

// ReleaseOf returns what triggering the node with an index needs to know.
func (c *Chain) ReleaseOf(i int) release {
	n := &c.Nodes[i]
	return release{turn: c.turn(n), After: c.Parents(n), Begun: c.Nodes[0].current().CreatedAt, Void: n.voids()}
}
