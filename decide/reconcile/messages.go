package reconcile

import (
	"slices"
	"time"

	"github.com/gantryhq/gantry/notify"
	"github.com/gantryhq/gantry/spacelift"
)

// MaxTries is how many ticks try to tell a channel of something.
const MaxTries = 30

// Owed is how far a channel was told of a finding. It is to be told that the
// finding is there unless it is Known, and that it is Over if it was.
type Owed struct {
	Channel string  `json:"channel"`
	Finding Finding `json:"finding"`         // as it was when it was found
	Known   bool    `json:"known,omitempty"` // the channel took the message that it is there
	Over    bool    `json:"over,omitempty"`  // it is not found any more
	Tries   int     `json:"tries,omitempty"` // that failed, of the message that is due
}

func (t *Owed) due() bool { return t.Known == t.Over && t.Tries < MaxTries }

// Forgotten reports whether nothing is left to tell of a finding that is over.
func (t *Owed) Forgotten() bool { return t.Over && (!t.Known || t.Tries >= MaxTries) }

// Took notes that the channel took what was due.
func (t *Owed) Took() { t.Known, t.Tries = !t.Over, 0 }

// Failed notes that it did not; final says that it never will.
func (t *Owed) Failed(final bool) {
	t.Tries++
	if final {
		t.Tries = MaxTries
	}
}

// Owe brings what channels are to know up to date with what is found now, and
// returns the entries with something to tell.
//
// Each channel hears of a finding once when it begins and, if it heard that,
// once when it is over. What can't be told is tried again by the next ticks, and
// then left.
func (c *carried) Owe(channels []string, found []Finding) (due []*Owed) {
	for i := range c.Told {
		// What comes back before it was said to be over has gone on.
		if t := &c.Told[i]; t.Over == isFound(found, t.Finding.Kind) {
			t.Over, t.Tries = !t.Over, 0
		}
	}
	c.Told = slices.DeleteFunc(c.Told, func(t Owed) bool { return t.Forgotten() || !slices.Contains(channels, t.Channel) })
	for _, f := range found {
		for _, channel := range channels {
			heard := slices.ContainsFunc(c.Told, func(t Owed) bool { return t.Channel == channel && t.Finding.Kind == f.Kind })
			if !heard {
				c.Told = append(c.Told, Owed{Channel: channel, Finding: f})
			}
		}
	}
	for i := range c.Told {
		if c.Told[i].due() {
			due = append(due, &c.Told[i])
		}
	}
	return due
}

func isFound(all []Finding, kind FindingKind) bool {
	return slices.ContainsFunc(all, func(f Finding) bool { return f.Kind == kind })
}

// Message is what to tell.
func (t *Owed) Message(account spacelift.Account, at time.Time) notify.Message {
	f := t.Finding
	m := notify.Message{
		Type: notify.AccountFinding, At: at, Account: string(account), Title: headlines[f.Kind], State: string(f.Kind), Urgency: notify.Alarm,
		Text:  f.Summary + ". What to do: " + f.Fix + ".",
		Facts: []notify.Fact{{Name: "Account", Value: string(account)}, {Name: "Since", Value: f.Since.UTC().Format(time.RFC3339)}},
	}
	turn := "begun"
	if t.Over {
		turn = "over"
		m.Title, m.Urgency, m.Text = "Over: "+m.Title, notify.Info, "It was: "+f.Summary+"."
		m.Facts = append(m.Facts, notify.Fact{Name: "Over since", Value: at.Format(time.RFC3339)})
	}
	m.ID = notify.MessageID(m.Type, string(account), string(f.Kind), f.Since.UTC().Format(time.RFC3339), turn, t.Channel)
	return m
}

// headlines say of each kind of finding what is wrong.
var headlines = map[FindingKind]string{
	FindingWebhookMissing:    "Gantry watches no webhook",
	FindingWebhookUnreadable: "Gantry can't read its webhook",
	FindingWebhookDisabled:   "Spacelift switched Gantry's webhook off",
	FindingSilence:           "Notifications of managed runs don't arrive",
	FindingSpaceliftFails:    "Gantry can't compare its runs with Spacelift",
	FindingSecretMismatch:    "Notifications are signed with another secret",
	FindingUnreadableEvents:  "Gantry can't read notifications",
	FindingReconcileOverdue:  "Gantry no longer compares its runs with Spacelift",
	FindingExecutionStuck:    "Executions of Gantry can't go on",
	FindingRunsVanished:      "Spacelift no longer knows runs that it showed",
	FindingUnknownParent:     "Stacks follow stacks that Gantry doesn't manage",
}
