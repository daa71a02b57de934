package workflows_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// locks lets somebody lock the run's stack, and unlocks takes the lock away.
func (r *rig) locks(who string) {
	r.set(func() { r.truth.Brakes.Lock = &spacelift.Lock{By: who, Since: r.env.Now().UTC(), Note: "hands off"} })
}

func (r *rig) unlocks() { r.set(func() { r.truth.Brakes = spacelift.Brakes{} }) }

// Gantry obeys the brakes of a stack. People still decide.
func TestABlockedStackIsLeftAlone(t *testing.T) {
	play(t, []story{
		{
			name: "a lock holds a plan that Gantry would confirm", labels: append([]string{"gantry:notify=deploys"}, auto...),
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(time.Minute, func() { r.locks("jane"); r.moves(unconfirmed) })
				r.at(90*time.Second, func() {
					r.wants(managed.PhaseHolding, "jane locked the stack in Spacelift on ")
					if w := r.status().WaitingFor; w.What != managed.WaitStack || w.Who != "jane, or an administrator of the stack in Spacelift" || w.Until.IsZero() {
						t.Errorf("waits for %+v", w)
					}
					if u := r.explains().Unblock; len(u) != 2 || u[0].How != "unlock the stack in Spacelift" {
						t.Errorf("unblocked by %+v", u)
					}
					r.received("deploys run.held: network / prod: a plan is held")
				})
				r.at(2*time.Hour, func() { r.unlocks() })
				r.at(2*time.Hour+16*time.Minute, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
			mentions: map[string]managed.TimelineKind{"hold: jane locked the stack": managed.KindDecision},
		},
		{
			name: "Reconcile signals that it is free", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.locks("jane"); r.moves(queued, planning, unconfirmed) })
				r.at(30*time.Minute, func() {
					r.unlocks()
					e := r.notification(-1)
					e.Source, e.ReceivedAt = managed.SourceReconcile, r.env.Now().UTC()
					r.signal(e)
				})
				r.at(30*time.Minute+time.Second, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
		},
		{
			name: "people approve under a lock, and the plan is confirmed after it", labels: asked,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() { r.locks("jane") })
				r.at(2*time.Minute, func() { r.says(ann, managed.Approve, "") })
				r.at(3*time.Minute, func() {
					r.wants(managed.PhaseHolding, "jane locked the stack")
					r.says(ann, managed.Revoke, "")
					r.says(bob, managed.Approve, "")
				})
				r.at(4*time.Minute, func() { r.unlocks() })
				r.at(10*time.Minute, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
		},
		{
			name: "people reject under a lock", labels: asked,
			script: func(r *rig) {
				r.at(0, func() { r.locks("jane"); r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() { r.says(ann, managed.Reject, "no") })
				r.at(2*time.Minute, func() { r.notify() })
			},
			state: discarded, outcome: "Rejected through Gantry by ann: no",
		},
		{
			name: "a disabled stack holds, and so does one that another run holds", labels: auto,
			script: func(r *rig) {
				r.at(0, func() {
					r.set(func() { r.truth.Brakes.Disabled = true })
					r.moves(queued, planning, unconfirmed)
				})
				r.at(time.Minute, func() { r.wants(managed.PhaseHolding, "the stack is disabled in Spacelift") })
				r.at(90*time.Second, func() { r.set(func() { r.truth.Brakes = spacelift.Brakes{Blocker: "01KDXOTHER"} }) })
				r.at(4*time.Minute, func() { r.wants(managed.PhaseHolding, "another run, 01KDXOTHER, holds the stack") })
				r.at(5*time.Minute, func() { r.unlocks() })
				r.at(15*time.Minute, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
		},
	})
}

// A retry waits for a lock to go, for a day.
func TestARetryWaitsForALock(t *testing.T) {
	lock := managed.RetryRunOutcome{
		Reason: "jane locked the stack in Spacelift", Block: &spacelift.Block{What: spacelift.BlockLock, By: "jane", Reason: "jane locked the stack in Spacelift"},
	}
	for _, tc := range []struct {
		name  string
		holds int // how many tries the lock holds
		ends  string
	}{
		{"it goes", 3, "attempt 2 of 3 follows as run " + string(again.Run)},
		{"it stays", 1000, "Gantry did not retry it: jane locked the stack in Spacelift"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, retried)
			tries := 0
			r.retriesWith(func(managed.RetryRunInput) managed.RetryRunOutcome {
				if tries++; tries <= tc.holds {
					return lock
				}
				return managed.RetryRunOutcome{New: again}
			})
			r.at(0, func() { r.moves(queued, planning) })
			r.at(time.Minute, func() { r.fails("", timeout); r.notify() })
			r.at(2*time.Minute+10*time.Second, func() {
				r.wants(managed.PhaseRetrying, "its retry waits: jane locked the stack")
				if w := r.status().WaitingFor; w.What != managed.WaitStack {
					t.Errorf("waits for %+v", w)
				}
			})
			s := r.manage()
			if !strings.HasSuffix(s.Outcome, tc.ends) {
				t.Errorf("outcome %q, want one that ends in %q", s.Outcome, tc.ends)
			}
			if tc.holds > 100 && (tries < 90 || tries > 110) {
				t.Errorf("tried %d times", tries)
			}
		})
	}
}
