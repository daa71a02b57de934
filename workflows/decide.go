package workflows

import (
	"fmt"
	"strings"

	"github.com/gantryhq/gantry/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// next is what to do about a run, and why.
type next struct {
	Do     action
	Phase  Phase
	Reason string // a sentence for people

	// What, Who and Then fill WaitingFor while the run goes on.
	What Wait
	Who  string
	Then string

	// Journal marks decisions that people want to find in the timeline. Most
	// waiting is not worth an entry.
	Journal bool
}

// action is what the workflow carries out.
type action string

const (
	doWait    action = "wait"    // for the next event
	doConfirm action = "confirm" // the plan, once
	doHold    action = "hold"    // wait, because something is in the way
	doFinish  action = "finish"  // the run has ended
)

// Who can unblock a run.
const (
	whoNobody    = "nobody has to: Spacelift goes on by itself"
	whoSpacelift = "anyone who may confirm or discard runs of this stack in Spacelift"
	whoReviewer  = "anyone who may review runs of this stack in Spacelift"
	whoLabels    = "anyone who may edit the stack's labels, or confirm or discard the run in Spacelift"
	whoOperator  = "whoever operates Gantry, or anyone who may confirm or discard the run in Spacelift"
)

// maxLooks bounds how often one plan is looked at that turns out to differ from
// what notifications said, so that a contradiction ends in a hold and not in a
// loop.
const maxLooks = 3

// decide says what to do about a run with these facts, and why. It is the only
// place where Gantry wants something.
//
// What it wants never rests on a notification alone: confirming means asking
// the API first, and doing nothing if that differs from the facts.
func decide(s RunStatus) next {
	switch {
	case s.GivenUp != "" && !s.State.Terminal():
		return next{Do: doFinish, Phase: PhaseDone, Reason: "Gantry stopped following the run before its end: " + s.GivenUp}
	case s.State == "":
		return next{
			Do: doWait, Phase: PhaseQueued, Reason: "no notification of this run has been understood yet",
			What: WaitSpacelift, Who: whoNobody,
		}
	case s.State.Terminal():
		return next{Do: doFinish, Phase: PhaseDone, Reason: outcome(s)}
	case !s.State.Known():
		return next{
			Do: doWait, Phase: PhaseFollowing, Journal: true,
			Reason: fmt.Sprintf("this version of Gantry does not know the state %s: it follows the run and does nothing", s.State),
			What:   WaitSpacelift, Who: "unknown: look at the run in Spacelift",
		}
	case !s.Type.Known():
		return next{
			Do: doWait, Phase: PhaseFollowing, Journal: true,
			Reason: fmt.Sprintf("this version of Gantry does not know the run type %q: it follows the run and does nothing", s.Type),
			What:   WaitSpacelift, Who: "unknown: look at the run in Spacelift",
		}
	}
	switch s.State {
	case spacelift.RunStateUnconfirmed:
		return decidePlan(s)
	case spacelift.RunStatePendingReview:
		return next{
			Do: doWait, Phase: PhaseWaiting, Journal: true,
			Reason: "the plan drew a warning and somebody has to review it in Spacelift; this version of Gantry does not review",
			What:   WaitPerson, Who: whoReviewer, Then: "Spacelift ends the run with the review",
		}
	case spacelift.RunStateQueued:
		n := passing(s, PhaseQueued, "the run is in the stack's queue")
		n.Who = "Spacelift, unless the queue is held by a lock, an approval or a run that waits for somebody"
		return n
	case spacelift.RunStatePending, spacelift.RunStateReady:
		return passing(s, PhaseQueued, "the run waits for a worker")
	case spacelift.RunStatePreparing, spacelift.RunStateInitializing:
		return passing(s, PhaseQueued, "a worker is being set up for the run")
	case spacelift.RunStatePlanning:
		return passing(s, PhasePlanning, "Spacelift is planning")
	case spacelift.RunStateReplanRequested, spacelift.RunStatePreparingReplan:
		return passing(s, PhasePlanning, "somebody asked for another plan")
	case spacelift.RunStateConfirmed:
		return passing(s, PhaseApplying, "the plan is confirmed and waits for a worker")
	case spacelift.RunStatePreparingApply:
		return passing(s, PhaseApplying, "the plan is confirmed and a worker is being set up")
	case spacelift.RunStateApplying:
		return passing(s, PhaseApplying, "Spacelift is applying the plan")
	case spacelift.RunStatePerforming:
		return passing(s, PhaseApplying, "Spacelift is performing the task")
	case spacelift.RunStateDestroying:
		return passing(s, PhaseApplying, "Spacelift is destroying resources")
	}
	return passing(s, PhaseFollowing, fmt.Sprintf("the run is %s", s.State))
}

// passing is waiting for a state to go by.
func passing(s RunStatus, phase Phase, reason string) next {
	n := next{Do: doWait, Phase: phase, Reason: reason, What: WaitSpacelift, Who: whoNobody, Then: "Gantry records how it ends"}
	if (phase == PhaseQueued || phase == PhasePlanning) && s.Type == spacelift.RunTypeTracked {
		n.Then = prospect(s)
	}
	return n
}

// prospect says what will happen to a plan with changes.
func prospect(s RunStatus) string {
	switch {
	case !s.Managed:
		return "Gantry only watches: the stack does not carry " + spacelift.LabelManaged
	case len(s.Policy.Problems) > 0:
		return "a plan with changes will be held: " + objection(s.Policy.Problems)
	case s.Policy.Confirm.Value == policy.ConfirmAuto:
		return fmt.Sprintf("Gantry confirms a plan with changes (%s)", s.Policy.Confirm.Origin)
	}
	return "a plan with changes waits for somebody to confirm or discard it in Spacelift"
}

// decidePlan decides about a plan with changes. The order matters: whatever
// speaks against confirming comes before what speaks for it.
func decidePlan(s RunStatus) next {
	person := func(format string, args ...any) next {
		return next{
			Do: doWait, Phase: PhaseWaiting, Journal: true, Reason: fmt.Sprintf(format, args...),
			What: WaitPerson, Who: whoSpacelift, Then: "Gantry follows what they decide",
		}
	}
	hold := func(what Wait, who, then, format string, args ...any) next {
		return next{Do: doHold, Phase: PhaseHolding, Journal: true, Reason: fmt.Sprintf(format, args...), What: what, Who: who, Then: then}
	}
	plan := planOf(s)
	switch {
	case plan != nil && (plan.Result == PlanConfirmed || plan.Result == PlanAlready):
		return passing(s, PhaseApplying, "the plan is confirmed; Spacelift has not told yet that it goes on")
	case !s.Managed:
		return person("the stack no longer carries %s, so Gantry only watches; somebody confirms or discards the plan in Spacelift", spacelift.LabelManaged)
	case s.Type != spacelift.RunTypeTracked:
		return person("Gantry confirms tracked runs only and this one is %s; somebody confirms or discards it in Spacelift", s.Type)
	case len(s.Policy.Problems) > 0:
		return hold(WaitLabels, whoLabels, "mended labels count from the next notification of this run on", "%s", objection(s.Policy.Problems))
	case s.Policy.Confirm.Value != policy.ConfirmAuto:
		return person("the plan (%s) has changes and the policy is to confirm by hand (%s); somebody confirms or discards it in Spacelift", describePlan(s), s.Policy.Confirm.Origin)
	case plan != nil && plan.Result == PlanRefused:
		return hold(WaitPerson, whoOperator, "Gantry does not try this plan again", "Gantry could not confirm the plan: %s", plan.Reason)
	case plan != nil && plan.Looks >= maxLooks:
		return hold(WaitPerson, whoOperator, "Gantry does not try this plan again", "the notifications of this run and Spacelift's API keep telling different things: %s", plan.Reason)
	}
	return next{
		Do: doConfirm, Phase: PhaseConfirming, Journal: true,
		Reason: fmt.Sprintf("the plan (%s) has changes and %s confirms them", describePlan(s), s.Policy.Confirm.Origin),
		What:   WaitAnswer, Who: "Spacelift's API, or anyone who may confirm or discard the run in Spacelift",
		Then: "Gantry keeps asking until Spacelift answers or somebody decides there",
	}
}

// planOf returns what Gantry did about the plan the run shows now.
func planOf(s RunStatus) *Plan {
	for i, p := range s.Plans {
		if p.StateVersion == s.StateVersion {
			return &s.Plans[i]
		}
	}
	return nil
}

// describePlan says what the plan would do. Repairs of drift are tracked runs
// like others, and confirmed like them; the description says so.
func describePlan(s RunStatus) string {
	what := "size unknown"
	if d := s.Delta; d != nil {
		what = fmt.Sprintf("%d to add, %d to change, %d to delete", d.Added, d.Changed, d.Deleted)
	}
	if s.DriftDetection {
		what += ", to repair drift"
	}
	return what
}

// objection says which labels keep Gantry from confirming and what to do.
func objection(problems []policy.Problem) string {
	var all []string
	for _, p := range problems {
		all = append(all, fmt.Sprintf("the label %s can't be followed: %s; %s", p.Label, p.Problem, p.Remedy))
	}
	return strings.Join(all, ". ")
}

// outcome says how a run ended. It rests on the last event and on what Gantry
// did, never on how many of the events between were heard of.
func outcome(s RunStatus) string {
	end := entered(s)
	var text, by string
	if end.Actor != "" {
		by = " by " + end.Actor
	}
	switch s.State {
	case spacelift.RunStateFinished:
		text = finished(s)
	case spacelift.RunStateFailed:
		text = "the run failed"
	case spacelift.RunStateDiscarded:
		text = "the plan was discarded" + by
	case spacelift.RunStateCanceled:
		text = "the run was cancelled before it started" + by
	case spacelift.RunStateStopped:
		text = "the run was stopped" + by
	case spacelift.RunStateSkipped:
		text = "Spacelift skipped the run"
	}
	if end.Note != "" {
		text += ": " + end.Note
	}
	return text
}

func finished(s RunStatus) string {
	switch {
	case s.Type == spacelift.RunTypeProposed:
		return "the preview finished"
	case s.Type == spacelift.RunTypeTask:
		return "the task finished"
	case s.Type == spacelift.RunTypeTesting:
		return "the module's test finished"
	case s.Type == spacelift.RunTypeDestroy:
		return "the stack's resources were destroyed"
	case s.Type != spacelift.RunTypeTracked || s.Delta == nil:
		return "the run finished"
	case s.Delta.Added+s.Delta.Changed+s.Delta.Deleted == 0:
		return "the run finished: the plan had no changes"
	}
	return fmt.Sprintf("the run finished and the plan was applied (%s)", applied(*s.Delta))
}

func applied(d spacelift.Delta) string {
	return fmt.Sprintf("%d added, %d changed, %d deleted", d.Added, d.Changed, d.Deleted)
}

// waitingFor is the answer to what, since when, who and then.
func (n next) waitingFor(s RunStatus) *WaitingFor {
	since := s.StartedAt
	if now := entered(s); now.State != "" {
		since = now.At
	}
	return &WaitingFor{What: n.What, Reason: n.Reason, Since: since, Who: n.Who, Next: n.Then}
}

// entered returns the entry of the run's present state.
func entered(s RunStatus) StateEntry {
	for _, e := range s.States {
		if e.State == s.State && e.StateVersion == s.StateVersion {
			return e
		}
	}
	return StateEntry{}
}
