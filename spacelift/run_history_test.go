package spacelift_test

import (
	"testing"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// A run's history has its plan, its apply phase and its end.
func TestRunHistory(t *testing.T) {
	begun := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	passes := func(states ...spacelift.RunState) spacelift.Run {
		var r spacelift.Run
		for i, s := range states {
			r.State, r.StateVersion = s, i
			r.History = append(r.History, spacelift.Transition{State: s, StateVersion: i, At: begun.Add(time.Duration(i) * time.Minute)})
		}
		return r
	}
	for _, tc := range []struct {
		name    string
		run     spacelift.Run
		planned time.Duration // since it began; -1: it never did
		applied bool
		ended   time.Duration // since it began; -1: it continues
	}{
		{"queued", passes("QUEUED"), -1, false, -1},
		{"waits for somebody", passes("QUEUED", "PLANNING", "UNCONFIRMED"), time.Minute, false, -1},
		{"replanned", passes("QUEUED", "PLANNING", "UNCONFIRMED", "REPLAN_REQUESTED", "PLANNING", "UNCONFIRMED"), 4 * time.Minute, false, -1},
		{"no changes", passes("QUEUED", "PLANNING", "FINISHED"), time.Minute, false, 2 * time.Minute},
		{"applied", passes("QUEUED", "PLANNING", "UNCONFIRMED", "CONFIRMED", "APPLYING", "FINISHED"), time.Minute, true, 5 * time.Minute},
		{"failed while applying", passes("QUEUED", "PLANNING", "APPLYING", "FAILED"), time.Minute, true, 3 * time.Minute},
		{"skipped", passes("QUEUED", "SKIPPED"), -1, false, time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			since := func(at time.Time) time.Duration {
				if at.IsZero() {
					return -1
				}
				return at.Sub(begun)
			}
			end, ended := tc.run.End()
			if since(tc.run.PlannedAt()) != tc.planned || tc.run.BeganToApply() != tc.applied || ended != (tc.ended >= 0) || since(end.At) != tc.ended {
				t.Errorf("planned %s, applied %t, ended %t at %s", since(tc.run.PlannedAt()), tc.run.BeganToApply(), ended, since(end.At))
			}
		})
	}
}
