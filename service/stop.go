package service

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
)

// callGrace is how long the calls under way may take to end once the worker is
// told to stop. Most are answered in a fraction of it. It is waited for before
// the stages of the worker's own stop, each with shutdownGrace, would be.
const callGrace = time.Second

// errTypeStopping is the type of the error of an activity that was cut off
// because its worker stops. It does not end an activity: the next worker makes
// the call again, and looks before it acts.
const errTypeStopping = "Stopping"

var errStopping = errors.New("the worker was stopped meanwhile")

// cutOff makes activities end soon after stopping has, whatever they wait for.
// Nobody else does: the SDK stops in stages that wait for each other, and local
// activities are told last. Meanwhile a Spacelift that hangs keeps them, and so
// does a question to an execution, which no worker answers any more.
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

// ExecuteActivity implements interceptor.ActivityInboundInterceptor. What has
// been answered, or refused for good, counts all the same.
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
