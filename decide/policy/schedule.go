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
	type dueAfter struct {
		after time.Duration
		due   Due
	}
	var all []dueAfter
	add := func(d Duration, kind DueKind, notify []string) {
		all = append(all, dueAfter{time.Duration(d), Due{Kind: kind, Notify: orNil(slices.Clone(notify))}})
	}

	end := Duration(0) // of reminders
	if timeout := p.ApprovalTimeout.Value; timeout > 0 {
		kind := DueDiscard
		if p.OnTimeout.Value == TimeoutKeep {
			kind = DueTimeout
		}
		add(timeout, kind, nil)
		end = timeout
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
			if end > 0 && at >= end {
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
	times := make([]time.Time, len(all))
	for i, d := range all {
		times[i] = since.Add(d.after)
	}
	if p.Clock.Value != "" {
		w := r.window(p.Clock.Value)
		if w == nil {
			return nil // no time passes on a clock that is not there
		}
		durations := make([]time.Duration, len(all))
		for i, d := range all {
			durations[i] = d.after
		}
		times = w.after(since, durations)
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
