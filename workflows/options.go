package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// withQuickCall is for calls that Spacelift mostly answers at once. They run as
// local activities inside the workflow task: one event in the history instead
// of six, and no way through a task queue. The task stays open meanwhile, so
// this must end well within its ten seconds; who calls falls back on
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

// withQuickAct is withQuickCall for what follows from somebody's decision: an
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

// withOneTry is for the calls of Reconcile: what fails is for the next tick. A
// list of many pages may take its time; the SDK keeps the workflow task alive
// meanwhile.
func withOneTry(ctx workflow.Context) workflow.Context { return once(ctx, 2*time.Minute) }

// withSurvey is withOneTry for lists of hundreds of pages.
func withSurvey(ctx workflow.Context) workflow.Context { return once(ctx, 5*time.Minute) }

// once makes local activities take so long at most, and try once.
func once(ctx workflow.Context, long time.Duration) workflow.Context {
	return workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout:    long,
		ScheduleToCloseTimeout: long,
		RetryPolicy:            &temporal.RetryPolicy{MaximumAttempts: 1},
	})
}

// withGlance is for asking Temporal for what a retry is better with, and can do
// without.
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
// is away. After a week they are given up: a self-hosted Spacelift keeps the
// workspace of a plan for seven days
// (https://docs.spacelift.io/self-hosted/latest/installing-spacelift/reference-architecture/reference/object-storage).
//
// A canceled call is waited for, since what it did counts.
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

// withPatientRead is for reading what a status is better with, and can do
// without.
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

// withNotification is for messages to people, which are given up after a time.
func withNotification(ctx workflow.Context, within time.Duration) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout:    30 * time.Second,
		ScheduleToCloseTimeout: within,
		WaitForCancellation:    true, // a message that arrived is not to be sent again
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    2 * time.Second,
			BackoffCoefficient: 2,
			MaximumInterval:    5 * time.Minute,
			MaximumAttempts:    100,
		},
	})
}

// withTelling is for notifying many executions. Another worker takes over within
// heartbeat if one dies, and goes on where that was. It is tried for a day:
// without it a run that a freeze without an end holds would learn of its end
// late.
func withTelling(ctx workflow.Context) workflow.Context {
	options := workflow.GetActivityOptions(forADay(ctx, 30*time.Minute))
	options.HeartbeatTimeout, options.WaitForCancellation = heartbeat, false
	return workflow.WithActivityOptions(ctx, options)
}

// withTellingOnce is withTelling for a tick of Reconcile: the next one goes on.
func withTellingOnce(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		ScheduleToStartTimeout: 30 * time.Second,
		StartToCloseTimeout:    2 * time.Minute,
		HeartbeatTimeout:       heartbeat,
		RetryPolicy:            &temporal.RetryPolicy{MaximumAttempts: 1},
	})
}

// heartbeat is how long a worker may be silent about a long activity.
const heartbeat = 10 * time.Second

// withRetrying is for calls of a retry. After a day it is given up: nobody waits
// for a run of yesterday.
func withRetrying(ctx workflow.Context) workflow.Context { return forADay(ctx, time.Minute) }

// forADay is for calls that may take so long each and are tried for a day.
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
