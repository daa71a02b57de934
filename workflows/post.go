package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
)

// post sends the messages that are not on their way yet. It does not wait for
// them: a channel that fails never holds up a run. What becomes of each shows
// in the journal.
func (m *manager) post(ctx workflow.Context) {
	for _, n := range m.known.Outbox {
		if m.sending[n.Message.ID] {
			continue
		}
		m.sending[n.Message.ID] = true
		workflow.Go(ctx, func(ctx workflow.Context) {
			var a *activities.Activities
			err := workflow.ExecuteActivity(withNotification(ctx), a.Notify, activities.NotifyInput{Channel: n.Channel, Message: n.Message}).Get(ctx, nil)
			if ctx.Err() != nil {
				return // the execution is canceled
			}
			now := workflow.Now(ctx).UTC()
			if err != nil {
				m.known.note(now, KindNote, "the message %s could not be told through %s: %s", n.Message.Type, n.Channel, because(err))
			} else {
				m.known.note(now, KindNote, "told through %s: %s", n.Channel, n.Message.Title)
			}
			m.known.delivered(n.Message.ID)
			delete(m.sending, n.Message.ID)
		})
	}
}
