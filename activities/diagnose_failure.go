package activities

import (
	"context"

	"go.temporal.io/sdk/activity"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// DiagnoseFailureInput names a failed run.
type DiagnoseFailureInput struct {
	Run      spacelift.RunRef `json:"run"`
	ReadLogs bool             `json:"readLogs,omitempty"` // whether the end of the failed phase's log may be read

	// StateVersion is that of FAILED, if known: for a while, an older state is an
	// error. 0 takes what the API shows.
	StateVersion int `json:"stateVersion,omitempty"`
}

// Diagnosis is the cause of a run's failure, as far as Spacelift shows it. For a run
// that has not failed it holds only the run and ApplyBegan.
type Diagnosis struct {
	managed.Failure
	Actor string        `json:"actor,omitempty"` // the person who failed the run, if Spacelift names one
	ByUs  bool          `json:"byUs,omitempty"`  // Gantry's own act failed it, as Gantry's mark proves
	Run   spacelift.Run `json:"run"`
}

// maxLogTail bounds the part of a log that is read. Failures are at its end.
const maxLogTail = 64 << 10

// logPatience bounds the attempts that insist on the log. A diagnosis without it
// is better than none.
const logPatience = 5

// DiagnoseFailure reads a failed run and returns the cause. It changes nothing.
//
// A notification that a run failed may be forged: Diagnosis.Run is the run as the
// API shows it.
func (a *Activities) DiagnoseFailure(ctx context.Context, in DiagnoseFailureInput) (Diagnosis, error) {
	api, err := a.account(in.Run.Account)
	if err != nil {
		return Diagnosis{}, err
	}
	run, err := a.upToDate(ctx, api, in.Run, in.StateVersion)
	if err != nil {
		return Diagnosis{}, err
	}
	run = kept(run)
	if run.State != spacelift.RunStateFailed {
		return unknownCause(run), nil
	}
	var tail spacelift.LogTail
	if phase, ok := failedPhase(run); ok && in.ReadLogs && !decided(phase, newest(run)) {
		tail, err = api.RunLogs(ctx, in.Run, phase, maxLogTail)
		if err != nil && finalType(err) == "" && activity.GetInfo(ctx).Attempt < logPatience {
			return Diagnosis{}, classify(ctx, err)
		}
	}
	return diagnose(run, newest(run).Note, tail.Text), nil
}

func unknownCause(run spacelift.Run) Diagnosis {
	return Diagnosis{Failure: managed.Failure{Cause: policy.CauseUnknown, ApplyBegan: applyBegan(run)}, Run: run}
}

// failedPhase returns the history's entry before FAILED.
func failedPhase(run spacelift.Run) (spacelift.Transition, bool) {
	n := len(run.History)
	if n < 2 || run.History[n-1].State != spacelift.RunStateFailed {
		return spacelift.Transition{}, false
	}
	return run.History[n-2], true
}

// applyBegan reports whether a run has, or may have, begun to change anything.
// A history with a hole may hide it.
func applyBegan(run spacelift.Run) bool {
	if len(run.History) == 0 || newest(run).State != run.State {
		return true
	}
	for i, t := range run.History {
		if t.StateVersion != i || !t.State.Known() || t.State.Applies() {
			return true
		}
	}
	return false
}
