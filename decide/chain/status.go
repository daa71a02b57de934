package chain

import (
	"fmt"
	"slices"
	"time"

	"github.com/gantryhq/gantry/decide"
)

// Status is all that can be said of the chain now.
func (c *Chain) Status(now time.Time) Status {
	n := Decide(c, now)
	s := Status{
		Root: c.Root, Phase: n.Phase, Summary: n.Reason, StartedAt: c.StartedAt, HeldSince: c.HeldSince, EndedAt: c.EndedAt,
		Timeline: slices.Clone(c.Journal),
	}
	if !n.Finish {
		s.GivesUpAt = c.MovedAt.Add(quietAtMost)
	}
	for i, l := range n.Lines {
		s.Nodes = append(s.Nodes, c.show(i, l, n.Lines, now))
	}
	return s
}

func (c *Chain) show(i int, l line, lines []line, now time.Time) Node {
	n := &c.Nodes[i]
	shown := Node{Stack: n.Stack, After: n.After, State: l.State, Lets: l.Lets, Since: n.Since}
	if n.State != l.State || n.Since.IsZero() {
		shown.Since = now
	}
	r := n.current()
	if r != nil {
		shown.Run, shown.RunState = r.Run, r.State
	}
	for _, r := range slices.SortedFunc(slices.Values(n.Runs), byCreation) {
		shown.Runs = append(shown.Runs, r.Run)
	}
	switch l.State {
	case NodeWaiting:
		shown.Reason = c.waitsFor(n, lines)
	case NodeReleasing:
		shown.Reason = "all that it follows lets it go, and Gantry triggers a run"
	case NodeHeld:
		shown.Reason, shown.Until = n.Trouble.Reason, n.Trouble.Until
	case NodeRunning:
		if shown.Reason = fmt.Sprintf("run %s goes on", r.Run); r.How != "" {
			shown.Reason += ": " + r.How
		}
	default:
		shown.Reason = c.why(i, line{State: l.State, Released: true})
	}
	shown.Reason = decide.Fit(shown.Reason, maxReason)
	return shown
}

// maxReason bounds the reason of one node in a status, in bytes.
const maxReason = 500

// waitsFor says what keeps a stack that has not been triggered.
func (c *Chain) waitsFor(n *member, lines []line) string {
	var all []string
	for _, p := range n.After {
		if lines[p].Lets != EdgeReleases {
			all = append(all, c.why(p, lines[p]))
		}
	}
	switch {
	case len(all) > 0:
		return few(all)
	case n.Trouble != nil:
		return n.Trouble.Reason
	}
	return "all that it follows lets it go"
}

// whyLets says why the node lets those go that follow it, or does not.
func (n Node) whyLets() string {
	switch {
	case n.State == NodeSkipped && n.Lets != EdgeReleases:
		return fmt.Sprintf("%s is skipped, and waits for what it follows", n.Stack)
	case n.State == NodeHeld:
		return fmt.Sprintf("%s is not triggered: %s", n.Stack, n.Reason)
	case n.State == NodeRunning:
		return fmt.Sprintf("run %s of %s goes on", n.Run, n.Stack)
	case n.State == NodeWaiting, n.State == NodeReleasing:
		return fmt.Sprintf("%s has not run yet", n.Stack)
	}
	return n.Reason
}
