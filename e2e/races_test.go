package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// Messages race only against a real server. Each test below sends two of them back
// to back, many times, and checks what must never happen.

// rounds counts the repetitions of each race.
const rounds = 8

// oneApproves is a stack whose every plan one person must approve.
var oneApproves = simulator.Stack{ID: "billing-dev", Labels: []string{"gantry:managed", "gantry:confirm=manual"}}

// together runs functions concurrently and waits for all of them.
func together(racers ...func()) {
	start := make(chan struct{})
	var all sync.WaitGroup
	for _, r := range racers {
		all.Go(func() {
			<-start
			r()
		})
	}
	close(start)
	all.Wait()
}

// An approval right after the plan's arrival counts, or is refused because Gantry
// didn't have the plan yet. It is never lost.
func TestApprovalRightBehindThePlan(t *testing.T) {
	w := newWorld(t, oneApproves)
	who, _ := w.servePeople("inbox: {linger: 0s}\n")
	for i := range rounds {
		id := w.change("billing-dev", 1)
		_, err := w.spacelift.WaitState(t.Context(), "billing-dev", id, spacelift.RunStateUnconfirmed)
		w.must(err)
		w.eventually("the approval counts", func(ctx context.Context) error {
			// Each attempt is a new request: a key keeps its refusal.
			r, err := who.bob.decides(ctx, "billing-dev", id, api.VerdictApprove)
			if err != nil || r.JSON200 != nil {
				return err
			}
			switch kindOf(r) {
			case "already-decided", "run-ended": // one without an answer counted
				return nil
			case "not-asked", "stale-plan", "not-found", "temporal-unavailable", "unanswered": // not yet
			default:
				t.Errorf("refused: %d %s", r.StatusCode(), r.Body)
			}
			return fmt.Errorf("%d %s", r.StatusCode(), r.Body)
		})
		if run := w.phase("billing-dev", id, api.PhaseDone); run.State != "FINISHED" {
			t.Fatalf("ended as %s", run.State)
		}
		if n := w.confirmations(); n != i+1 {
			t.Fatalf("confirmed %d times after %d runs", n, i+1)
		}
	}
}

// Two people who approve at the same time confirm the plan once.
func TestTwoApprovalsAtOnce(t *testing.T) {
	w := newWorld(t, twoApprove)
	who, _ := w.servePeople("")
	for i := range rounds {
		id := w.change("billing-prod", 1)
		w.phase("billing-prod", id, api.PhaseWaiting)
		together(
			func() { w.counts(who.bob, "billing-prod", id, api.VerdictApprove) },
			func() { w.counts(who.carol, "billing-prod", id, api.VerdictApprove) },
		)
		if run := w.phase("billing-prod", id, api.PhaseDone); run.State != "FINISHED" {
			t.Fatalf("ended as %s", run.State)
		}
		if n := w.confirmations(); n != i+1 {
			t.Fatalf("confirmed %d times after %d runs", n, i+1)
		}
	}
}

// An approval and its concurrent repeat with the same key are one decision.
func TestRepeatedApprovalIsOneDecision(t *testing.T) {
	w := newWorld(t, twoApprove)
	who, _ := w.servePeople("")
	id := w.change("billing-prod", 1)
	w.phase("billing-prod", id, api.PhaseWaiting)
	approve := func() {
		r, err := who.bob.decides(t.Context(), "billing-prod", id, api.VerdictApprove, "01JKEY")
		if err != nil || r.JSON200 == nil || r.JSON200.Approvals == nil || r.JSON200.Approvals.Given != 1 {
			t.Errorf("%v %d %s", err, r.StatusCode(), r.Body)
		}
	}
	together(approve, approve, approve)
	r, err := who.bob.decides(t.Context(), "billing-prod", id, api.VerdictReject, "01JKEY")
	w.must(err)
	if kind := kindOf(r); kind != "idempotency-key-reused" {
		t.Errorf("another decision under the same key: %d %s", r.StatusCode(), r.Body)
	}
}

