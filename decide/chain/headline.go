package chain

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// Opening returns what a chain is for.
func Opening(root spacelift.RunRef, commit string, pages decide.Pages) decide.Opening {
	return decide.Open(fmt.Sprintf("%s: chain of run %s, commit %s", root.Stack, root.Run, managed.ShortHash(commit)),
		"This execution releases the stacks that follow a run, one after the other.", pages.Chain(root))
}

// Headline returns where a chain is in one line, such as "network-prod: chain held since
// 28 Nov 23:32 UTC, 2 of 5 stacks through: app-prod failed".
func (c *Chain) Headline(n Next) string {
	through := 0
	for _, l := range n.Conditions {
		if l.State == NodeFinished || l.State == NodeSkipped {
			through++
		}
	}
	what := "chain " + string(n.Phase)
	if !c.HeldSince.IsZero() && !n.Finish {
		what += " since " + decide.Moment(c.HeldSince)
	}
	return fmt.Sprintf("%s: %s, %d of %d stacks through: %s", c.Root.Stack, what, through, len(n.Conditions), decide.Fit(n.Reason, maxHeadline))
}

// maxHeadline bounds the reason in a headline, in bytes.
const maxHeadline = 120

// Details returns where a chain is, in Markdown: the headline, the stacks that it waits
// for, those that need somebody first, and links.
func (c *Chain) Details(n Next, pages decide.Pages) string {
	var d decide.Markdown
	d.Heading(c.Headline(n))
	d.Paragraph(decide.Sentence(n.Reason))
	first := map[NodeState]int{NodeFailed: 1, NodeHeld: 2, NodeRunning: 3, NodeReleasing: 4, NodeWaiting: 5}
	var open []int
	for i, l := range n.Conditions {
		if first[l.State] > 0 {
			open = append(open, i)
		}
	}
	slices.SortStableFunc(open, func(a, b int) int {
		return cmp.Compare(first[n.Conditions[a].State], first[n.Conditions[b].State])
	})
	for _, i := range open[:min(len(open), maxDetails)] {
		node := &c.Nodes[i]
		state := string(n.Conditions[i].State)
		if r := node.current(); r != nil {
			state += ", run " + string(r.Run)
		}
		if node.Backoff != nil {
			state += ": " + node.Backoff.Reason
		}
		d.Item(string(node.Stack), state)
	}
	if left := len(open) - maxDetails; left > 0 {
		d.Item("More", fmt.Sprintf("%d stacks", left))
	}
	d.Link("Open in Gantry", pages.Chain(c.Root))
	d.Link("The run that it began with", pages.Run(c.Root))
	return d.String()
}

// maxDetails bounds the stacks that details name.
const maxDetails = 20
