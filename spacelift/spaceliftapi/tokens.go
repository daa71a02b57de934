package spaceliftapi

import (
	"context"
	"sync"
	"time"
)

// Tokens are renewed this long before they expire, as spacectl does, or after
// nine tenths of a very short lifetime.
const renewBefore = 30 * time.Second

// When a renewal fails while the old token is still valid, the client uses the
// old token, and renews again after this pause.
const renewPause = 5 * time.Second

// token is a token that Spacelift gave for an API key.
type token struct {
	jwt    string
	key    APIKey
	issued time.Time
	renew  time.Time // when to get a new one
	ends   time.Time

	replaces bool // a token that Spacelift had refused
}

// tokens returns the current token and exchanges the API key for a new one when
// necessary: one exchange at a time for all callers. The zero value with its two
// functions set is ready.
type tokens struct {
	credentials Credentials
	exchange    func(context.Context, APIKey) (jwt string, life time.Duration, err error)

	mu      sync.Mutex
	current *token
	pending *exchange
	refused bool // Spacelift refused the last token, and there is no newer one yet
}

// exchange is an exchange in flight. Its fields are set before done is closed.
type exchange struct {
	key   APIKey
	done  chan struct{}
	token *token
	err   error
}

// get returns a valid token. While the current one is valid, callers don't wait:
// it is renewed in the background. Otherwise get waits for an exchange, but no
// longer than ctx.
func (t *tokens) get(ctx context.Context) (*token, error) {
	key, keyErr := t.credentials.APIKey()
	for {
		cur, x := t.currentOrExchange(ctx, key, keyErr)
		if cur != nil {
			return cur, nil
		}
		if x == nil {
			return nil, keyErr
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-x.done:
		}
		if x.key == key {
			return x.token, x.err
		}
	}
}

// currentOrExchange returns the current token when it is valid, and otherwise the
// exchange to wait for. It begins an exchange when one is due and none is in
// flight.
func (t *tokens) currentOrExchange(ctx context.Context, key APIKey, keyErr error) (*token, *exchange) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	cur := t.current
	if cur != nil && !now.Before(cur.ends) {
		cur = nil
	}
	if keyErr != nil {
		return cur, nil // while a key file is being replaced, use the old token
	}
	if cur != nil && cur.key != key {
		cur = nil
	}
	if t.pending == nil && (cur == nil || !now.Before(cur.renew)) {
		t.pending = &exchange{key: key, done: make(chan struct{})}
		// Other calls wait for it too: it must not end with the call that began it.
		go t.run(context.WithoutCancel(ctx), t.pending)
	}
	return cur, t.pending
}

func (t *tokens) run(ctx context.Context, x *exchange) {
	jwt, life, err := t.exchange(ctx, x.key)

	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if err != nil {
		x.err = err
		if t.current != nil {
			later := *t.current // a copy: callers hold the original
			later.renew = now.Add(renewPause)
			t.current = &later
		}
	} else {
		x.token = &token{jwt: jwt, key: x.key, issued: now, renew: now.Add(life - min(renewBefore, life/10)), ends: now.Add(life), replaces: t.refused}
		t.current, t.refused = x.token, false
	}
	t.pending = nil
	close(x.done)
}

// discard makes the next get exchange the key again, unless a newer token is
// there already.
func (t *tokens) discard(refused *token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current != nil && t.current.jwt == refused.jwt {
		t.current, t.refused = nil, true
	}
}
