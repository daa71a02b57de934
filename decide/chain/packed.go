package chain

import (
	"encoding/binary"
	"hash/fnv"
	"slices"

	"github.com/gantryhq/gantry/spacelift"
)

// StacksMemo is the name of the memo that says which stacks may be part of a chain: see
// [Chain.PackedStacks]. Lists show it, so that a run asks only the chains that may have it.
// Its name and form are a contract with open executions and with replicas of other versions.
const StacksMemo = "gantryChainStacks"

// packedForm is the first byte of packed stacks.
const packedForm = 1

// PackedStacks returns the stacks that follow in the chain, as two bytes of a hash each:
// Temporal warns about memos of more than 2 KiB. It returns nothing before the chain has
// read which stacks follow.
func (c *Chain) PackedStacks() []byte {
	if !c.Known || len(c.Nodes) == 0 {
		return nil
	}
	var hashes []uint16
	for _, n := range c.Nodes[1:] { // the first is the root
		hashes = append(hashes, hashOf(n.Stack))
	}
	slices.Sort(hashes)
	packed := []byte{packedForm}
	for _, h := range slices.Compact(hashes) {
		packed = binary.BigEndian.AppendUint16(packed, h)
	}
	return packed
}

// MayFollow reports whether a stack may be among packed ones. It is for certain if it
// isn't; of a thousand stacks, one in 66 others seems to be. Nothing packed says nothing.
func MayFollow(packed []byte, stack spacelift.StackID) bool {
	if len(packed) == 0 || packed[0] != packedForm {
		return true
	}
	want := binary.BigEndian.AppendUint16(nil, hashOf(stack))
	for two := range slices.Chunk(packed[1:], 2) {
		if slices.Equal(two, want) {
			return true
		}
	}
	return false
}

func hashOf(stack spacelift.StackID) uint16 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(stack)) // it never fails
	return uint16(h.Sum32() ^ h.Sum32()>>16)
}
