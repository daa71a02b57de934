package spacelift

import "slices"

// RunState is the state of a run, spelled as Spacelift spells it. Values we
// have never heard of are kept as they are: they count as not terminal.
type RunState string

// The run states, from Spacelift's documentation of runs and of the
// TF_VAR_spacelift_run_state environment variable.
const (
	RunStateQueued          RunState = "QUEUED"           // blocked, awaiting approval, or waiting for other stacks
	RunStateReady           RunState = "READY"            // eligible, waiting for a worker
	RunStatePreparing       RunState = "PREPARING"        // being handed to a worker
	RunStateInitializing    RunState = "INITIALIZING"     // before_init hooks and vendor init
	RunStatePlanning        RunState = "PLANNING"         //
	RunStateUnconfirmed     RunState = "UNCONFIRMED"      // the plan has changes: a person confirms or discards
	RunStatePendingReview   RunState = "PENDING_REVIEW"   // a proposed run's plan drew a warning: a person reviews
	RunStateConfirmed       RunState = "CONFIRMED"        // confirmed, waiting for a worker; can't be stopped
	RunStatePreparingApply  RunState = "PREPARING_APPLY"  // second hand-over to a worker
	RunStateApplying        RunState = "APPLYING"         //
	RunStatePerforming      RunState = "PERFORMING"       // a task's command runs; can't be stopped
	RunStateDestroying      RunState = "DESTROYING"       // module test clean-up, or stack destruction
	RunStateReplanRequested RunState = "REPLAN_REQUESTED" // a targeted replan was asked for
	RunStatePreparingReplan RunState = "PREPARING_REPLAN" // hand-over for the replan
	RunStatePending         RunState = "PENDING"          // deprecated by Spacelift

	RunStateFinished  RunState = "FINISHED"  // the only success
	RunStateFailed    RunState = "FAILED"    //
	RunStateDiscarded RunState = "DISCARDED" // a person rejected the plan
	RunStateCanceled  RunState = "CANCELED"  // cancelled before it started
	RunStateStopped   RunState = "STOPPED"   // stopped while initializing or planning
	RunStateSkipped   RunState = "SKIPPED"   // never ran: dependency rules
)

// RunStates lists every state we know, in the order a run may pass them,
// terminal ones last.
var RunStates = []RunState{
	RunStatePending, RunStateQueued, RunStateReady, RunStatePreparing, RunStateInitializing, RunStatePlanning,
	RunStatePendingReview, RunStateUnconfirmed, RunStateReplanRequested, RunStatePreparingReplan,
	RunStateConfirmed, RunStatePreparingApply, RunStateApplying, RunStatePerforming, RunStateDestroying,
	RunStateFinished, RunStateFailed, RunStateDiscarded, RunStateCanceled, RunStateStopped, RunStateSkipped,
}

// Terminal reports whether a run in this state has ended for good.
func (s RunState) Terminal() bool {
	switch s {
	case RunStateFinished, RunStateFailed, RunStateDiscarded, RunStateCanceled, RunStateStopped, RunStateSkipped:
		return true
	}
	return false
}

// Known reports whether we have heard of this state.
func (s RunState) Known() bool { return slices.Contains(RunStates, s) }

// RunType says what a run does.
type RunType string

// The run types. There is none for drift: a drift check is a proposed run, and
// its repair a tracked one, with Run.DriftDetection set.
const (
	RunTypeProposed RunType = "PROPOSED" // preview: plan only
	RunTypeTracked  RunType = "TRACKED"  // deployment: plan and apply
	RunTypeTask     RunType = "TASK"     // a shell command in the stack's environment
	RunTypeTesting  RunType = "TESTING"  // module test case: plan, apply, destroy
	RunTypeDestroy  RunType = "DESTROY"  // destroys a stack's resources when the stack is deleted
	RunTypeParse    RunType = "PARSE"    // listed by Spacelift, undescribed
)

// RunTypes lists every type we know.
var RunTypes = []RunType{RunTypeProposed, RunTypeTracked, RunTypeTask, RunTypeTesting, RunTypeDestroy, RunTypeParse}

// Known reports whether we have heard of this type.
func (t RunType) Known() bool { return slices.Contains(RunTypes, t) }
