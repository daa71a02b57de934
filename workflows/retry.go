package workflows

import "github.com/gantryhq/gantry/spacelift"

// RetryRunType is the workflow type of RetryRun, which tries a failed run
// again. There is at most one per run, under RetryRunID, whoever asks first:
// ManageRun by policy, or a person.
const RetryRunType = "RetryRun"

// RetryRunID is the workflow id of the one retry of a run.
func RetryRunID(run spacelift.RunRef) string { return "retry/" + run.String() }

// RetryRunInput says which run and why.
type RetryRunInput struct {
	Run     spacelift.RunRef `json:"run"`
	By      string           `json:"by"`      // a person's name, or "gantry"
	Reason  string           `json:"reason"`  // a sentence
	Attempt int              `json:"attempt"` // of the new run: 2 for the first retry
}

// RetryRunOutcome is the result of RetryRun.
type RetryRunOutcome struct {
	New    spacelift.RunRef `json:"new,omitzero"`     // zero when it was not retried
	Reason string           `json:"reason,omitempty"` // why not, as a sentence
}

// RetryOf says that a run tries another one again.
type RetryOf struct {
	Run     spacelift.RunRef `json:"run"`
	Attempt int              `json:"attempt"` // 2 for the first retry
	By      string           `json:"by"`
}
