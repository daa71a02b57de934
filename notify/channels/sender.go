package channels

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gantryhq/gantry/notify"
)

const (
	defaultTimeout = 10 * time.Second
	maxAnswer      = 64 << 10
	maxRetryAfter  = time.Hour // a longer wait that the receiver asks for is cut to this
)

// Options are optional settings of New.
type Options struct {
	Resolver  *net.Resolver    // nil means the system's
	RootCAs   *x509.CertPool   // authorities that may sign certificates; nil means the system's
	Now       func() time.Time // nil means time.Now
	UserAgent string           // empty means "gantry"
	Timeout   time.Duration    // of one Send, from the name's resolution to the end of the answer; 0 means 10 s
}

// Sender sends messages to its channels. It is safe for concurrent use.
type Sender struct {
	channels  map[string]Channel
	guarded   *http.Client // dials public addresses only
	unguarded *http.Client // for channels with AllowPrivate
	now       func() time.Time
	userAgent string
	timeout   time.Duration
}

// New returns a sender, or an error that names every channel that can't be used,
// with its reason. It checks each channel with its current URL and secret. The
// error holds no secret.
func New(channels []Channel, opts Options) (*Sender, error) {
	s := &Sender{
		channels:  make(map[string]Channel, len(channels)),
		guarded:   client(opts, true),
		unguarded: client(opts, false),
		now:       opts.Now,
		userAgent: cmp.Or(opts.UserAgent, "gantry"),
		timeout:   cmp.Or(opts.Timeout, defaultTimeout),
	}
	if s.now == nil {
		s.now = time.Now
	}
	var problems []error
	for _, c := range channels {
		if err := c.Validate(); err != nil {
			problems = append(problems, fmt.Errorf("notification channel %q: %w", c.Name, err))
		} else if _, twice := s.channels[c.Name]; twice {
			problems = append(problems, fmt.Errorf("notification channel %q: the name is used twice", c.Name))
		}
		s.channels[c.Name] = c
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return s, nil
}

// client returns a client that uses no proxy: a proxy would dial in our place, and
// the guard would see only the proxy's address.
func client(opts Options, guard bool) *http.Client {
	dialer := &net.Dialer{Resolver: opts.Resolver}
	if guard {
		dialer.Control = refuseNonPublic
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            dialer.DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: opts.RootCAs},
			ForceAttemptHTTP2:      true,
			IdleConnTimeout:        30 * time.Second,
			MaxIdleConnsPerHost:    2,
			MaxResponseHeaderBytes: maxAnswer,
			DisableCompression:     true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// CloseIdleConnections closes the connections that are kept for the next message.
func (s *Sender) CloseIdleConnections() {
	s.guarded.CloseIdleConnections()
	s.unguarded.CloseIdleConnections()
}

// Send sends one message to one channel, once. Nil means that the receiver
// accepted it. Other results are an UnknownChannelError, an InvalidMessageError, a
// RefusedError, a BlockedAddressError, an UnavailableError, or the error of ctx if
// it ended first.
func (s *Sender) Send(ctx context.Context, channel string, m notify.Message) error {
	c, ok := s.channels[channel]
	if !ok {
		return &notify.UnknownChannelError{Channel: channel}
	}
	if err := validate(&m); err != nil {
		return err
	}
	encode := encodeSlack
	if c.Kind == Webhook {
		encode = encodeWebhook
	}
	body, err := encode(m)
	if err != nil {
		return err
	}
	return s.post(ctx, &c, content{m.ID, "application/json; charset=utf-8", body})
}

// SendLines sends JSON Lines to a webhook, once, with the same results as Send.
func (s *Sender) SendLines(ctx context.Context, channel, id string, lines []byte) error {
	c, ok := s.channels[channel]
	if !ok || c.Kind != Webhook {
		return &notify.UnknownChannelError{Channel: channel}
	}
	return s.post(ctx, &c, content{id, "application/x-ndjson", lines})
}

// content is the body of a request to a channel, and its id.
type content struct {
	id, mediaType string
	body          []byte
}

// post posts to a channel, once.
func (s *Sender) post(ctx context.Context, c *Channel, what content) error {
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	req, err := s.newRequest(limited, c, what)
	if err != nil {
		return err
	}
	status, retryAfter, answer, err := s.do(c, req)
	switch {
	case err == nil:
		return answerError(c, status, retryAfter, answer)
	case ctx.Err() != nil:
		return fmt.Errorf("notify channel %q: %w", c.Name, ctx.Err())
	}
	if blocked, ok := errors.AsType[*notify.BlockedAddressError](err); ok {
		return &notify.BlockedAddressError{Channel: c.Name, Address: blocked.Address}
	}
	return &notify.UnavailableError{Channel: c.Name, Status: status, Err: s.redactError(err)}
}

// newRequest returns the request that posts to a channel. Settings that were valid at the
// start and can't be read now make the channel unavailable: the operator is probably
// replacing them.
func (s *Sender) newRequest(ctx context.Context, c *Channel, what content) (*http.Request, error) {
	target, err := c.target()
	if err != nil {
		if blocked, ok := errors.AsType[*notify.BlockedAddressError](err); ok {
			return nil, blocked
		}
		return nil, &notify.UnavailableError{Channel: c.Name, Err: fmt.Errorf("it %w", err)}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "", bytes.NewReader(what.body))
	if err != nil {
		return nil, err
	}
	req.URL, req.Host = target, target.Host
	req.Header.Set("Content-Type", what.mediaType)
	req.Header.Set("User-Agent", s.userAgent)
	if c.Kind == Webhook {
		keys, err := signingKeys(c.Secret())
		if err != nil {
			return nil, &notify.UnavailableError{Channel: c.Name, Err: fmt.Errorf("it %w", err)}
		}
		sign(req.Header, keys, what.id, s.now(), what.body)
	}
	return req, nil
}

// do returns the status and the beginning of the answer. With an error, the status
// is 0, or the one that arrived before the connection broke.
func (s *Sender) do(c *Channel, req *http.Request) (status int, retryAfter time.Duration, answer []byte, err error) {
	client := s.guarded
	if c.AllowPrivate {
		client = s.unguarded
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }() // read as far as we want
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err == nil {
		err = req.Context().Err() // a server that notices our timeout may end its answer as if it were complete
	}
	if c.Kind == Webhook || resp.StatusCode != http.StatusOK {
		err = nil // the status is enough; only Slack reports success in the body
	}
	return resp.StatusCode, parseRetryAfter(resp.Header.Get("Retry-After"), s.now()), answer, err
}

// redactError returns an error without the URL that url.Error quotes and without
// bytes of the answer, which could repeat it.
func (s *Sender) redactError(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %s: %w", s.timeout, context.DeadlineExceeded)
	}
	if network, ok := errors.AsType[*net.OpError](err); ok {
		return network
	}
	if cert, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return cert
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the connection was closed without an answer: %w", io.ErrUnexpectedEOF)
	}
	return errors.New("the answer is not HTTP, or the connection broke")
}

