package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/simulator"
	"github.com/gantryhq/gantry/workflows"
)

// Messages race only against a real server. Each story below sends two back to
// back, many times over, and checks what may never happen.

// rounds is how often each race is run.
const rounds = 8

// oneApproves is a stack whose every plan one person must approve.
var oneApproves = simulator.Stack{ID: "billing-dev", Labels: []string{"gantry:managed", "gantry:confirm=manual"}}

// together runs what races, and waits for all of it.
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

// An approval that is on Gantry's heels when the plan arrives counts, or is
// refused because Gantry had not heard of the plan yet. It is never lost.
func TestApprovalRightBehindThePlan(t *testing.T) {
	w := newWorld(t, oneApproves)
	who, _ := w.servePeople("inbox: {linger: 0s}\n")
	for i := range rounds {
		id := w.change("billing-dev", 1)
		_, err := w.spacelift.WaitState(t.Context(), "billing-dev", id, spacelift.RunStateUnconfirmed)
		w.must(err)
		w.eventually("the approval counts", func(ctx context.Context) error {
			// Each try is a request of its own: a refusal is what its key stands for.
			r, err := who.bob.decides(ctx, "billing-dev", id, api.VerdictApprove)
			if err != nil || r.JSON200 != nil {
				return err
			}
			switch kindOf(r) {
			case "already-decided", "run-ended": // one without an answer counted
				return nil
			case "not-asked", "not-found", "temporal-unavailable", "unanswered": // not yet
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

// Two people who approve at once confirm the plan once.
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

// An approval and its repeat under one key, at once, are one decision.
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

// A person who discards in Spacelift while another approves in Gantry: whoever
// is first wins, and nothing is confirmed after the discard.
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

// An approval against its author's second thoughts: either the run was
// confirmed and the revocation refused, or the run waits.
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

// A freeze holds as soon as it is declared: nothing is confirmed after the
// answer, whatever was approved at the same time; and the timer of its end
// lets what waits go on, once.
func TestApprovalAgainstAFreeze(t *testing.T) {
	w := newWorld(t, oneApproves)
	who, _ := w.servePeople("")
	for range rounds {
		id, before := w.change("billing-dev", 1), w.confirmations()
		w.phase("billing-dev", id, api.PhaseWaiting)
		var frozen time.Time
		together(
			func() { _, _ = who.bob.decides(t.Context(), "billing-dev", id, api.VerdictApprove) },
			func() {
				r, err := w.client.DeclareFreezeWithResponse(t.Context(), "acme", nil,
					api.FreezeRequest{Reason: "an incident", Until: new(time.Now().Add(2 * time.Second))})
				if err != nil || r.JSON201 == nil {
					t.Errorf("not frozen: %v %s", err, r.Body)
					return
				}
				frozen = time.Now()
			},
		)
		run := w.phase("billing-dev", id, api.PhaseDone)
		if run.State != "FINISHED" || w.confirmations() != before+1 {
			t.Fatalf("ended as %s after %d confirmations", run.State, w.confirmations()-before)
		}
		all := w.spacelift.Mutations("runConfirm")
		at := all[len(all)-1].At
		if at.After(frozen) && at.Before(frozen.Add(1500*time.Millisecond)) {
			t.Fatalf("confirmed %s after the freeze was declared", at.Sub(frozen))
		}
		w.eventually("the freeze is over", func(ctx context.Context) error {
			r, err := w.client.ListFreezesWithResponse(ctx, "acme")
			if err == nil && (r.JSON200 == nil || len(r.JSON200.Freezes) != 0) {
				err = fmt.Errorf("%s", r.Body)
			}
			return err
		})
	}
}

// A freeze that is lifted lets what was approved go on at once.
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

// contest is a race against the end of people's time for one plan.
type contest struct {
	stack spacelift.StackID
	id    runID
	over  time.Time // the time, as Gantry tells it
	enter func(c *contest) bool
	won   bool // whoever entered, against the timer

	state    string // in which the run ends if the timer loses
	confirms int    // of Gantry's, then
}

// contend makes a plan that one person must approve within a minute, the
// shortest time there is.
func (w *world) contend(c *contest) *contest {
	w.t.Helper()
	c.stack = spacelift.StackID(fmt.Sprintf("timed-%d", len(w.spacelift.Stacks())))
	w.must(w.spacelift.AddStack(simulator.Stack{ID: c.stack, Labels: []string{"gantry:managed", "gantry:confirm=manual", "gantry:approval-timeout=1m"}}))
	c.id = w.change(c.stack, 1)
	w.phase(c.stack, c.id, api.PhaseWaiting)
	w.eventually("the time is told", func(ctx context.Context) error {
		r, err := w.client.ExplainRunWithResponse(ctx, "acme", string(c.stack), string(c.id))
		if err != nil {
			return err
		}
		if r.JSON200 == nil || len(r.JSON200.Next) == 0 || r.JSON200.Next[0].At == nil {
			return fmt.Errorf("%d %s", r.StatusCode(), r.Body)
		}
		c.over = *r.JSON200.Next[0].At
		return nil
	})
	return c
}

// begin enters the contest at an instant.
func (w *world) begin(c *contest, at time.Time) {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		c.won = c.enter(c)
	case <-w.t.Context().Done():
	}
}

// The end of people's time against what comes at that very instant: an approval,
// or somebody who confirms or discards the plan in Spacelift. One of the two
// wins, the plan is confirmed or discarded once, and all that Gantry says of it
// agrees.
func TestTimeoutAgainstADecision(t *testing.T) {
	w := newWorld(t)
	who, _ := w.servePeople("")
	approves := func(c *contest) bool {
		r, err := who.bob.decides(t.Context(), c.stack, c.id, api.VerdictApprove)
		if err != nil {
			t.Errorf("approve %s: %v", c.id, err)
			return false
		}
		switch kindOf(r) {
		case "", "too-late", "run-ended", "not-asked":
		default:
			t.Errorf("approve %s: %d %s", c.id, r.StatusCode(), r.Body)
		}
		return r.JSON200 != nil
	}
	confirms := func(c *contest) bool { return w.spacelift.Confirm("jane", c.stack, c.id, "go") == nil }
	discards := func(c *contest) bool { return w.spacelift.Discard("jane", c.stack, c.id, "no") == nil }

	var all []*contest
	var running sync.WaitGroup
	for i := range rounds {
		for _, c := range []*contest{
			{enter: approves, state: "FINISHED", confirms: 1},
			{enter: confirms, state: "FINISHED"},
			{enter: discards, state: "DISCARDED"},
		} {
			all = append(all, w.contend(c))
			running.Go(func() { w.begin(c, c.over.Add(time.Duration(i-rounds/2)*20*time.Millisecond)) })
		}
	}
	running.Wait()
	timers := 0
	for _, c := range all {
		w.settled(c)
		if !c.won {
			timers++
		}
	}
	t.Logf("the timer won %d of %d", timers, len(all))
}

// settled checks how a contest ended.
func (w *world) settled(c *contest) {
	w.t.Helper()
	state, confirms, discards := "DISCARDED", 0, 1 // the timer won
	if c.won {
		state, confirms, discards = c.state, c.confirms, 0
	}
	run := w.phase(c.stack, c.id, api.PhaseDone)
	truth, err := w.spacelift.Run(c.stack, c.id)
	w.must(err)
	var passed []string
	confirmed := 0
	for _, h := range truth.History {
		passed = append(passed, string(h.State))
		if h.State == spacelift.RunStateConfirmed {
			confirmed++
		}
	}
	if string(truth.State) != state || confirmed > 1 || (confirmed == 1) != (state == "FINISHED") {
		w.t.Errorf("%s: the other won: %t; it went %v, want it to end as %s", c.stack, c.won, passed, state)
	}
	for verb, want := range map[string]int{"runConfirm": confirms, "runDiscard": discards} {
		sent := 0
		for _, m := range w.spacelift.Mutations(verb) {
			if fmt.Sprint(m.Arguments["run"]) == string(c.id) {
				sent++
			}
		}
		if sent != want {
			w.t.Errorf("%s: the other won: %t; Gantry sent %s %d times, want %d", c.stack, c.won, verb, sent, want)
		}
	}

	if run.State != state {
		w.t.Errorf("%s: its status says %v, want %s", c.stack, run.State, state)
	}
	var told []string
	acted := map[bool]int{} // whether it was confirming
	for _, e := range run.Timeline {
		switch {
		case e.Kind == string(workflows.KindEvent) && e.State != nil:
			told = append(told, *e.State)
		case e.Kind == string(workflows.KindAction) && strings.Contains(e.Summary, "confirmed the plan"):
			acted[true]++
		case e.Kind == string(workflows.KindAction) && strings.Contains(e.Summary, "discarded the plan"):
			acted[false]++
		}
	}
	if !slices.Equal(told, passed) || acted[true] != confirms || acted[false] != discards {
		w.t.Errorf("%s: the other won: %t; the timeline tells of %v, want %v, and of what Gantry did: %v", c.stack, c.won, told, passed, acted)
	}
}
