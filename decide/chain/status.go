package chain

import (
	"fmt"
	"slices"
	"time"

	"github.com/gantryhq/gantry/decide"
)

// Status returns the status of the chain.
func (c *Chain) Status(now time.Time) Status {
	n := Decide(c, now)
	s := Status{
		Root: c.Root, Phase: n.Phase, Summary: n.Reason, StartedAt: c.StartedAt, HeldSince: c.HeldSince, EndedAt: c.EndedAt,
		Timeline: slices.Clone(c.Journal),
	}
	if !n.Finish {
		s.GivesUpAt = c.MovedAt.Add(patience)
	}
	for i, l := range n.Conditions {
		s.Nodes = append(s.Nodes, c.show(i, l, n.Conditions, now))
	}
	return s
}

func (c *Chain) show(i int, l condition, conditions []condition, now time.Time) Node {
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
		shown.Reason = c.waitsFor(n, conditions)
	case NodeReleasing:
		shown.Reason = "every stack that it follows releases it, and Gantry triggers a run"
	case NodeHeld:
		shown.Reason, shown.Until = n.Backoff.Reason, n.Backoff.Until
	case NodeRunning:
		if shown.Reason = fmt.Sprintf("run %s is in progress", r.Run); r.How != "" {
			shown.Reason += ": " + r.How
		}
	default:
		shown.Reason = c.why(i, condition{State: l.State, Released: true})
	}
	shown.Reason = decide.Fit(shown.Reason, maxReason)
	return shown
}

// maxReason bounds the reason of one node in a status, in bytes.
const maxReason = 500

// waitsFor returns why a stack has not been triggered.
func (c *Chain) waitsFor(n *member, conditions []condition) string {
	var all []string
	for _, p := range n.After {
		if conditions[p].Lets != EdgeReleases {
			all = append(all, c.why(p, conditions[p]))
		}
	}
	switch {
	case len(all) > 0:
		return few(all)
	case n.Backoff != nil:
		return n.Backoff.Reason
	}
	return "every stack that it follows releases it"
}

// whyLets returns why the node does or does not release the stacks that follow it.
func (n Node) whyLets() string {
	switch {
	case n.State == NodeSkipped && n.Lets != EdgeReleases:
		return fmt.Sprintf("%s is skipped, and waits for what it follows", n.Stack)
	case n.State == NodeHeld:
		return fmt.Sprintf("%s is not triggered: %s", n.Stack, n.Reason)
	case n.State == NodeRunning:
		return fmt.Sprintf("run %s of %s is in progress", n.Run, n.Stack)
	case n.State == NodeWaiting, n.State == NodeReleasing:
		return fmt.Sprintf("%s has not run yet", n.Stack)
	}
	return n.Reason
}
