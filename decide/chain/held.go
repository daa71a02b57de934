package chain

import (
	"slices"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/spacelift"
)

// HeldMemo is the name of the memo that lists read: a Held. Its name and form are a
// contract with open executions and with replicas of other versions.
const HeldMemo = "gantryChain"

// Held stores what lists show of a chain while nothing in it moves, besides its search
// attributes.
type Held struct {
	Since    time.Time           `json:"since"`
	InTheWay []spacelift.StackID `json:"inTheWay,omitempty"` // the stacks that somebody must act on, the first of them
	Reason   string              `json:"reason"`             // a sentence, which names no other stacks
}

// Bounds of a Held: Temporal warns about memos of more than 2 KiB.
const (
	maxHeldReason = 500
	maxHeldStacks = 10
)

// WhyHeld returns what lists show of a chain that is held.
func (c *Chain) WhyHeld(n Next) Held {
	h := Held{Since: c.HeldSince, Reason: decide.Fit(n.Reason, maxHeldReason)}
	if all := c.stops(n.Conditions); len(all) > 0 {
		h.Reason = decide.Fit(few(all), maxHeldReason)
	}
	for i, l := range n.Conditions {
		if l.Lets == EdgeStops && len(h.InTheWay) < maxHeldStacks {
			h.InTheWay = append(h.InTheWay, c.Nodes[i].Stack)
		}
	}
	return h
}

// Differs reports whether a list would show something else that is worth an event of the
// history. A sentence alone is not.
func (h Held) Differs(from Held) bool {
	return !h.Since.Equal(from.Since) || !slices.Equal(h.InTheWay, from.InTheWay)
}
