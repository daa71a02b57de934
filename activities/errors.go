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
	ErrTypeNoSecret       = "NoSecret"      // a webhook can't be updated, because its secret is not known
)

// The types of application errors after which an activity is tried again.
const (
	ErrTypeUnavailable = "Unavailable" // a channel takes no messages for a time
	ErrTypeRateLimited = "RateLimited" // Spacelift wants fewer calls: none for NextRetryDelay, if it named a time
	ErrTypeAmbiguous   = "Ambiguous"   // it is unknown whether an act happened: the next attempt checks
)

// classify distinguishes an activity that was called off from one that failed. It
// marks errors that trying again cannot fix, and passes on the delay that
// Spacelift asks for. The policy retries all others, ErrAmbiguous among them, since
// each attempt checks before it acts.
func classify(ctx context.Context, err error) error {
	if off := endedBy(ctx, err); off != nil {
		return off
	}
	if kind := finalType(err); kind != "" {
		return temporal.NewNonRetryableApplicationError(err.Error(), kind, err)
	}
	if limited, ok := errors.AsType[*spacelift.RateLimitedError](err); ok {
		return temporal.NewApplicationErrorWithOptions(err.Error(), ErrTypeRateLimited,
			temporal.ApplicationErrorOptions{Cause: err, NextRetryDelay: limited.RetryAfter})
	}
	return err
}

// finalType returns the type of an error of Spacelift's that trying again cannot fix;
// empty for others.
func finalType(err error) string {
	switch {
	case errors.Is(err, spacelift.ErrNotFound):
		return ErrTypeNotFound
	case errors.Is(err, spacelift.ErrUnauthorized):
		return ErrTypeUnauthorized
	case errors.Is(err, spacelift.ErrSchemaMismatch):
		return ErrTypeSchemaMismatch
	}
	return ""
}

// refusal reports whether Spacelift understood a request and refused it.
func refusal(err error) bool {
	if finalType(err) != "" || errors.Is(err, spacelift.ErrAmbiguous) || errors.Is(err, spacelift.ErrTokenRefused) || errors.Is(err, spacelift.ErrStale) {
		return false
	}
	return is[*spacelift.GraphQLError](err) && !is[*spacelift.RateLimitedError](err)
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// unclear returns the error of an act that may have happened. The next attempt
// starts when the API must show it.
func unclear(ctx context.Context, err error) error {
	if off := endedBy(ctx, err); off != nil {
		return off
	}
	return temporal.NewApplicationErrorWithOptions(err.Error(), ErrTypeAmbiguous,
		temporal.ApplicationErrorOptions{Cause: err, NextRetryDelay: Settled})
}

// unanswered reports whether an error says that Temporal itself did not answer.
func unanswered(err error) bool {
	return is[*serviceerror.Unavailable](err) || is[*serviceerror.DeadlineExceeded](err) || errors.Is(err, context.DeadlineExceeded)
}
