package reconcile

import (
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/notify"
	"github.com/gantryhq/gantry/spacelift"
)

// MaxTries bounds how many ticks try to send one message to a channel.
const MaxTries = 30

// Announcement tracks what a channel knows of a finding. The channel is notified when
// the finding begins and, if that message arrived, when the finding is over.
type Announcement struct {
	Channel string  `json:"channel"`
	Finding Finding `json:"finding"`         // as it was when it was found
	Known   bool    `json:"known,omitempty"` // the channel took the message that it has begun
	Over    bool    `json:"over,omitempty"`  // it is not found any more
	Tries   int     `json:"tries,omitempty"` // failed tries to send the message that is due
}

func (a *Announcement) due() bool { return a.Known == a.Over && a.Tries < MaxTries }

// Settled reports whether nothing is left to say about a finding that is over.
func (a *Announcement) Settled() bool { return a.Over && (!a.Known || a.Tries >= MaxTries) }

// Delivered records that the channel took the message that was due.
func (a *Announcement) Delivered() { a.Known, a.Tries = !a.Over, 0 }

// Failed records that it did not. If final, it never will.
func (a *Announcement) Failed(final bool) {
	a.Tries++
	if final {
		a.Tries = MaxTries
	}
}

// Announce compares what the channels know with what is found now, and returns the
// announcements with a message due. The next ticks repeat a message that can't be
// sent, up to MaxTries times.
func (c *carried) Announce(channels []string, found []Finding) (due []*Announcement) {
	for i := range c.Announcements {
		// A finding that comes back before its end was announced never ended.
		if a := &c.Announcements[i]; a.Over == among(found, a.Finding.Kind) {
			a.Over, a.Tries = !a.Over, 0
		}
	}
	c.Announcements = slices.DeleteFunc(c.Announcements, func(a Announcement) bool { return a.Settled() || !slices.Contains(channels, a.Channel) })
	for _, f := range found {
		for _, channel := range channels {
			announced := slices.ContainsFunc(c.Announcements, func(a Announcement) bool { return a.Channel == channel && a.Finding.Kind == f.Kind })
			if !announced {
				c.Announcements = append(c.Announcements, Announcement{Channel: channel, Finding: f})
			}
		}
	}
	for i := range c.Announcements {
		if c.Announcements[i].due() {
			due = append(due, &c.Announcements[i])
		}
	}
	return due
}

// Message returns the message that is due.
func (a *Announcement) Message(account spacelift.Account, at time.Time) notify.Message {
	f := a.Finding
	m := notify.Message{
		Type: notify.AccountFinding, At: at, Account: string(account), Title: headlines[f.Kind], State: string(f.Kind), Urgency: notify.Alarm,
		Text:  f.Summary + ". What to do: " + f.Fix + ".",
		Facts: []notify.Fact{{Name: "Account", Value: string(account)}, {Name: "Since", Value: f.Since.UTC().Format(time.RFC3339)}},
	}
	since := f.Since.UTC().Format(time.RFC3339)
	m.Thread = strings.Join([]string{"finding", string(account), string(f.Kind), since}, "/")
	turn := "begun"
	if a.Over {
		turn = "over"
		m.Title, m.Urgency, m.Text = "Over: "+m.Title, notify.Info, "It was: "+f.Summary+"."
		m.Facts = append(m.Facts, notify.Fact{Name: "Over since", Value: at.Format(time.RFC3339)})
	}
	m.ID = notify.MessageID(m.Type, string(account), string(f.Kind), since, turn, a.Channel)
	return m
}

// headlines are the titles of messages about each kind of finding.
var headlines = map[FindingKind]string{
	FindingWebhookMissing:    "Gantry watches no webhook",
	FindingWebhookUnreadable: "Gantry can't read its webhook",
	FindingWebhookDisabled:   "Spacelift switched Gantry's webhook off",
	FindingSilence:           "Notifications of managed runs don't arrive",
	FindingSpaceliftFails:    "Gantry can't compare its runs with Spacelift",
	FindingSecretMismatch:    "Notifications are signed with another secret",
	FindingUntrustedProxy:    "A proxy hides the senders of notifications",
	FindingUnreadableEvents:  "Gantry can't read notifications",
	FindingReconcileOverdue:  "Gantry no longer compares its runs with Spacelift",
	FindingExecutionStuck:    "Executions of Gantry are stuck",
	FindingRunsVanished:      "Spacelift no longer knows runs that it showed",
	FindingUnknownParent:     "Stacks follow stacks that Gantry doesn't manage",
	FindingMisspeltLabel:     "Labels of stacks look misspelt",
	FindingNotEnforced:       "Spacelift applies plans that labels hold back",
}
