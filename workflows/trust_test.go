package workflows_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/reconcile"
	"github.com/gantryhq/gantry/notify"
	"github.com/gantryhq/gantry/spacelift"
)

// forges sends a signed notification that differs from the newest genuine one.
func (r *rig) forges(change func(*managed.RunEvent)) {
	e := r.notification(-1)
	change(&e)
	r.signal(e)
}

// ends forges an end.
func ends(state spacelift.RunState, version int) func(*managed.RunEvent) {
	return func(e *managed.RunEvent) { e.State, e.StateVersion = state, version }
}

// Whatever a run is doing, an end that only a notification names ends nothing:
// Gantry's API never shows it, and the real end, whatever it is, counts.
func TestAForgedEndEndsNothing(t *testing.T) {
	states := []spacelift.RunState{queued, ready, preparing, initializing, planning}
	for n := range states {
		for _, end := range []spacelift.RunState{finished, hasFailed, discarded, spacelift.RunStateStopped, spacelift.RunStateCanceled, spacelift.RunStateSkipped} {
			t.Run(fmt.Sprintf("%s while %s", end, states[n]), func(t *testing.T) {
				r := newRig(t, []string{"gantry:managed", "gantry:profile=retried"})
				r.retries(managed.RetryRunOutcome{})
				r.at(0, func() { r.moves(states[:n+1]...) })
				r.at(time.Minute, func() { r.forges(ends(end, n+1)) })
				r.at(time.Minute+time.Second, func() {
					if s := r.status(); s.State != states[n] || s.Phase == managed.PhaseDone || s.Outcome != "" {
						t.Errorf("shows %s, phase %s, outcome %q", s.State, s.Phase, s.Outcome)
					}
				})
				r.at(90*time.Second, func() { r.goes(states[n+1:]...); r.fails("", "Error: Unsupported argument\n"); r.notify() })
				s := r.manage()
				if s.State != hasFailed || s.Failure == nil {
					t.Errorf("ended in %s because of %+v, want FAILED and why", s.State, s.Failure)
				}
				r.mentions(s, managed.KindRepair, fmt.Sprintf("is not believed: %s (%d)", end, n+1))
				if n := len(r.world.arrived); n != 1 || r.world.arrived[0].Type != notify.RunFailed {
					t.Errorf("people were notified %q, want one failure", r.world.messages())
				}
			})
		}
	}
}

// Forged ends far ahead, again and again, keep nobody from approving, and cost a
// reading a minute at most once they turned out to be false.
func TestForgedEndsKeepNobodyFromApproving(t *testing.T) {
	r := newRig(t, asked)
	r.at(0, func() { r.moves(queued, planning, unconfirmed) })
	for i := range 600 {
		r.at(time.Minute+time.Duration(i)*time.Second, func() { r.forges(ends(hasFailed, 1000+i)) })
	}
	for i := range 9 {
		r.at(time.Duration(i+2)*time.Minute, func() { r.wants(managed.PhaseWaiting, "0 of 1 approval") })
	}
	r.at(10*time.Minute+30*time.Second, func() {
		r.mu.Lock()
		if r.reads > 20 {
			t.Errorf("600 forgeries in ten minutes cost %d readings", r.reads)
		}
		r.mu.Unlock()
		r.says(ann, managed.Approve, "")
	})
	r.at(10*time.Minute+31*time.Second, func() {
		if len(r.confirmed) != 1 {
			t.Errorf("confirmed %d times after an approval: %+v", len(r.confirmed), r.status().WaitingFor)
		}
	})
	r.at(30*time.Minute, func() { r.moves(applying, finished) })
	if s := r.manage(); s.State != finished {
		t.Errorf("ended in %s", s.State)
	}
}

