package spacelift

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

	"github.com/gantryhq/gantry/spacelift/internal/operations"
)

const (
	// The client rides out a hiccup; longer trouble is its caller's to wait for.
	maxAttempts = 3
	firstPause  = 250 * time.Millisecond
	longestWait = 5 * time.Second // a Retry-After beyond it is passed on instead

	// A token younger than this is not renewed because an object was refused:
	// that would exchange the API key for every call to an object we may not see.
	youngToken = time.Minute
)

// signedIn makes requests with a token. It implements graphql.Client, which the
// generated operations call.
type signedIn struct {
	sender
	tokens *tokens
}

// MakeRequest sends an operation until it is answered.
//
// A read is repeated after anything that may pass. A mutation is repeated only
// when Spacelift certainly did nothing: the connection was refused, or the
// answer was 401, `unauthorized` or 429.
func (c *signedIn) MakeRequest(ctx context.Context, req *graphql.Request, resp *graphql.Response) error {
	mutation, renewed := isMutation(req), false
	for attempt := 1; ; {
		tok, err := c.tokens.get(ctx)
		if err != nil {
			return fmt.Errorf("sign in: %w", err)
		}
		f := c.send(ctx, req, tok.jwt, resp.Data)
		if f == nil {
			return nil
		}
		harmless := f.untouched || !mutation
		switch {
		case f.unauthorized && harmless && !renewed:
			if f.status != http.StatusUnauthorized && time.Since(tok.issued) < youngToken && c.knows(ctx, tok) {
				return fmt.Errorf("%w: %w", ErrForbidden, f.err)
			}
			c.tokens.discard(tok)
			renewed = true
		case f.unauthorized && harmless:
			if c.knows(ctx, tok) {
				return fmt.Errorf("%w: %w", ErrForbidden, f.err)
			}
			return fmt.Errorf("%w: %w", ErrUnauthorized, f.err)
		case attempt < maxAttempts && f.transient && harmless && pause(ctx, attempt, f.retryAfter):
			attempt++
		default:
			return f.final(mutation)
		}
	}
}

// knows reports whether Spacelift knows the token's owner. It says
// `unauthorized` of a bad token and of an object out of reach alike; spacectl
// tells them apart in the same way.
func (c *signedIn) knows(ctx context.Context, tok *token) bool {
	var data operations.ViewerResponse
	req := &graphql.Request{OpName: "Viewer", Query: operations.Viewer_Operation}
	return c.send(ctx, req, tok.jwt, &data) == nil && data.Viewer != nil
}

// anonymous makes requests without a token: the one that gets it.
type anonymous struct {
	sender
}

// MakeRequest repeats after anything that may pass: a token too many does no harm.
func (c *anonymous) MakeRequest(ctx context.Context, req *graphql.Request, resp *graphql.Response) error {
	for attempt := 1; ; attempt++ {
		f := c.send(ctx, req, "", resp.Data)
		switch {
		case f == nil:
			return nil
		case f.unauthorized:
			return fmt.Errorf("%w: %w", ErrUnauthorized, f.err)
		case attempt < maxAttempts && f.transient && pause(ctx, attempt, f.retryAfter):
		default:
			return f.final(false)
		}
	}
}

// exchange gets a token for a key. A refusal, in whatever words, is about the
// key: the request holds nothing else.
func (c *anonymous) exchange(ctx context.Context, key APIKey) (string, time.Duration, error) {
	data, err := operations.APIKeyUser(ctx, c, key.ID, key.Secret)
	switch {
	case errors.Is(err, ErrSchemaMismatch):
		return "", 0, err
	case errors.Is(err, errRefused):
		// Only the text: a key that is `not found` must not look like a run that is.
		return "", 0, fmt.Errorf("%w: API key %s: %s", ErrUnauthorized, key.ID, err) //nolint:errorlint // as said
	case err != nil:
		return "", 0, fmt.Errorf("exchange API key %s: %w", key.ID, err)
	case data.ApiKeyUser == nil || data.ApiKeyUser.Jwt == "":
		return "", 0, fmt.Errorf("%w: API key %s: spacelift gave no token", ErrUnauthorized, key.ID)
	}
	// In Spacelift's time, so that a wrong clock here doesn't matter.
	now := time.Now().Add(c.clock.skew())
	return data.ApiKeyUser.Jwt, time.Unix(int64(data.ApiKeyUser.ValidUntil), 0).Sub(now), nil
}

// pause waits before the next attempt. It reports false at once when ctx ends
// sooner, or when Spacelift asks for more patience than the client has.
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

// isMutation reports whether sending the operation can change something.
func isMutation(req *graphql.Request) bool {
	return strings.HasPrefix(strings.TrimSpace(req.Query), "mutation")
}

// decode reads the data of an answer.
func decode(raw json.RawMessage, into any) error {
	if err := json.NewDecoder(bytes.NewReader(raw)).Decode(into); err != nil {
		return fmt.Errorf("%w: %w", ErrSchemaMismatch, err)
	}
	return nil
}
