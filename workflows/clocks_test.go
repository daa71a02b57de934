package workflows_test

import (
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/notify"
	"github.com/gantryhq/gantry/spacelift"
)

var windowed = append([]string{"gantry:window=mornings"}, auto...)

// Time passes: reminders, escalations, the end of people's time, deadlines.
func TestClocks(t *testing.T) {
	play(t, []story{
		{
			name: "people are reminded, another person is notified, and the plan is discarded", labels: production,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(10*time.Hour, func() { r.says(ann, managed.Approve, "") }) // one of two is not enough
				r.at(23*time.Hour, func() {
					r.received(
						"deploys run.decision_needed: network / prod: a plan waits for 2 approvals",
						"deploys run.reminder: network / prod: a plan still waits for 2 approvals",
						"oncall run.escalated: network / prod: a plan waits for 2 approvals and nobody decides",
						"deploys run.reminder: network / prod: a plan still waits for 2 approvals",
						"deploys run.reminder: network / prod: a plan still waits for 1 approval",
						"deploys run.reminder: network / prod: a plan still waits for 1 approval",
						"deploys run.reminder: network / prod: a plan still waits for 1 approval",
					)
				})
				r.at(24*time.Hour+time.Minute, func() {
					r.did("discard: Discarded by Gantry: only 1 of 2 approved within 24h.")
					r.denied(bob, managed.Approve, managed.ErrTypeTooLate, "")
					r.notify()
				})
			},
			state: discarded, outcome: "only 1 of 2 approved within 24h",
			mentions: map[string]managed.TimelineKind{
				"nobody has decided for 6h: oncall is notified": managed.KindClock,
				"only 1 of 2 approved within 24h":               managed.KindClock,
			},
		},
		{
			name: "a plan that is kept keeps waiting, and people are notified once", labels: []string{"gantry:managed", "gantry:profile=kept"},
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(3*time.Hour, func() {
					r.wants(managed.PhaseWaiting, "0 of 1 approval")
					r.received(
						"deploys run.decision_needed: network / prod: a plan waits for 1 approval",
						"deploys run.escalated: network / prod: the time for a plan is over",
					)
					r.says(ann, managed.Approve, "late")
				})
				r.at(4*time.Hour, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
		},
		{
			name: "a decision stops the clocks", labels: production,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Hour, func() { r.says(ann, managed.Approve, "") })
				r.at(2*time.Hour, func() { r.says(bob, managed.Approve, "") })
				r.at(3*time.Hour, func() { r.notify(); r.moves(applying) })
				r.at(4*time.Hour+30*time.Minute, func() { r.moves(finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
		},
		{
			name: "a replan starts them anew", labels: production,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(23*time.Hour, func() { r.moves(replan, planning, unconfirmed) })
				r.at(46*time.Hour, func() { r.wants(managed.PhaseWaiting, "0 of 2") })
				r.at(47*time.Hour+time.Minute, func() { r.notify() })
			},
			state: discarded, outcome: "nobody approved within 24h",
		},
		{
			name: "discarding does not work immediately: it is tried again", labels: production,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(23*time.Hour, func() { r.set(func() { r.refuses = illegal("stack is locked") }) })
				r.at(25*time.Hour, func() {
					r.wants(managed.PhaseHolding, "Spacelift refuses to discard the run")
					r.set(func() { r.refuses = nil })
				})
				r.at(27*time.Hour, func() { r.did("discard: Discarded by Gantry: nobody approved within 24h."); r.notify() })
			},
			state: discarded, outcome: "nobody approved within 24h",
		},
		{
			name: "a run that stays where it is is reported once", labels: append([]string{"gantry:notify=deploys"}, auto...),
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(59*time.Minute, func() { r.received() })
				r.at(9*time.Hour, func() {
					r.readTimes(3) // after 1, 3 and 7 hours
					r.received("deploys run.held: network / prod: a run stays in PLANNING")
					r.moves("STOPPED")
				})
			},
			state: spacelift.RunStateStopped, outcome: "stopped",
			mentions: map[string]managed.TimelineKind{"the run stays in PLANNING for longer than 1h (default)": managed.KindClock},
		},
	})
}

