package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/managed"
)

// wait returns when there is something to take or to decide: something came in,
// a deadline passed, or the run was polled because it went so long without news.
func (m *manager) wait(ctx workflow.Context, n managed.Next) error {
	m.handled = m.requests
	for !m.hasNews() {
		if over, err := m.beginWait(ctx, n); over || err != nil {
			return err
		}
		if err := m.await(ctx, func() bool { return m.hasNews() || m.silence.alarm.IsReady() }); err != nil {
			return err
		}
	}
	return nil
}

// beginWait sets the alarm that ends the wait, or reports that it is over already. Its
// frame is large, and those that wait keep theirs for days.
func (m *manager) beginWait(ctx workflow.Context, n managed.Next) (over bool, err error) {
	now, s := workflow.Now(ctx), m.situation(ctx)
	poll := m.silence.nextPoll(s, n)
	switch {
	case !n.Until.IsZero() && !now.Before(n.Until):
		return true, nil
	case !now.Before(poll):
		return true, m.pollRun(ctx, s, n)
	}
	needed := decide.Earlier(poll, n.Until)
	if m.silence.alarm == nil {
		// Later states may be due sooner. One alarm that is early enough for
		// all of them costs less than one for each.
		needed = decide.Earlier(needed, now.Add(managed.Shortest(s)))
	}
	m.silence.setAlarm(ctx, needed, "Check the run unless news arrives. "+managed.Headline(s.RunStatus, s.Explain()))
	return false, nil
}

// hasNews reports whether something came in that may change what to do.
func (m *manager) hasNews() bool { return m.eventsWait() || m.requests > m.handled || m.faulty }

// await blocks until a condition holds. Queries and updates may be served
// meanwhile: the record is up to date and nothing is in flight.
func (m *manager) await(ctx workflow.Context, until func() bool) error {
	m.idle = true
	defer func() { m.idle = false }()
	return await(ctx, until)
}

// awaitFor is await with a timeout, and reports whether the condition holds.
func (m *manager) awaitFor(ctx workflow.Context, timeout time.Duration, summary string, until func() bool) (bool, error) {
	m.idle = true
	defer func() { m.idle = false }()
	return awaitFor(ctx, timeout, summary, until)
}

// silence tracks how long an execution has gone without news, so it can poll
// Spacelift itself.
//
// One timer runs for as long as it is useful. News moves only the time that the
// execution compares with when the timer fires. So a run that sends news all the
// time costs one event for it, not two for every notification.
type silence struct {
	since     time.Time        // when the last news arrived
	unchanged int              // how many polls in a row showed nothing new
	key       managed.StateKey // the state that polled and unchanged are about
	polled    time.Time        // when the run was last polled in that state, with or without success
	last      time.Time        // the same, whatever the state
	failed    int              // how many polls in a row got no answer
	alarm     workflow.Future
	due       time.Time // when the alarm fires
	stopAlarm workflow.CancelFunc
}

// reset records that news arrived.
func (s *silence) reset(now time.Time) { s.since = now }

// setAlarm makes the alarm fire no later than needed. The summary is for a new timer.
func (s *silence) setAlarm(ctx workflow.Context, needed time.Time, summary string) {
	if s.alarm != nil {
		if !s.alarm.IsReady() && !s.due.After(needed) {
			return
		}
		s.stopAlarm()
	}
	cancelable, stop := workflow.WithCancel(ctx)
	s.alarm, s.due, s.stopAlarm = workflow.NewTimerWithOptions(cancelable, needed.Sub(workflow.Now(ctx)), timer(summary)), needed, stop
}

// nextPoll returns when to poll the run if no news arrives: after its deadline
// while Spacelift is at work, and seldom while the run waits for something. Polls
// that show nothing new get rarer.
func (s *silence) nextPoll(run *managed.Situation, n managed.Next) time.Time {
	if s.key != run.Key() {
		s.key, s.polled, s.unchanged, s.failed = run.Key(), time.Time{}, 0, 0
	}
	if run.Trust.Again.After(s.last) {
		return run.Trust.Again
	}
	if s.failed > 0 {
		return s.polled.Add(decide.Backoff(managed.PollAgain, s.failed-1, managed.SilenceWorking))
	}
	if run.Crowded {
		return s.last.Add(crowdedPoll)
	}
	allowed := run.Deadline()
	if run.Ask != nil && n.What == managed.WaitSpacelift {
		allowed = managed.SilenceWorking // what Gantry did about it should show by then
	}
	if allowed <= 0 || n.What != managed.WaitSpacelift {
		return decide.Later(s.since, s.polled).Add(managed.SilenceWaiting)
	}
	return decide.Later(run.Entered.At.Add(allowed), s.polled.Add(decide.Backoff(allowed, s.unchanged, max(allowed, managed.SilenceWaiting))))
}

// crowdedPoll is the interval at which an execution polls a run that sent more
// events than its record can hold: the API shows the state that they hide.
const crowdedPoll = time.Minute

// pollRun reads a run that has gone without news, and takes what the API shows.
// An overdue run is reported once. Without an answer Gantry can't know, so
// nothing is reported. It returns an error only when the execution is canceled.
func (m *manager) pollRun(ctx workflow.Context, s *managed.Situation, n managed.Next) error {
	silence := &m.silence
	run, err := fetchRun(ctx, m.known.Run, "No news: "+n.Reason)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	now := workflow.Now(ctx).UTC()
	if again := s.Trust.Again; again.After(silence.last) && !now.Before(again) {
		silence.last = now
		if err == nil {
			m.known.Observe(now, run)
		}
		return nil
	}
	silence.polled, silence.last = now, now
	length := now.Sub(silence.since).Round(time.Minute)
	news := false
	switch {
	case err == nil:
		news = m.known.Observe(now, run)
	case notFound(err):
		m.known.Missing(now)
	default:
		if silence.failed++; silence.failed == 1 {
			m.known.NoteSilence(now, length, because(err))
		}
		return nil
	}
	silence.failed = 0
	if news {
		silence.unchanged = 0
		m.log.Warn("notifications are missing: the API shows more", "run", m.known.Run.String(), "silence", length)
	} else {
		silence.unchanged++
	}
	m.known.DoubtRules()
	if err == nil && !news {
		m.known.NoteOverdue(s, n, now)
	}
	return nil
}
