package workflows

import (
	"errors"
	"fmt"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
)

// confirm carries out the decision to confirm a plan and records what came of
// it. It returns an error only when the execution is canceled.
//
// Mostly Spacelift answers at once. When it does not, the wish is kept for as
// long as it makes sense: every event that comes in is heard, and if it changes
// the decision, Gantry stops asking.
func (m *manager) confirm(ctx workflow.Context) error {
	var a *activities.Activities
	in := confirmation(m.known.facts())
	var result activities.ConfirmResult
	err := workflow.ExecuteLocalActivity(withQuickCall(ctx), a.ConfirmRun, in).Get(ctx, &result)
	if err != nil && !final(err) && ctx.Err() == nil {
		m.known.note(workflow.Now(ctx).UTC(), KindNote, "Spacelift did not confirm at once (%s); Gantry keeps asking", because(err))
		result, err = m.keepAsking(ctx, in)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	m.settle(ctx, in, result, err)
	return nil
}

// confirmation is what to ask Spacelift, given these facts.
func confirmation(s RunStatus) activities.ConfirmRunInput {
	return activities.ConfirmRunInput{
		Run: s.Run,
		Expect: activities.Expect{
			Type: s.Type, State: s.State, StateVersion: s.StateVersion,
			CommitHash: s.Commit.Hash, Delta: s.Delta, Labels: s.Labels,
		},
		Note: fmt.Sprintf("Confirmed by Gantry because of %s (state version %d).", s.Policy.Confirm.Origin, s.StateVersion),
	}
}

// keepAsking confirms with an activity that is retried for long, and hears
// events meanwhile. The error is a canceled one when Gantry stopped asking.
func (m *manager) keepAsking(ctx workflow.Context, in activities.ConfirmRunInput) (result activities.ConfirmResult, err error) {
	var a *activities.Activities
	asking, stopAsking := workflow.WithCancel(withSpaceliftCall(ctx))
	defer stopAsking()
	answer := workflow.ExecuteActivity(asking, a.ConfirmRun, in)
	for !answer.IsReady() {
		if err := index(ctx, m.known.status(), false); err != nil {
			return result, err
		}
		if err := workflow.Await(ctx, func() bool { return answer.IsReady() || m.eventsWait() }); err != nil {
			return result, err
		}
		m.takeEvents(ctx)
		// Another plan than the one asked for needs no care here: the activity
		// would find that it changed.
		if decide(m.known.facts()).Do != doConfirm || workflow.GetInfo(ctx).GetContinueAsNewSuggested() {
			stopAsking()
		}
	}
	return result, answer.Get(ctx, &result)
}

// settle records what came of the wish to confirm, and what the API showed.
func (m *manager) settle(ctx workflow.Context, in activities.ConfirmRunInput, result activities.ConfirmResult, err error) {
	now, plan, known := workflow.Now(ctx).UTC(), in.Expect.StateVersion, &m.known
	switch {
	case temporal.IsCanceledError(err):
		known.note(now, KindNote, "Gantry no longer asks Spacelift to confirm the plan of state version %d", plan)
		return
	case err != nil:
		known.settle(now, plan, PlanRefused, because(err))
		known.note(now, KindAction, "Gantry could not confirm the plan: %s", because(err))
		return
	}
	known.learn(now, result.Run)
	switch result.Outcome {
	case activities.Confirmed:
		known.settle(now, plan, PlanConfirmed, "")
		known.note(now, KindAction, "Gantry confirmed the plan (%s)", describePlan(known.facts()))
	case activities.AlreadyConfirmed:
		known.settle(now, plan, confirmedBy(result), result.Reason)
		known.note(now, KindAction, "Gantry did not confirm the plan again: %s", result.Reason)
	case activities.PlanChanged:
		known.settle(now, plan, PlanChanged, result.Reason)
		known.note(now, KindAction, "Gantry did not confirm: %s", result.Reason)
		if behind := result.Run.StateVersion < plan && !result.Run.State.Terminal(); behind {
			known.doubtAfter(now, result.Run)
		}
	default:
		known.settle(now, plan, PlanRefused, result.Reason)
		known.note(now, KindAction, "Spacelift refused to confirm: %s", result.Reason)
	}
}

func confirmedBy(result activities.ConfirmResult) PlanResult {
	if result.ByUs {
		return PlanConfirmed
	}
	return PlanAlready
}

// final reports whether trying again cannot help.
func final(err error) bool {
	app, ok := errors.AsType[*temporal.ApplicationError](err)
	return ok && app.NonRetryable()
}

// because is the part of an activity's error that people want to read.
func because(err error) string {
	if app, ok := errors.AsType[*temporal.ApplicationError](err); ok {
		return app.Message()
	}
	if _, ok := errors.AsType[*temporal.TimeoutError](err); ok {
		return "no answer in time"
	}
	if wrapper, ok := errors.AsType[*temporal.ActivityError](err); ok {
		return wrapper.Unwrap().Error()
	}
	return err.Error()
}
