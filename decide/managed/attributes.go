package managed

import (
	"time"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// Search attributes of executions, all of them keywords. Their names are a contract
// with the Temporal namespace, with lists and with people's saved queries.
const (
	AttrAccount  = "GantryAccount"
	AttrStack    = "GantryStack"
	AttrRunState = "GantryRunState"
	AttrRunType  = "GantryRunType"
	AttrPhase    = "GantryPhase"

	// AttrFingerprint shows what an execution knows of the facts that no
	// notification carries: see factsFingerprint.
	AttrFingerprint = "GantryFingerprint"
)

// SearchAttributes returns the names of all search attributes that a namespace must
// have before it can run Gantry's workflows. Without them each execution stalls at
// its first step, and continues once they exist.
func SearchAttributes() []string {
	return []string{AttrAccount, AttrStack, AttrRunState, AttrRunType, AttrPhase, AttrFingerprint}
}

// Attribute is a search attribute of an execution: a keyword.
type Attribute struct{ Name, Value string }

// StartAttributes returns the search attributes to start a run's execution with,
// given its first events. They are those that it would set itself, as far as
// they follow from the events: it need not set them again.
func StartAttributes(run spacelift.RunRef, events []RunEvent) (set []Attribute) {
	for _, a := range Attributes(startStatus(run, events)) {
		if a.Value != "" {
			set = append(set, a)
		}
	}
	return set
}

// startStatus is the status that the first events of a run come to.
func startStatus(run spacelift.RunRef, events []RunEvent) RunStatus {
	r := Record{Run: run}
	r.Take(time.Time{}, events)
	labels := r.Facts().Labels
	r.Rules = &Rules{Labels: labels, Policy: (*policy.Definitions)(nil).Resolve(labels).Of(run.Stack)}
	return r.Status(time.Time{})
}

// Attributes are what lists find a run by.
func Attributes(s RunStatus) []Attribute {
	return []Attribute{
		{AttrAccount, string(s.Run.Account)},
		{AttrStack, string(s.Run.Stack)},
		{AttrRunState, string(ListedState(s))},
		{AttrRunType, string(s.Type)},
		{AttrPhase, string(s.Phase)},
		{AttrFingerprint, factsFingerprint(s)},
	}
}

// factsFingerprint identifies what an execution knows of labels, reviews and locks
// and, behind a slash, the freezes and the configuration that it goes by.
// The second part is there only if the run is at a gate. Reconcile compares
// both with what is so, and so need not ask executions whose fingerprint fits.
func factsFingerprint(s RunStatus) string {
	known := policy.Facts{State: s.State, Labels: s.Labels, NeedsApproval: s.NeedsApproval, Block: s.Block}.Fingerprint()
	if s.Gate != nil && (s.Phase == PhaseWaiting || s.Phase == PhaseHolding) {
		known += "/" + s.Gate.Fingerprint()
	}
	return known
}

// ListedState is the state that lists name. Once the API answered that a plan is
// confirmed, lists name the state that it comes to: the states in between are
// handed over in seconds, and an event for each would cost more than reading the
// end of the run does.
func ListedState(s RunStatus) spacelift.RunState {
	if s.State == spacelift.RunStateUnconfirmed && s.Phase == PhaseApplying {
		return spacelift.RunStateApplying
	}
	return s.State
}

// Lasts reports whether runs usually stay in a state long enough for a list to
// name it. The states between them are handed over in seconds; a list shows
// those only when they begin a phase, or once a run has stayed in one for so
// long that the execution asked for it. The status of the run shows all.
func Lasts(s spacelift.RunState) bool {
	switch s {
	case spacelift.RunStateReady, spacelift.RunStatePreparing, spacelift.RunStateInitializing, spacelift.RunStateConfirmed, spacelift.RunStatePreparingApply,
		spacelift.RunStateReplanRequested, spacelift.RunStatePreparingReplan:
		return false
	}
	return true
}