// A person discards in Spacelift while another approves in Gantry: the first one
// wins, and nothing is confirmed after the discard.
func TestApprovalAgainstAnOutsideDiscard(t *testing.T) {
	w := newWorld(t, oneApproves)
	who, _ := w.servePeople("")
	for range rounds {
		id, before := w.change("billing-dev", 1), w.confirmations()
		w.phase("billing-dev", id, api.PhaseWaiting)
		var discarded error
		together(
			func() { _, _ = who.bob.decides(t.Context(), "billing-dev", id, api.VerdictApprove) },
			func() { discarded = w.spacelift.Discard("jane", "billing-dev", id, "no") },
		)
		run, want := w.phase("billing-dev", id, api.PhaseDone), "FINISHED"
		if discarded == nil {
			want = "DISCARDED"
		}
		if n := w.confirmations() - before; run.State != want || (discarded == nil) == (n != 0) {
			t.Fatalf("ended as %s after %d confirmations; the discard: %v", run.State, n, discarded)
		}
	}
}

// An approval given to one plan never confirms the next.
func TestApprovalAgainstAReplan(t *testing.T) {
	w := newWorld(t, oneApproves)
	who, _ := w.servePeople("")
	for range rounds {
		id, before := w.change("billing-dev", 1), w.confirmations()
		seen := w.phase("billing-dev", id, api.PhaseWaiting).StateVersion
		var replanned error
		together(
			func() {
				_, _ = who.bob.client.DecideRunWithResponse(t.Context(), "acme", "billing-dev", string(id), nil,
					api.DecisionRequest{Verdict: api.VerdictApprove, StateVersion: &seen})
			},
			func() { replanned = w.spacelift.Replan("jane", "billing-dev", id) },
		)
		if replanned != nil { // the approval was faster
			if run := w.phase("billing-dev", id, api.PhaseDone); run.State != "FINISHED" || w.confirmations() != before+1 {
				t.Fatalf("ended as %s after %d confirmations", run.State, w.confirmations()-before)
			}
			continue
		}
		w.eventually("the new plan waits for an approval of its own", func(ctx context.Context) error {
			run, err := w.run(ctx, "billing-dev", id)
			if err == nil && (run.State != "UNCONFIRMED" || run.StateVersion == seen || run.Phase != api.PhaseWaiting || run.Approvals == nil || run.Approvals.Given != 0) {
				err = fmt.Errorf("it is %s (%d), %s, %+v", run.State, run.StateVersion, run.Phase, run.Approvals)
			}
			return err
		})
		if n := w.confirmations() - before; n != 0 {
			t.Fatalf("confirmed %d times", n)
		}
		w.must(w.spacelift.Discard("jane", "billing-dev", id, "next"))
		w.phase("billing-dev", id, api.PhaseDone)
	}
}

// An approval against its revocation: either the run was confirmed and the
// revocation refused, or the run waits.
func TestApprovalAgainstItsRevocation(t *testing.T) {
	w := newWorld(t, twoApprove)
	who, _ := w.servePeople("")
	for range rounds {
		id, before := w.change("billing-prod", 1), w.confirmations()
		w.phase("billing-prod", id, api.PhaseWaiting)
		w.counts(who.bob, "billing-prod", id, api.VerdictApprove)
		var revoked bool
		together(
			func() {
				r, err := who.bob.decides(t.Context(), "billing-prod", id, api.VerdictRevoke)
				revoked = err == nil && r.JSON200 != nil
			},
			func() { w.counts(who.carol, "billing-prod", id, api.VerdictApprove) },
		)
		if !revoked {
			if run := w.phase("billing-prod", id, api.PhaseDone); run.State != "FINISHED" || w.confirmations() != before+1 {
				t.Fatalf("ended as %s after %d confirmations", run.State, w.confirmations()-before)
			}
			continue
		}
		run := w.phase("billing-prod", id, api.PhaseWaiting)
		if run.Approvals == nil || run.Approvals.Given != 1 || w.confirmations() != before {
			t.Fatalf("after the revocation: %+v, %d confirmations", run.Approvals, w.confirmations()-before)
		}
		w.counts(who.carol, "billing-prod", id, api.VerdictReject)
		w.phase("billing-prod", id, api.PhaseDone)
	}
}

