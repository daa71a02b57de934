package reconcile

import (
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// Known is the part of a run's status that says how far its execution has
// heard of it. Its fields are those of the answer to the query.
type Known struct {
	Exists bool               `json:"exists"`         // an execution exists, open or closed
	Mute   string             `json:"mute,omitempty"` // why it can't answer: its workflow tasks fail
	Phase  string             `json:"phase,omitempty"`
	State  spacelift.RunState `json:"state,omitempty"`
	States []KnownState       `json:"states,omitempty"`

	StateVersion  int            `json:"stateVersion"`            // of State
	NeedsApproval bool           `json:"needsApproval,omitempty"` // in State
	Block         *managed.Block `json:"block,omitempty"`         // of the stack, as last read in State
	Labels        []string       `json:"labels,omitempty"`
}

// KnownState is a state that an execution has heard of.
type KnownState struct {
	State        spacelift.RunState `json:"state"`
	StateVersion int                `json:"stateVersion"`
	Source       string             `json:"source,omitempty"`
}
