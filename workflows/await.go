package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"
)

// await blocks until a condition holds. It returns an error if the execution is
// canceled, even when the condition holds by then.
func await(ctx workflow.Context, until func() bool) error {
	if err := workflow.Await(ctx, until); err != nil {
		return err
	}
	return ctx.Err()
}

// awaitFor is await with a timeout, and reports whether the condition holds. The summary
// is that of the timer.
func awaitFor(ctx workflow.Context, timeout time.Duration, summary string, until func() bool) (bool, error) {
	ok, err := workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{Timeout: timeout, TimerOptions: timer(summary)}, until)
	if err != nil {
		return ok, err
	}
	return ok, ctx.Err()
}
