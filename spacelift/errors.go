package spacelift

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// What a call of a Client can end in, besides the errors of its context, of the
// network and of a server in trouble, all of which may pass when tried again
// later. Test with errors.Is and errors.AsType.
var (
	// ErrNotFound: there is no such stack, run, webhook or policy, or the API key
	// may not see it. Spacelift doesn't tell the two apart.
	ErrNotFound = errors.New("not found")

	// ErrUnauthorized: the API key, or the token made from it, was refused, and a
	// new token didn't help.
	ErrUnauthorized = errors.New("unauthorized")

	// ErrForbidden: the API key is good, but may not do this. It is an
	// ErrUnauthorized as well.
	ErrForbidden = fmt.Errorf("%w for this object, though signed in", ErrUnauthorized)

	// ErrSchemaMismatch: Spacelift doesn't know a field or type we use, or answers
	// with another type. Older self-hosted versions do.
	ErrSchemaMismatch = errors.New("spacelift's schema is not the one we know")

	// ErrAmbiguous: a mutation was sent and nobody knows whether it happened: the
	// answer got lost, or the server failed on the way. Look before repeating it:
	// mutations have no idempotency key. Every error of a mutation that is not
	// ErrAmbiguous means that it did not happen.
	ErrAmbiguous = errors.New("sent, but it is unknown whether it happened")

	// ErrTokenRefused: Spacelift did not carry out a mutation, because it refused
	// the token. The client has forgotten the token, and the next call gets a new
	// one. Check again what the mutation depends on, and send it again.
	ErrTokenRefused = errors.New("the token was refused, and a new one is to be tried")

	// ErrStale: a mutation was not sent, because the check before it was too old:
	// see WithCheck. Check again.
	ErrStale = errors.New("not sent, because the check before it was too long ago")
)

// RateLimitedError says that Spacelift wants fewer calls. A read has been
// repeated before, a mutation has not. Nothing happened.
type RateLimitedError struct {
	RetryAfter time.Duration // as Spacelift asked; 0 when it named no time
}

func (e *RateLimitedError) Error() string {
	if e.RetryAfter == 0 {
		return "rate limited"
	}
	return fmt.Sprintf("rate limited, come back in %s", e.RetryAfter)
}

// GraphQLError carries what Spacelift itself said. It is in the chain of every
// error that came from a GraphQL answer.
type GraphQLError struct {
	Messages []string // one per error; problems with single arguments follow in brackets
}

// maxErrorText bounds the text: errors end up in logs and in Temporal histories.
const maxErrorText = 600

func (e *GraphQLError) Error() string {
	text := "spacelift says: " + strings.Join(e.Messages, "; ")
	if len(text) > maxErrorText {
		text = strings.ToValidUTF8(text[:maxErrorText], "") + "…"
	}
	return text
}

// IllegalStateError says that Spacelift refused to act on a run because of the
// state the run, its stack or its reviews are in. Nothing happened; read the run
// again.
//
// Assumption: the wording of such refusals is documented nowhere, so it is
// recognized by words that such a message can hardly do without. A refusal
// without them is a plain *GraphQLError, and means just as surely that nothing
// happened.
type IllegalStateError struct {
	Refusal *GraphQLError
}

func (e *IllegalStateError) Error() string { return "not possible now: " + e.Refusal.Error() }

func (e *IllegalStateError) Unwrap() error { return e.Refusal }

var illegalStateWords = []string{
	"state", "transition", "cannot", "can't", "can not", "could not be", "not possible", "not allowed", "no longer",
	"already", "must be", "only ", "is not", "isn't", "needs approval", "not approved", "not been approved", "locked",
	"disabled", "too late", "expired",
}

// refusedRun tells a refusal because of the run's state from other errors.
func refusedRun(err error) error {
	for _, known := range []error{ErrNotFound, ErrUnauthorized, ErrSchemaMismatch, ErrAmbiguous, ErrTokenRefused, ErrStale} {
		if errors.Is(err, known) {
			return err
		}
	}
	refusal, ok := errors.AsType[*GraphQLError](err)
	if !ok {
		return err
	}
	if _, limited := errors.AsType[*RateLimitedError](err); limited {
		return err
	}
	if saysAny(refusal, illegalStateWords...) {
		return &IllegalStateError{Refusal: refusal}
	}
	return err
}

// saysAny reports whether any message holds any of the words, in any case.
func saysAny(e *GraphQLError, words ...string) bool {
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
