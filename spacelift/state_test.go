package spacelift_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// The mutations that Spacelift accepts in each state: c is runConfirm, d
// runDiscard, q runCancel (of a queued run), s runStop, r runReview, t runRetry.
func TestWhatEachStateAllows(t *testing.T) {
	allows := map[spacelift.RunState]string{
		"PENDING": "", "QUEUED": "qr", "READY": "q", "PREPARING": "", "INITIALIZING": "s", "PLANNING": "s",
		"PENDING_REVIEW": "r", "UNCONFIRMED": "cdr", "REPLAN_REQUESTED": "", "PREPARING_REPLAN": "",
		"CONFIRMED": "", "PREPARING_APPLY": "", "APPLYING": "", "PERFORMING": "", "DESTROYING": "",
		"FINISHED": "t", "FAILED": "t", "DISCARDED": "t", "CANCELED": "t", "STOPPED": "t", "SKIPPED": "t",
	}
	handedOver := []spacelift.RunState{"PREPARING", "REPLAN_REQUESTED", "PREPARING_REPLAN"}
	for _, s := range append(slices.Clone(spacelift.RunStates), "AWAITING_LAUNCH_WINDOW", "") {
		want, known := allows[s]
		if s.Known() && !known {
			t.Errorf("the table lacks %s", s)
		}
		if got := allowed(s); got != want {
			t.Errorf("%s allows %q, want %q", s, got, want)
		}
		verb := ""
		for letter, v := range map[string]string{"q": "cancel", "s": "stop", "d": "discard"} {
			if strings.Contains(want, letter) {
				verb = v
			}
		}
		if s.EndVerb() != verb || s.Stoppable() != (verb != "") {
			t.Errorf("%s is ended by %q (stoppable: %t), want %q", s, s.EndVerb(), s.Stoppable(), verb)
		}
		if got := s.HandedOver(); got != slices.Contains(handedOver, s) || got && (s.Stoppable() || s.Terminal()) {
			t.Errorf("%s is handed over: %t", s, got)
		}
	}
}

func allowed(s spacelift.RunState) string {
	var letters strings.Builder
	for _, m := range []struct {
		letter string
		is     func() bool
	}{
		{"c", s.Confirmable}, {"d", s.Discardable}, {"q", s.Cancelable}, {"s", s.Interruptible}, {"r", s.Reviewable}, {"t", s.Retryable},
	} {
		if m.is() {
			letters.WriteString(m.letter)
		}
	}
	return letters.String()
}

// The simulator, which doesn't use these methods, accepts the same mutations.
func TestTheSimulatorAllowsTheSame(t *testing.T) {
	const stack = spacelift.StackID("network-prod")
	verbs := []struct {
		name string
		is   func(spacelift.RunState) bool
		do   func(*simulator.Simulator, spacelift.RunID) error
	}{
		{"confirm", spacelift.RunState.Confirmable, func(s *simulator.Simulator, r spacelift.RunID) error { return s.Confirm("jane", stack, r, "") }},
		{"discard", spacelift.RunState.Discardable, func(s *simulator.Simulator, r spacelift.RunID) error { return s.Discard("jane", stack, r, "") }},
		{"cancel", spacelift.RunState.Cancelable, func(s *simulator.Simulator, r spacelift.RunID) error { return s.Cancel("jane", stack, r, "") }},
		{"stop", spacelift.RunState.Interruptible, func(s *simulator.Simulator, r spacelift.RunID) error { return s.Stop("jane", stack, r, "") }},
		{"review", spacelift.RunState.Reviewable, func(s *simulator.Simulator, r spacelift.RunID) error {
			return s.Review("jane", stack, r, string(spacelift.ReviewApprove), "")
		}},
		{"retry", spacelift.RunState.Retryable, func(s *simulator.Simulator, r spacelift.RunID) error {
			_, err := s.Retry("jane", stack, r)
			return err
		}},
	}
	for _, state := range spacelift.RunStates {
		if state == spacelift.RunStatePending {
			continue // deprecated: no run of the simulator's enters it
		}
		t.Run(string(state), func(t *testing.T) {
			for _, v := range verbs {
				sim, run := runIn(t, stack, state)
				err := v.do(sim, run)
				_, illegal := errors.AsType[*simulator.IllegalStateError](err)
				if err != nil && !illegal {
					t.Fatalf("%s: %v", v.name, err)
				}
				if want := v.is(state); illegal == want {
					t.Errorf("%s: the simulator says %v, the state says %t", v.name, err, want)
				}
			}
		})
	}
}

