package workflows

import (
	"slices"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
)

// sendMessages sends the messages that wait. The journal records the result of
// each.
func (m *manager) sendMessages() {
	m.sender.send(func() []managed.Notice { return m.known.Outbox }, func(at time.Time, n managed.Notice, why string) {
		if why != "" {
			m.known.Note(at, managed.KindNote, "the message %s could not be sent through %s: %s", n.Message.Type, n.Channel, why)
		} else {
			m.known.Note(at, managed.KindNote, "sent through %s: %s", n.Channel, n.Message.Title)
		}
		m.known.Delivered(n.Message.ID)
	})
}

// sender sends an execution's messages to people.
type sender struct {
	sending map[string]bool  // channels that a message is on its way to
	ctx     workflow.Context // that the messages are sent under
	stop    workflow.CancelFunc
}

func newSender(ctx workflow.Context) sender {
	s := sender{sending: map[string]bool{}}
	s.ctx, s.stop = workflow.WithCancel(ctx)
	return s
}

func (s sender) busy() bool { return len(s.sending) > 0 }

// send sends the messages that wait in an outbox. It does not wait for them: a
// channel that fails never holds up an execution. Each channel receives the
// messages of an execution in their order. done takes each off the outbox when it
// has arrived, or when Gantry gives it up because of why.
func (s sender) send(outbox func() []managed.Notice, done func(at time.Time, n managed.Notice, why string)) {
	if s.ctx.Err() != nil {
		return
	}
	for _, n := range outbox() {
		if s.sending[n.Channel] {
			continue
		}
		s.sending[n.Channel] = true
		workflow.Go(s.ctx, func(ctx workflow.Context) {
			for sendNext(ctx, n.Channel, outbox, done) {
			}
			delete(s.sending, n.Channel)
		})
	}
}

// callOff stops sending, and waits until it is known of every message whether it
// arrived: those that did not stay in the outbox, for the next execution.
func (s sender) callOff(ctx workflow.Context) error {
	s.stop()
	return await(ctx, func() bool { return !s.busy() })
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
	err := workflow.ExecuteActivity(summarized(withNotification(ctx, max(left, lastTry)), channel+": "+n.Message.Title), a.Notify, in).Get(ctx, nil)
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
