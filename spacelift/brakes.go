package spacelift

import (
	"fmt"
	"strings"
	"time"
)

// Brakes are the settings of a stack that hold its runs back. Other brakes belong
// to the run: a state that waits for people, and Run.NeedsApproval.
//
// Protection from deletion, autodeploy and autoretry don't hold back anything
// that Gantry does. With a full or drained worker pool, runs wait in READY or
// CONFIRMED.
type Brakes struct {
	Lock     *Lock `json:"lock,omitempty"`
	Disabled bool  `json:"disabled,omitempty"` // can't start runs
	Deleting bool  `json:"deleting,omitempty"` // Spacelift has been asked to delete the stack
	Blocker  RunID `json:"blocker,omitempty"`  // the run that holds the stack; remains for a moment after that run has ended
}

// Lock is one owner's exclusive right to a stack. It never expires. Only the
// owner can start runs, and Spacelift's own autodeploy is off meanwhile.
// https://docs.spacelift.io/concepts/stack/creating-a-stack
//
// Assumption: whether others may confirm a plan under a lock is not documented.
// Gantry treats every lock of another owner as a brake.
type Lock struct {
	By    string    `json:"by"` // as Spacelift names people and API keys
	Since time.Time `json:"since,omitzero"`
	Note  string    `json:"note,omitempty"`
}

// Block is a brake that keeps Gantry from acting for a stack.
type Block struct {
	What   BlockKind `json:"what"`
	By     string    `json:"by,omitempty"`   // owner of the lock, or id of the run that holds the stack
	Since  time.Time `json:"since,omitzero"` // of a lock, if Spacelift knows it
	Note   string    `json:"note,omitempty"` // of a lock, shortened
	Reason string    `json:"reason"`         // all of this as a sentence
}

// BlockKind is a kind of brake.
type BlockKind string

// The kinds of blocks.
const (
	BlockLock     BlockKind = "lock"     // the stack is locked
	BlockDisabled BlockKind = "disabled" // the stack is disabled
	BlockDeleting BlockKind = "deleting" // the stack is being deleted
	BlockRun      BlockKind = "run"      // another run holds the stack
)

// maxLockNote limits a lock's note, because Temporal histories keep it.
const maxLockNote = 300

// StartBlock returns the brake that keeps Gantry from triggering or retrying a
// run of the stack, or nil. A run that holds the stack isn't one: the new run
// waits in the queue.
func (b Brakes) StartBlock() *Block {
	switch {
	case b.Deleting:
		return &Block{What: BlockDeleting, Reason: "the stack is being deleted in Spacelift"}
	case b.Disabled:
		return &Block{What: BlockDisabled, Reason: "the stack is disabled in Spacelift"}
	case b.Lock != nil:
		return b.Lock.block()
	}
	return nil
}

// ConfirmBlock returns the brake that keeps Gantry from confirming the run's
// plan, or nil.
func (b Brakes) ConfirmBlock(run RunID) *Block {
	if block := b.StartBlock(); block != nil {
		return block
	}
	if b.Blocker != "" && b.Blocker != run {
		return &Block{What: BlockRun, By: string(b.Blocker), Reason: fmt.Sprintf("another run, %s, holds the stack in Spacelift", b.Blocker)}
	}
	return nil
}

func (l Lock) block() *Block {
	note := l.Note
	if len(note) > maxLockNote {
		note = strings.ToValidUTF8(note[:maxLockNote-len("…")], "") + "…"
	}
	b := &Block{What: BlockLock, By: l.By, Since: l.Since, Note: note, Reason: l.By + " locked the stack in Spacelift"}
	if !l.Since.IsZero() {
		b.Reason += l.Since.UTC().Format(" on 2006-01-02 at 15:04 UTC")
	}
	if note != "" {
		b.Reason += ": " + note
	}
	return b
}