// runIn is an account with a run that stays in a state.
func runIn(t *testing.T, stack spacelift.StackID, state spacelift.RunState) (*simulator.Simulator, spacelift.RunID) {
	t.Helper()
	sim := simulator.New(simulator.Options{Account: "acme", Seed: 1, Phases: simulator.Phases{state: time.Hour}})
	t.Cleanup(sim.Close)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	waits := func(run spacelift.RunID, states ...spacelift.RunState) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := sim.WaitState(ctx, stack, run, states...)
		must(err)
	}
	push := func(st simulator.Stack, commit simulator.Commit, plan simulator.Plan) spacelift.RunID {
		t.Helper()
		st.ID = stack
		must(sim.AddStack(st))
		run, err := sim.Push(stack, commit, plan)
		must(err)
		return run
	}
	changes := simulator.Plan{Delta: spacelift.Delta{Added: 1}}
	var run spacelift.RunID
	switch state {
	case spacelift.RunStatePendingReview:
		warned := changes
		warned.Verdict = simulator.Warn
		run = push(simulator.Stack{Approvals: 1}, simulator.Commit{Branch: "feature"}, warned)
	case spacelift.RunStateConfirmed, spacelift.RunStatePreparingApply, spacelift.RunStateApplying, spacelift.RunStateDiscarded,
		spacelift.RunStateReplanRequested, spacelift.RunStatePreparingReplan:
		run = push(simulator.Stack{}, simulator.Commit{}, changes)
		waits(run, spacelift.RunStateUnconfirmed)
		switch state {
		case spacelift.RunStateDiscarded:
			must(sim.Discard("jane", stack, run, ""))
		case spacelift.RunStateReplanRequested, spacelift.RunStatePreparingReplan:
			must(sim.Replan("jane", stack, run))
		default:
			must(sim.Confirm("jane", stack, run, ""))
		}
	case spacelift.RunStatePerforming:
		must(sim.AddStack(simulator.Stack{ID: stack}))
		var err error
		run, err = sim.CreateTask("jane", stack, "true", false)
		must(err)
	case spacelift.RunStateDestroying:
		must(sim.AddStack(simulator.Stack{ID: stack, Resources: 1}))
		var err error
		run, err = sim.RemoveStack("jane", stack, true)
		must(err)
	case spacelift.RunStateFailed:
		failing := changes
		failing.FailIn = spacelift.RunStatePlanning
		run = push(simulator.Stack{}, simulator.Commit{}, failing)
	case spacelift.RunStateCanceled:
		held, release := simulator.Phases{spacelift.RunStateReady: time.Hour}, changes
		release.Phases = held
		run = push(simulator.Stack{}, simulator.Commit{}, release)
		waits(run, spacelift.RunStateReady)
		must(sim.Cancel("jane", stack, run, ""))
	case spacelift.RunStateStopped:
		held := changes
		held.Phases = simulator.Phases{spacelift.RunStatePlanning: time.Hour}
		run = push(simulator.Stack{}, simulator.Commit{}, held)
		waits(run, spacelift.RunStatePlanning)
		must(sim.Stop("jane", stack, run, ""))
	case spacelift.RunStateSkipped:
		must(sim.AddStack(simulator.Stack{ID: "upstream"}))
		must(sim.AddStack(simulator.Stack{ID: stack}))
		must(sim.AddDependency(stack, "upstream"))
		failing := changes
		failing.FailIn = spacelift.RunStatePlanning
		_, err := sim.Push("upstream", simulator.Commit{}, failing)
		must(err)
		runs, err := sim.Runs(stack)
		must(err)
		run = runs[0].Ref.Run
	case spacelift.RunStateFinished:
		run = push(simulator.Stack{}, simulator.Commit{}, simulator.Plan{})
	default:
		run = push(simulator.Stack{}, simulator.Commit{}, changes)
	}
	waits(run, state)
	return sim, run
}
