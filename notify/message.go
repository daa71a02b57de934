package notify

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"
)

// The types of messages. They are a wire contract with the receivers of webhooks;
// docs/how-to/notifications.md lists them.
const (
	RunDecisionNeeded = "run.decision_needed"
	RunReminder       = "run.reminder"
	RunEscalated      = "run.escalated"
	RunDecided        = "run.decided"
	RunEnded          = "run.ended"
	RunHeld           = "run.held"
	RunFailed         = "run.failed"

	// RunConfirmedUnseen is an alarm: a confirmation took effect on another plan
	// than the one that Gantry had checked.
	RunConfirmedUnseen = "run.confirmed_unseen"

	// RunBypassed is an alarm: a plan was confirmed or applied in Spacelift against the
	// policy in effect.
	RunBypassed = "run.bypassed"

	ChainHeld    = "chain.held"
	ChainResumed = "chain.resumed"
	ChainEnded   = "chain.ended"

	AccountFinding = "account.finding"

	// ChannelTest is sent by gantry channels test alone.
	ChannelTest = "channel.test"
)

// Urgency says whether a message asks something of its reader.
type Urgency string

const (
	Info   Urgency = "info"   // for information; the zero value means this too
	Action Urgency = "action" // something waits for a person
	Alarm  Urgency = "alarm"  // something is wrong
)

// MessageVersion is the version of a message's JSON; every webhook carries it. A
// new field keeps the version, and a field that changes its meaning raises it.
const MessageVersion = 1

// Message is a notification to people or programs. Its JSON is a wire contract:
// the data of webhooks, and the input of activities in open executions.
type Message struct {
	// ID stays the same when the message is sent again: see MessageID. It consists of
	// letters, digits, "_" and "-".
	ID string `json:"id"`

	// Thread is the same in all messages about one thing, such as a run, a chain or a
	// finding. With Type it says what a later message adds to, or replaces.
	Thread string `json:"thread,omitempty"`

	Type string    `json:"type"`
	At   time.Time `json:"at"` // of the event, not of sending

	// Title and Text are sentences. They may quote what people wrote.
	Title string `json:"title"`
	Text  string `json:"text,omitempty"`

	Account   string `json:"account,omitempty"`
	Stack     string `json:"stack,omitempty"`     // the stack's id
	StackName string `json:"stackName,omitempty"` // for people
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

// Link is a page where the reader can act or learn more.
type Link struct {
	Text string `json:"text"`
	URL  string `json:"url"`
}

// MessageID returns the id of the message that these parts identify, such as its
// type, its run and the version of the state it reports. The same parts return
// the same id, at any time and in any process.
func MessageID(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		h.Write([]byte(strconv.Itoa(len(part)) + ":" + part))
	}
	return "msg_" + hex.EncodeToString(h.Sum(nil)[:16])
}
