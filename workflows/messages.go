package workflows

import (
	"errors"
	"slices"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
)

// post sends the messages that wait. The journal records what became of each.
func (m *manager) post() {
	m.sending.post(func() []managed.Notice { return m.known.Outbox }, func(at time.Time, n managed.Notice, why string) {
		if why != "" {
			m.known.Note(at, managed.KindNote, "the message %s could not be told through %s: %s", n.Message.Type, n.Channel, why)
		} else {
			m.known.Note(at, managed.KindNote, "told through %s: %s", n.Channel, n.Message.Title)
		}
		m.known.Delivered(n.Message.ID)
	})
}

// sending holds the channels that a message of an execution is on its way to.
type sending struct {
	to   map[string]bool
	ctx  workflow.Context // that the messages are sent under
	stop workflow.CancelFunc
}

func newSending(ctx workflow.Context) sending {
	s := sending{to: map[string]bool{}}
	s.ctx, s.stop = workflow.WithCancel(ctx)
	return s
}

// post sends the messages that wait in an outbox. It does not wait for them: a
// channel that fails never holds up an execution. Each channel receives the
// messages of an execution in their order. done takes each off the outbox when it
// has arrived, or when it is given up because of why.
func (s sending) post(outbox func() []managed.Notice, done func(at time.Time, n managed.Notice, why string)) {
	if s.ctx.Err() != nil {
		return
	}
	for _, n := range outbox() {
		if s.to[n.Channel] {
			continue
		}
		s.to[n.Channel] = true
		workflow.Go(s.ctx, func(ctx workflow.Context) {
			for sendNext(ctx, n.Channel, outbox, done) {
			}
			delete(s.to, n.Channel)
		})
	}
}

// callOff stops sending, and waits until it is known of every message whether it
// arrived: those that did not stay in the outbox, for the next execution.
func (s sending) callOff(ctx workflow.Context) error {
	s.stop()
	err := workflow.Await(ctx, func() bool { return len(s.to) == 0 })
	return errors.Join(err, ctx.Err())
}

// sendNext sends the oldest message for a channel and waits until it has arrived
// or is given up. It returns false when none waits, or the execution is
// canceled.
func sendNext(ctx workflow.Context, channel string, outbox func() []managed.Notice, done func(at time.Time, n managed.Notice, why string)) bool {
	waiting := outbox()
	i := slices.IndexFunc(waiting, func(n managed.Notice) bool { return n.Channel == channel })
	if i < 0 {
		return false
	}
	var a *activities.Activities
	n := waiting[i]
	left := tooOld - workflow.Now(ctx).Sub(n.Message.At)
	in := activities.NotifyInput{Channel: channel, Message: n.Message}
	err := workflow.ExecuteActivity(withNotification(ctx, max(left, lastTry)), a.Notify, in).Get(ctx, nil)
	if err != nil && ctx.Err() != nil {
		return false
	}
	why := ""
	if err != nil {
		why = because(err)
	}
	done(workflow.Now(ctx).UTC(), n, why)
	return ctx.Err() == nil
}

// A message is given up when it is tooOld to matter. One that waited that long
// behind others that did not arrive has a lastTry of its own.
const (
	tooOld  = time.Hour
	lastTry = 30 * time.Second
)
