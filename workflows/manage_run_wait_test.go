package workflows_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// Notifications stop. The execution asks for itself, sooner or later.
func TestManageRunPollsASilentRun(t *testing.T) {
	play(t, []story{
		{
			name: "the end has no notification", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(time.Minute, func() { r.set(func() { r.truth.Delta = &spacelift.Delta{} }); r.goes(finished) })
				r.at(29*time.Minute, func() { r.wants(managed.PhasePlanning, "planning") })
			},
			state: finished, outcome: "no changes",
			mentions: map[string]managed.TimelineKind{"no notification reported: FINISHED (2)": managed.KindRepair},
		},
		{
			name: "the plan has no notification, and is confirmed all the same", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued) })
				r.at(time.Minute, func() { r.goes(ready, planning, unconfirmed) })
				r.at(31*time.Minute, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
			mentions: map[string]managed.TimelineKind{"READY (1), PLANNING (2), UNCONFIRMED (3)": managed.KindRepair},
		},
		{
			name: "people take their time, and Spacelift is left alone", labels: manual,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(5*time.Hour+59*time.Minute, func() { r.readTimes(1) }) // the plan that waits
				r.at(25*time.Hour, func() { r.readTimes(5); r.wants(managed.PhaseWaiting, "confirm by hand") })
				r.at(26*time.Hour, func() { r.person("jane", discarded, ""); r.notify() })
			},
			state: discarded, outcome: "discarded",
		},
		{
			name: "a lock holds the queue for a day: asking gets rarer", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued) })
				r.at(31*time.Minute, func() { r.readTimes(1) })
				r.at(24*time.Hour, func() { r.readTimes(6) }) // after 0.5, 1.5, 3.5, 7.5, 13.5 and 19.5 hours
				r.at(25*time.Hour, func() { r.person("jane", spacelift.RunStateCanceled, ""); r.notify() })
			},
			state: spacelift.RunStateCanceled, outcome: "cancelled",
		},
		{
			name: "once a person has decided, the deadlines count", labels: manual,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Hour, func() { r.person("jane", confirmed, ""); r.notify() })
				r.at(61*time.Minute, func() { r.goes(applying, finished) })
				r.at(179*time.Minute, func() { r.readTimes(2) }) // the plan that waits, and who it was
				r.at(181*time.Minute, func() { r.Error("the execution did not look when the run had been CONFIRMED for two hours") })
			},
			state: finished, outcome: "applied",
		},
		{
			name: "old news don't move a deadline", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				for i := range 10 {
					r.at(time.Duration(i)*20*time.Minute, func() { r.notifyOf(0) })
				}
				r.at(59*time.Minute, func() { r.readTimes(0) })
				r.at(185*time.Minute, func() { r.readTimes(2); r.moves("SKIPPED") }) // after one hour, and two more
			},
			state: "SKIPPED",
		},
		{
			name: "a state that Spacelift doesn't know is not believed for ever", labels: manual,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() {
					forged := r.notification(2)
					forged.State, forged.StateVersion = applying, 95
					r.signal(forged)
				})
				r.at(time.Minute+time.Second, func() { r.wants(managed.PhaseWaiting, "confirm by hand") })
				r.at(time.Hour, func() { r.person("jane", discarded, ""); r.notify() })
			},
			state: discarded, outcome: "discarded",
			mentions: map[string]managed.TimelineKind{"not believed: APPLYING (95)": managed.KindRepair},
		},
		{
			name: "the label goes without a notification", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued) })
				r.at(time.Minute, func() { r.set(func() { r.truth.StackLabels = []string{"env:prod"} }) })
				r.at(31*time.Minute, func() {
					if s := r.status(); s.Managed {
						t.Errorf("it is still taken for managed: %v", s.Labels)
					}
				})
				r.at(time.Hour, func() { r.goes(planning, unconfirmed); r.person("jane", discarded, "") })
			},
			state: discarded, outcome: "discarded by jane",
		},
		{
			name: "Spacelift does not answer when asked, then does", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued) })
				r.at(time.Minute, func() { r.set(func() { r.away = true }) })
				r.at(31*time.Minute, func() { r.set(func() { r.away = false }); r.goes("SKIPPED") })
			},
			state:    "SKIPPED",
			mentions: map[string]managed.TimelineKind{"did not answer when asked: dial tcp": managed.KindNote},
		},
		{
			name: "while the run can't be read, nobody is notified that it stays where it is", labels: asked,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(10*time.Minute, func() { r.set(func() { r.away = true }) })
				r.at(2*time.Hour, func() { r.received(); r.set(func() { r.away = false }) })
				r.at(2*time.Hour+2*time.Minute, func() { r.received("deploys run.held: network / prod: a run stays in PLANNING") })
				r.at(4*time.Hour-2*time.Minute, func() { r.readTimes(3*6 + 1) }) // each of the six was tried three times
				r.at(4*time.Hour, func() { r.moves("SKIPPED") })
			},
			state:    "SKIPPED",
			mentions: map[string]managed.TimelineKind{"did not answer when asked: dial tcp": managed.KindNote},
		},
		{
			name: "a run that went on while nobody could look bothers nobody", labels: asked,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(10*time.Minute, func() { r.set(func() { r.away = true }) })
				r.at(time.Hour+5*time.Minute, func() { r.goes(unconfirmed); r.person("jane", discarded, "no"); r.set(func() { r.away = false }) })
				r.at(time.Hour+8*time.Minute, func() { r.Error("the execution did not look again soon") })
			},
			state: discarded, outcome: "discarded by jane",
		},
		{
			name: "a day without Spacelift costs few looks", labels: manual,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning); r.set(func() { r.away = true }) })
				r.at(25*time.Hour, func() {
					r.mu.Lock()
					if tries := 3 * 53; r.reads > tries {
						r.Errorf("the run was looked at %d times, want at most %d", r.reads, tries)
					}
					r.mu.Unlock()
					r.set(func() { r.away = false })
					r.moves("SKIPPED")
				})
			},
			state: "SKIPPED",
		},
	})
}

