package managed

import (
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/spacelift"
)

// How often a run that a lock or another brake of its stack holds is read, if
// nothing tells that it is free. The wait grows with the time that the run has
// been in its state.
const (
	BlockFirst = time.Minute
	BlockMost  = 15 * time.Minute
)

// block is what keeps Gantry from confirming, as far as the API told of the
// state; nil if nothing is known to.
func (r *Record) block(key StateKey) *spacelift.Block {
	e, _ := r.apiTold(key)
	return e.Block
}

// braked reports whether a brake of the stack keeps Gantry from confirming, and
// what to do then. People may decide meanwhile.
func braked(s Situation) (n Next, holds bool) {
	if s.Block == nil {
		return Next{}, false
	}
	n = hold(WaitStack, whoFrees(s.Block), "Gantry confirms the plan", "%s", s.Block.Reason)
	n.Until = s.blockRead.Add(decide.Clamp(s.blockRead.Sub(s.Entered.At), BlockFirst, BlockMost))
	if s.Now.Before(n.Until) {
		return n, true
	}
	return s.reading(n), true
}

// whoFrees says who can take a block away.
func whoFrees(b *spacelift.Block) string {
	switch b.What {
	case spacelift.BlockLock:
		return b.By + ", or an administrator of the stack in Spacelift"
	case spacelift.BlockDisabled:
		return "anyone who may enable the stack in Spacelift"
	case spacelift.BlockRun:
		return "anyone who may confirm or discard run " + b.By + " in Spacelift"
	}
	return "an administrator of the stack in Spacelift"
}

// howFreed says what takes a block away.
func howFreed(b *spacelift.Block) string {
	switch b.What {
	case spacelift.BlockLock:
		return "unlock the stack in Spacelift"
	case spacelift.BlockDisabled:
		return "enable the stack in Spacelift"
	case spacelift.BlockRun:
		return "let run " + b.By + " come to its end"
	}
	return "see why the stack is being deleted"
}

func blockReason(b *spacelift.Block) string {
	if b == nil {
		return ""
	}
	return b.Reason
}
