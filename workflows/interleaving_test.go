package workflows_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
)

// Whatever people, clocks, freezes, lost and repeated notifications, an API that
// goes away and changes elsewhere do, in whatever order: no plan is confirmed
// twice, or without two different people, or against a freeze, and in the end
// Gantry knows how the run ended.
func TestAnyInterleavingObeysThePolicy(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newRig(t, production)
		approved := map[int][]string{} // who asked to approve, by state version of the plan
		plan := func() int {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.truth.StateVersion
		}
		says := func(who decide.Person, v managed.Verdict) {
			if v == managed.Approve {
				approved[plan()] = append(approved[plan()], who.Name)
			}
			r.update(managed.DecideUpdate, managed.Decision{Verdict: v, By: who})
		}
		frozen := map[int]bool{} // plans that were confirmed during a freeze
		r.onConfirm = func(version int) { frozen[version] = len(r.world.freezes) > 0 }
		waits := func() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.truth.State == unconfirmed }
		steps := map[string]func(){
			"ann approves":         func() { says(ann, managed.Approve) },
			"bob approves":         func() { says(bob, managed.Approve) },
			"the author approves":  func() { says(jane, managed.Approve) },
			"an outsider approves": func() { says(eve, managed.Approve) },
			"ann revokes":          func() { says(ann, managed.Revoke) },
			"bob rejects":          func() { says(bob, managed.Reject) },
			"freeze": func() {
				r.world.set(func() {
					r.world.freezes = []policy.Freeze{{ID: "f", DeclaredBy: "ann", From: r.env.Now().Add(-time.Minute)}}
				})
				r.env.SignalWorkflow(managed.RunEventsSignal, managed.RunEvents{RulesChanged: true})
			},
			"thaw": func() {
				r.world.set(func() { r.world.freezes = nil })
				r.env.SignalWorkflow(managed.RunEventsSignal, managed.RunEvents{RulesChanged: true})
			},
			"away":                      func() { r.set(func() { r.away = true }) },
			"back":                      func() { r.set(func() { r.away = false }) },
			"locked":                    func() { r.set(func() { r.refuses = illegal("stack is locked") }) },
			"unlocked":                  func() { r.set(func() { r.refuses = nil }) },
			"lost answer":               func() { r.set(func() { r.loses = 1 }) },
			"old news":                  func() { r.notifyOf(0, 1) },
			"notified":                  func() { r.notify() },
			"forged end":                func() { r.forges(ends(finished, len(r.truth.History))) },
			"forged failure, far ahead": func() { r.forges(ends(hasFailed, 500)) },
			"forged plan":               func() { r.forges(ends(unconfirmed, len(r.truth.History)+1)) },
			"forged confirmation":       func() { r.forges(ends(confirmed, len(r.truth.History))) },
			"forged labels": func() {
				r.forges(func(e *managed.RunEvent) {
					e.StateVersion, e.Labels = e.StateVersion+1, []string{"gantry:confirm=auto", "gantry:managed"}
				})
			},
			"replan": func() {
				if waits() {
					r.moves(replan, planning, unconfirmed)
				}
			},
			"replan, untold": func() {
				if waits() {
					r.goes(replan, planning, unconfirmed)
				}
			},
			"somebody confirms": func() {
				if waits() {
					r.person("joe", confirmed, "")
				}
			},
			"stop": func() { r.update(managed.StopUpdate, managed.StopRequest{By: ann}) },
		}
		names := slices.Sorted(maps.Keys(steps))
		r.at(0, func() { r.moves(queued, planning, unconfirmed) })
		at := time.Minute
		for range rapid.IntRange(1, 14).Draw(rt, "steps") {
			name := rapid.SampledFrom(names).Draw(rt, "step")
			r.at(at, steps[name])
			at += rapid.SampledFrom([]time.Duration{0, time.Second, 7 * time.Minute, 3 * time.Hour}).Draw(rt, "then after")
		}
		r.at(at+30*time.Hour, func() { // all is well again, and the end is notified
			r.set(func() { r.away, r.refuses = false, nil })
			if !r.truth.State.Terminal() {
				r.goes(finished)
			}
			r.notify()
		})

		s := r.manage()

		if s.State != r.truth.State {
			rt.Errorf("ended in %s, want %s", s.State, r.truth.State)
		}
		seen := map[string]bool{}
		for _, note := range r.confirmed {
			var version int
			_, after, _ := strings.Cut(note, "(state version ")
			if _, err := fmt.Sscanf(after, "%d)", &version); err != nil || seen[note] {
				rt.Fatalf("confirmed with %q: %v; twice: %t", note, err, seen[note])
			}
			seen[note] = true
			if frozen[version] {
				rt.Errorf("the plan of state version %d was confirmed during a freeze", version)
			}
			if !strings.Contains(note, "approved by ann and bob") && !strings.Contains(note, "approved by bob and ann") {
				rt.Errorf("confirmed with %q, want ann and bob", note)
			}
			for _, who := range []string{"ann", "bob"} {
				if !slices.Contains(approved[version], who) {
					rt.Errorf("%s has not approved the plan of state version %d", who, version)
				}
			}
		}
		versions := map[int]int{}
		for _, h := range r.truth.History {
			if h.State == confirmed && h.Username == "api::gantry" {
				versions[h.StateVersion]++
			}
		}
		if len(versions) != len(r.confirmed) {
			rt.Errorf("confirmed %d times, %d of them took effect", len(r.confirmed), len(versions))
		}
		if t.Failed() {
			for _, e := range s.Timeline {
				t.Logf("%s %s %s %s(%d): %s", e.At.Format(time.DateTime), e.Kind, e.Source, e.State, e.StateVersion, e.Summary)
			}
			rt.FailNow()
		}
	})
}

