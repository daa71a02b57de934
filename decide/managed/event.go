package managed

import (
	"slices"
	"time"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// RunEvents is the payload of one signal: every event of one run that was
// waiting when the signal was sent, in the order they were accepted.
type RunEvents struct {
	Events []RunEvent `json:"events"`

	// GiveUp says why there is no point in following the run any longer, such as
	// that Spacelift no longer knows it. Only Reconcile sends it.
	GiveUp string `json:"giveUp,omitempty"`

	// Denied are states that the execution knew from notifications alone when
	// Reconcile asked it, and that the API, read after that, does not show: they
	// are beyond the newest state there is. Only Reconcile sends them.
	Denied []StateKey `json:"denied,omitempty"`

	// RulesChanged says that a freeze was declared, began, ended or was lifted,
	// so that a run that waits looks at its gate again.
	RulesChanged bool `json:"rulesChanged,omitempty"`

	// RetryOf says that the run tries another one again.
	RetryOf *RetryOf `json:"retryOf,omitempty"`

	// Retried says that a person's retry of this run made another one.
	Retried *Retried `json:"retried,omitempty"`

	// Chains are chains that the run is part of.
	Chains []ChainRef `json:"chains,omitempty"`

	// Behind are people behind the run: see RunStatus.
	Behind []string `json:"behind,omitempty"`

	// Ended names a stack of which a run has ended, or a chain that one of its runs
	// began: a run that waits for it reads anew.
	Ended spacelift.StackID `json:"ended,omitempty"`
}

// EventSource says how we learned of an event.
type EventSource string

// The sources of events.
const (
	SourceWebhook   EventSource = "webhook"   // Spacelift notified us
	SourceReconcile EventSource = "reconcile" // we found it in the run's history
)

// RunEvent says that a run entered a state, as far as one notification says.
// Its identity is (Run, StateVersion, State): Spacelift sends no delivery id.
// Its JSON form is stored in the inbox and in Temporal histories.
type RunEvent struct {
	Run          spacelift.RunRef   `json:"run"`
	Type         spacelift.RunType  `json:"type"`
	State        spacelift.RunState `json:"state"`
	StateVersion int                `json:"stateVersion"` // ordinal of the state within the run, from 0
	At           time.Time          `json:"at"`           // when the run entered the state, by Spacelift's clock
	Note         string             `json:"note,omitempty"`
	Actor        string             `json:"actor,omitempty"` // who did it, if the API showed it; notifications don't say

	Branch         string           `json:"branch,omitempty"`
	Commit         spacelift.Commit `json:"commit,omitzero"`
	Delta          *spacelift.Delta `json:"delta,omitempty"` // nil before planning ended
	DriftDetection bool             `json:"driftDetection,omitempty"`
	TriggeredBy    string           `json:"triggeredBy,omitempty"`
	NeedsApproval  bool             `json:"needsApproval,omitempty"` // by Spacelift's own approval policies, if the API showed it; notifications don't say
	StackName      string           `json:"stackName,omitempty"`

	// Block is the brake that kept Gantry from confirming when the API showed the
	// state; notifications don't say.
	Block *spacelift.Block `json:"block,omitempty"`

	// Enforcement is the worth of the policy in Spacelift when the API showed the
	// state; nil if it wasn't known. Notifications don't say.
	Enforcement *policy.Enforcement `json:"enforcement,omitempty"`

	// Labels are the stack's labels that Gantry reads; the others are left out.
	Labels []string `json:"labels,omitempty"`

	// Unread are the notification's members that could not be read, such as
	// run.delta.added. The event lacks what they said.
	Unread []string `json:"unread,omitempty"`

	// Whole says that the API showed the run in this state, so that every
	// particular of the event is the API's, an empty one too. Other events of the
	// same reading only say that the run has been in a state.
	Whole bool `json:"whole,omitempty"`

	Source     EventSource `json:"source"`
	Delivery   string      `json:"delivery,omitempty"` // id in the delivery log, for webhooks
	ReceivedAt time.Time   `json:"receivedAt"`         // by our clock
}

// TakeNews takes the news in a batch that are not events.
func (r *Record) TakeNews(at time.Time, batch RunEvents) {
	if batch.RetryOf != nil {
		r.setRetryOf(at, *batch.RetryOf)
	}
	if batch.Retried != nil {
		r.retried(at, batch.Retried.By, batch.Retried.As)
	}
	r.Join(batch.Chains)
	r.Behind = Bounded(Distinct(append(slices.Clone(r.Behind), batch.Behind...)))
	if batch.RulesChanged {
		r.RulesStale = r.Rules != nil && r.RulesFor != nil
	}
	if batch.Ended != "" {
		r.takeEnd(at)
	}
}

// takeEnd records that something has ended that the run may wait for. What the run
// waits for is read again.
func (r *Record) takeEnd(at time.Time) {
	r.OtherEnded = at
	if r.Retry != nil && r.Retry.State == RetryPlanned && r.Retry.Held != "" {
		r.Retry.At = at
	}
}
