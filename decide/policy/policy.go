package policy

import (
	"cmp"
	"reflect"
	"slices"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// Policy is the way in which Gantry manages a run: the labels of its stack, the profile
// they name and the defaults resolve to it. Each value carries its origin. Its JSON
// form is stored in Temporal histories: add, never rename.
type Policy struct {
	Profile Setting[string] `json:"profile"` // empty: none

	// Confirm says who confirms a plan with changes; Limits, Types and Drift restrict
	// the plans that Gantry confirms automatically. People decide about all others, as
	// if Confirm were manual.
	Confirm Setting[ConfirmMode]         `json:"confirm"`
	Limits  Limits                       `json:"limits,omitzero"`
	Types   Setting[[]spacelift.RunType] `json:"types"` // run types that Gantry confirms
	Drift   Setting[bool]                `json:"drift"` // whether it confirms repairs of drift

	Expressions Expressions `json:"expressions,omitzero"`

	// Approvals is the number of different people who must approve a plan that Gantry
	// does not confirm automatically; with 0 Gantry counts no approvals and people
	// decide in Spacelift. Approvers is the group they must belong to; empty for
	// anyone whose token may approve.
	Approvals    Setting[int]    `json:"approvals"`
	Approvers    Setting[string] `json:"approvers"`
	SelfApproval Setting[bool]   `json:"selfApproval"` // whether the people who triggered a run or wrote its commit may approve it

	// ApprovalTimeout is the time people may take; 0 for any. OnTimeout is the action
	// after it. Reminders is the time between reminders; 0 for none. Escalation is a
	// list of actions while nobody decides. All count on Clock, a window within which
	// alone time passes; empty for always.
	ApprovalTimeout Setting[Duration]      `json:"approvalTimeout"`
	OnTimeout       Setting[TimeoutAction] `json:"onTimeout"`
	Reminders       Setting[Duration]      `json:"reminders"`
	Escalation      Setting[[]Step]        `json:"escalation"`
	Clock           Setting[string]        `json:"clock"`

	// Windows are the windows that must all be open for Gantry to confirm.
	Windows Setting[[]string] `json:"windows"`

	// Retries bounds how often a failed run is retried, for the causes in RetryCauses,
	// after waits that begin with RetryBackoff and double. RetryAfterApply allows it
	// even if an apply phase had begun.
	Retries         Setting[int]      `json:"retries"`
	RetryCauses     Setting[[]Cause]  `json:"retryCauses"`
	RetryBackoff    Setting[Duration] `json:"retryBackoff"`
	RetryAfterApply Setting[bool]     `json:"retryAfterApply"`

	// ReadLogs allows to read the end of a failed phase's log for its cause.
	ReadLogs Setting[bool] `json:"readLogs"`

	After Setting[[]string] `json:"after"` // stacks that this one follows

	// OldPlans says what Gantry does with a plan that was made before a stack that this
	// one follows applied changes.
	OldPlans Setting[OldPlans] `json:"oldPlans"`

	Notify Setting[[]string] `json:"notify"` // channels to notify

	// Deadlines bounds the time a run may stay in a phase before Gantry reports it.
	Deadlines Setting[PhaseDeadlines] `json:"deadlines"`

	// Problems are the labels that can't be followed. While there is one, Gantry holds
	// plans: a label that it can't understand may be meant to forbid something.
	Problems []Problem `json:"problems,omitempty"`

	// Overruled lists values that labels and rules asked for, without effect: a locked
	// rule allows only tighter ones.
	Overruled []Overruled `json:"overruled,omitempty"`
}

// Setting is one value of a policy and its origin: a label as it is written on the
// stack, "profile <name>" for one that a label names, "rule <name> (profile <name>)",
// another setting of the configuration such as "logs.read", or OriginDefault.
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

// ConfirmModes lists every mode.
var ConfirmModes = []ConfirmMode{ConfirmAuto, ConfirmNoDeletes, ConfirmManual}

// Limits bound the plans that Gantry confirms automatically. Nil is no limit.
type Limits struct {
	MaxAdded   *Setting[int] `json:"maxAdded,omitempty"`
	MaxChanged *Setting[int] `json:"maxChanged,omitempty"`
	MaxDeleted *Setting[int] `json:"maxDeleted,omitempty"`
}

// TimeoutAction is the action on a plan that nobody decided about in time.
type TimeoutAction string

// The actions.
const (
	TimeoutDiscard TimeoutAction = "discard" // the default
	TimeoutKeep    TimeoutAction = "keep"    // it continues to wait, and people are notified
)

// TimeoutActions lists every action.
var TimeoutActions = []TimeoutAction{TimeoutDiscard, TimeoutKeep}

// OldPlans is the action on a plan that is older than the changes that a stack before
// it has applied.
type OldPlans string

// The values.
const (
	OldPlansReplace OldPlans = "replace" // Gantry discards it and triggers a run of the same commit; the default
	OldPlansKeep    OldPlans = "keep"    // it counts like any other
)

// OldPlansActions lists every value.
var OldPlansActions = []OldPlans{OldPlansReplace, OldPlansKeep}

// Step is one rung of an escalation.
type Step struct {
	After   Duration `json:"after"`             // since people were asked
	Notify  []string `json:"notify,omitempty"`  // channels
	Discard bool     `json:"discard,omitempty"` // discard the plan
}

// Cause is the cause of a run's failure, as far as Spacelift shows it.
type Cause string

// The causes. A retry can fix the first two; see Retryable.
const (
	CauseTransient   Cause = "transient"   // a network, a provider's outage, a lock that passes
	CauseCapacity    Cause = "capacity"    // no worker, a rate limit, a quota that refills
	CauseCredentials Cause = "credentials" // the run could not sign in
	CausePolicy      Cause = "policy"      // a policy of Spacelift's denied it
	CauseCode        Cause = "code"        // the configuration itself
	CauseUnknown     Cause = "unknown"
)

// PhaseDeadlines bound the time a run may stay in each phase before Gantry reads it
// from the API and, if it is still there, notifies people. 0 is never.
type PhaseDeadlines struct {
	Queued   Duration `json:"queued"`   // in the queue
	Starting Duration `json:"starting"` // READY, PREPARING, INITIALIZING and their like
	Planning Duration `json:"planning"`
	Applying Duration `json:"applying"` // also CONFIRMED, PERFORMING, DESTROYING

	Origins map[string]string `json:"origins,omitempty"` // of each that is not the default, by name
}

func (d PhaseDeadlines) origin(phase string) string { return cmp.Or(d.Origins[phase], OriginDefault) }

// Problem is a label or setting that can't be followed, and its remedy.
type Problem struct {
	Label   string `json:"label"`
	Problem string `json:"problem"`
	Remedy  string `json:"remedy"`
}

// Duration is a time.Duration that is written like "1h30m" in JSON and YAML.
type Duration time.Duration

// Equal reports whether two policies are the same, origins included. A policy
// equals what its JSON form is read back to.
func (p Policy) Equal(q Policy) bool { return reflect.DeepEqual(p.normal(), q.normal()) }

// normal spells "none" in one way.
func (p Policy) normal() Policy {
	p.Types.Value = orNil(p.Types.Value)
	p.Windows.Value = orNil(p.Windows.Value)
	p.RetryCauses.Value = orNil(p.RetryCauses.Value)
	p.After.Value = orNil(p.After.Value)
	p.Notify.Value = orNil(p.Notify.Value)
	p.Problems = orNil(p.Problems)
	p.Overruled = orNil(p.Overruled)
	p.Escalation.Value = orNil(slices.Clone(p.Escalation.Value))
	for i := range p.Escalation.Value {
		p.Escalation.Value[i].Notify = orNil(p.Escalation.Value[i].Notify)
	}
	return p
}

func orNil[S ~[]E, E any](s S) S {
	if len(s) == 0 {
		return nil
	}
	return s
}
