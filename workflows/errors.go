package workflows

import (
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/managed"
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

// retryDelay returns the time before which nothing shows whether an act happened, if its
// answer was lost: then another attempt would not notice this one. It returns zero for
// acts whose repeat does no harm.
func retryDelay(n managed.Next, err error) time.Duration {
	if app := appError(err); app != nil {
		return app.NextRetryDelay()
	}
	if n.Do == managed.DoReplace { // a time-out, most likely
		return activities.Settled
	}
	return 0
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
