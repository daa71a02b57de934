package activities

import (
	"time"

	"github.com/gantryhq/gantry/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// ActOutcome says what came of an activity that acts on a run.
type ActOutcome string

// The outcomes.
const (
	ActDone    ActOutcome = "done"    // by this attempt or an earlier one
	ActMoot    ActOutcome = "moot"    // nothing was done: the run is not where it was judged to be
	ActRefused ActOutcome = "refused" // nothing was done: Spacelift would not
)

// ActResult says what came of it, and what the API showed before.
type ActResult struct {
	Outcome ActOutcome    `json:"outcome"`
	Verb    string        `json:"verb,omitempty"`   // Spacelift's word for what was done, such as "discard"
	Reason  string        `json:"reason,omitempty"` // a sentence, unless done
	Run     spacelift.Run `json:"run"`
}

// DiscardRunInput asks to discard a plan, if it still is the one judged.
type DiscardRunInput struct {
	Run          spacelift.RunRef `json:"run"`
	StateVersion int              `json:"stateVersion"` // of UNCONFIRMED
	Note         string           `json:"note"`
}

// ReviewRunInput asks to pass people's decision on to Spacelift's own approval
// policies, if the run still waits for it in that state.
type ReviewRunInput struct {
	Run          spacelift.RunRef         `json:"run"`
	StateVersion int                      `json:"stateVersion"`
	Decision     spacelift.ReviewDecision `json:"decision"`
	Note         string                   `json:"note"`
}

// StopRunInput asks to stop a run in the way its state allows: cancel, stop or
// discard.
type StopRunInput struct {
	Run  spacelift.RunRef `json:"run"`
	Note string           `json:"note"`
}

// DiagnoseFailureInput asks why a run failed.
type DiagnoseFailureInput struct {
	Run      spacelift.RunRef `json:"run"`
	ReadLogs bool             `json:"readLogs,omitempty"` // whether the end of the failed phase's log may be read
}

// Diagnosis is why a run failed, as far as Spacelift tells.
type Diagnosis struct {
	Cause      policy.Cause       `json:"cause"`
	Phase      spacelift.RunState `json:"phase,omitempty"`    // the state it failed in
	ApplyBegan bool               `json:"applyBegan"`         // an apply phase had begun, or may have
	Evidence   string             `json:"evidence,omitempty"` // quoted from Spacelift, at most 300 bytes
	Source     string             `json:"source,omitempty"`   // where the evidence stands: "note", "log", "history"
	Run        spacelift.Run      `json:"run"`
}

// RetryRunInput asks to retry a failed run.
type RetryRunInput struct {
	Run      spacelift.RunRef `json:"run"`
	FailedAt time.Time        `json:"failedAt"` // by Spacelift's clock, to find what an earlier attempt began
}

// RetryRunResult says what came of it.
type RetryRunResult struct {
	Outcome ActOutcome       `json:"outcome"`
	Reason  string           `json:"reason,omitempty"`
	New     spacelift.RunRef `json:"new,omitzero"` // the run that tries again; may be the same run
}
