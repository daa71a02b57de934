package activities

import (
	"context"
	"errors"
	"slices"

	"go.temporal.io/sdk/activity"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// DiagnoseFailureInput asks why a run failed.
type DiagnoseFailureInput struct {
	Run      spacelift.RunRef `json:"run"`
	ReadLogs bool             `json:"readLogs,omitempty"` // whether the end of the failed phase's log may be read

	// StateVersion is that of FAILED, as far as it was told: what the API shows
	// before that is waited for, within reason. 0 takes what it shows.
	StateVersion int `json:"stateVersion,omitempty"`
}

// Diagnosis is why a run failed, as far as Spacelift tells. For a run that has
// not failed it holds the run alone, and ApplyBegan.
type Diagnosis struct {
	Cause      policy.Cause       `json:"cause"`
	Phase      spacelift.RunState `json:"phase,omitempty"`    // the state it failed in
	ApplyBegan bool               `json:"applyBegan"`         // an apply phase had begun, or may have
	Evidence   string             `json:"evidence,omitempty"` // quoted from Spacelift, at most 300 bytes
	Source     string             `json:"source,omitempty"`   // where the evidence stands: "note", "log", "history"
	Actor      string             `json:"actor,omitempty"`    // who failed the run, where Spacelift names somebody
	ByUs       bool               `json:"byUs,omitempty"`     // Gantry's own act failed it, as Gantry's mark proves
	Run        spacelift.Run      `json:"run"`
}

// maxLogTail is how much of a log is looked at. What failed is said at its end.
const maxLogTail = 64 << 10

// logPatience is how many attempts insist on the log. A diagnosis without it is
// better than none.
const logPatience = 5

// DiagnoseFailure reads a failed run and says why it failed. It changes nothing.
//
// A notification that a run failed may be forged: Diagnosis.Run shows what the
// API says of it.
func (a *Activities) DiagnoseFailure(ctx context.Context, in DiagnoseFailureInput) (Diagnosis, error) {
	api, err := a.account(in.Run.Account)
	if err != nil {
		return Diagnosis{}, err
	}
	attempt := activity.GetInfo(ctx).Attempt
	run, err := a.upToDate(ctx, api, in.Run, in.StateVersion, attempt < patience)
	if err != nil {
		return Diagnosis{}, err
	}
	if run.State != spacelift.RunStateFailed {
		return Diagnosis{Cause: policy.CauseUnknown, ApplyBegan: applyBegan(run), Run: run}, nil
	}
	var tail spacelift.LogTail
	if phase, ok := failedPhase(run); ok && in.ReadLogs && !decided(phase, newest(run)) {
		tail, err = api.RunLogs(ctx, in.Run, phase, maxLogTail)
		if err != nil && worthInsisting(err) && attempt < logPatience {
			return Diagnosis{}, classify(ctx, err)
		}
	}
	return diagnose(run, newest(run).Note, tail.Text), nil
}

// worthInsisting reports whether a log that could not be read may be there when
// asked for again.
func worthInsisting(err error) bool {
	return !slices.ContainsFunc([]error{spacelift.ErrNotFound, spacelift.ErrUnauthorized, spacelift.ErrSchemaMismatch},
		func(final error) bool { return errors.Is(err, final) })
}

// failedPhase is the history's entry before FAILED.
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
		if t.StateVersion != i || !t.State.Known() {
			return true
		}
		switch t.State {
		case spacelift.RunStateConfirmed, spacelift.RunStatePreparingApply, spacelift.RunStateApplying,
			spacelift.RunStatePerforming, spacelift.RunStateDestroying:
			return true
		}
	}
	return false
}
