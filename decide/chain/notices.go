package chain

import (
	"fmt"
	"slices"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/notify"
	"github.com/gantryhq/gantry/spacelift"
)

// Notice puts the messages on their way that a decision calls for: that the chain
// is held or a stack of it is, that it goes on, and that it has ended. Each is sent
// once for each time that happens. before is the chain before the decision was
// recorded, and stuck are the stacks that can't be triggered since then.
func (c *Chain) Notice(at time.Time, n Next, before chainMood, stuck []int) {
	if n.Phase == PhaseMoving {
		for _, i := range stuck[:min(len(stuck), maxWhy)] {
			c.noticeStuck(at, i)
		}
	}
	switch {
	case !before.EndedAt.IsZero():
	case n.Finish:
		c.noticeEnded(at, n)
	case before.HeldSince.IsZero() && !c.HeldSince.IsZero():
		channels := c.heldChannels(n.Lines)
		c.ToldHeld = managed.Distinct(append(slices.Clone(c.ToldHeld), channels...))
		c.send(at, channels, notify.Message{
			Type: notify.ChainHeld, Urgency: notify.Alarm,
			Title: fmt.Sprintf("%s: the chain is held", c.Root.Stack),
			Text:  decide.Sentence(n.Reason) + fmt.Sprintf(" Until somebody acts nothing more of it is released; it ends by itself at %s.", c.MovedAt.Add(quietAtMost).UTC().Format("2006-01-02 15:04 MST")),
		}, c.HeldSince)
	case !before.HeldSince.IsZero() && c.HeldSince.IsZero():
		c.send(at, managed.Distinct(append(slices.Clone(c.Notify), c.ToldHeld...)), notify.Message{
			Type: notify.ChainResumed, Title: fmt.Sprintf("%s: the chain goes on", c.Root.Stack), Text: decide.Sentence(n.Reason),
		}, before.HeldSince)
	}
}

// noticeStuck tells that a stack can't be triggered while the rest of the chain
// goes on.
func (c *Chain) noticeStuck(at time.Time, i int) {
	node := &c.Nodes[i]
	channels := managed.Distinct(append(slices.Clone(c.Notify), node.Notify...))
	c.ToldHeld = managed.Distinct(append(slices.Clone(c.ToldHeld), channels...))
	c.send(at, channels, notify.Message{
		Type: notify.ChainHeld, Urgency: notify.Alarm, Title: fmt.Sprintf("%s: the chain can't release %s", c.Root.Stack, node.Stack),
		Text: decide.Sentence(node.Trouble.Reason) + " Gantry tries again, less and less often. An operator may skip the stack; the rest of the chain goes on.",
	}, node.Since)
}

// chainMood is what notice compares.
type chainMood struct{ HeldSince, EndedAt time.Time }

func (c *Chain) Mood() chainMood { return chainMood{c.HeldSince, c.EndedAt} }

// noticeEnded tells the end of a chain that had something to release: to the root's
// channels, to those of stacks that are not through, and to those that know that
// it was held.
func (c *Chain) noticeEnded(at time.Time, n Next) {
	if len(c.Nodes) == 1 && len(c.Refusals) == 0 {
		return
	}
	channels, urgency := append(slices.Clone(c.Notify), c.ToldHeld...), notify.Info
	for i, l := range n.Lines {
		if l.Lets != EdgeReleases {
			channels, urgency = append(channels, c.Nodes[i].Notify...), notify.Alarm
		}
	}
	if c.Stopped != nil {
		urgency = notify.Info // somebody knows
	} else if len(c.Refusals) > 0 {
		urgency = notify.Alarm
	}
	c.send(at, managed.Distinct(channels), notify.Message{
		Type: notify.ChainEnded, Urgency: urgency, Title: fmt.Sprintf("%s: the chain has ended", c.Root.Stack), Text: decide.Sentence(c.Outcome),
	}, c.EndedAt)
}

// heldChannels are those of the root and of the stacks that stop the line.
func (c *Chain) heldChannels(lines []line) []string {
	channels := slices.Clone(c.Notify)
	for i, l := range lines {
		if l.Lets == EdgeStops {
			channels = append(channels, c.Nodes[i].Notify...)
		}
	}
	return managed.Distinct(channels)
}

// send puts a message on its way. What it is about and when that began make its
// id, so that it is sent once.
func (c *Chain) send(at time.Time, channels []string, m notify.Message, since time.Time) {
	m.At = at
	m.Account, m.Stack, m.Run = string(c.Root.Account), string(c.Root.Stack), string(c.Root.Run)
	m.Facts = []notify.Fact{{Name: "Chain", Value: managed.ChainID(c.Root)}}
	for _, channel := range channels {
		m.ID = notify.MessageID(managed.ChainID(c.Root), m.Type, channel, since.UTC().Format(time.RFC3339Nano))
		if slices.ContainsFunc(c.Outbox, func(n managed.Notice) bool { return n.Message.ID == m.ID }) {
			continue
		}
		c.Outbox = append(c.Outbox, managed.Notice{Channel: channel, Message: m})
		if len(c.Outbox) > managed.MaxOutbox {
			c.note(at, managed.KindNote, "", "", "more messages wait than Gantry keeps: one for the channel %s is dropped", c.Outbox[0].Channel)
			c.Outbox = slices.Delete(c.Outbox, 0, 1)
		}
	}
}

// Sent takes a message off: it arrived, or sending it was given up because of why.
func (c *Chain) Sent(at time.Time, n managed.Notice, why string) {
	c.Outbox = slices.DeleteFunc(c.Outbox, func(o managed.Notice) bool { return o.Message.ID == n.Message.ID })
	if why != "" {
		c.note(at, managed.KindNote, "", spacelift.RunID(""), "the message %s could not be sent through %s: %s", n.Message.Type, n.Channel, why)
		return
	}
	c.note(at, managed.KindNote, "", spacelift.RunID(""), "sent through %s: %s", n.Channel, n.Message.Title)
}
