package spacelift

import (
	"slices"
	"time"
)

// PlannedAt returns when the run's newest plan began, according to its history,
// and zero for a run that has not planned.
func (r Run) PlannedAt() time.Time {
	for _, t := range slices.Backward(r.History) {
		if t.State == RunStatePlanning {
			return t.At
		}
	}
	return time.Time{}
}

// BeganToApply reports whether the run has entered an apply phase: it may have
// changed resources, however it ended.
func (r Run) BeganToApply() bool {
	return slices.ContainsFunc(r.History, func(t Transition) bool { return t.State == RunStateApplying })
}

// End returns the transition that ended the run. It returns false while the run
// continues.
func (r Run) End() (Transition, bool) {
	if !r.State.Terminal() {
		return Transition{}, false
	}
	for _, t := range slices.Backward(r.History) {
		if t.State == r.State {
			return t, true
		}
	}
	return Transition{State: r.State, StateVersion: r.StateVersion}, true
}
