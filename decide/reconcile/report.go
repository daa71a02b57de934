package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/spacelift"
)

// Type is the workflow type of Reconcile. Like all names here, a
// contract: schedules hold it.
const Type = "Reconcile"

// ID is the id of an account's schedule, and what the ids of the
// executions that it starts begin with.
func ID(account spacelift.Account) string { return "reconcile/" + string(account) }

// Input is what a schedule gives to each execution of Reconcile.
type Input struct {
	Account  spacelift.Account `json:"account"`
	Interval time.Duration     `json:"interval"`           // between executions
	Webhook  string            `json:"webhook,omitempty"`  // id of the named webhook to watch
	Reenable bool              `json:"reenable,omitempty"` // switch the webhook on again when Spacelift switched it off
	Notify   []string          `json:"notify,omitempty"`   // channels to tell of findings
}

// Report is the result of Reconcile. The next execution begins with
// it, so there is no other store of what it knows.
type Report struct {
	Account  spacelift.Account `json:"account"`
	At       time.Time         `json:"at"`
	Interval time.Duration     `json:"interval"`
	Outcome  Outcome           `json:"outcome"`
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

// Outcome says in one word how a tick went.
type Outcome string

// The outcomes.
const (
	OutcomeDone        Outcome = "done"
	OutcomePartial     Outcome = "partial"      // there was more than one tick does; the next goes on
	OutcomeRateLimited Outcome = "rate-limited" // Spacelift wants fewer calls
	OutcomeBackingOff  Outcome = "backing-off"  // nothing was done, because of that
	OutcomeFailed      Outcome = "failed"       // something did not answer
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

// The kinds of findings. A replica notices FindingSecretMismatch,
// FindingUnreadableEvents and FindingReconcileOverdue itself; Reconcile finds the
// others.
const (
	FindingWebhookMissing    FindingKind = "webhook-missing"
	FindingWebhookUnreadable FindingKind = "webhook-unreadable"
	FindingWebhookDisabled   FindingKind = "webhook-disabled"
	FindingSilence           FindingKind = "silence"
	FindingSpaceliftFails    FindingKind = "spacelift-fails"
	FindingSecretMismatch    FindingKind = "secret-mismatch"
	FindingUnreadableEvents  FindingKind = "unreadable-events"
	FindingReconcileOverdue  FindingKind = "reconcile-overdue"
	FindingExecutionStuck    FindingKind = "execution-stuck"
	FindingRunsVanished      FindingKind = "runs-vanished"
	FindingUnknownParent     FindingKind = "unknown-parent"
)

// FindingKinds lists them all.
var FindingKinds = []FindingKind{
	FindingWebhookMissing, FindingWebhookUnreadable, FindingWebhookDisabled, FindingSilence, FindingSpaceliftFails,
	FindingSecretMismatch, FindingUnreadableEvents, FindingReconcileOverdue, FindingExecutionStuck, FindingRunsVanished, FindingUnknownParent,
}

// carried is what one execution of Reconcile leaves to the next. Its size does
// not depend on the number of runs, so that a report stays small.
type carried struct {
	Sweep   *Sweep       `json:"sweep,omitempty"`   // compares every run whole: its notifications may be lost
	Missing []MissingRun `json:"missing,omitempty"` // runs that Spacelift did not know, maxMissing bytes at most

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

	Told []Owed `json:"told,omitempty"`
}

// Sweep is how far the comparison of every run has come, in the order of their
// keys.
type Sweep struct {
	After runKey   `json:"after,omitempty"` // the last run that was compared
	Owed  []runKey `json:"owed,omitempty"`  // up to it, those that could not be
}

// runKey names a run within an account, as "stack/run".
type runKey string

func KeyOf(r spacelift.RunRef) runKey { return runKey(string(r.Stack) + "/" + string(r.Run)) }

// RoomForMissing reports whether another missing run can be remembered.
func (c *carried) RoomForMissing() bool { return decide.SizeOf(c.Missing) < maxMissing }

// TakeMissing returns what is remembered of a run that Spacelift does not know; nil
// if there is no room for it.
func (c *carried) TakeMissing(run spacelift.RunRef, shown bool) *MissingRun {
	i := slices.IndexFunc(c.Missing, func(m MissingRun) bool { return m.Run == KeyOf(run) })
	if i < 0 {
		if !c.RoomForMissing() {
			return nil
		}
		c.Missing = append(c.Missing, MissingRun{Run: KeyOf(run), Shown: shown})
		i = len(c.Missing) - 1
	}
	return &c.Missing[i]
}

// Forget forgets that Spacelift did not know a run.
func (c *carried) Forget(run spacelift.RunRef) {
	c.Missing = slices.DeleteFunc(c.Missing, func(m MissingRun) bool { return m.Run == KeyOf(run) })
}

// Advance returns the sweep after a tick that was to take it up to a run: nil
// once every run has been compared. Those that could not be are Owed, and go
// first next time: there are never more than two ticks compare.
func (s *Sweep) Advance(to string, all bool, stillOwed []string, l Looks) *Sweep {
	if s == nil {
		return nil
	}
	next := &Sweep{After: max(s.After, runKey(to))}
	for _, key := range stillOwed {
		if !slices.Contains(l.Swept, runKey(key)) {
			next.Owed = append(next.Owed, runKey(key))
		}
	}
	for _, key := range slices.Sorted(slices.Values(slices.Concat(l.Rest, l.Failed))) {
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

// Counted is some sentences, and how many more there are.
func Counted(count int, first []string) string {
	text := strings.Join(first, "; ")
	if more := count - len(first); more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

// Looks is how the looks at runs went.
type Looks struct {
	Rest, Failed []runKey // that could not be looked at
	Swept        []runKey // whose turn it was in the sweep, and that were looked at
}
