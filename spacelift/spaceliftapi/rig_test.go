package spaceliftapi_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi"
)

// api answers GraphQL requests as a test wants, and records them. It signs every
// key in.
type api struct {
	t testing.TB

	// answer is called for every request that isn't an exchange of the API key.
	answer func(request) reply

	exchange func(n int, keyID, secret string) reply // nil: sign in, for life
	life     time.Duration                           // of tokens; 0 means an hour

	mu        sync.Mutex
	requests  []request
	exchanges int
}

// request is a received request.
type request struct {
	Operation string          `json:"operationName"`
	Query     string          `json:"query"`
	Variables json.RawMessage `json:"variables"`

	header http.Header
	n      int // how many of this operation came before
}

// token is the number of the exchange that gave the request's token.
func (r request) token() int {
	n, _ := strconv.Atoi(strings.TrimPrefix(r.header.Get("Authorization"), "Bearer jwt-"))
	return n
}

// reply is an answer: by default HTTP 200 with a body.
type reply struct {
	status int
	header map[string]string
	body   string
}

func data(format string, args ...any) reply {
	return reply{body: fmt.Sprintf(`{"data":`+format+`}`, args...)}
}

func refusal(message string) reply {
	return reply{body: fmt.Sprintf(`{"data":null,"errors":[{"message":%q}]}`, message)}
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client left
	}
	req := request{header: r.Header}
	if err := json.Unmarshal(body, &req); err != nil {
		a.t.Errorf("request is not JSON: %v", err)
	}
	answer := a.handle(req)
	w.Header().Set("Content-Type", "application/json")
	for k, v := range answer.header {
		w.Header().Set(k, v)
	}
	if answer.status != 0 {
		w.WriteHeader(answer.status)
	}
	io.WriteString(w, answer.body)
}

func (a *api) handle(req request) reply {
	a.mu.Lock()
	if req.Operation == "APIKeyUser" {
		a.exchanges++
		n := a.exchanges
		a.mu.Unlock()
		return a.signIn(n, req)
	}
	for _, earlier := range a.requests {
		if earlier.Operation == req.Operation {
			req.n++
		}
	}
	a.requests = append(a.requests, req)
	a.mu.Unlock()
	return a.answer(req)
}

func (a *api) signIn(n int, req request) reply {
	var key struct{ ID, Secret string }
	if err := json.Unmarshal(req.Variables, &key); err != nil {
		a.t.Errorf("exchange: %v", err)
	}
	if got := req.header.Get("Authorization"); got != "" {
		a.t.Errorf("the exchange carries Authorization %q", got)
	}
	if a.exchange != nil {
		return a.exchange(n, key.ID, key.Secret)
	}
	return a.jwt(n)
}

// jwt is a successful exchange.
func (a *api) jwt(n int) reply {
	life := a.life
	if life == 0 {
		life = time.Hour
	}
	return data(`{"apiKeyUser":{"jwt":"jwt-%d","validUntil":%d}}`, n, time.Now().Add(life).Unix())
}

// RoundTrip serves requests without a network, so that tests with a fake clock
// never wait for it.
func (a *api) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.ServeHTTP(w, r)
	}()
	select {
	case <-done:
		return w.Result(), nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// seen lists the received operations, in order, without exchanges.
func (a *api) seen() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var names []string
	for _, r := range a.requests {
		names = append(names, r.Operation)
	}
	return names
}

func (a *api) exchanged() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.exchanges
}

func (a *api) last() request {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.requests) == 0 {
		a.t.Fatal("no request came")
	}
	return a.requests[len(a.requests)-1]
}

var testKey = spaceliftapi.APIKey{ID: "01KDWKEY000000000000000001", Secret: "hush-hush"}

// newClient returns a client of account acme over the transport.
func newClient(t testing.TB, transport http.RoundTripper, change ...func(*spaceliftapi.Config)) *spaceliftapi.Client {
	t.Helper()
	cfg := spaceliftapi.Config{
		Account:     "acme",
		Credentials: testKey,
		HTTPClient:  &http.Client{Transport: transport},
		UserAgent:   "gantry/test",
	}
	for _, c := range change {
		c(&cfg)
	}
	client, err := spaceliftapi.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

var testRun = spacelift.RunRef{Account: "acme", Stack: "network-prod", Run: "01KDX3V4T8Q2M5N7P9R1S3T5V7"}

// recorded is the response part of a recorded pair of request and response.
func recorded(t testing.TB, name string) reply {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var pair struct {
		Response json.RawMessage `json:"response"`
	}
	if err := json.Unmarshal(raw, &pair); err != nil {
		t.Fatal(err)
	}
	if pair.Response == nil {
		return reply{body: string(raw)}
	}
	return reply{body: string(pair.Response)}
}

func wantSeen(t testing.TB, a *api, want ...string) {
	t.Helper()
	if got := a.seen(); !slices.Equal(got, want) {
		t.Errorf("requests %v, want %v", got, want)
	}
}
