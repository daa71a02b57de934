package activities

import (
	"context"
	"errors"
	"time"

	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi"
)

const (
	// freshFor is how long what an activity has just read of Spacelift counts as the
	// reason for an act, from the arrival of the answer to the sending of the act. In
	// between are Gantry's own rules and freezes and, at times, a token and a
	// connection: milliseconds, unless the process is paused.
	freshFor = time.Second

	// freshTries is how often an activity checks anew before it leaves that to its
	// next attempt.
	freshTries = 3
)

// fresh marks the acts of ctx as resting on what was read at a time.
func fresh(ctx context.Context, read time.Time) context.Context {
	return spaceliftapi.WithCheck(ctx, read, freshFor)
}

// checkedAnew carries out an activity, and does so again from its check on while
// nothing was sent because that had grown old, or Spacelift refused the token.
func checkedAnew[T any](carryOut func() (T, error)) (T, error) {
	for try := 1; ; try++ {
		result, err := carryOut()
		if try == freshTries || !errors.Is(err, spacelift.ErrStale) && !errors.Is(err, spacelift.ErrTokenRefused) {
			return result, err
		}
	}
}
