package spaceliftapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/Khan/genqlient/graphql"

	"github.com/gantryhq/gantry/spacelift"
)

// maxAnswer limits the size of an answer. The largest are pages of logs.
const maxAnswer = 16 << 20

// sender sends one request once and returns its failure.
type sender struct {
	url       string
	http      *http.Client
	userAgent string
	timeout   time.Duration
	observe   func(Call)
	clock     *serverClock
}

// failure is the result of a request that didn't succeed.
type failure struct {
	err          error
	status       int           // of HTTP; 0 without an answer
	untouched    bool          // Spacelift certainly did nothing
	transient    bool          // the same request may succeed later
	unauthorized bool          //
	retryAfter   time.Duration // the wait that Spacelift asked for
}

// final returns the caller's error after the last attempt.
func (f *failure) final(mutation bool) error {
	if mutation && !f.untouched {
		return fmt.Errorf("%w: %w", spacelift.ErrAmbiguous, f.err)
	}
	return f.err
}

// send posts a request and decodes its data. A nil failure means that all data
// arrived, without GraphQL errors.
func (s *sender) send(ctx context.Context, req *graphql.Request, jwt string, into any) *failure {
	begun := time.Now()
	guard := guardOf(ctx, req)
	f, status := s.roundTrip(ctx, req, jwt, guard, into)
	if s.observe != nil {
		call := Call{Operation: req.OpName, Mutation: isMutation(req), Status: status, Took: time.Since(begun), CheckAge: guard.age()}
		if f != nil {
			call.Err = f.err
		}
		s.observe(call)
	}
	return f
}

func (s *sender) roundTrip(ctx context.Context, req *graphql.Request, jwt string, guard *guard, into any) (_ *failure, status int) {
	body, err := json.Marshal(req)
	if err != nil {
		return &failure{err: fmt.Errorf("encode request: %w", err), untouched: true}, 0
	}
	attempt, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var reached connection
	post, err := http.NewRequestWithContext(reached.watch(attempt), http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return &failure{err: err, untouched: true}, 0
	}
	guard.watch(post)
	post.Header.Set("Content-Type", "application/json")
	post.Header.Set("Accept", "application/json")
	post.Header.Set("User-Agent", s.userAgent)
	if jwt != "" {
		post.Header.Set("Authorization", "Bearer "+jwt)
	}
	if text := runMetadata(ctx); text != "" && takesRunMetadata[req.OpName] {
		post.Header.Set(runMetadataHeader, text)
	}

	sent := time.Now()
	answer, err := s.http.Do(post)
	if err == nil {
		defer func() { _ = answer.Body.Close() }()
	}
	switch {
	case guard.stopped(): // even if the server answered a request without a body
		return &failure{err: spacelift.ErrStale, untouched: true}, 0
	case err != nil:
		return &failure{err: err, untouched: !reached.made(err), transient: ctx.Err() == nil}, 0
	}
	s.clock.note(answer.Header, sent)
	raw, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err == nil && len(raw) > maxAnswer {
		err = fmt.Errorf("answer is larger than %d bytes", maxAnswer)
	}
	if err != nil && answer.StatusCode < 300 {
		return &failure{err: fmt.Errorf("read answer: %w", err), status: answer.StatusCode, transient: ctx.Err() == nil}, answer.StatusCode
	}
	f := readAnswer(answer, raw, into)
	if f != nil {
		f.status = answer.StatusCode
	}
	return f, answer.StatusCode
}

// readAnswer decodes an answer, or classifies its failure by the status and the
// GraphQL errors in it.
func readAnswer(answer *http.Response, raw []byte, into any) *failure {
	var envelope struct {
		Data   json.RawMessage `json:"data"`
		Errors []answerError   `json:"errors"`
	}
	invalid := json.Unmarshal(raw, &envelope)
	said := newGraphQLError(envelope.Errors)
	status := fmt.Errorf("HTTP %s", answer.Status)
	if said != nil {
		status = fmt.Errorf("%w: %w", status, said)
	}
	retryAfter := retryAfter(answer.Header)

	switch code := answer.StatusCode; {
	case code == http.StatusTooManyRequests:
		return &failure{err: fmt.Errorf("%w: %w", &spacelift.RateLimitedError{RetryAfter: retryAfter}, status), untouched: true, transient: true, retryAfter: retryAfter}
	case code == http.StatusUnauthorized:
		return &failure{err: status, untouched: true, unauthorized: true}
	case code == http.StatusRequestTimeout, code >= 500:
		return &failure{err: status, transient: true, retryAfter: retryAfter}
	case code == http.StatusForbidden && (said == nil || !saysAny(said, unauthorizedWord)):
		return &failure{err: fmt.Errorf("%w: %w", spacelift.ErrForbidden, status), untouched: true}
	case said != nil:
		return classify(said, envelope.Errors, envelope.Data)
	case code >= 300 && code < 400:
		return &failure{err: fmt.Errorf("%w: redirected; check the endpoint", status), untouched: true}
	case code >= 300:
		return &failure{err: fmt.Errorf("%w; check the endpoint", status), untouched: true}
	case invalid != nil:
		return &failure{err: fmt.Errorf("answer of %d bytes (%s) is not GraphQL: %w", len(raw), answer.Header.Get("Content-Type"), invalid), transient: true}
	case len(envelope.Data) == 0:
		return &failure{err: errors.New("answer has neither data nor errors"), transient: true}
	}
	if err := decode(envelope.Data, into); err != nil {
		return &failure{err: err}
	}
	return nil
}

// connection records whether a request got a connection: from then on the server
// may have read it.
type connection struct {
	asked, got atomic.Bool
}

func (c *connection) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { c.asked.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { c.got.Store(true) },
	})
}

// made reports whether the server may have received the request, given the error
// of sending it. For a transport that doesn't trace, only a failed dial proves
// that it did not.
func (c *connection) made(err error) bool {
	if c.asked.Load() {
		return c.got.Load()
	}
	dial, ok := errors.AsType[*net.OpError](err)
	return !ok || dial.Op != "dial"
}

// retryAfter returns the header's wait, given in seconds or as a date.
func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(strings.TrimSpace(v)); err == nil {
		return max(0, time.Duration(seconds)*time.Second)
	}
	if date, err := http.ParseTime(v); err == nil {
		return max(0, time.Until(date))
	}
	return 0
}

// serverClock estimates how far Spacelift's clock is ahead of ours from the Date
// header, which counts whole seconds.
type serverClock struct {
	ahead atomic.Int64
	known atomic.Bool
}

func (c *serverClock) note(h http.Header, sent time.Time) {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return
	}
	ours := sent.Add(time.Since(sent) / 2)
	// The header is truncated to the second: it is half a second late on average.
	c.ahead.Store(int64(date.Add(time.Second / 2).Sub(ours)))
	c.known.Store(true)
}

func (c *serverClock) skew() time.Duration { return time.Duration(c.ahead.Load()) }
