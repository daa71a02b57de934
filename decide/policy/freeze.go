package policy

import "time"

// Gate says whether Gantry may confirm at a time, by windows and freezes.
type Gate struct {
	Open   bool      `json:"open"`
	At     time.Time `json:"at"`               // the time it speaks of
	Until  time.Time `json:"until,omitzero"`   // when that changes at the earliest; zero: not by itself
	Reason string    `json:"reason,omitempty"` // a sentence, when closed
	Freeze string    `json:"freeze,omitempty"` // id of the freeze that closes it
	Window string    `json:"window,omitempty"` // name of the window that closes it

	// Closed is everything that closes it, freezes first.
	Closed []Closure `json:"closed,omitempty"`

	// Config identifies the configuration that the gate was computed by, so that
	// a run at the gate can be found once it is another; empty without one.
	Config string `json:"config,omitempty"`
}

// Closure is a freeze or a window that closes a gate.
type Closure struct {
	Freeze     string `json:"freeze,omitempty"`     // its id
	DeclaredBy string `json:"declaredBy,omitempty"` // of a freeze
	Window     string `json:"window,omitempty"`     // its name
	Reason     string `json:"reason"`               // a sentence
}

// Freeze keeps Gantry from confirming anything in an account, or in some of
// its stacks. It is declared and lifted by people.
type Freeze struct {
	ID         string    `json:"id"`
	Reason     string    `json:"reason"`
	Stacks     []string  `json:"stacks,omitempty"` // empty: all of the account
	From       time.Time `json:"from"`
	Until      time.Time `json:"until,omitzero"` // zero: until it is lifted
	DeclaredBy string    `json:"declaredBy"`
	DeclaredAt time.Time `json:"declaredAt"`
}

// Deadline is something to do when nobody decided by a time.
type Deadline struct {
	At     time.Time    `json:"at"`
	Kind   DeadlineKind `json:"kind"`
	Notify []string     `json:"notify,omitempty"` // channels; empty: those of the policy
}

// DeadlineKind is what to do.
type DeadlineKind string

// The kinds.
const (
	DeadlineRemind   DeadlineKind = "remind"
	DeadlineEscalate DeadlineKind = "escalate"
	DeadlineDiscard  DeadlineKind = "discard"
	DeadlineTimeout  DeadlineKind = "timeout" // the time is over and the plan is kept: people are told once
)
