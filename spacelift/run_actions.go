package spacelift

// RunOutcome is the run in a mutation's answer. The state may be the previous
// one: StopRun, for example, only asks.
type RunOutcome struct {
	Ref   RunRef   `json:"ref"`
	Type  RunType  `json:"type"`
	State RunState `json:"state"`

	// History is the run's history after a confirmation, oldest first: it shows
	// which plan was confirmed.
	History []Transition `json:"history,omitempty"`
}

// Trigger holds the options of TriggerRun.
type Trigger struct {
	Type       RunType        // RunTypeTracked when empty, or RunTypeProposed
	CommitSHA  string         // empty: the commit that the stack tracks now, or else its branch's head
	ForceApply ForceApplyMode // needs self-hosted 5.1.0 or newer when set
}

// ForceApplyMode makes a tracked run apply an empty plan.
type ForceApplyMode string

// The modes of forced applies.
const (
	ForceApplySingle  ForceApplyMode = "SINGLE"  // this run
	ForceApplyCascade ForceApplyMode = "CASCADE" // this run and those of the dependents it triggers
)

// ReviewDecision is a verdict for approval policies.
type ReviewDecision string

// The verdicts.
const (
	ReviewApprove ReviewDecision = "APPROVE"
	ReviewReject  ReviewDecision = "REJECT"
)

// DependencyStatus is the result of an external dependency.
type DependencyStatus string

// The results of an external dependency. FAILED fails the runs that wait for it.
const (
	DependencyFinished DependencyStatus = "FINISHED"
	DependencySkipped  DependencyStatus = "SKIPPED"
	DependencyFailed   DependencyStatus = "FAILED"
)