// Windows and freezes keep Gantry from confirming, and nobody else.
func TestGates(t *testing.T) {
	play(t, []story{
		{
			name: "Gantry waits for its window to open", labels: windowed,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) }) // the window has just closed
				r.at(time.Hour, func() {
					r.wants(managed.PhaseHolding, "the window mornings is closed and opens Mon 2 Jan 08:00 UTC")
					if got, want := r.status().WaitingFor.Until, started.Add(22*time.Hour); !got.Equal(want) {
						r.Errorf("waits until %s, want %s", got, want)
					}
				})
				r.at(22*time.Hour-time.Second, func() {
					if r.asked != 0 {
						r.Error("confirmed before the window opened")
					}
				})
				r.at(22*time.Hour+time.Minute, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
			mentions: map[string]managed.TimelineKind{"Gantry may not confirm now: the window mornings is closed": managed.KindRules, "Gantry may confirm again": managed.KindRules},
		},
		{
			name: "an approval outside the window waits, and can be taken back", labels: append([]string{"gantry:window=mornings"}, asked...),
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Hour, func() { r.says(ann, managed.Approve, "") })
				r.at(2*time.Hour, func() { r.wants(managed.PhaseHolding, "mornings is closed"); r.says(ann, managed.Revoke, "") })
				r.at(23*time.Hour, func() { r.wants(managed.PhaseWaiting, "0 of 1"); r.says(bob, managed.Approve, "") })
				r.at(23*time.Hour+time.Minute, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
		},
		{
			name: "a freeze that is lifted lets Gantry continue immediately", labels: auto,
			script: func(r *rig) {
				r.world.freezes = []policy.Freeze{{ID: "f1", Reason: "quarter's end", DeclaredBy: "ann", From: started}}
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Hour, func() {
					r.wants(managed.PhaseHolding, "frozen by ann until somebody lifts it: quarter's end")
					e := r.explains()
					if !someRule(e, "freeze", "declared by ann", managed.EffectForbids) || someRule(e, "windows", policy.OriginDefault, managed.EffectAllows) || len(e.Unblock) == 0 {
						r.Errorf("explained as %+v", e)
					}
					r.world.freezes = nil
					r.env.SignalWorkflow(managed.RunEventsSignal, managed.RunEvents{RulesChanged: true})
				})
				r.at(time.Hour+time.Minute, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
		},
		{
			name: "a freeze and a closed window are two rules", labels: append([]string{"gantry:window=mornings"}, auto...),
			script: func(r *rig) {
				r.world.freezes = []policy.Freeze{{ID: "f1", Reason: "quarter's end", DeclaredBy: "ann", From: started}}
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() {
					e := r.explains()
					if !someRule(e, "freeze", "declared by ann", managed.EffectForbids) || !someRule(e, "windows", "gantry:window=mornings", managed.EffectForbids) {
						r.Errorf("explained by %+v", e.Rules)
					}
					r.world.freezes = nil
					r.env.SignalWorkflow(managed.RunEventsSignal, managed.RunEvents{RulesChanged: true})
				})
				r.at(2*time.Minute, func() {
					e := r.explains()
					if someRule(e, "freeze", "declared by ann", managed.EffectForbids) || !someRule(e, "windows", "gantry:window=mornings", managed.EffectForbids) {
						r.Errorf("once the freeze is lifted, explained by %+v", e.Rules)
					}
					r.person("jane", discarded, "")
					r.notify()
				})
			},
			state: discarded, outcome: "discarded by jane",
		},
		{
			name: "a freeze ends without a signal all the same", labels: auto,
			script: func(r *rig) {
				r.world.freezes = []policy.Freeze{{ID: "f1", DeclaredBy: "ann", From: started}}
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Hour, func() { r.world.freezes = nil })
				r.at(7*time.Hour, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
		},
		{
			name: "Gantry does not know whether a freeze holds: it waits", labels: auto,
			script: func(r *rig) {
				r.world.cold = true
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Hour, func() {
					r.wants(managed.PhaseHolding, "could not read the rules in effect: ask for the freezes")
					r.world.cold = false
				})
				r.at(2*time.Hour, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
		},
		{
			name: "nobody who confirms in Spacelift minds a window", labels: windowed,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Hour, func() { r.person("jane", confirmed, "urgent"); r.notify() })
				r.at(2*time.Hour, func() { r.moves(applying, finished) })
			},
			state: finished, outcome: "applied",
			mentions: map[string]managed.TimelineKind{"jane confirmed the plan in Spacelift; Gantry wants nothing more of it": managed.KindNote},
		},
	})
}

