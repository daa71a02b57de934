package simulator

import (
	"fmt"
	"slices"

	"github.com/gantryhq/gantry/spacelift"
)

// The states under short names, for the tables below.
const (
	queued          = spacelift.RunStateQueued
	ready           = spacelift.RunStateReady
	preparing       = spacelift.RunStatePreparing
	initializing    = spacelift.RunStateInitializing
	planning        = spacelift.RunStatePlanning
	unconfirmed     = spacelift.RunStateUnconfirmed
	pendingReview   = spacelift.RunStatePendingReview
	confirmed       = spacelift.RunStateConfirmed
	preparingApply  = spacelift.RunStatePreparingApply
	applying        = spacelift.RunStateApplying
	performing      = spacelift.RunStatePerforming
	destroying      = spacelift.RunStateDestroying
	replanRequested = spacelift.RunStateReplanRequested
	preparingReplan = spacelift.RunStatePreparingReplan
	finished        = spacelift.RunStateFinished
	failed          = spacelift.RunStateFailed
	discarded       = spacelift.RunStateDiscarded
	canceled        = spacelift.RunStateCanceled
	stopped         = spacelift.RunStateStopped
	skipped         = spacelift.RunStateSkipped
)

type graph map[spacelift.RunState][]spacelift.RunState

// common are the transitions of every type of run
// (https://docs.spacelift.io/concepts/run#common-run-states).
//
// The documentation lets a person discard a queued run, the API cancels it;
// here it is CANCELED, as spacectl sees it.
var common = graph{
	queued:       {ready, canceled, failed, skipped},
	ready:        {preparing, canceled},
	preparing:    {initializing, failed},
	initializing: {failed, stopped},
}

// transitions maps each type to the transitions that it adds to common.
//
// Assumption: a replan passes PREPARING_REPLAN and PLANNING before it is
// UNCONFIRMED again; a rejected review fails a proposed run; a DESTROY run has
// the early phases of every other run. No source says so for certain.
var transitions = map[spacelift.RunType]graph{
	spacelift.RunTypeProposed: {
		initializing:  {planning},
		planning:      {finished, failed, stopped, pendingReview},
		pendingReview: {finished, failed},
	},
	spacelift.RunTypeTracked: {
		initializing:    {planning},
		planning:        {finished, unconfirmed, applying, failed, stopped},
		unconfirmed:     {confirmed, discarded, failed, replanRequested},
		confirmed:       {preparingApply},
		preparingApply:  {applying, failed},
		applying:        {finished, failed},
		replanRequested: {preparingReplan},
		preparingReplan: {planning},
	},
	spacelift.RunTypeTask: {
		preparing:    {performing}, // skipInitialization
		initializing: {performing},
		performing:   {finished, failed},
	},
	spacelift.RunTypeTesting: {
		initializing: {planning},
		planning:     {applying, failed, stopped},
		applying:     {destroying}, // even when applying failed
		destroying:   {finished, failed},
	},
	spacelift.RunTypeDestroy: {
		initializing: {destroying},
		destroying:   {finished, failed},
	},
}

// legal reports whether a run of type t may go from one state to the other.
func legal(t spacelift.RunType, from, to spacelift.RunState) bool {
	own, known := transitions[t]
	return known && (slices.Contains(common[from], to) || slices.Contains(own[from], to))
}

// blocking reports whether a run of this type takes the stack's one slot
// (https://docs.spacelift.io/concepts/run#run-prioritization).
func blocking(t spacelift.RunType) bool {
	switch t {
	case spacelift.RunTypeTracked, spacelift.RunTypeTask, spacelift.RunTypeDestroy, spacelift.RunTypeTesting:
		return true
	}
	return false
}

// waitsForPeople reports whether a run stays in this state until a person acts.
func waitsForPeople(s spacelift.RunState) bool { return s == unconfirmed || s == pendingReview }

// hasLogs reports whether a worker runs in this state, and so writes a log.
func hasLogs(s spacelift.RunState) bool {
	switch s {
	case preparing, initializing, planning, preparingApply, applying, performing, destroying:
		return true
	}
	return false
}

// IllegalStateError is a request that the run's state does not allow. Its
// wording is ours: Spacelift documents none, so clients must not rely on it.
type IllegalStateError struct {
	Run    spacelift.RunRef
	State  spacelift.RunState
	Action string // such as "confirm"
}

func (e *IllegalStateError) Error() string {
	return fmt.Sprintf("cannot %s run %s in state %s", e.Action, e.Run.Run, e.State)
}
