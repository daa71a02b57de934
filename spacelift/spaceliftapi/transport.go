package spaceliftapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/Khan/genqlient/graphql"

	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi/internal/operations"
)

const (
	// The client retries reads through a short disturbance; the caller waits out longer ones.
	maxAttempts = 3
	firstPause  = 250 * time.Millisecond
	longestWait = 5 * time.Second // a longer Retry-After is left to the caller

	// A token younger than this isn't renewed when Spacelift refuses an object:
	// that would exchange the API key for every call to an object we can't see.
	youngToken = time.Minute
)

// signedIn sends requests with a token. It implements the graphql.Client that
// the generated operations call.
type signedIn struct {
	sender
	tokens *tokens
}

// MakeRequest sends an operation. It retries a read after a transient failure,
// and sends a mutation once.
func (c *signedIn) MakeRequest(ctx context.Context, req *graphql.Request, resp *graphql.Response) error {
	if changes(req) {
		return c.mutate(ctx, req, resp)
	}
	return c.read(ctx, req, resp)
}

// mutate sends a mutation once, whatever the result: only the caller can check
// its preconditions again. This includes mutations that Spacelift certainly did
// not carry out because of a refused token, a rate limit or a refused
// connection, and those of gantry setup, which reads what exists on every run.
func (c *signedIn) mutate(ctx context.Context, req *graphql.Request, resp *graphql.Response) error {
	tok, err := c.tokens.get(ctx)
	if err != nil {
		return fmt.Errorf("sign in: %w", err)
	}
	f := c.send(ctx, req, tok.jwt, resp.Data)
	switch {
	case f == nil:
		return nil
	case !f.unauthorized || !f.untouched:
		return f.final(true)
	}
	// Spacelift says "unauthorized" for a bad token and for an object out of reach.
	young := time.Since(tok.issued) < youngToken
	if young && (f.status != http.StatusUnauthorized || tok.replaces) {
		if c.knows(ctx, tok) {
			return fmt.Errorf("%w: %w", spacelift.ErrForbidden, f.err)
		}
		if tok.replaces {
			return fmt.Errorf("%w: %w", spacelift.ErrUnauthorized, f.err)
		}
	}
	c.tokens.discard(tok)
	return fmt.Errorf("%w: %w", spacelift.ErrTokenRefused, f.err)
}

func (c *signedIn) read(ctx context.Context, req *graphql.Request, resp *graphql.Response) error {
	renewed := false
	for attempt := 1; ; {
		tok, err := c.tokens.get(ctx)
		if err != nil {
			return fmt.Errorf("sign in: %w", err)
		}
		f := c.send(ctx, req, tok.jwt, resp.Data)
		switch {
		case f == nil:
			return nil
		case f.unauthorized && !renewed:
			if f.status != http.StatusUnauthorized && time.Since(tok.issued) < youngToken && c.knows(ctx, tok) {
				return fmt.Errorf("%w: %w", spacelift.ErrForbidden, f.err)
			}
			c.tokens.discard(tok)
			renewed = true
		case f.unauthorized:
			if c.knows(ctx, tok) {
				return fmt.Errorf("%w: %w", spacelift.ErrForbidden, f.err)
			}
			return fmt.Errorf("%w: %w", spacelift.ErrUnauthorized, f.err)
		case attempt < maxAttempts && f.transient && pause(ctx, attempt, f.retryAfter):
			attempt++
		default:
			return f.final(false)
		}
	}
}

// knows reports whether Spacelift knows the token's owner. Spacelift says
// `unauthorized` for a bad token and for an object out of reach; spacectl
// distinguishes them in the same way.
func (c *signedIn) knows(ctx context.Context, tok *token) bool {
	var data operations.ViewerResponse
	req := &graphql.Request{OpName: "Viewer", Query: operations.Viewer_Operation}
	return c.send(ctx, req, tok.jwt, &data) == nil && data.Viewer != nil
}

// anonymous sends requests without a token: those that ask for one.
type anonymous struct {
	sender
}

// MakeRequest retries after a transient failure: an extra token does no harm.
func (c *anonymous) MakeRequest(ctx context.Context, req *graphql.Request, resp *graphql.Response) error {
	for attempt := 1; ; attempt++ {
		f := c.send(ctx, req, "", resp.Data)
		switch {
		case f == nil:
			return nil
		case f.unauthorized:
			return fmt.Errorf("%w: %w", spacelift.ErrUnauthorized, f.err)
		case attempt < maxAttempts && f.transient && pause(ctx, attempt, f.retryAfter):
		default:
			return f.final(false)
		}
	}
}

// exchange gets a token for a key. Every refusal concerns the key, because the
// request holds nothing else.
func (c *anonymous) exchange(ctx context.Context, key APIKey) (string, time.Duration, error) {
	data, err := operations.APIKeyUser(ctx, c, key.ID, key.Secret)
	switch {
	case errors.Is(err, spacelift.ErrSchemaMismatch):
		return "", 0, err
	case errors.Is(err, errRefused):
		return "", 0, fmt.Errorf("%w: API key %s: %s", spacelift.ErrUnauthorized, key.ID, err) //nolint:errorlint // a key that isn't found must not match ErrNotFound
	case err != nil:
		return "", 0, fmt.Errorf("exchange API key %s: %w", key.ID, err)
	case data.ApiKeyUser == nil || data.ApiKeyUser.Jwt == "":
		return "", 0, fmt.Errorf("%w: API key %s: spacelift returned no token", spacelift.ErrUnauthorized, key.ID)
	}
	// In Spacelift's time, so that a wrong clock on this machine doesn't matter.
	now := time.Now().Add(c.clock.skew())
	return data.ApiKeyUser.Jwt, time.Unix(int64(data.ApiKeyUser.ValidUntil), 0).Sub(now), nil
}

// pause waits before the next attempt. It returns false immediately when ctx
// ends sooner, or when Spacelift asks for a longer wait than longestWait.
func pause(ctx context.Context, attempt int, retryAfter time.Duration) bool {
	wait := firstPause << (attempt - 1)
	wait = max(wait/2+rand.N(wait/2), retryAfter)
	if deadline, ok := ctx.Deadline(); wait > longestWait || ok && time.Until(deadline) < wait {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// isMutation reports whether the operation is a mutation by its form.
func isMutation(req *graphql.Request) bool {
	return strings.HasPrefix(strings.TrimSpace(req.Query), "mutation")
}

// changes reports whether the operation can change something. Signing in and
// simulating a policy are mutations in form only.
func changes(req *graphql.Request) bool {
	return isMutation(req) && req.OpName != "APIKeyUser" && req.OpName != "PolicySimulate"
}

// decode reads the data of an answer.
func decode(raw json.RawMessage, into any) error {
	if err := json.NewDecoder(bytes.NewReader(raw)).Decode(into); err != nil {
		return fmt.Errorf("%w: %w", spacelift.ErrSchemaMismatch, err)
	}
	return nil
}
