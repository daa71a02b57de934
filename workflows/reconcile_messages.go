package workflows

import (
	"slices"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/reconcile"
)

// tellTimeout bounds the telling of one channel: a tick has other things to do.
const tellTimeout = 12 * time.Second

// tell tells the channels what they are owed, all at once, and once: the next
// tick is the retry. Whatever comes of it, the tick goes on.
func (t *tick) tell(ctx workflow.Context) {
	if len(t.in.Notify) == 0 {
		t.report.Carried.Told = nil
		return
	}
	var a *activities.Activities
	ctx = once(ctx, tellTimeout)
	due := t.report.Carried.Owe(t.in.Notify, t.found.Now)
	sent := make([]workflow.Future, len(due))
	for i, d := range due {
		sent[i] = workflow.ExecuteLocalActivity(ctx, a.Notify, activities.NotifyInput{
			Channel: d.Channel, Message: d.Message(t.in.Account, t.report.At),
		})
	}
	for i, d := range due {
		err := sent[i].Get(ctx, nil)
		if err == nil {
			d.Took()
			continue
		}
		d.Failed(final(err))
		t.log.Warn("a channel could not be told of a finding", "channel", d.Channel, "kind", d.Finding.Kind, "over", d.Over, "givenUp", d.Tries >= reconcile.MaxTries, "error", because(err))
	}
	c := &t.report.Carried
	c.Told = slices.DeleteFunc(c.Told, func(t reconcile.Owed) bool { return t.Forgotten() })
}
