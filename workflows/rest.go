package workflows

import (
	"errors"
	"time"

	"go.temporal.io/sdk/workflow"
)

// rest returns when there is something to take or to decide about: something
// came in, a time has come, or the run stayed so long where it is that the
// execution looked for itself.
func (m *manager) rest(ctx workflow.Context, n next) error {
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
			needed = earlier(needed, now.Add(shortest(s)))
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

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// shortest is the deadline that is over first.
func shortest(s situation) time.Duration {
	least := min(quietWaiting, effectWithin)
	d := s.Policy.Deadlines.Value
	for _, one := range []time.Duration{time.Duration(d.Queued), time.Duration(d.Starting), time.Duration(d.Planning), time.Duration(d.Applying)} {
		if one > 0 {
			least = min(least, one)
		}
	}
	return least
}

// lookAt is when to read the run if nothing is heard: when its deadline is over
// while Spacelift is to go on by itself, and seldom while it waits for
// something. Looks that tell nothing new get rarer.
func (q *quiet) lookAt(s situation, n next) time.Time {
	if q.key != s.key() {
		q.key, q.looked, q.asked, q.missed = s.key(), time.Time{}, 0, 0
	}
	if s.trust.Again.After(q.last) {
		return s.trust.Again
	}
	if q.missed > 0 {
		return q.looked.Add(min(lookAgain<<min(q.missed-1, 10), quietWorking))
	}
	if s.crowded {
		return q.last.Add(crowdedLook)
	}
	allowed := s.deadline()
	if s.ask != nil && n.What == WaitSpacelift {
		allowed = quietWorking // what Gantry did about it should show by then
	}
	if allowed <= 0 || n.What != WaitSpacelift {
		return latest(q.since, q.looked).Add(quietWaiting)
	}
	return latest(s.entered.At.Add(allowed), q.looked.Add(min(allowed<<min(q.asked, 10), max(allowed, quietWaiting))))
}

// crowdedLook is how long an execution that was told more than it can keep goes
// without reading the run: however much is told, what is so is not forgotten.
const crowdedLook = time.Minute

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// lookAround reads the run, and takes what it shows. A run that stays in its state
// too long is told of, once; without an answer nobody knows that it does.
func (m *manager) lookAround(ctx workflow.Context, s situation, n next) error {
	l, err := m.look(ctx)
	if err != nil {
		return err
	}
	if again := s.trust.Again; again.After(m.quiet.last) && !l.at.Before(again) {
		m.quiet.last = l.at
		if l.err == nil {
			m.known.hear(l.at, l.run)
		}
		return nil
	}
	m.quiet.looked, m.quiet.last = l.at, l.at
	if !l.answered() {
		if m.quiet.missed++; m.quiet.missed == 1 {
			m.known.noteUnanswered(l.at, l.silence, because(l.err))
		}
		return nil
	}
	m.quiet.missed = 0
	news := m.heard(l)
	if m.known.RulesFor != nil {
		m.known.RulesStale = true // a freeze or the configuration may have changed unnoticed
	}
	if l.err == nil && !news {
		m.known.lingers(s, n, l.at)
	}
	return nil
}

// lingers tells people, once, that the run stays where it is for longer than its
// policy allows, though nobody has to do anything.
func (r *record) lingers(s situation, n next, at time.Time) {
	if n.What != WaitSpacelift || !s.Managed || s.deadline() <= 0 || r.Entered.Overdue || at.Before(s.entered.At.Add(s.deadline())) || r.Shown == nil || *r.Shown != s.key() {
		return
	}
	r.Entered.Overdue = true
	r.note(at, KindClock, "the run stays in %s for longer than %s (%s)", s.State, span(at, at.Add(s.deadline())), s.Policy.Deadlines.Origin)
	r.tellOverdue(s, at)
}
