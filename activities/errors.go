package activities

import (
	"context"
	"errors"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/temporal"

	"github.com/gantryhq/gantry/spacelift"
)

// CalledOffDetails is part of the canceled error of an activity that its workflow
// called off.
type CalledOffDetails struct {
	// Sent is true if an act had been sent, and it is unknown whether it happened.
	Sent   bool   `json:"sent,omitempty"`
	Reason string `json:"reason"` // the error that the activity met
}

// endedBy returns the canceled error of an activity that its workflow called off
// while it met an error; nil if it was not. A process that stops and a time-out
// call nothing off: Temporal tries the activity again.
func endedBy(ctx context.Context, err error) error {
	if ctx.Err() == nil || !temporal.IsCanceledError(context.Cause(ctx)) {
		return nil
	}
	return temporal.NewCanceledError(CalledOffDetails{Sent: errors.Is(err, spacelift.ErrAmbiguous), Reason: err.Error()})
}

// CalledOff reports whether an activity's error means that its workflow called
// the activity off, so that the error says nothing about the act. An attempt that
// did not notice, because it does not heartbeat, ends with its own error, and
// Temporal does not try it again.
func CalledOff(err error) bool {
	if temporal.IsCanceledError(err) {
		return true
	}
	ended, ok := errors.AsType[*temporal.ActivityError](err)
	return ok && ended.RetryState() == enums.RETRY_STATE_CANCEL_REQUESTED
}

// The types of application errors that end an activity permanently.
const (
	ErrTypeUnknownAccount = "UnknownAccount"
	ErrTypeNotFound       = "NotFound"
	ErrTypeUnauthorized   = "Unauthorized"
	ErrTypeSchemaMismatch = "SchemaMismatch"
	ErrTypeUndeliverable  = "Undeliverable" // a channel will not take the message
)

// ErrTypeUnavailable is the type of the error when a channel takes no messages for
// a time. It does not end an activity.
const ErrTypeUnavailable = "Unavailable"

// ErrTypeRateLimited is the type of the error when Spacelift wants fewer calls:
// none for NextRetryDelay, if it named a time. It does not end an activity.
const ErrTypeRateLimited = "RateLimited"

// classify distinguishes an activity that was called off from one that failed. It
// marks errors that trying again cannot fix, and passes on the delay that
// Spacelift asks for. The policy retries all others, ErrAmbiguous among them, since
// each attempt checks before it acts.
func classify(ctx context.Context, err error) error {
	if off := endedBy(ctx, err); off != nil {
		return off
	}
	for _, final := range []struct {
		is   error
		kind string
	}{
		{spacelift.ErrNotFound, ErrTypeNotFound},
		{spacelift.ErrUnauthorized, ErrTypeUnauthorized},
		{spacelift.ErrSchemaMismatch, ErrTypeSchemaMismatch},
	} {
		if errors.Is(err, final.is) {
			return temporal.NewNonRetryableApplicationError(err.Error(), final.kind, err)
		}
	}
	if limited, ok := errors.AsType[*spacelift.RateLimitedError](err); ok {
		return temporal.NewApplicationErrorWithOptions(err.Error(), ErrTypeRateLimited,
			temporal.ApplicationErrorOptions{Cause: err, NextRetryDelay: limited.RetryAfter})
	}
	return err
}

// refusal reports whether Spacelift understood a request and refused it.
func refusal(err error) bool {
	for _, other := range []error{
		spacelift.ErrAmbiguous, spacelift.ErrNotFound, spacelift.ErrUnauthorized, spacelift.ErrSchemaMismatch,
		spacelift.ErrTokenRefused, spacelift.ErrStale,
	} {
		if errors.Is(err, other) {
			return false
		}
	}
	if _, limited := errors.AsType[*spacelift.RateLimitedError](err); limited {
		return false
	}
	_, said := errors.AsType[*spacelift.GraphQLError](err)
	return said
}

// ErrTypeNoSecret is the type of the error when a webhook can't be updated,
// because its secret is not known.
const ErrTypeNoSecret = "NoSecret"

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// ErrTypeAmbiguous is the type of the error when it is unknown whether an act
// happened. It does not end an activity: the next attempt checks.
const ErrTypeAmbiguous = "Ambiguous"

// unclear returns the error of an act that may have happened. The next attempt
// starts when the API must show it.
func unclear(ctx context.Context, err error) error {
	if off := endedBy(ctx, err); off != nil {
		return off
	}
	return temporal.NewApplicationErrorWithOptions(err.Error(), ErrTypeAmbiguous,
		temporal.ApplicationErrorOptions{Cause: err, NextRetryDelay: settled})
}

// unanswered reports whether an error says that Temporal itself did not answer.
func unanswered(err error) bool {
	_, unavailable := errors.AsType[*serviceerror.Unavailable](err)
	_, late := errors.AsType[*serviceerror.DeadlineExceeded](err)
	return unavailable || late || errors.Is(err, context.DeadlineExceeded)
}
