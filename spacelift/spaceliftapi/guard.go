package spaceliftapi

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/Khan/genqlient/graphql"

	"github.com/gantryhq/gantry/spacelift"
)

// WithCheck sets when the caller of a mutation last checked its preconditions. A
// mutation that isn't sent within that time fails with ErrStale, and nothing
// happens: the process may have been paused, or a token or a connection took
// long.
func WithCheck(ctx context.Context, checked time.Time, within time.Duration) context.Context {
	return context.WithValue(ctx, checkKey{}, check{at: checked, within: within})
}

type checkKey struct{}

type check struct {
	at     time.Time
	within time.Duration
}

// age returns how long ago the check was. Only the wall clock counts the time
// that a machine was suspended.
func (c check) age() time.Duration {
	now := time.Now()
	return max(now.Sub(c.at), now.Round(0).Sub(c.at.Round(0)))
}

// guard stops a mutation whose check is too old. It reads the clock at the last
// possible moment, when the connection takes the request's body: without a body
// there is no operation. A nil guard lets everything pass.
type guard struct {
	check check
	sent  atomic.Int64 // the check's age when the body was taken, in nanoseconds
	stale atomic.Bool
}

func guardOf(ctx context.Context, req *graphql.Request) *guard {
	c, ok := ctx.Value(checkKey{}).(check)
	if !ok || !changes(req) {
		return nil
	}
	return &guard{check: c}
}

// watch puts the guard in front of a request's body.
func (g *guard) watch(post *http.Request) {
	if g == nil {
		return
	}
	body := post.GetBody
	post.Body = &guardedBody{ReadCloser: post.Body, guard: g}
	// The transport takes the body again when the first connection was closed
	// before it took anything.
	post.GetBody = func() (io.ReadCloser, error) {
		again, err := body()
		return &guardedBody{ReadCloser: again, guard: g}, err
	}
}

// stopped reports whether the guard held the request back.
func (g *guard) stopped() bool { return g != nil && g.stale.Load() }

// age returns the check's age when the request was sent, or 0 when it wasn't.
func (g *guard) age() time.Duration {
	if g == nil || g.stopped() {
		return 0
	}
	return time.Duration(g.sent.Load())
}

type guardedBody struct {
	io.ReadCloser
	guard *guard
	taken bool
}

func (b *guardedBody) Read(p []byte) (int, error) {
	if !b.taken {
		age := b.guard.check.age()
		if age > b.guard.check.within {
			b.guard.stale.Store(true)
			return 0, spacelift.ErrStale
		}
		b.taken = true
		b.guard.sent.Store(int64(max(age, 1)))
	}
	return b.ReadCloser.Read(p)
}
