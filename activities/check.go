package activities

import (
	"fmt"
	"strings"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// check compares a run with what was judged, all but the policy. An empty
// outcome means that the plan is exactly that and nobody has decided about it.
//
// What was confirmed counts as such however far the run has gone since.
func check(in managed.ConfirmRunInput, run spacelift.Run) managed.ConfirmResult {
	want := in.Expect
	if u := unseen(run.History); u != nil && u.Confirmed >= want.StateVersion {
		return confirmedUnseen(*u, run.Delta)
	}
	if t, ok := confirmation(want.StateVersion, run); ok {
		found := before(t, spacelift.VerbConfirm, "confirmed the plan")
		if found.ByUs {
			found.Reason = "an earlier attempt confirmed the plan"
		}
		return managed.ConfirmResult{Outcome: managed.AlreadyConfirmed, ByUs: found.ByUs, Actor: found.Actor, Reason: found.Reason}
	}
	switch {
	case run.StateVersion != want.StateVersion || run.State != want.State:
		return changed("the run is in %s (%d), not in %s (%d)", run.State, run.StateVersion, want.State, want.StateVersion)
	case run.Type != want.Type:
		return changed("it is a %s run, not a %s one", run.Type, want.Type)
	case want.CommitHash != "" && run.Commit.Hash != want.CommitHash:
		return changed("it works on commit %s, not on %s", run.Commit.Hash, want.CommitHash)
	case want.Delta != nil && (run.Delta == nil || *run.Delta != *want.Delta):
		return changed("the plan is %s, not %s", plan(run.Delta), plan(want.Delta))
	case run.NeedsApproval:
		return managed.ConfirmResult{Outcome: managed.ConfirmRefused, Reason: "an approval policy in Spacelift asks for a review of this plan first"}
	}
	return managed.ConfirmResult{}
}

// behind reports whether the API shows a state from before the one we judged.
func behind(want managed.Expect, run spacelift.Run) bool {
	return run.StateVersion < want.StateVersion && !run.State.Terminal()
}

// confirmation finds how a plan was confirmed: its next state says so. Without
// a history the state alone has to do.
func confirmation(planVersion int, run spacelift.Run) (spacelift.Transition, bool) {
	t, ok := next(planVersion, run)
	if !ok || !confirms(t.State) {
		return spacelift.Transition{}, false
	}
	return t, true
}

// unseen finds a confirmation of Gantry's that took effect on another plan than
// the one that it was decided for, the last if there are several.
func unseen(history []spacelift.Transition) (found *managed.UnseenPlan) {
	plan, waiting := 0, false
	for _, t := range history {
		if waiting && confirms(t.State) {
			if mark, ours := spacelift.MarkOf(t); ours && mark.Verb == spacelift.VerbConfirm && mark.StateVersion != plan {
				found = &managed.UnseenPlan{Judged: mark.StateVersion, Confirmed: plan, At: t.At}
			}
		}
		plan, waiting = t.StateVersion, t.State == spacelift.RunStateUnconfirmed
	}
	return found
}

func confirmedUnseen(u managed.UnseenPlan, delta *spacelift.Delta) managed.ConfirmResult {
	u.Delta = delta
	return managed.ConfirmResult{Outcome: managed.ConfirmedUnseen, ByUs: true, Unseen: &u, Reason: fmt.Sprintf(
		"Gantry's confirmation of the plan of state version %d took effect on the plan of state version %d, which nobody had judged", u.Judged, u.Confirmed)}
}

// next is what a run did after a state, as far as its history tells.
func next(stateVersion int, run spacelift.Run) (spacelift.Transition, bool) {
	after := spacelift.Transition{State: run.State, StateVersion: run.StateVersion}
	for _, t := range run.History {
		if t.StateVersion > stateVersion && t.StateVersion <= after.StateVersion {
			after = t
		}
	}
	return after, after.StateVersion > stateVersion
}

// confirms reports whether a plan was confirmed that is followed by the state.
func confirms(s spacelift.RunState) bool {
	return s == spacelift.RunStateConfirmed || s == spacelift.RunStatePreparingApply || s == spacelift.RunStateApplying
}

func changed(format string, args ...any) managed.ConfirmResult {
	return managed.ConfirmResult{Outcome: managed.AnotherPlan, Reason: fmt.Sprintf(format, args...)}
}

func plan(d *spacelift.Delta) string {
	if d == nil {
		return "of unknown size"
	}
	return fmt.Sprintf("+%d ~%d -%d of %d", d.Added, d.Changed, d.Deleted, d.Resources)
}

func list(labels []string) string {
	if len(labels) == 0 {
		return "none of Gantry's"
	}
	return strings.Join(labels, " ")
}
