package workflows

import (
	"errors"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
)

// TriggerRun triggers a run that a person asked for, once, and has it managed with the
// person behind it. Its result is the run, or the reason why there is none. TriggerRun
// fails only when it is canceled.
func TriggerRun(ctx workflow.Context, in managed.TriggerRunInput) (managed.TriggerRunOutcome, error) {
	outcome, err := triggerRun(withTrigger(ctx), in)
	switch {
	case ctx.Err() != nil:
		return managed.TriggerRunOutcome{}, ctx.Err()
	case err != nil:
		return managed.TriggerRunOutcome{Reason: whyUntriggered(err)}, nil
	case outcome.Reason != "":
		return outcome, nil
	}
	behind := managed.Bounded([]string{in.By})
	startOrSignal(ctx, managed.ManageRunInput{Run: outcome.Run, Behind: behind}, managed.RunEvents{Behind: behind})
	return outcome, nil
}

func triggerRun(ctx workflow.Context, in managed.TriggerRunInput) (outcome managed.TriggerRunOutcome, err error) {
	var a *activities.Activities
	wanted := activities.TriggerRunInput{TriggerRunInput: in}
	err = workflow.ExecuteActivity(ctx, a.NewestRun, in).Get(ctx, &wanted.Newest)
	if err == nil {
		err = workflow.ExecuteActivity(ctx, a.TriggerRun, wanted).Get(ctx, &outcome)
	}
	return outcome, err
}

// whyUntriggered returns why no run was triggered, as far as is known.
func whyUntriggered(err error) string {
	app := appError(err)
	if _, late := errors.AsType[*temporal.TimeoutError](err); late || app != nil && app.Type() == activities.ErrTypeAmbiguous {
		return "Spacelift did not answer in time, and may have made a run; look at the stack's runs before you trigger another one"
	}
	return because(err)
}
