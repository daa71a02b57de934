package spacelift

import (
	"fmt"
	"strings"
	"time"

	"github.com/gantryhq/gantry/spacelift/internal/operations"
)

// Brakes are what a stack's people and Spacelift hold its runs back with. The
// other brakes are the run's own: a state that waits for people, and
// Run.NeedsApproval.
//
// Protection from deletion, autodeploy and autoretry hold nothing back that
// Gantry does. A full or drained worker pool lets runs wait in READY or CONFIRMED.
type Brakes struct {
	Lock     *Lock `json:"lock,omitempty"`
	Disabled bool  `json:"disabled,omitempty"` // can't start runs
	Deleting bool  `json:"deleting,omitempty"` // somebody asked Spacelift to delete the stack
	Blocker  RunID `json:"blocker,omitempty"`  // the run that holds the stack; stays a moment after that run has ended
}

// Lock is somebody's exclusive right to a stack. It never expires. Only its
// owner can start runs, and Spacelift's own autodeploy is off meanwhile.
// https://docs.spacelift.io/concepts/stack/creating-a-stack
//
// Assumption: whether others may confirm a plan under a lock is not documented.
// Gantry treats a lock of somebody else's as a brake.
type Lock struct {
	By    string    `json:"by"` // as Spacelift names people and API keys
	Since time.Time `json:"since,omitzero"`
	Note  string    `json:"note,omitempty"`
}

func fromStackBrakes(s operations.StackBrakes) Brakes {
	b := Brakes{Disabled: s.IsDisabled, Deleting: s.Deleting}
	if by := orZero(s.LockedBy); by != "" {
		b.Lock = &Lock{By: by, Since: unixTime(orZero(s.LockedAt)), Note: orZero(s.LockNote)}
	}
	if s.Blocker != nil {
		b.Blocker = RunID(s.Blocker.Id)
	}
	return b
}

// Block is a brake that keeps Gantry from acting for a stack.
type Block struct {
	What   BlockKind `json:"what"`
	By     string    `json:"by,omitempty"`   // who holds the lock, or the id of the run that holds the stack
	Since  time.Time `json:"since,omitzero"` // of a lock, where Spacelift says so
	Note   string    `json:"note,omitempty"` // of a lock, shortened
	Reason string    `json:"reason"`         // a sentence that holds all of that
}

// BlockKind says which brake it is.
type BlockKind string

// The kinds of blocks.
const (
	BlockLock     BlockKind = "lock"     // somebody locked the stack
	BlockDisabled BlockKind = "disabled" // the stack is disabled
	BlockDeleting BlockKind = "deleting" // the stack is being deleted
	BlockRun      BlockKind = "run"      // another run holds the stack
)

// maxLockNote bounds how much of a lock's note is shown: it ends up in histories.
const maxLockNote = 300

// StartBlock returns why no run of the stack should be triggered or
// retried; nil if nothing keeps Gantry from it. A run that holds the stack is no
// reason: the new one waits for it in the queue.
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

// ConfirmBlock returns why the plan of a run should not be confirmed; nil
// if nothing keeps Gantry from it.
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
