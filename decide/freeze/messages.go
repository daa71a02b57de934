package freeze

import (
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// ID returns the workflow id of the execution that keeps an account's freezes.
func ID(account spacelift.Account) string { return "freezes/" + string(account) }

// Query is answered with the []policy.Freeze that are in effect or announced.
// NotifyingQuery is answered with whether runs are being notified of a change.
const (
	Query          = "freezes"
	NotifyingQuery = "notifying"
)

// Type is the workflow type of Freezes: one execution per account, which is the
// durable store of its freezes. It starts with the first one declared.
const Type = "Freezes"

// Input starts Freezes, and carries what it knows when it continues as new. The
// caller that starts it sets Account alone.
type Input struct {
	Account spacelift.Account `json:"account"`
	Known   *Book             `json:"known,omitempty"`
}

// DeclareUpdate takes a Declare and answers with the policy.Freeze.
// LiftUpdate takes a Lift and answers with the policy.Freeze lifted.
const (
	DeclareUpdate = "declare"
	LiftUpdate    = "lift"
)

// Declare is a person's request that Gantry confirm nothing for a time.
type Declare struct {
	ID     string    `json:"id"` // chosen by the caller, so that a repeat is the same freeze
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	Stacks []string  `json:"stacks,omitempty"` // empty: all of the account
	From   time.Time `json:"from,omitzero"`    // zero: from now on
	Until  time.Time `json:"until,omitzero"`   // zero: until it is lifted
	Key    string    `json:"key,omitempty"`    // idempotency key; empty for none
}

// Lift is a person's request to end a freeze early.
type Lift struct {
	ID  string `json:"id"`
	By  string `json:"by"`
	Key string `json:"key,omitempty"` // idempotency key; empty for none
}

// The types of the errors that refuse these updates. An id or a key that was
// used for something else is refused with decide.ErrTypeKeyReused.
const (
	ErrTypeUnknown = "UnknownFreeze" // there is no such freeze, or it is over
	ErrTypeInvalid = "BadFreeze"     // it ends before it begins, has no reason, or the like
	ErrTypeFull    = "FreezesFull"   // there is no room for another one
)

// ErrTypeImpossibleAccount is the type of the error for an account that cannot
// exist.
const ErrTypeImpossibleAccount = "ImpossibleAccount"
