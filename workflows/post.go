package workflows

import (
	"slices"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
)

// post sends the messages that wait. It does not wait for them: a channel that
// fails never holds up a run. Each channel receives the messages of a run in
// their order. The journal records what became of each.
func (m *manager) post(ctx workflow.Context) {
	for _, n := range m.known.Outbox {
		if m.sending[n.Channel] {
			continue
		}
		m.sending[n.Channel] = true
		workflow.Go(ctx, func(ctx workflow.Context) {
			for m.sendNext(ctx, n.Channel) {
			}
			delete(m.sending, n.Channel)
		})
	}
}

// sendNext sends the oldest message for a channel and waits until it has arrived
// or is given up. It returns false when none waits, or the execution is
// canceled.
func (m *manager) sendNext(ctx workflow.Context, channel string) bool {
	i := slices.IndexFunc(m.known.Outbox, func(n notice) bool { return n.Channel == channel })
	if i < 0 {
		return false
	}
	var a *activities.Activities
	n := m.known.Outbox[i]
	left := tooOld - workflow.Now(ctx).Sub(n.Message.At)
	in := activities.NotifyInput{Channel: channel, Message: n.Message}
	err := workflow.ExecuteActivity(withNotification(ctx, max(left, lastTry)), a.Notify, in).Get(ctx, nil)
	if ctx.Err() != nil {
		return false
	}
	now := workflow.Now(ctx).UTC()
	if err != nil {
		m.known.note(now, KindNote, "the message %s could not be told through %s: %s", n.Message.Type, channel, because(err))
	} else {
		m.known.note(now, KindNote, "told through %s: %s", channel, n.Message.Title)
	}
	m.known.delivered(n.Message.ID)
	return true
}

// A message is given up when it is tooOld to matter. One that waited that long
// behind others that did not arrive has a lastTry of its own.
const (
	tooOld  = time.Hour
	lastTry = 30 * time.Second
)