// While Spacelift does not answer, a plan keeps waiting though somebody forges
// an end of its run. Once it answers, people receive nothing of the forgery.
func TestAForgedEndDuringAnOutage(t *testing.T) {
	r := newRig(t, asked)
	r.at(0, func() { r.moves(queued, planning, unconfirmed) })
	r.at(time.Minute, func() { r.set(func() { r.away = true }); r.forges(ends(discarded, 3)) })
	r.at(2*time.Minute, func() { r.wants(managed.PhaseWaiting, "0 of 1 approval") })
	r.at(4*time.Minute, func() { r.set(func() { r.away = false }) })
	r.at(6*time.Minute, func() {
		r.mentions(r.status(), managed.KindRepair, "is not believed: DISCARDED (3)")
		r.says(ann, managed.Approve, "")
	})
	r.at(time.Hour, func() { r.notify(); r.moves(applying, finished) })
	if s := r.manage(); s.State != finished || len(r.confirmed) != 1 {
		t.Errorf("ended in %s with %d confirmations", s.State, len(r.confirmed))
	}
	r.received("deploys run.decision_needed: network / prod: a plan waits for 1 approval",
		"deploys run.decided: network / prod: the plan is decided", "deploys run.ended: network / prod: the run is FINISHED")
}

// A notification whose version is ahead of the API's hides no plan, be it far
// ahead or just a little.
func TestAVersionAheadHidesNoPlan(t *testing.T) {
	for _, version := range []int{500, 4} {
		t.Run(fmt.Sprint("PLANNING ", version), func(t *testing.T) {
			r := newRig(t, auto)
			r.at(0, func() { r.moves(queued, planning) })
			r.at(time.Minute, func() { r.forges(ends(planning, version)) })
			r.at(2*time.Minute, func() { r.moves(unconfirmed) })
			r.at(2*time.Minute+5*time.Second, func() {
				if len(r.confirmed) != 1 {
					t.Errorf("the plan is not confirmed: %+v", r.status().WaitingFor)
				}
				r.notify()
				r.moves(applying, finished)
			})
			if s := r.manage(); s.State != finished {
				t.Errorf("ended in %s", s.State)
			}
		})
	}
}

// A forged plan beyond the one that is there delays its confirmation by seconds.
func TestAForgedPlanKeepsNoPlanFromItsConfirmation(t *testing.T) {
	for _, version := range []int{421, 3} {
		t.Run(fmt.Sprint("UNCONFIRMED ", version), func(t *testing.T) {
			r := newRig(t, auto)
			r.at(0, func() { r.moves(queued, planning) })
			r.at(time.Minute, func() { r.goes(unconfirmed); r.forges(ends(unconfirmed, version)); r.notify() })
			r.at(time.Minute+20*time.Second, func() {
				if len(r.confirmed) != 1 {
					t.Errorf("the plan is not confirmed: %+v", r.status().WaitingFor)
				}
				r.moves(applying, finished)
			})
			if s := r.manage(); s.State != finished {
				t.Errorf("ended in %s", s.State)
			}
		})
	}
}

// While Spacelift doesn't answer, somebody confirms a plan there against the policy, of
// which a notification says nothing but that it happened. Reconcile finds the end, and with
// it who confirmed.
func TestABypassBeforeAnEndThatReconcileFound(t *testing.T) {
	r := newRig(t, []string{"gantry:managed", "gantry:confirm=manual"})
	r.at(0, func() { r.moves(queued, planning, unconfirmed) })
	r.at(time.Minute, func() {
		r.set(func() { r.away = true })
		r.person("jane", confirmed, "")
		r.notify()
		r.moves(applying)
		r.goes(finished)
	})
	r.at(2*time.Minute, func() {
		var known reconcile.Knowledge
		answer, err := r.env.QueryWorkflow(managed.StatusQuery)
		if err == nil {
			err = answer.Get(&known)
		}
		if err != nil {
			t.Fatal(err)
		}
		known.Exists = true
		repair := reconcile.RepairOf(known, r.truth, r.env.Now(), 2*time.Minute, r.env.Now().Add(-2*time.Minute))
		r.signal(repair.Events...)
	})
	if s := r.manage(); s.State != finished || s.Bypass == nil || s.Bypass.Actor != "jane" {
		t.Errorf("ended in %s with the bypass %+v, want one of jane's", s.State, s.Bypass)
	}
}

