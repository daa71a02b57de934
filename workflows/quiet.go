package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// quiet is the silence around an execution.
//
// One timer runs for as long as it can be of use: what is heard meanwhile moves
// only the time it is compared with when it fires. So a run that is heard of all
// the time costs one event for it, not two for every notification.
type quiet struct {
	since    time.Time        // when something was heard last, or asked
	asked    int              // how often in a row asking told nothing new
	key      managed.StateKey // the state that looked and asked are about
	looked   time.Time        // when the run was read last while in that state, or that was tried
	last     time.Time        // the same, whatever the state
	missed   int              // how often in a row that was in vain: nobody answered
	alarm    workflow.Future
	due      time.Time // when the alarm fires
	stopping workflow.CancelFunc
}

// set makes the alarm fire no later than is needed now.
func (q *quiet) set(ctx workflow.Context, needed time.Time) {
	if q.alarm != nil {
		if !q.alarm.IsReady() && !q.due.After(needed) {
			return
		}
		q.stopping()
	}
	timer, stop := workflow.WithCancel(ctx)
	q.alarm, q.due, q.stopping = workflow.NewTimer(timer, needed.Sub(workflow.Now(ctx))), needed, stop
}

// look is a reading of the run that nobody asked for: nothing was heard of it
// for so long.
type look struct {
	at      time.Time
	silence time.Duration
	run     spacelift.Run
	err     error // what Spacelift answered in place of it
}

// answered reports whether Spacelift answered, be it that it does not know the
// run.
func (l look) answered() bool { return l.err == nil || notFound(l.err) }

// look reads the run. It returns an error only when the execution is canceled.
func (m *manager) look(ctx workflow.Context) (l look, err error) {
	var a *activities.Activities
	l.err = workflow.ExecuteLocalActivity(withQuickCall(ctx), a.ReadRun, m.known.Run).Get(ctx, &l.run)
	l.at = workflow.Now(ctx).UTC()
	l.silence = l.at.Sub(m.quiet.since).Round(time.Minute)
	return l, ctx.Err()
}

// heard takes what a look showed as if it had been told, and reports whether it
// was news.
func (m *manager) heard(l look) bool {
	switch {
	case l.err == nil:
		if m.known.Observe(l.at, l.run) {
			m.quiet.asked = 0
			m.log.Warn("notifications are missing: the API told more", "run", m.known.Run.String(), "silence", l.silence)
			return true
		}
	case notFound(l.err):
		m.known.Missing(l.at)
	case m.quiet.asked == 0:
		m.known.NoteSilence(l.at, l.silence, because(l.err))
	}
	m.quiet.asked++
	return false
}
