package workflows

import (
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// FreezesType is the workflow type of Freezes: one execution per account, which
// is the durable store of its freezes. It starts with the first one declared.
const FreezesType = "Freezes"

// FreezesID is the workflow id of an account's freezes.
func FreezesID(account spacelift.Account) string { return "freezes/" + string(account) }

// FreezesInput starts Freezes. Who starts it sets Account alone.
type FreezesInput struct {
	Account spacelift.Account `json:"account"`
}

// FreezesQuery answers with the []policy.Freeze that hold or will, oldest first.
const FreezesQuery = "freezes"

// DeclareFreezeUpdate takes a DeclareFreeze and answers with the policy.Freeze.
// LiftFreezeUpdate takes a LiftFreeze and answers with the policy.Freeze lifted.
const (
	DeclareFreezeUpdate = "declare"
	LiftFreezeUpdate    = "lift"
)

// DeclareFreeze is a person's wish that Gantry confirm nothing for a time.
type DeclareFreeze struct {
	ID     string    `json:"id"` // chosen by the caller, so that a repeat is the same freeze
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	Stacks []string  `json:"stacks,omitempty"` // empty: all of the account
	From   time.Time `json:"from,omitzero"`    // zero: from now on
	Until  time.Time `json:"until,omitzero"`   // zero: until it is lifted
}

// LiftFreeze ends a freeze before its time.
type LiftFreeze struct {
	ID string `json:"id"`
	By string `json:"by"`
}

// The types of the errors that refuse these updates. An id that was used for
// another freeze is refused with ErrTypeKeyReused.
const (
	ErrTypeUnknownFreeze = "UnknownFreeze" // there is no such freeze, or it is over
	ErrTypeBadFreeze     = "BadFreeze"     // it ends before it begins, has no reason, or the like
)
