package spacelift

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/Khan/genqlient/graphql"
)

// WithCheck says when the caller of a mutation last read what the mutation
// depends on. A mutation that does not get onto its way within so long of that
// fails with ErrStale, and nothing happens: the process may have been paused, or
// a token or a connection was long in coming.
func WithCheck(ctx context.Context, checked time.Time, within time.Duration) context.Context {
	return context.WithValue(ctx, checkKey{}, check{at: checked, within: within})
}

type checkKey struct{}

type check struct {
	at     time.Time
	within time.Duration
}

// age is how long ago the check was. A machine that was suspended shows that on
// the wall clock alone.
func (c check) age() time.Duration {
	now := time.Now()
	return max(now.Sub(c.at), now.Round(0).Sub(c.at.Round(0)))
}

// guard holds a mutation back whose check is too old. It looks at the clock when
// the connection takes the request's body, which is the last moment there is: an
// operation without its body is none. nil lets everything pass.
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

// watch puts the guard before a request's body.
func (g *guard) watch(post *http.Request) {
	if g == nil {
		return
	}
	body := post.GetBody
	post.Body = &guardedBody{ReadCloser: post.Body, guard: g}
	// The transport takes the body again when a connection was closed before it
	// took anything.
	post.GetBody = func() (io.ReadCloser, error) {
		again, err := body()
		return &guardedBody{ReadCloser: again, guard: g}, err
	}
}

// stopped reports whether the guard held the request back.
func (g *guard) stopped() bool { return g != nil && g.stale.Load() }

// age is how old the check was when the request was sent; 0 when it was not.
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
			return 0, ErrStale
		}
		b.taken = true
		b.guard.sent.Store(int64(max(age, 1)))
	}
	return b.ReadCloser.Read(p)
}
