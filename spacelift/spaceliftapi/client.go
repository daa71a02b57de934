package spaceliftapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

const (
	defaultTimeout   = 30 * time.Second // spacectl and the Terraform provider allow a minute
	defaultUserAgent = "gantry"
)

// Config names the account that a Client calls, and the API key it calls with.
type Config struct {
	Account     spacelift.Account
	Credentials Credentials

	// Endpoint is the account's address, with or without /graphql. Empty means
	// https://<account>.app.spacelift.io. Use http for simulators only: requests
	// carry the API key in their body.
	Endpoint string

	HTTPClient *http.Client  // nil means one of our own; redirects are never followed
	UserAgent  string        // "gantry/<version>"; empty means "gantry"
	Timeout    time.Duration // of one HTTP request; a call may need several; 0 means 30 s

	// Observe, when set, is called after every HTTP request, including those for
	// tokens. Many goroutines call it, and it should return quickly.
	Observe func(Call)
}

// Call is one HTTP request to Spacelift, for metrics and logs.
type Call struct {
	Operation string // the GraphQL operation's name, from a small fixed set
	Mutation  bool
	Status    int // of HTTP; 0 without an answer
	Took      time.Duration
	CheckAge  time.Duration // of a mutation under WithCheck: the check's age when the mutation was sent; 0 when it wasn't
	Err       error         // nil when the request succeeded
}

// Client calls one Spacelift account. It is safe for concurrent use.
//
// A call that returns a nil error did its work. Package spacelift documents the
// errors. The client retries reads for a few seconds; Temporal's retry policy, or
// the caller, waits out longer trouble. It sends mutations once: the caller checks
// their preconditions before it sends one again.
type Client struct {
	account spacelift.Account
	api     *signedIn
}

// NewClient returns a client, or what is wrong with the configuration. It
// doesn't connect: the first call signs in.
func NewClient(cfg Config) (*Client, error) {
	if err := spacelift.ValidateAccount(cfg.Account); err != nil {
		return nil, fmt.Errorf("account name %w", err)
	}
	if cfg.Credentials == nil {
		return nil, errors.New("no Spacelift API key is configured")
	}
	endpoint, err := graphqlURL(cfg)
	if err != nil {
		return nil, fmt.Errorf("spacelift endpoint of account %s %w", cfg.Account, err) // without the endpoint: it may hold a password
	}
	own := http.Client{Transport: defaultTransport()}
	if cfg.HTTPClient != nil {
		own = *cfg.HTTPClient
	}
	// After a redirect, a POST would arrive as a GET.
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

	send := sender{
		url:       endpoint,
		http:      &own,
		userAgent: cfg.UserAgent,
		timeout:   cfg.Timeout,
		observe:   cfg.Observe,
		clock:     &serverClock{},
	}
	if send.userAgent == "" {
		send.userAgent = defaultUserAgent
	}
	if send.timeout <= 0 {
		send.timeout = defaultTimeout
	}
	exchanger := &anonymous{send}
	return &Client{
		account: cfg.Account,
		api:     &signedIn{send, &tokens{credentials: cfg.Credentials, exchange: exchanger.exchange}},
	}, nil
}

// defaultTransport returns a transport that closes idle connections before a
// load balancer does, commonly after 60 seconds: a mutation sent into a
// connection that is being closed ends as ErrAmbiguous.
func defaultTransport() http.RoundTripper {
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return http.DefaultTransport // replaced on purpose
	}
	t = t.Clone()
	t.IdleConnTimeout = 30 * time.Second
	return t
}

func graphqlURL(cfg Config) (string, error) {
	endpoint := cfg.Endpoint
	if endpoint == "" {
		endpoint = "https://" + string(cfg.Account) + ".app.spacelift.io"
	}
	return graphqlAt(endpoint)
}

// CheckEndpoint reports what is wrong with the address as an account's Endpoint.
// The error continues a sentence that names the setting, and doesn't repeat the
// address: it may hold a password.
func CheckEndpoint(endpoint string) error {
	_, err := graphqlAt(endpoint)
	return err
}

func graphqlAt(endpoint string) (string, error) {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil:
		return "", errors.New("is not a URL")
	case u.Scheme != "https" && u.Scheme != "http":
		return "", errors.New("does not begin with https://")
	case u.Host == "":
		return "", errors.New("has no host")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("has more than scheme, host and path")
	}
	u.Path = strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/graphql") + "/graphql"
	return u.String(), nil
}

// Account returns the account that the client calls.
func (c *Client) Account() spacelift.Account { return c.account }

// RunURL returns the address of a run in Spacelift's user interface, built from
// the account's address and the run's ids.
func (c *Client) RunURL(ref spacelift.RunRef) string {
	return strings.TrimSuffix(c.api.url, "/graphql") + "/stack/" + url.PathEscape(string(ref.Stack)) + "/run/" + url.PathEscape(string(ref.Run))
}

// ClockSkew returns how far Spacelift's clock is ahead of this machine's, to
// about a second. It returns false before the first answer.
func (c *Client) ClockSkew() (time.Duration, bool) {
	clock := c.api.clock
	return clock.skew(), clock.known.Load()
}

// own refuses a run of another account: its ids mean nothing in this one or,
// worse, name another run.
func (c *Client) own(ref spacelift.RunRef) error {
	if ref.Account != c.account {
		return fmt.Errorf("run %s does not belong to account %s", ref, c.account)
	}
	return ref.Validate()
}

// runMetadataHeader makes Spacelift append its value to the run's metadata,
// which policies see as user_provided_metadata.
// https://docs.spacelift.io/concepts/run/user-provided-metadata
const runMetadataHeader = "Spacelift-User-Provided-Run-Metadata"

// takesRunMetadata lists the operations that accept the header.
var takesRunMetadata = map[string]bool{"RunTrigger": true, "RunTriggerForced": true, "RunConfirm": true, "TaskCreate": true}

type runMetadataKey struct{}

// WithRunMetadata makes TriggerRun, ConfirmRun and CreateTask leave a text in
// the run that names the actor, such as a workflow id. Control characters are
// dropped: a header can't carry them.
func WithRunMetadata(ctx context.Context, text string) context.Context {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, text)
	return context.WithValue(ctx, runMetadataKey{}, text)
}

func runMetadata(ctx context.Context) string {
	text, _ := ctx.Value(runMetadataKey{}).(string)
	return text
}
