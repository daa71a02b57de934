package workflows

import (
	"errors"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
)

// confirm carries out the decision to confirm a plan and records what came of
// it. It returns an error only when the execution is canceled.
func (m *manager) confirm(ctx workflow.Context, n managed.Next) error {
	var a *activities.Activities
	s := m.situation(ctx)
	in := managed.Confirmation(s, n)
	m.known.Send(s.Key(), n)
	var result managed.ConfirmResult
	err := m.call(ctx, n, a.ConfirmRun, in, &result)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	switch now := workflow.Now(ctx).UTC(); {
	case temporal.IsCanceledError(err):
		m.known.CalledOff(now, s.Key(), n)
	case err != nil:
		m.known.NotConfirmed(now, s.Key(), because(err))
	default:
		m.known.Confirmed(now, in, result)
	}
	return nil
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
