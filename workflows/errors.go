package workflows

import (
	"errors"

	"go.temporal.io/sdk/temporal"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide"
)

// notFound reports whether Spacelift does not know what it was asked for.
func notFound(err error) bool {
	app, ok := errors.AsType[*temporal.ApplicationError](err)
	return ok && app.Type() == activities.ErrTypeNotFound
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

// asError returns a refusal as the error of an update; nil for a nil refusal.
func asError(no *decide.Refusal) error {
	if no == nil {
		return nil
	}
	return temporal.NewNonRetryableApplicationError(no.Reason, no.Type, nil)
}
