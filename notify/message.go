package notify

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"
)

// What messages there are: the type of a Message. A wire contract with the
// receivers of webhooks, listed in docs/how-to/notifications.md.
const (
	RunDecisionNeeded = "run.decision_needed"
	RunReminder       = "run.reminder"
	RunEscalated      = "run.escalated"
	RunDecided        = "run.decided"
	RunEnded          = "run.ended"
	RunHeld           = "run.held"
	RunFailed         = "run.failed"

	// RunConfirmedUnseen is an alarm: a confirmation took effect on another plan
	// than the one that was judged.
	RunConfirmedUnseen = "run.confirmed_unseen"

	ChainHeld    = "chain.held"
	ChainResumed = "chain.resumed"
	ChainEnded   = "chain.ended"

	AccountFinding = "account.finding"
)

// Urgency says what a message wants of its reader.
type Urgency string

const (
	Info   Urgency = "info"   // to know; the zero value means this as well
	Action Urgency = "action" // something waits for a person
	Alarm  Urgency = "alarm"  // something is wrong
)

// MessageVersion is the version of a message's JSON, told with each webhook.
// Fields are added without a new one; a field that changes its meaning gets one.
const MessageVersion = 1

// Message is what is told. Its JSON is a wire contract: the data of webhooks,
// and the input of activities in open executions.
type Message struct {
	// ID is the same whenever the same message is sent again: see MessageID. Its
	// characters are letters, digits, "_" and "-".
	ID string `json:"id"`

	Type string    `json:"type"`
	At   time.Time `json:"at"` // when it came to be, not when it is sent

	// Title and Text are sentences. They may quote what people wrote.
	Title string `json:"title"`
	Text  string `json:"text,omitempty"`

	Account   string `json:"account,omitempty"`
	Stack     string `json:"stack,omitempty"`     // the stack's id
	StackName string `json:"stackName,omitempty"` // as people call it
	Run       string `json:"run,omitempty"`
	URL       string `json:"url,omitempty"` // of the run or account in Spacelift
	State     string `json:"state,omitempty"`

	Facts   []Fact  `json:"facts,omitempty"`
	Links   []Link  `json:"links,omitempty"`
	Urgency Urgency `json:"urgency,omitempty"`
}

// Fact is one line of a table.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Link leads to where the reader can act or learn more.
type Link struct {
	Text string `json:"text"`
	URL  string `json:"url"`
}

// MessageID makes the id of a message from what makes it the one it is, such as
// its type, its run and the version of the state it tells of. The same parts
// make the same id, at any time and in any process.
func MessageID(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		h.Write([]byte(strconv.Itoa(len(part)) + ":" + part))
	}
	return "msg_" + hex.EncodeToString(h.Sum(nil)[:16])
}
