package spacelift

import (
	"context"
	"sync"
	"time"
)

// Tokens are renewed this long before they end, as spacectl does, or after nine
// tenths of a life so short that this would be too much of it.
const renewBefore = 30 * time.Second

// When a renewal fails while the old token is still good, the old one serves,
// and the renewal is tried again after this.
const renewPause = 5 * time.Second

// token is what an API key was exchanged for.
type token struct {
	jwt    string
	key    APIKey
	issued time.Time
	renew  time.Time // from here on a new one is wanted
	ends   time.Time

	replaces bool // one that Spacelift had refused
}

// tokens hands out the current token and exchanges the API key for a new one
// when it must: one exchange at a time, whoever asks. The zero value with its
// two functions set is ready.
type tokens struct {
	credentials Credentials
	exchange    func(context.Context, APIKey) (jwt string, life time.Duration, err error)

	mu      sync.Mutex
	current *token
	pending *exchange
	refused bool // the last token was, and no other has come since
}

// exchange is an exchange under way. Its fields are set before done is closed.
type exchange struct {
	key   APIKey
	done  chan struct{}
	token *token
	err   error
}

// get returns a token that is good for now. While the current one is, nobody
// waits: it is renewed behind the callers' backs. Otherwise get waits for an
// exchange, but no longer than ctx.
func (t *tokens) get(ctx context.Context) (*token, error) {
	key, keyErr := t.credentials.APIKey()
	for {
		cur, x := t.look(ctx, key, keyErr)
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

// look returns the current token when it is good, and otherwise the exchange to
// wait for. It begins an exchange when one is due and none is under way.
func (t *tokens) look(ctx context.Context, key APIKey, keyErr error) (*token, *exchange) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	cur := t.current
	if cur != nil && !now.Before(cur.ends) {
		cur = nil
	}
	if keyErr != nil {
		return cur, nil // while a key file is being replaced, the old token serves
	}
	if cur != nil && cur.key != key {
		cur = nil
	}
	if t.pending == nil && (cur == nil || !now.Before(cur.renew)) {
		t.pending = &exchange{key: key, done: make(chan struct{})}
		// Others wait for it too: it must not end with the call that began it.
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
			later := *t.current // others hold the one it copies
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

// discard makes the next get exchange anew, unless somebody already did.
func (t *tokens) discard(refused *token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current != nil && t.current.jwt == refused.jwt {
		t.current, t.refused = nil, true
	}
}
