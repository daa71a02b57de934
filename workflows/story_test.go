package workflows_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// story is a script, and what is true at its end.
type story struct {
	name   string
	labels []string
	script func(r *rig)

	state     spacelift.RunState
	outcome   string                          // a part of it
	confirmed int                             // confirmations by Gantry that took effect
	asked     int                             // confirmations that Gantry sent
	mentions  map[string]managed.TimelineKind // parts of the timeline
}

// play plays each story and checks its end.
func play(t *testing.T, stories []story) {
	t.Helper()
	for _, tc := range stories {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, tc.labels)
			tc.script(r)
			s := r.manage()
			if s.State != tc.state || s.Phase != managed.PhaseDone || s.WaitingFor != nil {
				t.Errorf("ended in %s, phase %s, waiting for %+v; want %s, done, nothing", s.State, s.Phase, s.WaitingFor, tc.state)
			}
			if !strings.Contains(s.Outcome, tc.outcome) {
				t.Errorf("outcome %q does not say %q", s.Outcome, tc.outcome)
			}
			if len(r.confirmed) != tc.confirmed || r.asked != tc.asked {
				t.Errorf("confirmed %d times with %d requests, want %d with %d", len(r.confirmed), r.asked, tc.confirmed, tc.asked)
			}
			for text, kind := range tc.mentions {
				r.mentions(s, kind, text)
			}
			if t.Failed() {
				for _, e := range s.Timeline {
					t.Logf("%s %s %s %s(%d): %s", e.At.Format(time.TimeOnly), e.Kind, e.Source, e.State, e.StateVersion, e.Summary)
				}
			}
		})
	}
}
