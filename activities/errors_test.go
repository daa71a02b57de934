package activities

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/spacelift"
)

// An activity that its workflow calls off does not fail: whatever error it met
// says nothing about the run.
func TestCalledOffIsNotFailed(t *testing.T) {
	canceled := func(cause error) context.Context {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		return ctx
	}
	late, leave := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer leave()
	for _, tc := range []struct {
		name string
		ctx  context.Context
		err  error
		off  bool
		sent bool
	}{
		{name: "a read", ctx: canceled(temporal.NewCanceledError()), err: fmt.Errorf("read run: %w", context.Canceled), off: true},
		{name: "a read that found nothing", ctx: canceled(temporal.NewCanceledError()), err: spacelift.ErrNotFound, off: true},
		{name: "an act that was on its way", ctx: canceled(temporal.NewCanceledError()), err: fmt.Errorf("confirm run: %w: %w", spacelift.ErrAmbiguous, context.Canceled), off: true, sent: true},
		{name: "the process stops", ctx: canceled(errors.New("worker is shutting down")), err: context.Canceled},
		{name: "the time is over", ctx: late, err: context.DeadlineExceeded},
		{name: "nobody called it off", ctx: t.Context(), err: spacelift.ErrNotFound},
	} {
		for kind, got := range map[string]error{"classify": classify(tc.ctx, tc.err), "unclear": unclear(tc.ctx, tc.err)} {
			if CalledOff(got) != tc.off {
				t.Errorf("%s/%s: %v, want it called off: %t", tc.name, kind, got, tc.off)
			}
			var details CalledOffDetails
			off, ok := errors.AsType[*temporal.CanceledError](got)
			if ok && (off.Details(&details) != nil || details.Sent != tc.sent || details.Reason != tc.err.Error()) {
				t.Errorf("%s/%s: %+v", tc.name, kind, details)
			}
		}
	}
}

// An attempt that did not notice that it was called off ends with an error of its
// own.
func TestAnActivityErrorIsAFailureUnlessItWasCalledOff(t *testing.T) {
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(time.Minute)
	env.SetWorkerOptions(worker.Options{DeadlockDetectionTimeout: time.Minute}) // a busy machine takes longer than a second
	fails := func(context.Context) error {
		return temporal.NewNonRetryableApplicationError("no such run", ErrTypeNotFound, nil)
	}
	env.RegisterActivity(fails)
	env.ExecuteWorkflow(func(ctx workflow.Context) error {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
		if err := workflow.ExecuteActivity(ctx, fails).Get(ctx, nil); err == nil || CalledOff(err) {
			return fmt.Errorf("%w, which is a failure", err)
		}
		off, callOff := workflow.WithCancel(ctx)
		callOff()
		if err := workflow.ExecuteActivity(off, fails).Get(ctx, nil); !CalledOff(err) {
			return fmt.Errorf("%w, which was called off", err)
		}
		return nil
	})
	if err := env.GetWorkflowError(); err != nil {
		t.Error(err)
	}
}
