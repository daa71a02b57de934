package policy

import (
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// Policy is what the labels of a stack, the profile they name and the defaults
// come to: how Gantry manages a run. Each value carries its origin. Its JSON
// form is stored in Temporal histories: add, never rename.
type Policy struct {
	Profile Setting[string] `json:"profile"` // empty: none

	// Confirm says who confirms a plan with changes; Limits, Types and Drift
	// narrow down what Gantry confirms alone. What they keep it from is asked of
	// people, as if Confirm were manual.
	Confirm Setting[ConfirmMode]         `json:"confirm"`
	Limits  Limits                       `json:"limits,omitzero"`
	Types   Setting[[]spacelift.RunType] `json:"types"` // run types Gantry confirms alone
	Drift   Setting[bool]                `json:"drift"` // whether it confirms repairs of drift alone

	// Approvals is how many different people must approve where people are
	// asked; 0 means that Gantry counts no approvals and people decide in
	// Spacelift. Approvers is the group they must belong to; empty for anyone
	// whose token may approve.
	Approvals    Setting[int]    `json:"approvals"`
	Approvers    Setting[string] `json:"approvers"`
	SelfApproval Setting[bool]   `json:"selfApproval"` // whether who triggered a run or wrote its commit may approve it

	// ApprovalTimeout is how long people may take; 0 for as long as they like.
	// OnTimeout says what happens then. Reminders is the time between reminders;
	// 0 for none. Escalation is what happens when nobody decides. All count on
	// Clock: a window, within which alone time passes; empty for always.
	ApprovalTimeout Setting[Duration]      `json:"approvalTimeout"`
	OnTimeout       Setting[TimeoutAction] `json:"onTimeout"`
	Reminders       Setting[Duration]      `json:"reminders"`
	Escalation      Setting[[]Step]        `json:"escalation"`
	Clock           Setting[string]        `json:"clock"`

	// Windows are the windows that must all be open for Gantry to confirm.
	Windows Setting[[]string] `json:"windows"`

	// Retries is how often a failed run is tried again at most, for the causes
	// in RetryCauses, after waits that begin with RetryBackoff and double.
	// RetryAfterApply allows it also when an apply phase had begun.
	Retries         Setting[int]      `json:"retries"`
	RetryCauses     Setting[[]Cause]  `json:"retryCauses"`
	RetryBackoff    Setting[Duration] `json:"retryBackoff"`
	RetryAfterApply Setting[bool]     `json:"retryAfterApply"`

	// ReadLogs allows to read the end of a failed phase's log for its cause.
	ReadLogs Setting[bool] `json:"readLogs"`

	After Setting[[]string] `json:"after"` // stacks that this one follows

	// OldPlans says what becomes of a plan that was made before a stack that this
	// one follows applied changes.
	OldPlans Setting[OldPlans] `json:"oldPlans"`

	Notify Setting[[]string] `json:"notify"` // channels people are told through

	// Deadlines is how long a run may stay in a phase before Gantry looks.
	Deadlines Setting[PhaseDeadlines] `json:"deadlines"`

	// Problems are the labels that can't be followed. While there is one, Gantry
	// holds plans: what it cannot read may have been meant to forbid something.
	Problems []Problem `json:"problems,omitempty"`
}

// Setting is one value of a policy and where it comes from: a label as it is
// written on the stack, "profile <name>", another setting of the configuration
// such as "logs.read", or OriginDefault.
type Setting[T any] struct {
	Value  T      `json:"value"`
	Origin string `json:"origin"`
}

// OriginDefault is the origin of values that nothing sets.
const OriginDefault = "default"

// ConfirmMode says who confirms a plan with changes.
type ConfirmMode string

// The confirm modes.
const (
	ConfirmManual    ConfirmMode = "manual"     // people; the default
	ConfirmAuto      ConfirmMode = "auto"       // Gantry
	ConfirmNoDeletes ConfirmMode = "no-deletes" // Gantry if nothing is deleted, people otherwise
)

// Limits bound the plans that Gantry confirms alone. Nil is no limit.
type Limits struct {
	MaxAdded   *Setting[int] `json:"maxAdded,omitempty"`
	MaxChanged *Setting[int] `json:"maxChanged,omitempty"`
	MaxDeleted *Setting[int] `json:"maxDeleted,omitempty"`
}

// TimeoutAction says what happens to a plan that nobody decided about in time.
type TimeoutAction string

// The actions.
const (
	TimeoutDiscard TimeoutAction = "discard" // the default
	TimeoutKeep    TimeoutAction = "keep"    // it goes on waiting, and people are told
)

// OldPlans says what becomes of a plan that is older than what a stack that goes
// first has applied.
type OldPlans string

// The values.
const (
	OldPlansReplace OldPlans = "replace" // Gantry discards it and triggers a run of the same commit; the default
	OldPlansKeep    OldPlans = "keep"    // it counts like any other
)

// Step is one rung of an escalation.
type Step struct {
	After   Duration `json:"after"`             // since people were asked
	Notify  []string `json:"notify,omitempty"`  // channels to tell
	Discard bool     `json:"discard,omitempty"` // discard the plan
}

// Cause is why a run failed, as far as Spacelift tells.
type Cause string

// The causes. Retrying can mend the first two; Safe says so.
const (
	CauseTransient   Cause = "transient"   // a network, a provider's outage, a lock that passes
	CauseCapacity    Cause = "capacity"    // no worker, a rate limit, a quota that refills
	CauseCredentials Cause = "credentials" // what the run signs in with
	CausePolicy      Cause = "policy"      // a policy of Spacelift's denied it
	CauseCode        Cause = "code"        // the configuration itself
	CauseUnknown     Cause = "unknown"
)

// PhaseDeadlines is how long a run may stay in each phase before Gantry looks for
// itself and, if it stays, tells people. 0 is never.
type PhaseDeadlines struct {
	Queued   Duration `json:"queued"`   // in the queue
	Starting Duration `json:"starting"` // READY, PREPARING, INITIALIZING and their like
	Planning Duration `json:"planning"`
	Applying Duration `json:"applying"` // also CONFIRMED, PERFORMING, DESTROYING
}

// Problem is a label or setting that can't be followed, and what to do about it.
type Problem struct {
	Label   string `json:"label"`
	Problem string `json:"problem"`
	Remedy  string `json:"remedy"`
}

// Duration is a time.Duration that is written like "1h30m" in JSON and YAML.
type Duration time.Duration
