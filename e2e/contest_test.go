package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// contest is a race against the end of people's time for one plan.
type contest struct {
	stack spacelift.StackID
	id    runID
	over  time.Time // the end of the time, as Gantry shows it
	enter func(c *contest) bool
	won   bool // enter did, against the timer

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
	w.eventually("the status shows the deadline", func(ctx context.Context) error {
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

// The end of people's time against an event at that very instant: an approval, or
// a confirmation or a discard in Spacelift. One of the two wins, the plan is
// confirmed or discarded once, and all of Gantry's records agree.
func TestTimeoutAgainstADecision(t *testing.T) {
	t.Parallel()
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
	var recorded []string
	acted := map[bool]int{} // whether it was confirming
	for _, e := range run.Timeline {
		switch {
		case e.Kind == string(managed.KindEvent) && e.State != nil:
			recorded = append(recorded, *e.State)
		case e.Kind == string(managed.KindAction) && strings.Contains(e.Summary, "confirmed the plan"):
			acted[true]++
		case e.Kind == string(managed.KindAction) && strings.Contains(e.Summary, "discarded the plan"):
			acted[false]++
		}
	}
	if !slices.Equal(recorded, passed) || acted[true] != confirms || acted[false] != discards {
		w.t.Errorf("%s: the other won: %t; the timeline has %v, want %v, and Gantry's actions are %v", c.stack, c.won, recorded, passed, acted)
	}
}
