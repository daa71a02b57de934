package workflows

import (
	"slices"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/reconcile"
)

// findingTimeout bounds the sending to one channel: a tick has other things to do.
const findingTimeout = 12 * time.Second

// sendFindings sends the channels the messages they are owed, all at the same
// time, with one attempt: the next tick is the retry. The tick continues even if
// all fail.
func (t *tick) sendFindings(ctx workflow.Context) {
	if len(t.in.Notify) == 0 {
		t.report.Carried.Announcements = nil
		return
	}
	var a *activities.Activities
	ctx = once(ctx, findingTimeout)
	due := t.report.Carried.Announce(t.in.Notify, t.found.Now)
	sent := make([]workflow.Future, len(due))
	for i, d := range due {
		m := d.Message(t.in.Account, t.report.At)
		sent[i] = workflow.ExecuteLocalActivity(summarized(ctx, d.Channel+": "+m.Title), a.Notify, activities.NotifyInput{Channel: d.Channel, Message: m})
	}
	for i, d := range due {
		err := sent[i].Get(ctx, nil)
		if err == nil {
			d.Delivered()
			continue
		}
		d.Failed(final(err))
		t.log.Warn("a finding could not be sent", "channel", d.Channel, "kind", d.Finding.Kind, "over", d.Over, "givenUp", d.Tries >= reconcile.MaxTries, "error", because(err))
	}
	c := &t.report.Carried
	c.Announcements = slices.DeleteFunc(c.Announcements, func(t reconcile.Announcement) bool { return t.Settled() })
}
