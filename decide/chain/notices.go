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

// notify queues the messages that a decision calls for: the chain or a stack of it is
// held, the chain continues, or it has ended. Each is sent once each time that happens.
// heldSince and ended are of the chain before the decision was recorded, and stuck are
// the stacks that can't be triggered since then.
func (c *Chain) notify(at time.Time, n Next, heldSince time.Time, ended bool, stuck []int) {
	if n.Phase == PhaseMoving {
		for _, i := range stuck[:min(len(stuck), maxWhy)] {
			c.notifyStuck(at, i)
		}
	}
	switch {
	case ended:
	case n.Finish:
		c.notifyEnded(at, n)
	case heldSince.IsZero() && !c.HeldSince.IsZero():
		channels := c.heldChannels(n.Conditions)
		c.NotifiedHeld = managed.Distinct(append(slices.Clone(c.NotifiedHeld), channels...))
		c.send(at, channels, notify.Message{
			Type: notify.ChainHeld, Urgency: notify.Alarm,
			Title: fmt.Sprintf("%s: the chain is held", c.Root.Stack),
			Text:  decide.Sentence(n.Reason) + fmt.Sprintf(" Gantry releases nothing more until somebody acts, and gives the chain up at %s.", c.MovedAt.Add(patience).UTC().Format("2006-01-02 15:04 MST")),
		}, c.HeldSince)
	case !heldSince.IsZero() && c.HeldSince.IsZero():
		c.send(at, managed.Distinct(append(slices.Clone(c.Notify), c.NotifiedHeld...)), notify.Message{
			Type: notify.ChainResumed, Title: fmt.Sprintf("%s: the chain continues", c.Root.Stack), Text: decide.Sentence(n.Reason),
		}, heldSince)
	}
}

// notifyStuck sends that a stack can't be triggered while the rest of the chain
// continues.
func (c *Chain) notifyStuck(at time.Time, i int) {
	node := &c.Nodes[i]
	channels := managed.Distinct(append(slices.Clone(c.Notify), node.Notify...))
	c.NotifiedHeld = managed.Distinct(append(slices.Clone(c.NotifiedHeld), channels...))
	c.send(at, channels, notify.Message{
		Type: notify.ChainHeld, Urgency: notify.Alarm, Title: fmt.Sprintf("%s: the chain can't release %s", c.Root.Stack, node.Stack),
		Text: decide.Sentence(node.Backoff.Reason) + " Gantry tries again, less and less often. An operator may skip the stack; the rest of the chain continues.",
	}, node.Since)
}

// notifyEnded sends the end of a chain that had something to release: to the root's
// channels, to those of stacks that neither finished nor were skipped, and to those
// that know that it was held.
func (c *Chain) notifyEnded(at time.Time, n Next) {
	if len(c.Nodes) == 1 && len(c.Refusals) == 0 {
		return
	}
	channels, urgency := append(slices.Clone(c.Notify), c.NotifiedHeld...), notify.Info
	for i, l := range n.Conditions {
		if l.Lets != EdgeReleases {
			channels, urgency = append(channels, c.Nodes[i].Notify...), notify.Alarm
		}
	}
	if c.Stopped != nil {
		urgency = notify.Info // an operator did it
	} else if len(c.Refusals) > 0 {
		urgency = notify.Alarm
	}
	c.send(at, managed.Distinct(channels), notify.Message{
		Type: notify.ChainEnded, Urgency: urgency, Title: fmt.Sprintf("%s: the chain has ended", c.Root.Stack), Text: decide.Sentence(c.Outcome),
	}, c.EndedAt)
}

// heldChannels returns the channels of the root and of the stacks that hold the chain.
func (c *Chain) heldChannels(conditions []condition) []string {
	channels := slices.Clone(c.Notify)
	for i, l := range conditions {
		if l.Lets == EdgeStops {
			channels = append(channels, c.Nodes[i].Notify...)
		}
	}
	return managed.Distinct(channels)
}

// send queues a message. Its id is made of its subject and the time that began, so
// that it is sent once.
func (c *Chain) send(at time.Time, channels []string, m notify.Message, since time.Time) {
	m.At, m.Thread = at, managed.ChainID(c.Root)
	m.Account, m.Stack, m.Run = string(c.Root.Account), string(c.Root.Stack), string(c.Root.Run)
	m.Facts = []notify.Fact{{Name: "Chain", Value: managed.ChainID(c.Root)}}
	for _, channel := range channels {
		m.ID = notify.MessageID(managed.ChainID(c.Root), m.Type, channel, since.UTC().Format(time.RFC3339Nano))
		if slices.ContainsFunc(c.Outbox, func(n managed.Notice) bool { return n.Message.ID == m.ID }) {
			continue
		}
		c.Outbox = append(c.Outbox, managed.Notice{Channel: channel, Message: m})
		if len(c.Outbox) > managed.MaxOutbox {
			c.note(at, managed.KindNote, "", "", "dropped a message for the channel %s: more wait than Gantry keeps", c.Outbox[0].Channel)
			c.Outbox = slices.Delete(c.Outbox, 0, 1)
		}
	}
}

// Sent removes a message from the outbox: it arrived, or was given up because of why.
func (c *Chain) Sent(at time.Time, n managed.Notice, why string) {
	c.Outbox = slices.DeleteFunc(c.Outbox, func(o managed.Notice) bool { return o.Message.ID == n.Message.ID })
	if why != "" {
		c.note(at, managed.KindNote, "", spacelift.RunID(""), "the message %s could not be sent through %s: %s", n.Message.Type, n.Channel, why)
		return
	}
	c.note(at, managed.KindNote, "", spacelift.RunID(""), "sent through %s: %s", n.Channel, n.Message.Title)
}
