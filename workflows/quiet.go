package workflows

import (
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/spacelift"
)

// quiet is the silence around an execution.
//
// One timer runs for as long as it can be of use: what is heard meanwhile moves
// only the time it is compared with when it fires. So a run that is heard of all
// the time costs one event for it, not two for every notification.
type quiet struct {
	since    time.Time // when something was heard last, or asked
	asked    int       // how often in a row asking told nothing new
	key      stateKey  // the state that looked and asked are about
	looked   time.Time // when the run was read last while in that state
	last     time.Time // the same, whatever the state
	unknown  int       // how often in a row Spacelift did not know the run
	alarm    workflow.Future
	due      time.Time // when the alarm fires
	stopping workflow.CancelFunc
}

// broken says that something was heard.
func (q *quiet) broken(at time.Time, generation int) {
	q.since = at
	if generation == 0 {
		q.asked = 0
	}
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

// unknownTwice is how often in a row Spacelift must deny a run before an
// execution stops following it.
const unknownTwice = 2

// wait is rest for generation 0: it returns when events came, or none did for so long that the execution asked for itself.
func (m *manager) wait(ctx workflow.Context, phase Phase) error {
	for !m.eventsWait() {
		needed := m.quiet.since.Add(patience(phase, m.quiet.asked))
		if !workflow.Now(ctx).Before(needed) {
			return m.askAround(ctx)
		}
		m.quiet.set(ctx, needed)
		err := workflow.Await(ctx, func() bool { return m.eventsWait() || m.quiet.alarm.IsReady() })
		if err = errors.Join(err, ctx.Err()); err != nil {
			return ctx.Err()
		}
	}
	return nil
}

// askAround is lookAround for generation 0.
func (m *manager) askAround(ctx workflow.Context) error {
	now, _, err := m.look(ctx)
	if err != nil {
		return err
	}
	m.quiet.since = now
	return nil
}

// look reads the run, takes what it shows as if it had been told, and reports
// whether it was news. It returns an error only when the execution is canceled.
func (m *manager) look(ctx workflow.Context) (now time.Time, news bool, err error) {
	var a *activities.Activities
	var run spacelift.Run
	err = workflow.ExecuteLocalActivity(withQuickCall(ctx), a.ReadRun, m.known.Run).Get(ctx, &run)
	if ctx.Err() != nil {
		return now, false, ctx.Err()
	}
	now = workflow.Now(ctx).UTC()
	return now, m.heard(now, now.Sub(m.quiet.since).Round(time.Minute), run, err), nil
}

// heard takes what the API shows when nobody has told of the run for so long,
// and reports whether it was news.
func (m *manager) heard(now time.Time, silence time.Duration, run spacelift.Run, err error) bool {
	app, _ := errors.AsType[*temporal.ApplicationError](err)
	switch {
	case err == nil:
		m.quiet.unknown = 0
		if m.known.hear(now, run) {
			m.quiet.asked = 0
			m.log.Warn("notifications are missing: the API told more", "run", m.known.Run.String(), "silence", silence)
			return true
		}
	case app != nil && app.Type() == activities.ErrTypeNotFound:
		if m.quiet.unknown++; m.quiet.unknown >= unknownTwice {
			m.known.giveUp(now, reasonUnknown)
		}
	case m.quiet.asked == 0:
		m.known.note(now, KindNote, "nothing was heard of the run for %s, and Spacelift did not answer when asked: %s", silence, because(err))
	}
	m.quiet.asked++
	return false
}

// reasonUnknown is why a run is given up that the API does not show.
const reasonUnknown = "Spacelift does not know it: it was deleted, its stack was, or Gantry's API key may not see it"
