package policy

import (
	"cmp"
	"slices"
	"time"
)

// Deadline is an action that is due if nobody has decided by a time.
type Deadline struct {
	At     time.Time    `json:"at"`
	Kind   DeadlineKind `json:"kind"`
	Notify []string     `json:"notify,omitempty"` // channels; empty: those of the policy
}

// DeadlineKind is the kind of the action.
type DeadlineKind string

// The kinds.
const (
	DeadlineRemind   DeadlineKind = "remind"
	DeadlineEscalate DeadlineKind = "escalate"
	DeadlineDiscard  DeadlineKind = "discard"
	DeadlineTimeout  DeadlineKind = "timeout" // the time is over and the plan is kept: people are notified once
)

// maxReminders bounds how often people are reminded of one plan.
const maxReminders = 50

// deadlineOrder is the order of deadlines at the same time.
var deadlineOrder = []DeadlineKind{DeadlineRemind, DeadlineEscalate, DeadlineTimeout, DeadlineDiscard}

// Schedule returns the deadlines of a plan that has waited for people since a time,
// sorted by time: at most 50 reminders, all before the time-out; the steps of the
// escalation; the time-out. The discard of the plan is the last one. On a Clock, time
// counts only while that window is open, and deadlines more than ten years ahead are
// left out.
func (r *Definitions) Schedule(p Policy, since time.Time) []Deadline {
	since = since.UTC().Round(0)
	all := timers(p)
	times, ok := r.times(p.Clock.Value, since, all)
	if !ok {
		return nil // no time passes on a clock that is not there
	}
	var deadlines []Deadline
	for i, d := range all {
		if !times[i].IsZero() {
			d.deadline.At = times[i]
			deadlines = append(deadlines, d.deadline)
		}
	}
	return deadlines
}

// timer is a deadline that is due some time after a plan began to wait.
type timer struct {
	after    time.Duration
	deadline Deadline
}

// timers returns the timers of a policy, in order, up to a discard.
func timers(p Policy) []timer {
	var all []timer
	add := func(d Duration, kind DeadlineKind, notify []string) {
		all = append(all, timer{time.Duration(d), Deadline{Kind: kind, Notify: orNil(slices.Clone(notify))}})
	}
	timeout := p.ApprovalTimeout.Value
	if timeout > 0 {
		kind := DeadlineDiscard
		if p.OnTimeout.Value == TimeoutKeep {
			kind = DeadlineTimeout
		}
		add(timeout, kind, nil)
	}
	for _, step := range p.Escalation.Value {
		if len(step.Notify) > 0 {
			add(step.After, DeadlineEscalate, step.Notify)
		}
		if step.Discard {
			add(step.After, DeadlineDiscard, nil)
		}
	}
	if pause := p.Reminders.Value; pause > 0 {
		for i := range maxReminders {
			at := pause * Duration(i+1)
			if timeout > 0 && at >= timeout {
				break
			}
			add(at, DeadlineRemind, nil)
		}
	}
	slices.SortStableFunc(all, func(a, b timer) int {
		return cmp.Or(cmp.Compare(a.after, b.after), cmp.Compare(slices.Index(deadlineOrder, a.deadline.Kind), slices.Index(deadlineOrder, b.deadline.Kind)))
	})
	if i := slices.IndexFunc(all, func(d timer) bool { return d.deadline.Kind == DeadlineDiscard }); i >= 0 {
		all = all[:i+1]
	}
	return all
}

// times returns the time at which each is due, on the clock of a window if one is
// named; zero for never. It reports false if there is no such window.
func (r *Definitions) times(clock string, since time.Time, all []timer) (times []time.Time, ok bool) {
	if clock == "" {
		for _, d := range all {
			times = append(times, since.Add(d.after))
		}
		return times, true
	}
	w := r.window(clock)
	if w == nil {
		return nil, false
	}
	durations := make([]time.Duration, len(all))
	for i, d := range all {
		durations[i] = d.after
	}
	return w.after(since, durations), true
}
