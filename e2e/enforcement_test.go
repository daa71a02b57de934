package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// enforce installs the policies that make Gantry's decisions binding.
func (w *world) enforce() {
	w.t.Helper()
	if out, code := w.gantry("setup", "--url", w.url()+"/webhook", "--enforce", "--yes"); code != 0 {
		w.t.Fatalf("exit code %d\n%s", code, out)
	}
}

// confirmedBy lets a person confirm in Spacelift, and reports whether Spacelift did it.
func (w *world) confirmedBy(who string, stack spacelift.StackID, id runID) bool {
	w.t.Helper()
	err := w.spacelift.Confirm(who, stack, id, "")
	if err != nil && !strings.Contains(err.Error(), "needs approval") {
		w.t.Fatal(err)
	}
	return err == nil
}

// The two-person rule is a rule: Spacelift refuses the author's confirmation of nine
// deletes, with autodeploy off and on, until two others have approved through Gantry.
func TestSpaceliftRefusesTheAuthorUntilTwoApproved(t *testing.T) {
	manual, autodeploy := twoApprove, twoApprove
	autodeploy.ID, autodeploy.Autodeploy = "billing-auto", true
	w := newWorld(t, manual, autodeploy)
	who, _ := w.servePeople("")
	w.enforce()
	for _, stack := range []spacelift.StackID{manual.ID, autodeploy.ID} {
		id := w.change(stack, 9)
		w.phase(stack, id, api.PhaseWaiting)
		if w.confirmedBy("alice", stack, id) {
			t.Fatalf("%s: the author confirmed with 0 of 2 approvals", stack)
		}
		why, err := w.client.ExplainRunWithResponse(t.Context(), "acme", string(stack), string(id))
		w.must(err)
		if why.JSON200 == nil || strings.Contains(string(why.Body), "may confirm or discard") {
			t.Errorf("%s: it says that people may confirm in Spacelift: %s", stack, why.Body)
		}
		w.counts(who.bob, stack, id, api.VerdictApprove)
		if w.confirmedBy("alice", stack, id) {
			t.Fatalf("%s: the author confirmed with 1 of 2 approvals", stack)
		}
		w.counts(who.carol, stack, id, api.VerdictApprove)
		run := w.phase(stack, id, api.PhaseDone)
		if run.State != "FINISHED" {
			t.Errorf("%s ended as %s", stack, run.State)
		}
		for _, did := range []string{"Gantry approved the plan in Spacelift", "Gantry confirmed the plan"} {
			if !slices.ContainsFunc(run.Timeline, func(e api.TimelineEntry) bool { return strings.Contains(e.Summary, did) }) {
				t.Errorf("%s: the timeline lacks %q: %+v", stack, did, run.Timeline)
			}
		}
	}
}

// Where the policy lets Gantry decide alone, or leaves plans to people in Spacelift,
// enforcement holds up nothing.
func TestEnforcementHoldsUpNothingElse(t *testing.T) {
	w := newWorld(t,
		simulator.Stack{ID: "auto", Labels: []string{"gantry:managed", "gantry:confirm=auto"}, Autodeploy: true},
		simulator.Stack{ID: "plain", Labels: []string{"gantry:managed"}})
	w.serve()
	w.enforce()
	auto := w.push("auto", 1)
	if run := w.phase("auto", auto, api.PhaseDone); run.State != "FINISHED" || w.confirmations() != 1 {
		t.Errorf("the plan that Gantry confirms alone ended as %s", run.State)
	}
	plain := w.push("plain", 1)
	w.phase("plain", plain, api.PhaseWaiting)
	w.eventually("Gantry lets people confirm in Spacelift", func(context.Context) error {
		if w.confirmedBy("jdoe", "plain", plain) {
			return nil
		}
		return errors.New("Spacelift still waits for Gantry's review")
	})
	if run := w.phase("plain", plain, api.PhaseDone); run.State != "FINISHED" {
		t.Errorf("the plan that is left to people ended as %s", run.State)
	}
}

// Without enforcement nothing holds a person in Spacelift back, and with autodeploy
// Spacelift asks nobody: both are alarms, in the channels and in lists.
func TestABypassIsAnAlarm(t *testing.T) {
	plain, autodeploy := twoApprove, twoApprove
	autodeploy.ID, autodeploy.Autodeploy = "billing-auto", true
	w := newWorld(t, plain, autodeploy)
	ops := newTarget(t)
	w.servePeople("channels:\n" + ops.channel("ops") + "guardian: {notify: [ops]}\n")

	id := w.change(plain.ID, 9)
	w.phase(plain.ID, id, api.PhaseWaiting)
	if !w.confirmedBy("alice", plain.ID, id) {
		t.Fatal("Spacelift refused the author though nothing is enforced")
	}
	for stack, run := range map[spacelift.StackID]runID{plain.ID: id, autodeploy.ID: w.change(autodeploy.ID, 9)} {
		done := w.phase(stack, run, api.PhaseDone)
		if done.Bypass == nil || !slices.ContainsFunc(done.Timeline, func(e api.TimelineEntry) bool { return e.Kind == "bypass" }) {
			t.Errorf("%s: bypass %+v, timeline %+v", stack, done.Bypass, done.Timeline)
		}
		ops.receives(w, "run.bypassed")
	}
	w.eventually("both runs are listed", func(ctx context.Context) error {
		listed, err := w.client.ListRunsWithResponse(ctx, &api.ListRunsParams{Bypassed: new(true)})
		if err == nil && (listed.JSON200 == nil || len(listed.JSON200.Runs) != 2) {
			err = fmt.Errorf("listed: %s", listed.Body)
		}
		return err
	})
}
