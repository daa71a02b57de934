package archive

import (
	"time"
	"unicode/utf8"

	"github.com/gantryhq/gantry/spacelift"
)

// Outcome is the webhook's answer.
type Outcome string

// The outcomes of a request to the webhook.
const (
	OutcomeAccepted    Outcome = "accepted"    // stored, and forwarded to Temporal
	OutcomeDuplicate   Outcome = "duplicate"   // a repeat of an accepted delivery
	OutcomeIgnored     Outcome = "ignored"     // authentic, but not for us
	OutcomeRefused     Outcome = "refused"     // not authentic
	OutcomeUnavailable Outcome = "unavailable" // authentic, but not stored: answered 503
)

// ReasonSeenBefore is the reason of every duplicate.
const ReasonSeenBefore = "seen-before"

// Forwarding is the stage of an accepted delivery on its way to Temporal.
type Forwarding string

// The stages of forwarding. Deliveries that were not accepted have none.
const (
	ForwardingPending   Forwarding = "pending"   // it will be sent
	ForwardingForwarded Forwarding = "forwarded" // Temporal has it
	ForwardingLate      Forwarding = "late"      // the run's execution had already ended
	ForwardingDead      Forwarding = "dead"      // Temporal refused it permanently
)

// Delivery is one request to the webhook in the delivery log.
type Delivery struct {
	ID         string    `json:"id"` // ULID; later deliveries have greater ids
	ReceivedAt time.Time `json:"receivedAt"`
	Source     string    `json:"source,omitempty"` // remote address

	Outcome Outcome `json:"outcome"`
	Reason  string  `json:"reason,omitempty"` // stable slug, such as "unmanaged-stack"
	Detail  string  `json:"detail,omitempty"` // a sentence

	Run          spacelift.RunRef   `json:"run"` // fields are empty where unknown
	Type         spacelift.RunType  `json:"type,omitempty"`
	State        spacelift.RunState `json:"state,omitempty"`
	StateVersion int                `json:"stateVersion"`

	Size        int           `json:"size"`                  // bytes of the body
	Latency     time.Duration `json:"latency"`               // from ReceivedAt to the answer
	Secret      int           `json:"secret,omitempty"`      // 1-based index of the webhook secret that matched; 0 for none
	DuplicateOf string        `json:"duplicateOf,omitempty"` // id of the accepted delivery this one repeats

	Forwarding   Forwarding `json:"forwarding,omitempty"`
	Attempts     int        `json:"attempts,omitempty"` // signals sent with it
	ForwardedAt  time.Time  `json:"forwardedAt,omitzero"`
	ForwardError string     `json:"forwardError,omitempty"` // why it is dead, or the last failure
	HasBody      bool       `json:"hasBody,omitempty"`      // the inbox still has the body
}

// maxText limits each string of a delivery, in bytes. They come from headers,
// bodies and error texts, and the budgets rely on small entries.
const maxText = 1024

// Clip shortens a text of others to about a kilobyte.
func Clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	cut := maxText
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// Clip shortens each text of the delivery.
func (d *Delivery) Clip() {
	d.Source, d.Reason, d.Detail = Clip(d.Source), Clip(d.Reason), Clip(d.Detail)
	d.Run.Account = spacelift.Account(Clip(string(d.Run.Account)))
	d.Run.Stack = spacelift.StackID(Clip(string(d.Run.Stack)))
	d.Run.Run = spacelift.RunID(Clip(string(d.Run.Run)))
	d.Type = spacelift.RunType(Clip(string(d.Type)))
	d.State = spacelift.RunState(Clip(string(d.State)))
}
