package workflows

import (
	"errors"

	"go.temporal.io/sdk/temporal"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide"
)

// appError returns the error that an activity raised; nil if it is another one.
func appError(err error) *temporal.ApplicationError {
	app, _ := errors.AsType[*temporal.ApplicationError](err)
	return app
}

// notFound reports whether Spacelift does not know the run or stack in question.
func notFound(err error) bool {
	app := appError(err)
	return app != nil && app.Type() == activities.ErrTypeNotFound
}

// final reports whether trying again cannot help.
func final(err error) bool {
	app := appError(err)
	return app != nil && app.NonRetryable()
}

// because returns the part of an activity's error that people want to read.
func because(err error) string {
	if app := appError(err); app != nil {
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
func asError(r *decide.Refusal) error {
	if r == nil {
		return nil
	}
	return temporal.NewNonRetryableApplicationError(r.Reason, r.Type, nil)
}
