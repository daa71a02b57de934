package gantry

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"time"
)

const (
	// requestTimeout bounds one attempt. It is longer than Gantry itself waits for an
	// execution, so that Gantry can say that there is no answer.
	requestTimeout = 45 * time.Second

	// firstWait and longestWait are the waits between attempts if Gantry names none.
	firstWait   = 500 * time.Millisecond
	longestWait = 15 * time.Second

	defaultPatience = 2 * time.Minute

	// maxAnswer bounds an answer; a run with its timeline has a few hundred KB at most.
	maxAnswer = 32 << 20
)

// sender sends requests. It returns every refusal as an error.
type sender struct {
	transport     http.RoundTripper // nil for http.DefaultTransport
	token         func(context.Context) (string, error)
	userAgent     string
	patience      time.Duration
	withoutRedial bool
	notice        func(err error, wait time.Duration)
}

// Do sends a request until it is answered, refused, or patience has run out. A change
// carries an Idempotency-Key, so that it counts once however often it is sent.
func (s *sender) Do(request *http.Request) (*http.Response, error) {
	if request.Method != http.MethodGet && request.Header.Get("Idempotency-Key") == "" {
		request.Header.Set("Idempotency-Key", rand.Text())
	}
	request.Header.Set("User-Agent", s.userAgent)
	giveUp := time.Now().Add(s.patience)
	for try := 0; ; try++ {
		response, err := s.try(request)
		wait, again := s.waitAfter(err, try)
		if consumed := request.Body != nil && request.Body != http.NoBody && request.GetBody == nil; consumed || !again || time.Now().Add(wait).After(giveUp) {
			return response, err
		}
		if s.notice != nil {
			s.notice(err, wait)
		}
		if off := pause(request.Context(), wait); off != nil {
			return nil, fmt.Errorf("call Gantry: %w; before that: %w", off, err)
		}
	}
}

// waitAfter returns how long to wait before a request is sent again, if it is.
func (s *sender) waitAfter(err error, try int) (time.Duration, bool) {
	wait := backoff(try)
	if p, ok := errors.AsType[*Problem](err); ok {
		return max(p.RetryAfter, wait), p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable
	}
	return wait, errors.Is(err, ErrUnreached) && !misdirected(err) && (!s.withoutRedial || !undialled(err))
}

// backoff returns how long to wait after a number of attempts, at random up to a half less.
func backoff(tries int) time.Duration {
	wait := min(firstWait<<min(tries, 10), longestWait)
	if jitter, err := rand.Int(rand.Reader, big.NewInt(int64(wait/2))); err == nil {
		wait -= time.Duration(jitter.Int64())
	}
	return wait
}

// ErrUnreached is the error of a request that got no answer: no connection could be made,
// or it was lost. Every request may be sent again after it: changes carry a key.
var ErrUnreached = errors.New("call Gantry")

// undialled reports whether no connection was made.
func undialled(err error) bool {
	e, ok := errors.AsType[*net.OpError](err)
	return ok && e.Op == "dial"
}

// misdirected reports whether something else than Gantry is at the address: it has another
// certificate, or speaks no TLS.
func misdirected(err error) bool {
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	return certificate || plain || errors.Is(err, http.ErrSchemeMismatch)
}

// try sends a request once, and reads its answer unless that is a stream.
func (s *sender) try(request *http.Request) (*http.Response, error) {
	ctx, cancel := request.Context(), context.CancelFunc(func() {})
	if !streams(ctx) {
		ctx, cancel = context.WithTimeout(ctx, requestTimeout)
	}
	defer cancel()
	attempt := request.Clone(ctx)
	if request.GetBody != nil {
		body, err := request.GetBody()
		if err != nil {
			return nil, fmt.Errorf("send the body again: %w", err)
		}
		attempt.Body = body
	}
	if s.token != nil {
		token, err := s.token(ctx)
		if err != nil {
			return nil, fmt.Errorf("get the token: %w", err)
		}
		attempt.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := s.client().Do(attempt) //nolint:gosec // the address is the caller's own
	if err != nil {
		return nil, unreached(request, err)
	}
	if streams(ctx) && response.StatusCode == http.StatusOK {
		if p := problemOf(response, nil); p != nil {
			_ = response.Body.Close()
			return nil, p
		}
		return response, nil
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	_ = response.Body.Close()
	if err != nil {
		return nil, unreached(request, err)
	}
	if p := problemOf(response, body); p != nil {
		return nil, p
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response, nil
}

// client returns an HTTP client that follows no redirects: one would send the token elsewhere.
func (s *sender) client() *http.Client {
	return &http.Client{Transport: s.transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// unreached returns the error of an attempt without an answer: the caller's own, if they
// called the request off.
func unreached(request *http.Request, err error) error {
	if off := context.Cause(request.Context()); off != nil {
		return fmt.Errorf("call Gantry: %w", off)
	}
	return fmt.Errorf("%w: %w", ErrUnreached, err)
}

// pause waits, unless ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
