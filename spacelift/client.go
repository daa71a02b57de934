package spacelift

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	defaultTimeout   = 30 * time.Second // spacectl and the Terraform provider allow a minute
	defaultUserAgent = "gantry"
)

// Config says which account a Client speaks to, and as whom.
type Config struct {
	Account     Account
	Credentials Credentials

	// Endpoint is the account's address, with or without /graphql. Empty means
	// https://<account>.app.spacelift.io. The API key travels in the body of a
	// request: http is for simulators.
	Endpoint string

	HTTPClient *http.Client  // nil means one of our own; redirects are never followed
	UserAgent  string        // "gantry/<version>"; empty means "gantry"
	Timeout    time.Duration // of one HTTP request, of which a call may need several; 0 means 30 s

	// Observe, when set, is told of every HTTP request that ended, those for
	// tokens included. It is called from many goroutines and should be quick.
	Observe func(Call)
}

// Call is one HTTP request to Spacelift, for metrics and logs.
type Call struct {
	Operation string // the GraphQL operation's name, from a small fixed set
	Mutation  bool
	Status    int // of HTTP; 0 without an answer
	Took      time.Duration
	CheckAge  time.Duration // of a mutation under WithCheck: how old the check was when it was sent; 0 when it was not
	Err       error         // nil when it was answered as hoped
}

// Client speaks to one Spacelift account. It is safe for concurrent use.
//
// A call that returns nil did what it says. The errors to expect are in
// errors.go. Reads are repeated, and not for long: Temporal's retry policy, or
// the caller, waits out longer trouble. Mutations are sent once: their caller
// checks what they depend on before it sends one again.
type Client struct {
	account Account
	api     *signedIn
}

// NewClient checks the configuration. It doesn't connect: the first call signs in.
func NewClient(cfg Config) (*Client, error) {
	if err := validateID(string(cfg.Account)); err != nil {
		return nil, fmt.Errorf("account name %w", err)
	}
	if cfg.Credentials == nil {
		return nil, errors.New("no Spacelift API key is configured")
	}
	endpoint, err := graphqlURL(cfg)
	if err != nil {
		return nil, fmt.Errorf("spacelift endpoint of account %s %w", cfg.Account, err) // it may hold a password
	}
	own := http.Client{Transport: defaultTransport()}
	if cfg.HTTPClient != nil {
		own = *cfg.HTTPClient
	}
	// Followed, a redirected POST would arrive as a GET.
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

// defaultTransport lets go of idle connections before a load balancer does, 60
// seconds being a common setting: a mutation sent into a connection that is just
// being closed ends as ErrAmbiguous.
func defaultTransport() http.RoundTripper {
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return http.DefaultTransport // somebody put another one there, knowingly
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

// CheckEndpoint reports what keeps an address from being an account's Endpoint.
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
		return "", errors.New("holds more than scheme, host and path")
	}
	u.Path = strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/graphql") + "/graphql"
	return u.String(), nil
}

// Account is the account the client speaks to.
func (c *Client) Account() Account { return c.account }

// RunURL returns the address of a run in Spacelift's user interface, built from
// the account's address and the run's ids.
func (c *Client) RunURL(ref RunRef) string {
	return strings.TrimSuffix(c.api.url, "/graphql") + "/stack/" + url.PathEscape(string(ref.Stack)) + "/run/" + url.PathEscape(string(ref.Run))
}

// ClockSkew is by how much Spacelift's clock is ahead of this machine's, to
// about a second. It reports false before the first answer.
func (c *Client) ClockSkew() (time.Duration, bool) {
	clock := c.api.clock
	return clock.skew(), clock.known.Load()
}

// own refuses a run of another account: its ids mean nothing here, or worse,
// something else.
func (c *Client) own(ref RunRef) error {
	if ref.Account != c.account {
		return fmt.Errorf("run %s is not of account %s", ref, c.account)
	}
	return ref.Validate()
}

// runMetadataHeader makes Spacelift append its value to the run's metadata,
// which policies see as user_provided_metadata.
// https://docs.spacelift.io/concepts/run/user-provided-metadata
const runMetadataHeader = "Spacelift-User-Provided-Run-Metadata"

// takesRunMetadata names the operations that heed the header.
var takesRunMetadata = map[string]bool{"RunTrigger": true, "RunTriggerForced": true, "RunConfirm": true, "TaskCreate": true}

type runMetadataKey struct{}

// WithRunMetadata makes TriggerRun, ConfirmRun and CreateTask leave a text in
// the run: who did this, such as a workflow id. Control characters are dropped,
// a header can't carry them.
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