// A long life continues in another execution, and nothing that people said or
// received is lost on the way.
func TestContinueAsNewKeepsWhatPeopleSaid(t *testing.T) {
	r := newRig(t, production)
	r.world.deaf = map[string]error{"deploys": errors.New("connection refused")}
	r.at(0, func() { r.moves(queued, planning, unconfirmed) })
	r.at(time.Minute, func() { r.decides(managed.Decision{Verdict: managed.Approve, By: ann, Key: "k"}, "") })
	r.at(2*time.Minute, func() {
		r.env.SetContinueAsNewSuggested(true)
		r.notifyOf(0)
	})
	carried := r.continued()
	for _, check := range r.checks {
		check()
	}

	second := r.next()
	second.at(time.Minute, func() {
		second.received("deploys run.decision_needed: network / prod: a plan waits for 2 approvals") // once the channel works
		second.denied(ann, managed.Approve, managed.ErrTypeAlreadyDecided, "already")
		second.decides(managed.Decision{Verdict: managed.Approve, By: bob, Key: "k"}, decide.ErrTypeKeyReused)
	})
	second.at(5*time.Hour, func() {
		second.received(
			"deploys run.decision_needed: network / prod: a plan waits for 2 approvals",
			"deploys run.reminder: network / prod: a plan still waits for 1 approval",
		)
		second.says(bob, managed.Approve, "")
	})
	second.at(6*time.Hour, func() { second.notify(); second.moves(applying, finished) })
	if s := second.manageFrom(carried); s.State != finished || len(second.confirmed) != 1 || len(s.Decisions) != 2 {
		t.Errorf("ended in %s with %d confirmations after %d decisions", s.State, len(second.confirmed), len(s.Decisions))
	}
}

// An update that comes while the history is full gets its answer, and what it
// said continues.
func TestContinueAsNewAnswersUpdates(t *testing.T) {
	r := newRig(t, production)
	r.at(0, func() { r.moves(queued, planning, unconfirmed) })
	r.at(time.Minute, func() {
		r.env.SetContinueAsNewSuggested(true)
		r.says(ann, managed.Approve, "")
	})
	carried := r.continued()
	for _, check := range r.checks {
		check()
	}
	second := r.next()
	second.at(time.Minute, func() { second.says(bob, managed.Approve, "") })
	second.at(time.Hour, func() { second.notify(); second.moves(applying, finished) })
	if s := second.manageFrom(carried); s.State != finished || len(second.confirmed) != 1 {
		t.Errorf("ended in %s with %d confirmations", s.State, len(second.confirmed))
	}
}