// Whatever happens in Spacelift wins.
func TestOutsideChanges(t *testing.T) {
	play(t, []story{
		{
			name: "somebody confirms while people are asked", labels: production,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Hour, func() { r.says(ann, managed.Approve, "") })
				r.at(2*time.Hour, func() { r.person("jane", confirmed, "go"); r.notify() })
				r.at(3*time.Hour, func() {
					r.denied(bob, managed.Approve, managed.ErrTypeTooLate, "confirmed already")
					r.received("deploys run.decision_needed: network / prod: a plan waits for 2 approvals", "deploys run.decided: network / prod: the plan is decided",
						"deploys run.bypassed: network / prod: a plan was applied against its policy")
					r.moves(applying, finished)
				})
			},
			state: finished, outcome: "applied",
			mentions: map[string]managed.TimelineKind{"jane confirmed the plan in Spacelift; Gantry wants nothing more of it": managed.KindNote},
		},
		{
			name: "somebody confirms what another one is stopping, and the channel is away for minutes", labels: production,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Hour, func() {
					r.world.set(func() {
						r.world.deaf = map[string]error{"deploys": &notify.UnavailableError{Channel: "deploys", Status: 503}}
					})
					r.person("jane", confirmed, "go")
					r.moves(applying, finished) // faster than the notifications
					r.stops(ann, "", managed.ErrTypeNotStoppable)
				})
				r.at(time.Hour+10*time.Minute, func() { r.world.set(func() { r.world.deaf = nil }) })
			},
			state: finished, outcome: "applied",
			mentions: map[string]managed.TimelineKind{
				"jane confirmed the plan in Spacelift against the policy in effect": managed.KindBypass,
				"sent through deploys: network / prod: a plan was applied against":  managed.KindNote,
			},
		},
		{
			name: "somebody discards while people are asked", labels: production,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(2*time.Hour, func() { r.person("jane", discarded, "no"); r.notify() })
			},
			state: discarded, outcome: "discarded by jane: no",
			mentions: map[string]managed.TimelineKind{"jane discarded the plan in Spacelift": managed.KindNote},
		},
		{
			name: "somebody stops it before there is a plan", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(2*time.Minute, func() { r.person("jane", spacelift.RunStateStopped, ""); r.notify() })
			},
			state: spacelift.RunStateStopped, outcome: "stopped by jane",
		},
		{
			name: "Spacelift does not answer: the end is believed once it does", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(2*time.Minute, func() {
					r.person("jane", spacelift.RunStateStopped, "")
					r.set(func() { r.away = true })
					r.notify()
				})
				r.at(62*time.Minute, func() {
					r.wants(managed.PhasePlanning, "a notification says that the run is STOPPED, and Gantry has not been able to read the run to confirm that: dial tcp")
					r.set(func() { r.away = false })
				})
				r.at(92*time.Minute, func() { r.Error("the execution did not read the run within half of the outage") })
			},
			state: spacelift.RunStateStopped, outcome: "the run was stopped by jane",
		},
		{
			name: "Spacelift does not answer for two days: the run is followed until it does", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(2*time.Minute, func() {
					r.person("jane", spacelift.RunStateStopped, "")
					r.set(func() { r.away = true })
					r.notify()
				})
				r.at(48*time.Hour, func() {
					r.wants(managed.PhasePlanning, "has not been able to read the run")
					r.set(func() { r.away = false })
				})
				r.at(48*time.Hour+16*time.Minute, func() { r.Error("the execution continues") })
			},
			state: spacelift.RunStateStopped, outcome: "the run was stopped by jane",
		},
		{
			name: "Spacelift refuses Gantry's key for a day: the run is followed no longer", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(2*time.Minute, func() {
					r.person("jane", spacelift.RunStateStopped, "")
					r.set(func() { r.broken = spacelift.ErrUnauthorized })
					r.notify()
				})
				r.at(24*time.Hour, func() { r.wants(managed.PhasePlanning, "has not been able to read the run") })
			},
			state: planning, outcome: "a notification says that it is STOPPED, and Gantry could not read it for 24h",
		},
		{
			name: "a forged end is not believed", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(time.Minute, func() {
					forged := r.notification(1)
					forged.State, forged.StateVersion = discarded, 2
					r.signal(forged)
				})
				r.at(10*time.Minute, func() { r.wants(managed.PhasePlanning, "planning"); r.moves(unconfirmed) })
				r.at(11*time.Minute, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
			mentions: map[string]managed.TimelineKind{"is not believed": managed.KindRepair},
		},
	})
}

// Channels that fail never hold up a run.
func TestChannelsThatFail(t *testing.T) {
	r := newRig(t, production)
	r.world.deaf = map[string]error{"deploys": &notify.UnavailableError{Channel: "deploys", Status: 503}, "oncall": &notify.RefusedError{Channel: "oncall", Status: 404, Reason: "no such hook"}}
	r.at(0, func() { r.moves(queued, planning, unconfirmed) })
	r.at(7*time.Hour, func() { r.says(ann, managed.Approve, ""); r.says(bob, managed.Approve, "") })
	r.at(8*time.Hour, func() { r.notify(); r.moves(applying, finished) })
	s := r.manage()
	if s.State != finished || len(r.confirmed) != 1 {
		t.Errorf("ended in %s with %d confirmations", s.State, len(r.confirmed))
	}
	r.mentions(s, managed.KindNote, "run.decision_needed could not be sent through deploys")
	r.mentions(s, managed.KindNote, "run.escalated could not be sent through oncall: notify: channel \"oncall\" refused")
	if end := r.env.Now().Sub(started); end > 8*time.Hour+2*time.Minute {
		t.Errorf("the execution was open until %s, long after the run's end", end)
	}
}