// Each plan of a made-up run costs one call, whatever the policy: there may be thousands.
func TestAMadeUpPlanCostsOneCall(t *testing.T) {
	for _, labels := range [][]string{auto, {"gantry:managed", "gantry:confirm=never"}, {"gantry:managed", "gantry:approvals=2"}} {
		t.Run(fmt.Sprint(labels), func(t *testing.T) {
			r := newRig(t, labels)
			calls := func() int { return r.reads + r.listed }
			r.at(0, func() {
				r.goes(unconfirmed)
				r.set(func() { r.broken = spacelift.ErrNotFound })
				r.notify()
			})
			r.at(30*time.Second, func() {
				r.set(func() {
					if n := calls(); n != 1 {
						t.Errorf("%d calls of Spacelift, want one", n)
					}
				})
				r.wants(managed.PhaseHolding, "Spacelift does not know it")
			})
			if s := r.manage(); s.Phase != managed.PhaseDone || calls() > 8 {
				t.Errorf("the run is %s after %d calls, want it given up after eight at most", s.Phase, calls())
			}
		})
	}
}

// The API may be behind its own notifications: what it denies is read again soon.
func TestAnAPIThatIsBehindCatchesUp(t *testing.T) {
	for _, tc := range []struct {
		name string
		news []spacelift.RunState
		then func(r *rig)
	}{
		{"with a plan that people decide about", []spacelift.RunState{unconfirmed}, func(r *rig) {
			r.wants(managed.PhaseWaiting, "0 of 1 approval")
			r.person("jane", discarded, "")
			r.notify()
		}},
		{"with the end", []spacelift.RunState{finished}, func(r *rig) { r.Error("the execution continues") }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, asked)
			r.at(0, func() { r.moves(queued, planning) })
			r.at(time.Minute, func() { r.set(func() { r.lags = true }); r.moves(tc.news...) })
			r.at(time.Minute+8*time.Second, func() { r.set(func() { r.lags = false }) })
			r.at(time.Minute+30*time.Second, func() { tc.then(r) })
			if s := r.manage(); s.State != r.truth.State {
				t.Errorf("ended in %s, want %s", s.State, r.truth.State)
			}
		})
	}
}

// What Gantry shows of a run that has ended are the policy and the labels of the API,
// though the rules were last read by what a forgery claimed.
func TestTheLastRulesAreThoseOfTheAPI(t *testing.T) {
	r := newRig(t, []string{"gantry:managed"})
	r.set(func() { r.truth.Type = spacelift.RunTypeTask })
	r.at(0, func() {
		r.set(func() { r.enter(queued, "", "") })
		r.forges(func(e *managed.RunEvent) {
			e.State, e.StateVersion, e.Labels = spacelift.RunStatePerforming, 1, []string{"gantry:confirm=atuo", "gantry:managed"}
		})
	})
	r.at(2*time.Minute, func() { r.moves(spacelift.RunStatePerforming, finished) })
	if s := r.manage(); s.State != finished || len(s.Policy.Problems) > 0 || !slices.Equal(s.Labels, []string{"gantry:managed"}) {
		t.Errorf("%s with the labels %q, and problems with %+v", s.State, s.Labels, s.Policy.Problems)
	}
}

