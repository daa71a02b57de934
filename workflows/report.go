package workflows

import (
	"encoding/json"
	"slices"
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
	Refreshed  int `json:"refreshed"`  // executions that were notified of freezes they did not know
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

// The kinds of findings. A replica notices FindingSecretMismatch and
// FindingReconcileOverdue itself; Reconcile finds the others.
const (
	FindingWebhookMissing    FindingKind = "webhook-missing"
	FindingWebhookUnreadable FindingKind = "webhook-unreadable"
	FindingWebhookDisabled   FindingKind = "webhook-disabled"
	FindingSilence           FindingKind = "silence"
	FindingSpaceliftFails    FindingKind = "spacelift-fails"
	FindingSecretMismatch    FindingKind = "secret-mismatch"
	FindingReconcileOverdue  FindingKind = "reconcile-overdue"
	FindingExecutionStuck    FindingKind = "execution-stuck"
	FindingRunsVanished      FindingKind = "runs-vanished"
	FindingUnknownParent     FindingKind = "unknown-parent"
)

// FindingKinds lists them all.
var FindingKinds = []FindingKind{
	FindingWebhookMissing, FindingWebhookUnreadable, FindingWebhookDisabled, FindingSilence, FindingSpaceliftFails,
	FindingSecretMismatch, FindingReconcileOverdue, FindingExecutionStuck, FindingRunsVanished, FindingUnknownParent,
}

// carried is what one execution of Reconcile leaves to the next. Its size does
// not depend on the number of runs, so that a report stays small.
type carried struct {
	Sweep   *sweep       `json:"sweep,omitempty"`   // compares every run whole: its notifications may be lost
	Missing []missingRun `json:"missing,omitempty"` // runs that Spacelift did not know, maxMissing bytes at most

	CheckNext    time.Time `json:"checkNext,omitzero"` // when labels are to be compared with the stacks there are
	Watched      time.Time `json:"watched,omitzero"`   // when the webhook was read last, or that was tried
	Unheard      int       `json:"unheard,omitempty"`  // ticks in a row that found what notifications should have told
	UnheardSince time.Time `json:"unheardSince,omitzero"`
	Failures     int       `json:"failures,omitempty"` // ticks in a row that failed
	FailingSince time.Time `json:"failingSince,omitzero"`
	Limits       int       `json:"limits,omitempty"` // ticks in a row that were rate-limited
	NotBefore    time.Time `json:"notBefore,omitzero"`
	SwitchedOff  time.Time `json:"switchedOff,omitzero"` // when the webhook was found switched off first
	SwitchedOn   time.Time `json:"switchedOn,omitzero"`  // when Gantry switched it on again last

	Told []told `json:"told,omitempty"`
}

// sweep is how far the comparison of every run has come, in the order of their
// keys.
type sweep struct {
	After runKey   `json:"after,omitempty"` // the last run that was compared
	Owed  []runKey `json:"owed,omitempty"`  // up to it, those that could not be
}

// runKey names a run within an account, as "stack/run".
type runKey string

func keyOf(r spacelift.RunRef) runKey { return runKey(string(r.Stack) + "/" + string(r.Run)) }

// roomForMissing reports whether another missing run can be remembered.
func (c *carried) roomForMissing() bool { return sizeOf(c.Missing) < maxMissing }

// missing returns what is remembered of a run that Spacelift does not know; nil
// if there is no room for it.
func (c *carried) missing(run spacelift.RunRef, shown bool) *missingRun {
	i := slices.IndexFunc(c.Missing, func(m missingRun) bool { return m.Run == keyOf(run) })
	if i < 0 {
		if !c.roomForMissing() {
			return nil
		}
		c.Missing = append(c.Missing, missingRun{Run: keyOf(run), Shown: shown})
		i = len(c.Missing) - 1
	}
	return &c.Missing[i]
}

// forget forgets that Spacelift did not know a run.
func (c *carried) forget(run spacelift.RunRef) {
	c.Missing = slices.DeleteFunc(c.Missing, func(m missingRun) bool { return m.Run == keyOf(run) })
}

// advance returns the sweep after a tick that was to take it up to a run: nil
// once every run has been compared. Those that could not be are owed, and go
// first next time: there are never more than two ticks compare.
func (s *sweep) advance(to string, all bool, stillOwed []string, l looks) *sweep {
	if s == nil {
		return nil
	}
	next := &sweep{After: max(s.After, runKey(to))}
	for _, key := range stillOwed {
		if !slices.Contains(l.swept, runKey(key)) {
			next.Owed = append(next.Owed, runKey(key))
		}
	}
	for _, key := range slices.Sorted(slices.Values(slices.Concat(l.rest, l.failed))) {
		if key <= s.After || key > next.After {
			continue
		}
		next.Owed = append(next.Owed, key)
	}
	if all && len(next.Owed) == 0 {
		return nil
	}
	return next
}

// sizeOf is the size of a value as JSON.
func sizeOf(v any) int {
	text, err := json.Marshal(v) //workflowcheck:ignore structs of plain values have one JSON form
	if err != nil {
		return 0 // no value here lacks a JSON form
	}
	return len(text)
}
