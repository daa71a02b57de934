package web

import (
	"context"
	"time"
)

// Pages that renew themselves after an event are all asked for in the same moment. Each
// takes a few MB while it is made, so they are made in turns. A page whose turn doesn't
// come is made nevertheless: others may wait for Temporal or Spacelift.
const (
	maxTurns     = 4
	turnPatience = 5 * time.Second
)

// turns bounds how many pages are made at the same time.
type turns chan struct{}

// take waits for a turn. The caller must call done after it.
func (t turns) take(ctx context.Context) (done func()) {
	patience := time.NewTimer(turnPatience)
	defer patience.Stop()
	select {
	case t <- struct{}{}:
		return func() { <-t }
	case <-patience.C:
	case <-ctx.Done():
	}
	return func() {}
}
