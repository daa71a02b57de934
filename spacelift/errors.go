package spacelift

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// The errors that package spaceliftapi returns. Other errors come from the context,
// the network or a server in trouble: a later attempt may succeed. Test with
// errors.Is and errors.AsType.
var (
	// ErrNotFound: the stack, run, webhook or policy doesn't exist, or the API key
	// has no access to it. Spacelift doesn't distinguish the two.
	ErrNotFound = errors.New("not found")

	// ErrUnauthorized: the API key, or the token made from it, was refused, and a
	// new token didn't help.
	ErrUnauthorized = errors.New("unauthorized")

	// ErrForbidden: the API key is valid, but isn't allowed to do this. It is an
	// ErrUnauthorized as well.
	ErrForbidden = fmt.Errorf("%w for this object, though signed in", ErrUnauthorized)

	// ErrSchemaMismatch: Spacelift doesn't know a field or type that we use, or
	// answers with another type. Older self-hosted versions do this.
	ErrSchemaMismatch = errors.New("spacelift's schema differs from the one Gantry uses")

	// ErrAmbiguous: a mutation was sent, and we can't tell whether it happened: the
	// answer got lost, or the server failed on the way. Read the object before you
	// repeat the call: mutations have no idempotency key. Every other error of a
	// mutation means that it did not happen.
	ErrAmbiguous = errors.New("sent, but it is unknown whether it happened")

	// ErrTokenRefused: Spacelift refused the token and did not carry out the
	// mutation. The client has dropped the token, and the next call gets a new one.
	// Check the mutation's preconditions again, and send it again.
	ErrTokenRefused = errors.New("token refused; the next attempt uses a new one")

	// ErrStale: a mutation was not sent, because the check before it was too old: see
	// spaceliftapi.WithCheck. Check again.
	ErrStale = errors.New("not sent: the check before it was too long ago")
)

// RateLimitedError reports that Spacelift wants fewer calls. The client has
// retried a read, but not a mutation. Nothing happened.
type RateLimitedError struct {
	RetryAfter time.Duration // the wait that Spacelift asked for; 0 when it named none
}

func (e *RateLimitedError) Error() string {
	if e.RetryAfter == 0 {
		return "rate limited"
	}
	return fmt.Sprintf("rate limited; retry in %s", e.RetryAfter)
}

// GraphQLError holds Spacelift's own messages. It is in the chain of every error
// that comes from a GraphQL answer.
type GraphQLError struct {
	Messages []string // one per error; problems with single arguments follow in brackets
}

// maxErrorText limits the text, because logs and Temporal histories keep it.
const maxErrorText = 600

func (e *GraphQLError) Error() string {
	text := "spacelift says: " + strings.Join(e.Messages, "; ")
	if len(text) > maxErrorText {
		text = strings.ToValidUTF8(text[:maxErrorText], "") + "…"
	}
	return text
}

// IllegalStateError reports that Spacelift refused to act on a run because of
// the state of the run, its stack or its reviews. Nothing happened; read the run
// again.
//
// Assumption: the wording of such refusals is undocumented, so the client
// recognizes them by words that such a message almost certainly contains. A
// refusal without them is a plain *GraphQLError; nothing happened then either.
type IllegalStateError struct {
	Refusal *GraphQLError
}

func (e *IllegalStateError) Error() string { return "not possible now: " + e.Refusal.Error() }

func (e *IllegalStateError) Unwrap() error { return e.Refusal }
