package reconcile

import (
	"slices"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// Knowledge is the part of a run's status that Reconcile compares with Spacelift. Its
// fields are those of the answer to the query.
type Knowledge struct {
	Exists bool               `json:"exists"`         // an execution exists, open or closed
	Mute   string             `json:"mute,omitempty"` // why it can't answer: its workflow tasks fail
	Phase  managed.Phase      `json:"phase,omitempty"`
	State  spacelift.RunState `json:"state,omitempty"`
	States []KnownState       `json:"states,omitempty"`

	StateVersion  int              `json:"stateVersion"`            // of State
	NeedsApproval bool             `json:"needsApproval,omitempty"` // in State
	Block         *spacelift.Block `json:"block,omitempty"`         // of the stack, as last read in State
	Labels        []string         `json:"labels,omitempty"`
}

// KnownState is a state that an execution knows, and the source of the first event
// that reported it.
type KnownState struct {
	managed.StateKey
	Source managed.EventSource `json:"source,omitempty"`
}

// notified reports whether only notifications reported the state.
func (s KnownState) notified() bool { return s.Source != managed.SourceReconcile }

// Ended reports whether the execution takes the run for ended.
func (k Knowledge) Ended() bool { return k.Phase == managed.PhaseDone }

// Shown reports whether the API showed the run to its execution before.
func (k Knowledge) Shown() bool {
	return slices.ContainsFunc(k.States, func(s KnownState) bool { return !s.notified() })
}

// otherThan reports whether the run is known in its state, but with other facts
// that no notification carries.
func (k Knowledge) otherThan(state spacelift.RunState, fingerprint string) bool {
	facts := policy.Facts{State: k.State, Labels: k.Labels, NeedsApproval: k.NeedsApproval, Block: k.Block}
	return k.State == state && facts.Fingerprint() != fingerprint
}