// readTimes checks how often the run has been read.
func (r *rig) readTimes(want int) {
	r.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reads != want {
		r.Errorf("the run was read %d times, want %d", r.reads, want)
	}
}

// A run that does not exist, or no longer: a forgery, a stack that was deleted.
func TestManageRunGivesUp(t *testing.T) {
	for _, tc := range []struct {
		name   string
		script func(r *rig)
		says   string
	}{
		{"when Spacelift denies the run for some time", func(r *rig) {
			r.at(0, func() { r.moves(queued) })
			r.at(time.Minute, func() { r.set(func() { r.broken = spacelift.ErrNotFound }) })
			r.at(31*time.Minute, func() { r.wants(managed.PhaseHolding, "Spacelift does not know it") })
		}, "Spacelift does not know it"},
		{"when Reconcile says so", func(r *rig) {
			r.at(0, func() { r.moves(queued) })
			r.at(time.Minute, func() {
				r.env.SignalWorkflow(managed.RunEventsSignal, managed.RunEvents{GiveUp: "the stack is gone"})
			})
			r.at(2*time.Minute, func() { r.Error("the execution continues") })
		}, "the stack is gone"},
		{"later when Reconcile says so of a run that Gantry made", func(r *rig) {
			r.retryOf = &managed.RetryOf{Run: again, Attempt: 2, By: "ann"}
			r.at(0, func() { r.moves(queued) })
			r.at(time.Minute, func() {
				r.set(func() { r.broken = spacelift.ErrNotFound })
				r.env.SignalWorkflow(managed.RunEventsSignal, managed.RunEvents{GiveUp: "the stack is gone"})
			})
			r.at(24*time.Hour, func() { r.wants(managed.PhaseHolding, "Spacelift does not know it") })
			r.at(24*time.Hour+2*time.Minute, func() { r.Error("the execution continues") })
		}, "Spacelift does not know it"},
		{"not before its key had time to get its access back, where Spacelift showed it once", func(r *rig) {
			r.at(0, func() {
				r.moves(queued)
				e := r.notification(0)
				e.State, e.StateVersion = finished, 1 // forged, so that the run is read
				r.signal(e)
			})
			r.at(time.Minute, func() { r.set(func() { r.broken = spacelift.ErrNotFound }) })
			r.at(31*time.Minute, func() { r.wants(managed.PhaseHolding, "Spacelift does not know it") })
			r.at(24*time.Hour+25*time.Minute, func() { r.wants(managed.PhaseHolding, "Spacelift does not know it") })
			r.at(24*time.Hour+31*time.Minute, func() { r.Error("the execution continues") })
		}, "Spacelift does not know it"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, auto)
			tc.script(r)
			s := r.manage()
			if s.State != queued || s.Phase != managed.PhaseDone || s.WaitingFor != nil || !strings.Contains(s.Outcome, tc.says) {
				t.Errorf("ended in %s, phase %s: %q, want QUEUED, done, because %q", s.State, s.Phase, s.Outcome, tc.says)
			}
			r.mentions(s, managed.KindNote, tc.says)
		})
	}
	t.Run("but the run's own end counts", func(t *testing.T) {
		r := newRig(t, auto)
		r.at(0, func() {
			r.goes(queued, "SKIPPED")
			r.env.SignalWorkflow(managed.RunEventsSignal, managed.RunEvents{Events: []managed.RunEvent{r.notification(1)}, GiveUp: "the stack is gone"})
		})
		if s := r.manage(); s.State != "SKIPPED" || s.Outcome != "Spacelift skipped the run" {
			t.Errorf("ended in %s: %s", s.State, s.Outcome)
		}
	})
}

// Reconcile starts an execution with what it read: no signal is needed.
func TestManageRunStartsWithEvents(t *testing.T) {
	r := newRig(t, auto)
	r.goes(queued, planning, unconfirmed)
	var known []managed.RunEvent
	for v := range 3 {
		e := r.notification(v)
		e.Source = managed.SourceReconcile
		known = append(known, e)
	}
	r.at(time.Minute, func() { r.notify(); r.moves(applying, finished) })
	s := r.manageFrom(managed.ManageRunInput{Run: run, Events: known})
	if s.State != finished || len(r.confirmed) != 1 || len(s.States) != 6 {
		t.Errorf("ended in %s with %d confirmations after %d states, want FINISHED, 1 and 6", s.State, len(r.confirmed), len(s.States))
	}
	r.mentions(s, managed.KindRepair, "QUEUED (0), PLANNING (1), UNCONFIRMED (2)")
}
