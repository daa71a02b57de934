package workflows

import (
	"slices"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
)

// post sends the messages that wait. The journal records what became of each.
func (m *manager) post(ctx workflow.Context) {
	post(ctx, m.sending, func() []notice { return m.known.Outbox }, func(at time.Time, n notice, why string) {
		if why != "" {
			m.known.note(at, KindNote, "the message %s could not be told through %s: %s", n.Message.Type, n.Channel, why)
		} else {
			m.known.note(at, KindNote, "told through %s: %s", n.Channel, n.Message.Title)
		}
		m.known.delivered(n.Message.ID)
	})
}

// post sends the messages that wait in an outbox. It does not wait for them: a
// channel that fails never holds up an execution. Each channel receives the
// messages of an execution in their order; sending holds the channels that one is
// on its way to. done takes each off the outbox when it has arrived, or when it is
// given up because of why.
func post(ctx workflow.Context, sending map[string]bool, outbox func() []notice, done func(at time.Time, n notice, why string)) {
	for _, n := range outbox() {
		if sending[n.Channel] {
			continue
		}
		sending[n.Channel] = true
		workflow.Go(ctx, func(ctx workflow.Context) {
			for sendNext(ctx, n.Channel, outbox, done) {
			}
			delete(sending, n.Channel)
		})
	}
}

// sendNext sends the oldest message for a channel and waits until it has arrived
// or is given up. It returns false when none waits, or the execution is
// canceled.
func sendNext(ctx workflow.Context, channel string, outbox func() []notice, done func(at time.Time, n notice, why string)) bool {
	waiting := outbox()
	i := slices.IndexFunc(waiting, func(n notice) bool { return n.Channel == channel })
	if i < 0 {
		return false
	}
	var a *activities.Activities
	n := waiting[i]
	left := tooOld - workflow.Now(ctx).Sub(n.Message.At)
	in := activities.NotifyInput{Channel: channel, Message: n.Message}
	err := workflow.ExecuteActivity(withNotification(ctx, max(left, lastTry)), a.Notify, in).Get(ctx, nil)
	if ctx.Err() != nil {
		return false
	}
	why := ""
	if err != nil {
		why = because(err)
	}
	done(workflow.Now(ctx).UTC(), n, why)
	return true
}

// A message is given up when it is tooOld to matter. One that waited that long
// behind others that did not arrive has a lastTry of its own.
const (
	tooOld  = time.Hour
	lastTry = 30 * time.Second
)
