// Package gantry is the Go client of Gantry's API. It wraps the generated client and
// models, which package client and package api hold.
//
// A [Client] sends its token with every request, waits and tries again while Gantry asks
// for that, and returns every refusal as a [*Problem]. Each operation of the contract is
// a method that returns the response, and [Answer] decodes it:
//
//	run, err := gantry.Answer[api.Run](c.GetRun(ctx, "acme", "network-prod", id))
//
// Lists are iterators over all pages, such as [Client.Runs], and streams of events are
// iterators that connect again automatically, such as [Client.FollowRun].
package gantry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/gantryhq/gantry/gen/client"
)

// Client calls one Gantry. Its methods are safe for concurrent use.
type Client struct {
	client.ClientInterface

	address string
	sender  sender
}

// Option configures a Client.
type Option func(*sender)

// WithToken sends a bearer token with every request.
func WithToken(token string) Option {
	return WithTokenSource(func(context.Context) (string, error) { return token, nil })
}

// WithTokenSource asks for the bearer token before every request, so that a token that
// expires can be replaced. The context is that of the request, and an error ends it.
func WithTokenSource(token func(context.Context) (string, error)) Option {
	return func(s *sender) { s.token = token }
}

// WithTransport sends requests by another transport than [http.DefaultTransport].
func WithTransport(t http.RoundTripper) Option { return func(s *sender) { s.transport = t } }

// WithUserAgent names the program in Gantry's logs and audit entries.
func WithUserAgent(name string) Option { return func(s *sender) { s.userAgent = name } }

// WithPatience bounds how long a request waits in all for Gantry to answer it otherwise
// than with 429 or 503, or to be reached; by default two minutes. 0 tries once.
func WithPatience(d time.Duration) Option { return func(s *sender) { s.patience = d } }

// WithoutRedial ends a request immediately if no connection can be made, with an error that is
// [ErrUnreached]: a person who waits for a program corrects the address. A request that was
// sent and got no answer is still sent again, and so is that of a stream that was open.
func WithoutRedial() Option { return func(s *sender) { s.withoutRedial = true } }

// WithRetryNotice calls a function before a request is sent again, with the error of the
// last attempt.
func WithRetryNotice(notice func(err error, wait time.Duration)) Option {
	return func(s *sender) { s.notice = notice }
}

// New returns a client of the Gantry at an address such as https://gantry.example.com. It
// sends nothing.
func New(address string, options ...Option) (*Client, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("use Gantry at %q: it is not an address such as https://gantry.example.com", address)
	}
	return newClient(address, sender{patience: defaultPatience, userAgent: "gantry-go"}, options)
}

// With returns a client of the same Gantry with more options; the others stay as they are.
func (c *Client) With(options ...Option) *Client {
	other, err := newClient(c.address, c.sender, options)
	if err != nil {
		return c // the address was good before
	}
	return other
}

func newClient(address string, s sender, options []Option) (*Client, error) {
	for _, o := range options {
		o(&s)
	}
	c, err := client.NewClient(address, client.WithHTTPClient(&s))
	if err != nil {
		return nil, fmt.Errorf("use Gantry at %q: %w", address, err)
	}
	return &Client{c, address, s}, nil
}

// Answer decodes the response of an operation. Its error is that of the operation, or
// says that the response is no T. T is a model of package api; use struct{} for an
// operation without an answer.
func Answer[T any](response *http.Response, err error) (T, error) {
	var answer T
	if err != nil {
		return answer, err
	}
	defer func() { _ = response.Body.Close() }()
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil && !errors.Is(err, io.EOF) {
		return answer, fmt.Errorf("read Gantry's answer: %w", err)
	}
	return answer, nil
}
