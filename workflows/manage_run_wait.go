package workflows

import (
	"errors"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// rest returns when there is something to take or to decide about: something
// came in, a time has come, or the run stayed so long where it is that the
// execution looked for itself.
func (m *manager) rest(ctx workflow.Context, n managed.Next) error {
	m.answered = m.asked
	for !m.disturbed() {
		now, s := workflow.Now(ctx), m.situation(ctx)
		look := m.quiet.lookAt(s, n)
		switch {
		case !n.Until.IsZero() && !now.Before(n.Until):
			return nil
		case !now.Before(look):
			return m.lookAround(ctx, s, n)
		}
		needed := look
		if !n.Until.IsZero() && n.Until.Before(needed) {
			needed = n.Until
		}
		if m.quiet.alarm == nil {
			// Later states may be due sooner. One alarm that is early enough for
			// all of them costs less than one for each.
			needed = managed.Earlier(needed, now.Add(managed.Shortest(s)))
		}
		m.quiet.set(ctx, needed)
		err := m.atRest(func() error {
			return workflow.Await(ctx, func() bool { return m.disturbed() || m.quiet.alarm.IsReady() })
		})
		if err = errors.Join(err, ctx.Err()); err != nil {
			return ctx.Err()
		}
	}
	return nil
}

// lookAt is when to read the run if nothing is heard: when its deadline is over
// while Spacelift is to go on by itself, and seldom while it waits for
// something. Looks that tell nothing new get rarer.
func (q *quiet) lookAt(s managed.Situation, n managed.Next) time.Time {
	if q.key != s.Key() {
		q.key, q.looked, q.asked, q.missed = s.Key(), time.Time{}, 0, 0
	}
	if s.Trust.Again.After(q.last) {
		return s.Trust.Again
	}
	if q.missed > 0 {
		return q.looked.Add(min(managed.PollAgain<<min(q.missed-1, 10), managed.SilenceWorking))
	}
	if s.Crowded {
		return q.last.Add(crowdedLook)
	}
	allowed := s.Deadline()
	if s.Ask != nil && n.What == managed.WaitSpacelift {
		allowed = managed.SilenceWorking // what Gantry did about it should show by then
	}
	if allowed <= 0 || n.What != managed.WaitSpacelift {
		return managed.Latest(q.since, q.looked).Add(managed.SilenceWaiting)
	}
	return managed.Latest(s.Entered.At.Add(allowed), q.looked.Add(min(allowed<<min(q.asked, 10), max(allowed, managed.SilenceWaiting))))
}

// crowdedLook is how long an execution that was told more than it can keep goes
// without reading the run: however much is told, what is so is not forgotten.
const crowdedLook = time.Minute

// lookAround reads the run, and takes what it shows. A run that stays in its state
// too long is told of, once; without an answer nobody knows that it does.
func (m *manager) lookAround(ctx workflow.Context, s managed.Situation, n managed.Next) error {
	l, err := m.look(ctx)
	if err != nil {
		return err
	}
	if again := s.Trust.Again; again.After(m.quiet.last) && !l.at.Before(again) {
		m.quiet.last = l.at
		if l.err == nil {
			m.known.Observe(l.at, l.run)
		}
		return nil
	}
	m.quiet.looked, m.quiet.last = l.at, l.at
	if !l.answered() {
		if m.quiet.missed++; m.quiet.missed == 1 {
			m.known.NoteSilence(l.at, l.silence, because(l.err))
		}
		return nil
	}
	m.quiet.missed = 0
	news := m.heard(l)
	if m.known.RulesFor != nil {
		m.known.RulesStale = true // a freeze or the configuration may have changed unnoticed
	}
	if l.err == nil && !news {
		m.known.NoteOverdue(s, n, l.at)
	}
	return nil
}

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
