package policy

import (
	"cmp"
	"slices"
	"time"
)

// maxReminders bounds how often people are reminded of one plan.
const maxReminders = 50

// dueOrder is the order of what falls due at the same time.
var dueOrder = []DueKind{DueRemind, DueEscalate, DueTimeout, DueDiscard}

// Dues returns what is to be done while nobody decides about a plan that has
// asked since a time, sorted by time: at most 50 reminders, none of them at or
// after the time-out; the steps of the escalation; the time-out. Nothing comes
// after the plan is discarded. On a Clock, time counts only while that window
// is open, and what would take more than ten years is left out.
func (r *Rules) Dues(p Policy, since time.Time) []Due {
	since = since.UTC().Round(0)
	all := schedule(p)
	times, ok := r.times(p.Clock.Value, since, all)
	if !ok {
		return nil // no time passes on a clock that is not there
	}
	var dues []Due
	for i, d := range all {
		if !times[i].IsZero() {
			d.due.At = times[i]
			dues = append(dues, d.due)
		}
	}
	return dues
}

// dueAfter is something that falls due when a plan has asked for so long.
type dueAfter struct {
	after time.Duration
	due   Due
}

// schedule returns what falls due by a policy, in order, up to a discard.
func schedule(p Policy) []dueAfter {
	var all []dueAfter
	add := func(d Duration, kind DueKind, notify []string) {
		all = append(all, dueAfter{time.Duration(d), Due{Kind: kind, Notify: orNil(slices.Clone(notify))}})
	}
	timeout := p.ApprovalTimeout.Value
	if timeout > 0 {
		kind := DueDiscard
		if p.OnTimeout.Value == TimeoutKeep {
			kind = DueTimeout
		}
		add(timeout, kind, nil)
	}
	for _, step := range p.Escalation.Value {
		if len(step.Notify) > 0 {
			add(step.After, DueEscalate, step.Notify)
		}
		if step.Discard {
			add(step.After, DueDiscard, nil)
		}
	}
	if pause := p.Reminders.Value; pause > 0 {
		for i := range maxReminders {
			at := pause * Duration(i+1)
			if timeout > 0 && at >= timeout {
				break
			}
			add(at, DueRemind, nil)
		}
	}
	slices.SortStableFunc(all, func(a, b dueAfter) int {
		return cmp.Or(cmp.Compare(a.after, b.after), cmp.Compare(slices.Index(dueOrder, a.due.Kind), slices.Index(dueOrder, b.due.Kind)))
	})
	if i := slices.IndexFunc(all, func(d dueAfter) bool { return d.due.Kind == DueDiscard }); i >= 0 {
		all = all[:i+1]
	}
	return all
}

// times returns when each is due, on the clock of a window if one is named: zero for
// never. It reports false if there is no such window.
func (r *Rules) times(clock string, since time.Time, all []dueAfter) (times []time.Time, ok bool) {
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
