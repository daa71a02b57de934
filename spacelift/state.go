package spacelift

import "slices"

// RunState is the state of a run, spelled as Spacelift spells it. Unknown values
// are kept as they are, and count as not terminal.
type RunState string

// The run states, from Spacelift's documentation of runs and of the
// TF_VAR_spacelift_run_state environment variable.
const (
	RunStateQueued          RunState = "QUEUED"           // blocked, awaiting approval, or waiting for other stacks
	RunStateReady           RunState = "READY"            // eligible, waiting for a worker
	RunStatePreparing       RunState = "PREPARING"        // being handed to a worker
	RunStateInitializing    RunState = "INITIALIZING"     // before_init hooks and the tool's init
	RunStatePlanning        RunState = "PLANNING"         //
	RunStateUnconfirmed     RunState = "UNCONFIRMED"      // the plan has changes: a person confirms or discards
	RunStatePendingReview   RunState = "PENDING_REVIEW"   // a proposed run's plan drew a warning: a person reviews
	RunStateConfirmed       RunState = "CONFIRMED"        // confirmed, waiting for a worker; can't be stopped
	RunStatePreparingApply  RunState = "PREPARING_APPLY"  // second hand-over to a worker
	RunStateApplying        RunState = "APPLYING"         //
	RunStatePerforming      RunState = "PERFORMING"       // a task's command runs; can't be stopped
	RunStateDestroying      RunState = "DESTROYING"       // module test clean-up, or stack destruction
	RunStateReplanRequested RunState = "REPLAN_REQUESTED" // a targeted replan was requested
	RunStatePreparingReplan RunState = "PREPARING_REPLAN" // hand-over for the replan
	RunStatePending         RunState = "PENDING"          // deprecated by Spacelift

	RunStateFinished  RunState = "FINISHED"  // the only success
	RunStateFailed    RunState = "FAILED"    //
	RunStateDiscarded RunState = "DISCARDED" // a person rejected the plan
	RunStateCanceled  RunState = "CANCELED"  // cancelled before it started
	RunStateStopped   RunState = "STOPPED"   // stopped while initializing or planning
	RunStateSkipped   RunState = "SKIPPED"   // never ran: dependency rules
)

// RunStates lists every known state, in the order in which a run may pass them,
// with the terminal ones last.
var RunStates = []RunState{
	RunStatePending, RunStateQueued, RunStateReady, RunStatePreparing, RunStateInitializing, RunStatePlanning,
	RunStatePendingReview, RunStateUnconfirmed, RunStateReplanRequested, RunStatePreparingReplan,
	RunStateConfirmed, RunStatePreparingApply, RunStateApplying, RunStatePerforming, RunStateDestroying,
	RunStateFinished, RunStateFailed, RunStateDiscarded, RunStateCanceled, RunStateStopped, RunStateSkipped,
}

// Terminal reports whether a run in this state has ended permanently.
func (s RunState) Terminal() bool {
	switch s {
	case RunStateFinished, RunStateFailed, RunStateDiscarded, RunStateCanceled, RunStateStopped, RunStateSkipped:
		return true
	}
	return false
}

// The sources for which mutation Spacelift accepts in which state are its
// documentation of runs (https://docs.spacelift.io/concepts/run), the reference
// of its permissions (https://docs.spacelift.io/concepts/authorization/rbac-system)
// and spacectl. None of them mentions PENDING, so Gantry sends nothing in it. The
// methods below are the only place for these facts; Run has the obstacles of a
// single run, such as a missing review or a key without permission.

// Confirmable reports whether runConfirm is accepted.
// https://docs.spacelift.io/concepts/run/tracked#unconfirmed
func (s RunState) Confirmable() bool { return s == RunStateUnconfirmed }

// Discardable reports whether runDiscard is accepted. The documentation also
// speaks of discarding queued runs; the API cancels those (spacectl).
// https://docs.spacelift.io/concepts/run/tracked#discarded
func (s RunState) Discardable() bool { return s == RunStateUnconfirmed }

// Cancelable reports whether runCancel is accepted: the run has not started.
// https://docs.spacelift.io/concepts/run#canceled
func (s RunState) Cancelable() bool { return s == RunStateQueued || s == RunStateReady }

// Interruptible reports whether runStop is accepted. The worker may ignore it.
// https://docs.spacelift.io/concepts/run#stopping-runs
func (s RunState) Interruptible() bool { return s == RunStateInitializing || s == RunStatePlanning }

// Reviewable reports whether runReview is accepted.
// https://docs.spacelift.io/concepts/policy/approval-policy
func (s RunState) Reviewable() bool {
	return s == RunStateQueued || s == RunStateUnconfirmed || s == RunStatePendingReview
}

// NeedsDecision reports whether a run in this state waits for a decision.
// needsApproval is true when an approval policy keeps the run there.
func (s RunState) NeedsDecision(needsApproval bool) bool {
	return s == RunStateUnconfirmed || s == RunStatePendingReview || s == RunStateQueued && needsApproval
}

// Retryable reports whether Spacelift may accept runRetry: the run has ended.
// Run.CanRetry adds whether it does for this run and this key.
//
// Assumption: every terminal state qualifies. Spacelift's request collection
// mentions finished pull-request runs, its permissions mention blocking runs too.
func (s RunState) Retryable() bool { return s.Terminal() }

// Stoppable reports whether one of EndVerb's verbs can end a run in this state.
func (s RunState) Stoppable() bool { return s.EndVerb() != "" }

// The verbs that end a run.
const (
	VerbCancel  = "cancel"
	VerbStop    = "stop"
	VerbDiscard = "discard"
)

// EndVerb returns the verb that ends a run in this state, or "" if none does.
func (s RunState) EndVerb() string {
	switch {
	case s.Cancelable():
		return VerbCancel
	case s.Interruptible():
		return VerbStop
	case s.Discardable():
		return VerbDiscard
	}
	return ""
}

// Applies reports whether a run in this state is past its plan: it changes
// resources, or is about to.
func (s RunState) Applies() bool {
	switch s {
	case RunStateConfirmed, RunStatePreparingApply, RunStateApplying, RunStatePerforming, RunStateDestroying:
		return true
	}
	return false
}

// HandedOver reports whether the run is between two states in which it can be
// ended: it leaves this state within moments, without an action by anyone.
func (s RunState) HandedOver() bool {
	return s == RunStatePreparing || s == RunStateReplanRequested || s == RunStatePreparingReplan
}

// Known reports whether this is one of RunStates.
func (s RunState) Known() bool { return slices.Contains(RunStates, s) }

// RunType is a kind of run.
type RunType string

// The run types. There is none for drift: a drift check is a proposed run, and
// its repair a tracked one, with Run.DriftDetection set.
const (
	RunTypeProposed RunType = "PROPOSED" // preview: plan only
	RunTypeTracked  RunType = "TRACKED"  // deployment: plan and apply
	RunTypeTask     RunType = "TASK"     // a shell command in the stack's environment
	RunTypeTesting  RunType = "TESTING"  // module test case: plan, apply, destroy
	RunTypeDestroy  RunType = "DESTROY"  // destroys a stack's resources when the stack is deleted
	RunTypeParse    RunType = "PARSE"    // listed by Spacelift, but not described
)

// RunTypes lists every known type.
var RunTypes = []RunType{RunTypeProposed, RunTypeTracked, RunTypeTask, RunTypeTesting, RunTypeDestroy, RunTypeParse}

// Known reports whether this is one of RunTypes.
func (t RunType) Known() bool { return slices.Contains(RunTypes, t) }
