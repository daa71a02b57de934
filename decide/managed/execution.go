package managed

import (
	"fmt"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// The names below are a contract with open executions and with every replica
// of another version: add, never rename.
const (
	// ManageRunType is the workflow type of ManageRun: the name it is started by.
	ManageRunType = "ManageRun"

	// RunEventsSignal carries a RunEvents batch to ManageRun.
	RunEventsSignal = "run-events"

	// StatusQuery answers with the RunStatus of an execution.
	StatusQuery = "status"

	// RecordQuery answers with all that an execution knows, for the next execution
	// of the same run.
	RecordQuery = "record"
)

// ManageRunInput starts ManageRun, and carries what it knows when it continues
// as new. A caller that starts an execution with a signal sets Run alone; one that
// starts it without a signal may give the events that are known already.
type ManageRunInput struct {
	Run     spacelift.RunRef `json:"run"`
	Events  []RunEvent       `json:"events,omitempty"`
	RetryOf *RetryOf         `json:"retryOf,omitempty"` // nil: it tries no other run again, as far as is known
	Chains  []ChainRef       `json:"chains,omitempty"`  // that the run is part of, as far as is known
	Behind  []string         `json:"behind,omitempty"`  // see RunStatus
	Known   *Record          `json:"known,omitempty"`
	Late    []RunEvents      `json:"late,omitempty"` // that had come in when it continued as new, and were not taken

	// Reopened says that an earlier execution of the run has closed. What people
	// decided then, and whose retry the run is, is read from that one first.
	Reopened bool `json:"reopened,omitempty"`
}

// The prefixes of workflow ids. They are a contract with open executions.
const (
	RunPrefix   = "run/"
	chainPrefix = "chain/"
	retryPrefix = "retry/"
)

// ManageRunID returns the workflow id of the one execution that manages a run.
func ManageRunID(run spacelift.RunRef) string { return RunPrefix + run.String() }

// ParseRunID returns the run that the execution with a workflow id manages.
func ParseRunID(id string) (run spacelift.RunRef, err error) {
	parts := strings.Split(strings.TrimPrefix(id, RunPrefix), "/")
	if !strings.HasPrefix(id, RunPrefix) || len(parts) != 3 {
		return run, fmt.Errorf("execution %q is not that of a run", id)
	}
	run = spacelift.RunRef{Account: spacelift.Account(parts[0]), Stack: spacelift.StackID(parts[1]), Run: spacelift.RunID(parts[2])}
	return run, run.Validate()
}

// RetryRunID returns the workflow id of the retry of a run.
func RetryRunID(run spacelift.RunRef) string { return retryPrefix + run.String() }

// ChainID returns the workflow id of the chain that a run begins. A chain is named
// by that run alone: Spacelift's run ids are unique within an account.
func ChainID(root spacelift.RunRef) string {
	return chainPrefix + string(root.Account) + "/" + string(root.Run)
}

// ParseChainID returns the run that began the chain with a workflow id, without its
// stack.
func ParseChainID(id string) (root spacelift.RunRef, err error) {
	parts := strings.Split(strings.TrimPrefix(id, chainPrefix), "/")
	if !strings.HasPrefix(id, chainPrefix) || len(parts) != 2 {
		return root, fmt.Errorf("execution %q is not that of a chain", id)
	}
	return spacelift.RunRef{Account: spacelift.Account(parts[0]), Run: spacelift.RunID(parts[1])}, nil
}

// Search attributes of executions, all of them keywords. Their names are a contract
// with the Temporal namespace, with lists and with people's saved queries.
const (
	AttrAccount  = "GantryAccount"
	AttrStack    = "GantryStack"
	AttrRunState = "GantryRunState"
	AttrRunType  = "GantryRunType"
	AttrPhase    = "GantryPhase"
	AttrBypassed = "GantryBypassed" // AttrTrue, or none
	AttrPlan     = "GantryPlan"     // the size of the plan: see ParseListedPlan
	AttrChanged  = "GantryChanged"  // when lists last changed, by Temporal's clock: see ListedTime. Without it: when the execution began

	// AttrFingerprint shows what an execution knows of the facts that no
	// notification carries: see factsFingerprint.
	AttrFingerprint = "GantryFingerprint"
)

// AttrTrue is the value of a search attribute that is set or missing.
const AttrTrue = "true"

// SearchAttributes returns the names of all search attributes that a namespace must
// have before it can run Gantry's workflows. Without them each execution stalls at
// its first step, and continues once they exist.
func SearchAttributes() []string {
	return []string{AttrAccount, AttrStack, AttrRunState, AttrRunType, AttrPhase, AttrFingerprint, AttrBypassed, AttrPlan, AttrChanged}
}

// Attribute is a search attribute of an execution: a keyword.
type Attribute struct{ Name, Value string }

// StartAttributes returns the search attributes to start a run's execution with, given its
// first events. They are those that it would set itself, as far as they follow from the
// events: it need not set them again. AttrChanged is not among them, because the clock of
// the process that starts it may be wrong: see its start time.
func StartAttributes(run spacelift.RunRef, events []RunEvent) (set []Attribute) {
	for _, a := range Attributes(startStatus(run, events)) {
		if a.Value != "" {
			set = append(set, a)
		}
	}
	return set
}

// StartMemo returns the memo to start a run's execution with, given its first events and
// the chains it is part of.
func StartMemo(run spacelift.RunRef, events []RunEvent, chains []ChainRef) map[string]any {
	s := startStatus(run, events)
	s.Chains, s.WaitingFor = chains, nil // nothing was read yet
	return map[string]any{ListedMemo: ListRun(s)}
}

// startStatus returns the status that the first events of a run result in.
func startStatus(run spacelift.RunRef, events []RunEvent) *RunStatus {
	r := Record{Run: run}
	r.Take(time.Time{}, events)
	labels := r.Facts().Labels
	r.Rules = &Rules{Labels: labels, Policy: (*policy.Definitions)(nil).Resolve(policy.Labelled(labels)).Of(run.Stack)}
	return r.Status(time.Time{})
}

// Attributes returns the search attributes that lists find a run by.
func Attributes(s *RunStatus) []Attribute {
	return []Attribute{
		{AttrAccount, string(s.Run.Account)},
		{AttrStack, string(s.Run.Stack)},
		{AttrRunState, string(ListedState(s))},
		{AttrRunType, string(s.Type)},
		{AttrPhase, string(s.Phase)},
		{AttrFingerprint, factsFingerprint(s)},
		{AttrBypassed, bypassed(s)},
		{AttrPlan, listedPlan(s.Delta)},
	}
}

func bypassed(s *RunStatus) string {
	if s.Bypass == nil {
		return ""
	}
	return AttrTrue
}

// factsFingerprint identifies what an execution knows of labels, reviews and locks
// and, behind a slash, the freezes and the configuration that it goes by.
// The second part is there only if the run is at a gate. Reconcile compares
// both with what is so, and so need not ask executions whose fingerprint fits.
func factsFingerprint(s *RunStatus) string {
	known := policy.Facts{State: s.State, Labels: s.Labels, NeedsApproval: s.NeedsApproval, Block: s.Block}.Fingerprint()
	if s.Gate != nil && (s.Phase == PhaseWaiting || s.Phase == PhaseHolding) {
		known += "/" + s.Gate.Fingerprint()
	}
	return known
}

// ListedState is the state that lists name. Once the API answered that a plan is
// confirmed, lists name the state that it reaches: the states in between are
// handed over in seconds, and an event for each would cost more than reading the
// end of the run does.
func ListedState(s *RunStatus) spacelift.RunState {
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
