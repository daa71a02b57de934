package workflows

import (
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// ReconcileType is the workflow type of Reconcile. Like all names here, a
// contract: schedules hold it.
const ReconcileType = "Reconcile"

// ReconcileID is the id of an account's schedule, and what the ids of the
// executions that it starts begin with.
func ReconcileID(account spacelift.Account) string { return "reconcile/" + string(account) }

// ReconcileInput is what a schedule gives to each execution of Reconcile.
type ReconcileInput struct {
	Account  spacelift.Account `json:"account"`
	Interval time.Duration     `json:"interval"`           // between executions
	Webhook  string            `json:"webhook,omitempty"`  // id of the named webhook to watch
	Reenable bool              `json:"reenable,omitempty"` // switch the webhook on again when Spacelift switched it off
	Notify   []string          `json:"notify,omitempty"`   // channels to tell of findings
}

// ReconcileReport is the result of Reconcile. The next execution begins with
// it, so there is no other store of what it knows.
type ReconcileReport struct {
	Account  spacelift.Account `json:"account"`
	At       time.Time         `json:"at"`
	Interval time.Duration     `json:"interval"`
	Outcome  ReconcileOutcome  `json:"outcome"`
	Reason   string            `json:"reason,omitempty"` // a sentence, unless all went well

	InProgress int `json:"inProgress"` // managed runs in progress
	Open       int `json:"open"`       // executions that follow a run
	Adopted    int `json:"adopted"`    // runs that no execution had followed
	Repaired   int `json:"repaired"`   // executions that were told what they had missed
	Finished   int `json:"finished"`   // executions that were told the end, or to give up
	Postponed  int `json:"postponed"`  // runs left for the next time
	APICalls   int `json:"apiCalls"`   // to Spacelift

	Webhook  *WebhookStatus `json:"webhook,omitempty"` // nil while it can't be read
	Findings []Finding      `json:"findings,omitempty"`

	Carried carried `json:"carried"`
}

// ReconcileOutcome says in one word how a tick went.
type ReconcileOutcome string

// The outcomes.
const (
	ReconcileDone        ReconcileOutcome = "done"
	ReconcilePartial     ReconcileOutcome = "partial"      // there was more than one tick does; the next goes on
	ReconcileRateLimited ReconcileOutcome = "rate-limited" // Spacelift wants fewer calls
	ReconcileBackingOff  ReconcileOutcome = "backing-off"  // nothing was done, because of that
	ReconcileFailed      ReconcileOutcome = "failed"       // something did not answer
)

// WebhookStatus is how the named webhook was found, or left.
type WebhookStatus struct {
	ID      string `json:"id"`
	Enabled bool   `json:"enabled"`
}

// Finding is something wrong that a person should know of.
type Finding struct {
	Kind    FindingKind `json:"kind"`
	Since   time.Time   `json:"since"`
	Summary string      `json:"summary"` // a sentence
	Fix     string      `json:"fix"`     // what to do about it
}

// FindingKind sorts findings. Alerts are written against it: add, never rename.
type FindingKind string

// The kinds of findings. Reconcile finds all but the last two, which a replica
// notices itself.
const (
	FindingWebhookMissing    FindingKind = "webhook-missing"
	FindingWebhookUnreadable FindingKind = "webhook-unreadable"
	FindingWebhookDisabled   FindingKind = "webhook-disabled"
	FindingSilence           FindingKind = "silence"
	FindingSpaceliftFails    FindingKind = "spacelift-fails"
	FindingSecretMismatch    FindingKind = "secret-mismatch"
	FindingReconcileOverdue  FindingKind = "reconcile-overdue"
)

// FindingKinds lists them all.
var FindingKinds = []FindingKind{
	FindingWebhookMissing, FindingWebhookUnreadable, FindingWebhookDisabled, FindingSilence, FindingSpaceliftFails,
	FindingSecretMismatch, FindingReconcileOverdue,
}

// carried is what one execution of Reconcile leaves to the next.
type carried struct {
	Waiting []runKey `json:"waiting,omitempty"` // runs there was no room for, in their order
	Owed    []runKey `json:"owed,omitempty"`    // runs to compare whole: their notifications may be lost
	Unknown []runKey `json:"unknown,omitempty"` // runs that Spacelift did not know

	// Seen is what the list showed of runs that wait, where their executions know
	// it: what is shown still is no reason to ask them again.
	Seen []sighting `json:"seen,omitempty"`

	Unheard      int       `json:"unheard,omitempty"` // ticks in a row that found what notifications should have told
	UnheardSince time.Time `json:"unheardSince,omitzero"`
	Failures     int       `json:"failures,omitempty"` // ticks in a row that failed
	FailingSince time.Time `json:"failingSince,omitzero"`
	Limits       int       `json:"limits,omitempty"` // ticks in a row that were rate-limited
	NotBefore    time.Time `json:"notBefore,omitzero"`
	SwitchedOff  time.Time `json:"switchedOff,omitzero"` // when the webhook was found switched off first
	SwitchedOn   time.Time `json:"switchedOn,omitzero"`  // when Gantry switched it on again last

	Told []told `json:"told,omitempty"`
}

// sighting is what the list of runs in progress showed of a run.
type sighting struct {
	Run   runKey `json:"run"`
	Shown string `json:"shown"` // a digest
}

// runKey names a run within an account, as "stack/run".
type runKey string

func keyOf(r spacelift.RunRef) runKey { return runKey(string(r.Stack) + "/" + string(r.Run)) }
