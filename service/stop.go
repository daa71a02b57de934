package service

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
)

// callGrace bounds the time that calls under way take to end once the worker is
// stopped. Most need a fraction of it. It ends before the stages of the worker's
// own stop do, which have shutdownGrace each.
const callGrace = time.Second

// errTypeStopping is the error type of an activity that was cut off because its
// worker stops. Temporal retries the activity: the next worker repeats the call,
// and checks before it acts.
const errTypeStopping = "Stopping"

var errStopping = errors.New("the worker was stopped meanwhile")

// cutOff ends activities soon after the stop begins, whatever they wait for. The
// SDK doesn't: it stops in stages that wait for each other, and cancels local
// activities last. Until then they would wait for a Spacelift that hangs, or for
// a query that no worker answers any more.
type cutOff struct {
	interceptor.WorkerInterceptorBase
	calls context.Context // ends callGrace after the stop began
}

func newCutOff(stopping context.Context) *cutOff {
	calls, end := context.WithCancel(context.WithoutCancel(stopping))
	context.AfterFunc(stopping, func() { time.AfterFunc(callGrace, end) })
	return &cutOff{calls: calls}
}

// InterceptActivity implements interceptor.WorkerInterceptor.
func (c *cutOff) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	return &cutOffCall{ActivityInboundInterceptorBase: interceptor.ActivityInboundInterceptorBase{Next: next}, calls: c.calls}
}

type cutOffCall struct {
	interceptor.ActivityInboundInterceptorBase
	calls context.Context
}

// ExecuteActivity implements interceptor.ActivityInboundInterceptor. A result, or
// an error that isn't retried, counts even after the cut.
func (c *cutOffCall) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.calls, func() { cancel(errStopping) })()
	result, err := c.Next.ExecuteActivity(ctx, in)
	if err == nil || !errors.Is(context.Cause(ctx), errStopping) {
		return result, err
	}
	if app, ok := errors.AsType[*temporal.ApplicationError](err); ok && app.NonRetryable() {
		return result, err
	}
	return nil, temporal.NewApplicationErrorWithCause(errStopping.Error(), errTypeStopping, err)
}
