package reconcile

import (
	"fmt"
	"strings"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// Type is the workflow type of Reconcile. Like all names here, it is a contract:
// schedules hold it.
const Type = "Reconcile"

// ID returns the id of an account's schedule, which is also the prefix of the ids of
// the executions that it starts.
func ID(account spacelift.Account) string { return "reconcile/" + string(account) }

// Input is the argument that a schedule gives to each execution of Reconcile.
type Input struct {
	Account  spacelift.Account `json:"account"`
	Interval time.Duration     `json:"interval"`           // between executions
	Webhook  string            `json:"webhook,omitempty"`  // id of the named webhook to watch
	Reenable bool              `json:"reenable,omitempty"` // switch the webhook on again when Spacelift switched it off
	Notify   []string          `json:"notify,omitempty"`   // channels to notify of findings
}

// Report is the result of Reconcile. The next execution begins with it, so there is
// no other store of what it knows.
type Report struct {
	Account  spacelift.Account `json:"account"`
	At       time.Time         `json:"at"`
	Interval time.Duration     `json:"interval"`
	Outcome  Outcome           `json:"outcome"`
	Reason   string            `json:"reason,omitempty"` // a sentence, unless all went well

	InProgress int `json:"inProgress"` // managed runs in progress
	Open       int `json:"open"`       // executions that follow a run
	Adopted    int `json:"adopted"`    // runs that no execution had followed
	Repaired   int `json:"repaired"`   // executions that received what they had missed
	Finished   int `json:"finished"`   // executions that received the end, or were given up
	Refreshed  int `json:"refreshed"`  // executions that were notified of freezes they did not know
	Postponed  int `json:"postponed"`  // runs left for the next time
	APICalls   int `json:"apiCalls"`   // to Spacelift

	Webhook  *WebhookStatus `json:"webhook,omitempty"` // nil while it can't be read
	Findings []Finding      `json:"findings,omitempty"`

	Carried carried `json:"carried"`
}

// Outcome is the result of a tick in one word.
type Outcome string

// The outcomes.
const (
	OutcomeDone        Outcome = "done"
	OutcomePartial     Outcome = "partial"      // there was more than one tick does; the next one continues
	OutcomeRateLimited Outcome = "rate-limited" // Spacelift wants fewer calls
	OutcomeBackingOff  Outcome = "backing-off"  // nothing was done, because of that
	OutcomeFailed      Outcome = "failed"       // something did not answer
)

// WebhookStatus is the state of the named webhook at the end of a tick.
type WebhookStatus struct {
	ID      string `json:"id"`
	Enabled bool   `json:"enabled"`
}

// carried is the knowledge that one execution of Reconcile leaves to the next. Its size
// does not depend on the number of runs, so that a report stays small.
type carried struct {
	Sweep   *Sweep       `json:"sweep,omitempty"`   // compares every run whole: its notifications may be lost
	Missing []MissingRun `json:"missing,omitempty"` // runs that Spacelift did not know, maxMissing bytes at most

	CheckNext    time.Time `json:"checkNext,omitzero"` // when to compare labels with the stacks there are
	Watched      time.Time `json:"watched,omitzero"`   // when the webhook was read last, or that was tried
	Silent       int       `json:"unheard,omitempty"`  // ticks in a row that found events without their notifications
	SilentSince  time.Time `json:"unheardSince,omitzero"`
	Failures     int       `json:"failures,omitempty"` // ticks in a row that failed
	FailingSince time.Time `json:"failingSince,omitzero"`
	Limits       int       `json:"limits,omitempty"` // ticks in a row that were rate-limited
	NotBefore    time.Time `json:"notBefore,omitzero"`
	SwitchedOff  time.Time `json:"switchedOff,omitzero"` // when the webhook was found switched off first
	SwitchedOn   time.Time `json:"switchedOn,omitzero"`  // when Gantry switched it on again last

	Announcements []Announcement `json:"told,omitempty"`
}

// Counted joins the first of count sentences, and adds how many more there are.
func Counted(count int, first []string) string {
	text := strings.Join(first, "; ")
	if more := count - len(first); more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}