// Gantry speaks of what the API showed, and in its words: not of what a
// notification alone claims, and with no address, name or number from it.
func TestGantrySpeaksInTheAPIsWords(t *testing.T) {
	r := newRig(t, asked)
	r.at(0, func() { r.moves(queued, planning) })
	forged := func(e *managed.RunEvent) {
		e.State, e.StateVersion = unconfirmed, 2
		e.StackName, e.TriggeredBy, e.Branch = "Free money", "mallory", "evil"
		e.Commit = spacelift.Commit{Hash: "666", Message: "Click https://evil.example", AuthorName: "Mallory", URL: "https://evil.example"}
		e.Delta = &spacelift.Delta{Deleted: 666}
		e.Labels = append(slices.Clone(e.Labels), "gantry:confirm=atuo") // it would be held
	}
	r.at(time.Minute, func() { r.forges(forged) })
	r.at(2*time.Minute, func() { r.received() })
	r.at(3*time.Minute, func() { r.moves(unconfirmed) })
	r.at(4*time.Minute, func() {
		r.received("deploys run.decision_needed: network / prod: a plan waits for 1 approval")
		for _, state := range []spacelift.RunState{confirmed, applying, replan, planning} {
			r.forges(func(e *managed.RunEvent) { forged(e); e.State, e.StateVersion = state, 3 })
		}
	})
	r.at(5*time.Minute, func() {
		r.wants(managed.PhaseWaiting, "0 of 1 approval")
		r.received("deploys run.decision_needed: network / prod: a plan waits for 1 approval") // and not that it is decided
		r.person("jane", discarded, "no")
		r.notify()
	})
	s := r.manage()
	for _, m := range r.world.arrived {
		if m.URL != "https://acme.app.spacelift.io/stack/network-prod/run/"+string(run.Run) {
			t.Errorf("%s leads to %s", m.Type, m.URL)
		}
		if all := fmt.Sprintf("%+v", m); strings.Contains(strings.ToLower(all), "mallory") || strings.Contains(all, "evil") || strings.Contains(all, "666") {
			t.Errorf("repeats what was forged: %s", all)
		}
	}
	want := managed.RunStatus{Branch: "main", Commit: r.truth.Commit, Delta: r.truth.Delta, StackName: "network / prod", Labels: spacelift.OurLabels(asked)}
	got := managed.RunStatus{Branch: s.Branch, Commit: s.Commit, Delta: s.Delta, StackName: s.StackName, Labels: s.Labels, TriggeredBy: s.TriggeredBy, DriftDetection: s.DriftDetection}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("particulars (-want +got):\n%s", diff)
	}
}

// Clocks strike by what the API shows then: nobody is reminded of a plan that was
// decided about while notifications were lost.
func TestClocksReadBeforeTheySpeak(t *testing.T) {
	r := newRig(t, production)
	r.at(0, func() { r.moves(queued, planning, unconfirmed) })
	r.at(time.Hour, func() { r.person("jane", discarded, "no") }) // without a notification
	r.at(5*time.Hour, func() { r.Error("the execution did not read the run before it reminded people") })
	r.manage()
	for _, m := range r.world.arrived {
		if m.Type == notify.RunReminder || m.Type == notify.RunEscalated {
			t.Errorf("people were notified %q", m.Title)
		}
	}
}

// One wrong flag or type, ever, does not keep a run's followers from being
// released.
func TestAForgedFlagStopsNoChain(t *testing.T) {
	for name, forge := range map[string]func(*managed.RunEvent){
		"drift": func(e *managed.RunEvent) { e.State, e.StateVersion, e.DriftDetection = ready, 0, true },
		"type":  func(e *managed.RunEvent) { e.State, e.StateVersion, e.Type = finished, 2, spacelift.RunTypeTask },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, auto)
			r.others = []spacelift.Stack{appFollows}
			begun := begunBy(r)
			r.at(0, func() { r.moves(queued, planning) })
			r.at(time.Minute, func() { r.forges(forge) })
			r.at(2*time.Minute, func() { r.moves(finished) })
			if s := r.manage(); len(*begun) != 1 || s.DriftDetection || s.Type != spacelift.RunTypeTracked {
				t.Errorf("began %d chains at the end of a run of type %s, drift %t", len(*begun), s.Type, s.DriftDetection)
			}
		})
	}
}

// A forged state that is ahead of the run is denied once the API had the time to catch
// up, even while Gantry is about to discard the plan that it claims.
func TestAForgedPlanIsDeniedDuringARejection(t *testing.T) {
	r := newRig(t, auto)
	r.at(time.Second, func() { r.moves(queued, planning) })
	r.at(time.Minute, func() {
		r.goes(unconfirmed)
		forged := r.notification(-1)
		forged.StateVersion++
		r.signal(r.notification(-1), forged)
	})
	r.at(time.Minute+7*time.Second, func() { r.says(bob, managed.Reject, "") })
	r.at(time.Minute+30*time.Second, func() { r.wants(managed.PhaseWaiting, "bob rejected the plan, which binds until the run has ended") })
	r.at(time.Hour, func() { r.moves(discarded) })
	r.manage()
}
