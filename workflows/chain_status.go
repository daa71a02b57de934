package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// status is all that can be said of the chain now.
func (c *chain) status(now time.Time) ChainStatus {
	n := decideChain(*c, now)
	s := ChainStatus{
		Root: c.Root, Phase: n.Phase, Summary: n.Reason, StartedAt: c.StartedAt, HeldSince: c.HeldSince, EndedAt: c.EndedAt,
		Edges: slices.Clone(n.Edges), Timeline: slices.Clone(c.Journal),
	}
	if !c.HeldSince.IsZero() && !n.Finish {
		s.GivesUpAt = c.HeldSince.Add(heldAtMost)
	}
	for i, e := range s.Edges {
		if e.At.IsZero() {
			s.Edges[i].At = now
		}
	}
	for i := range c.Nodes {
		s.Nodes = append(s.Nodes, c.show(&c.Nodes[i], s.Edges))
	}
	return s
}

func (c *chain) show(n *chainNode, edges []ChainEdge) ChainNode {
	shown := ChainNode{Stack: n.Stack, After: n.After, State: n.state()}
	if r := n.current(); r != nil {
		shown.Run, shown.RunState = r.Run.Run, r.State
	}
	for _, r := range n.Runs {
		shown.Runs = append(shown.Runs, r.Run.Run)
	}
	switch shown.State {
	case NodeWaiting:
		shown.Reason = waitsFor(n, edges)
	case NodeReleasing:
		shown.Reason = "all that it follows lets it go, and Gantry triggers a run"
	case NodeHeld:
		shown.Reason, shown.Until = n.Trouble.Reason, n.Trouble.Until
	case NodeRunning:
		r := n.current()
		if shown.Reason = fmt.Sprintf("run %s goes on", r.Run.Run); r.How != "" {
			shown.Reason += ": " + r.How
		}
	default:
		_, shown.Reason = c.judge(n, true)
	}
	return shown
}

// waitsFor says what keeps a stack that has not been triggered.
func waitsFor(n *chainNode, edges []ChainEdge) string {
	var all []string
	for _, e := range edges {
		if e.To == n.Stack && e.Decision != EdgeReleases {
			all = append(all, e.Reason)
		}
	}
	if len(all) == 0 {
		return "all that it follows lets it go"
	}
	return strings.Join(all, "; ")
}
