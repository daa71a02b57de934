package spaceliftapi

import (
	"errors"
	"strings"

	"github.com/gantryhq/gantry/spacelift"
)

var illegalStateWords = []string{
	"state", "transition", "cannot", "can't", "can not", "could not be", "not possible", "not allowed", "no longer",
	"already", "must be", "only ", "is not", "isn't", "needs approval", "not approved", "not been approved", "locked",
	"disabled", "too late", "expired",
}

// refusedRun returns an IllegalStateError for a refusal because of the run's
// state, and every other error as it is.
func refusedRun(err error) error {
	for _, known := range []error{spacelift.ErrNotFound, spacelift.ErrUnauthorized, spacelift.ErrSchemaMismatch, spacelift.ErrAmbiguous, spacelift.ErrTokenRefused, spacelift.ErrStale} {
		if errors.Is(err, known) {
			return err
		}
	}
	refusal, ok := errors.AsType[*spacelift.GraphQLError](err)
	if !ok {
		return err
	}
	if _, limited := errors.AsType[*spacelift.RateLimitedError](err); limited {
		return err
	}
	if saysAny(refusal, illegalStateWords...) {
		return &spacelift.IllegalStateError{Refusal: refusal}
	}
	return err
}

// saysAny reports whether any message contains any of the words, ignoring case.
func saysAny(e *spacelift.GraphQLError, words ...string) bool {
	for _, m := range e.Messages {
		m = strings.ToLower(m)
		for _, w := range words {
			if strings.Contains(m, w) {
				return true
			}
		}
	}
	return false
}