// answerError returns the error that an answer reports, or nil.
func answerError(c *Channel, status int, retryAfter time.Duration, answer []byte) error {
	if c.Kind == Slack {
		if accepted, refusal := readSlackAnswer(status, answer); accepted {
			return nil
		} else if refusal != "" {
			return &notify.RefusedError{Channel: c.Name, Status: status, Reason: refusal}
		}
	} else if status >= 200 && status < 300 {
		return nil
	}
	switch {
	case status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status == http.StatusTooEarly:
		return &notify.UnavailableError{Channel: c.Name, Status: status, RetryAfter: retryAfter}
	case status >= 300 && status < 400:
		return &notify.RefusedError{Channel: c.Name, Status: status, Reason: "it is a redirect, and redirects are not followed; set the URL it leads to"}
	case status == http.StatusGone:
		return &notify.RefusedError{Channel: c.Name, Status: status, Reason: "the receiver is gone and wants no more messages; remove the channel or set its new URL"}
	}
	reason := http.StatusText(status)
	if reason == "" {
		reason = "a status without a name"
	}
	return &notify.RefusedError{Channel: c.Name, Status: status, Reason: strings.ToLower(reason)}
}

// parseRetryAfter returns the wait of a header that holds seconds or a date (RFC
// 9110, section 10.2.3), and 0 if it is invalid or in the past.
func parseRetryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(strings.TrimSpace(value), 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}
