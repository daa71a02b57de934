package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// withQuickCall is for calls that Spacelift mostly answers immediately. They run
// as local activities inside the workflow task: one event in the history instead
// of six, and no detour through a task queue. The task stays open meanwhile, so a
// call must end well within its ten seconds; callers fall back on
// withSpaceliftCall.
func withQuickCall(ctx workflow.Context) workflow.Context {
	return workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout:    3 * time.Second,
		ScheduleToCloseTimeout: 5 * time.Second,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    200 * time.Millisecond,
			BackoffCoefficient: 2,
			MaximumAttempts:    3,
		},
	})
}

// fetchRun reads a run, with the patience of withQuickCall. why is the summary.
func fetchRun(ctx workflow.Context, ref spacelift.RunRef, why string) (run spacelift.Run, err error) {
	var a *activities.Activities
	err = workflow.ExecuteLocalActivity(summarized(withQuickCall(ctx), why), a.ReadRun, ref).Get(ctx, &run)
	return run, err
}

// withQuickAct is withQuickCall for what follows from a person's decision: an
// activity of its own, which begins when the decision is in the history.
func withQuickAct(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout:    3 * time.Second,
		ScheduleToCloseTimeout: 6 * time.Second,
		WaitForCancellation:    true,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    200 * time.Millisecond,
			BackoffCoefficient: 2,
			MaximumAttempts:    3,
		},
	})
}

// withOneTry is for the calls of Reconcile: the next tick is the retry. A list of
// many pages may take its time; the SDK keeps the workflow task alive meanwhile.
func withOneTry(ctx workflow.Context) workflow.Context { return once(ctx, 2*time.Minute) }

// withSurvey is withOneTry for lists of hundreds of pages.
func withSurvey(ctx workflow.Context) workflow.Context { return once(ctx, 5*time.Minute) }

// once allows local activities one attempt of limited length.
func once(ctx workflow.Context, long time.Duration) workflow.Context {
	return workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout:    long,
		ScheduleToCloseTimeout: long,
		RetryPolicy:            &temporal.RetryPolicy{MaximumAttempts: 1},
	})
}

// withGlance is for questions to Temporal whose answer helps but isn't required.
func withGlance(ctx workflow.Context) workflow.Context {
	return workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout:    10 * time.Second,
		ScheduleToCloseTimeout: 15 * time.Second,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    200 * time.Millisecond,
			BackoffCoefficient: 2,
			MaximumAttempts:    4,
		},
	})
}

// withSpaceliftCall is for calls that must get through, however long Spacelift
// is away. Gantry gives up after a week: a self-hosted Spacelift keeps the
// workspace of a plan for seven days
// (https://docs.spacelift.io/self-hosted/latest/installing-spacelift/reference-architecture/reference/object-storage).
//
// The workflow waits for a canceled call, since its effect counts.
func withSpaceliftCall(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout:    30 * time.Second,
		ScheduleToCloseTimeout: 7 * 24 * time.Hour,
		WaitForCancellation:    true,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    time.Second,
			BackoffCoefficient: 2,
			MaximumInterval:    time.Minute,
			MaximumAttempts:    20_000, // more than fit into the week; the SDK's test environment takes 0 for 10
		},
	})
}

// withPatientRead is for reads whose answer helps a status but isn't required.
func withPatientRead(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout:    time.Minute,
		ScheduleToCloseTimeout: 15 * time.Minute,
		WaitForCancellation:    true,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    2 * time.Second,
			BackoffCoefficient: 2,
			MaximumInterval:    time.Minute,
			MaximumAttempts:    100,
		},
	})
}

// withNotification is for messages to people, which Gantry gives up after a time.
func withNotification(ctx workflow.Context, within time.Duration) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout:    30 * time.Second,
		ScheduleToCloseTimeout: within,
		WaitForCancellation:    true, // a message that arrived must not be sent again
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    2 * time.Second,
			BackoffCoefficient: 2,
			MaximumInterval:    5 * time.Minute,
			MaximumAttempts:    100,
		},
	})
}

// withBroadcast is for signaling many executions. If a worker dies, another one
// takes over within heartbeat, and continues where it was. Gantry tries for a
// day: otherwise a run that an open-ended freeze holds would learn late that the
// freeze was lifted.
func withBroadcast(ctx workflow.Context) workflow.Context {
	options := workflow.GetActivityOptions(forADay(ctx, 30*time.Minute))
	options.HeartbeatTimeout, options.WaitForCancellation = heartbeat, false
	return workflow.WithActivityOptions(ctx, options)
}

// withOneBroadcast is withBroadcast for a tick of Reconcile: the next tick
// continues.
func withOneBroadcast(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		ScheduleToStartTimeout: 30 * time.Second,
		StartToCloseTimeout:    2 * time.Minute,
		HeartbeatTimeout:       heartbeat,
		RetryPolicy:            &temporal.RetryPolicy{MaximumAttempts: 1},
	})
}

// heartbeat bounds the silence of a worker about a long activity.
const heartbeat = 10 * time.Second

// withRetrying is for calls of a retry. Gantry gives up after a day: nobody waits
// for yesterday's run.
func withRetrying(ctx workflow.Context) workflow.Context { return forADay(ctx, time.Minute) }

// withTrigger is for calls that trigger a run for a person. An attempt whose answer was
// lost leaves time for the one that looks for its run.
func withTrigger(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout:    30 * time.Second,
		ScheduleToCloseTimeout: managed.TriggerPatience,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    time.Second,
			BackoffCoefficient: 2,
			MaximumInterval:    15 * time.Second,
			MaximumAttempts:    100,
		},
	})
}

// forADay is for calls that are tried for a day, with a limit for each attempt.
func forADay(ctx workflow.Context, each time.Duration) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout:    each,
		ScheduleToCloseTimeout: 24 * time.Hour,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    time.Second,
			BackoffCoefficient: 2,
			MaximumInterval:    time.Minute,
			MaximumAttempts:    5000, // more than fit into the day; the SDK's test environment takes 0 for 10
		},
	})
}