// A freeze holds as soon as it is declared, even against a concurrent approval. Its
// end, which is a timer in some rounds, releases the waiting run, once.
func TestApprovalAgainstAFreeze(t *testing.T) {
	t.Parallel()
	w := newWorld(t, oneApproves)
	who, _ := w.servePeople("")
	for round := range rounds {
		id, before := w.change("billing-dev", 1), w.confirmations()
		w.phase("billing-dev", id, api.PhaseWaiting)
		declare := api.FreezeRequest{Reason: "an incident"}
		if round%4 == 0 {
			declare.Until = new(time.Now().Add(3 * time.Second))
		}
		var freeze string
		var frozen time.Time
		together(
			func() { _, _ = who.bob.decides(t.Context(), "billing-dev", id, api.VerdictApprove) },
			func() {
				r, err := w.client.DeclareFreezeWithResponse(t.Context(), "acme", nil, declare)
				if err != nil || r.JSON201 == nil {
					t.Errorf("not frozen: %v %s", err, r.Body)
					return
				}
				freeze, frozen = r.JSON201.ID, time.Now()
			},
		)
		var over time.Time
		if declare.Until != nil {
			over = *declare.Until
		} else {
			held := w.phase("billing-dev", id, api.PhaseHolding, api.PhaseDone).Phase == api.PhaseHolding
			if n := w.confirmations() - before; held != (n == 0) {
				t.Fatalf("confirmed %d times; held: %t", n, held)
			}
			over = time.Now()
			r, err := w.client.LiftFreezeWithResponse(t.Context(), "acme", freeze, nil)
			w.must(err)
			if r.JSON200 == nil {
				t.Fatalf("lift: %d %s", r.StatusCode(), r.Body)
			}
		}
		run := w.phase("billing-dev", id, api.PhaseDone)
		if run.State != "FINISHED" || w.confirmations() != before+1 {
			t.Fatalf("ended as %s after %d confirmations", run.State, w.confirmations()-before)
		}
		all := w.spacelift.Mutations("runConfirm")
		at := all[len(all)-1].At
		// At most a second passes between a check of the rules and the confirmation.
		if at.After(frozen.Add(time.Second)) && at.Before(over) {
			t.Fatalf("confirmed %s after the freeze was declared", at.Sub(frozen))
		}
	}
}

// Lifting a freeze releases an approved run immediately.
func TestLiftedFreezeLetsGo(t *testing.T) {
	w := newWorld(t, oneApproves)
	who, _ := w.servePeople("")
	declared, err := w.client.DeclareFreezeWithResponse(t.Context(), "acme", nil, api.FreezeRequest{Reason: "an incident"})
	w.must(err)
	if declared.JSON201 == nil {
		t.Fatalf("%d %s", declared.StatusCode(), declared.Body)
	}
	id := w.change("billing-dev", 1)
	w.phase("billing-dev", id, api.PhaseWaiting)
	w.counts(who.bob, "billing-dev", id, api.VerdictApprove)
	run := w.phase("billing-dev", id, api.PhaseHolding)
	if w.confirmations() != 0 || run.WaitingFor == nil {
		t.Fatalf("%d confirmations in a freeze; it waits for %+v", w.confirmations(), run.WaitingFor)
	}
	lifted, err := w.client.LiftFreezeWithResponse(t.Context(), "acme", declared.JSON201.ID, nil)
	w.must(err)
	if lifted.JSON200 == nil {
		t.Fatalf("%d %s", lifted.StatusCode(), lifted.Body)
	}
	if run = w.phase("billing-dev", id, api.PhaseDone); run.State != "FINISHED" || w.confirmations() != 1 {
		t.Errorf("ended as %s after %d confirmations", run.State, w.confirmations())
	}
}
