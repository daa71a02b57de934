package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi"
)

const (
	testSecret      = "webhook-s3cret"
	testHeaderValue = "header-s3cret"
	testKeySecret   = "key-s3cret"
)

// rig is an empty Spacelift account, the address of a Gantry that takes its
// notifications, and an environment that configures both.
type rig struct {
	t         *testing.T
	spacelift *simulator.Simulator
	gantry    *receiver
	data      string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	for _, v := range os.Environ() { // what surrounds the tests is no part of them
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "GANTRY_") || strings.HasPrefix(name, "SPACELIFT_") || strings.HasPrefix(name, "TEMPORAL_") {
			t.Setenv(name, "")
			os.Unsetenv(name)
		}
	}
	r := &rig{t: t, spacelift: simulator.New(simulator.Options{Account: "acme", Phases: simulator.Instant()}), gantry: newReceiver(t)}
	t.Cleanup(r.spacelift.Close)
	server := httptest.NewServer(r.spacelift)
	t.Cleanup(server.Close)
	r.data = filepath.Join(t.TempDir(), "inbox")
	r.as(simulator.Admin)
	for name, value := range map[string]string{
		"GANTRY_ACCOUNT": "acme", "GANTRY_WEBHOOK_SECRET": testSecret, "GANTRY_DATA": r.data,
		"SPACELIFT_API_KEY_ENDPOINT": server.URL,
	} {
		t.Setenv(name, value)
	}
	return r
}

// configure gives Gantry a configuration file, beside the environment.
func (r *rig) configure(content string) {
	r.t.Helper()
	file := filepath.Join(r.t.TempDir(), "gantry.yaml")
	r.ok(os.WriteFile(file, []byte(content), 0o600))
	r.t.Setenv("GANTRY_CONFIG", file)
}

// as gives Gantry a key with a role.
func (r *rig) as(role simulator.Role) {
	key := r.spacelift.AddAPIKey(simulator.APIKey{Secret: testKeySecret, Role: role})
	r.t.Setenv("SPACELIFT_API_KEY_ID", key.ID)
	r.t.Setenv("SPACELIFT_API_KEY_SECRET", testKeySecret)
}

func (r *rig) withHeader() {
	r.t.Setenv("GANTRY_SECRET_HEADER", "X-Gantry-Token")
	r.t.Setenv("GANTRY_SECRET_HEADER_VALUE", testHeaderValue)
	r.gantry.header = "X-Gantry-Token"
}

func (r *rig) ok(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// run runs the program and returns what it prints and its exit code. No secret
// may ever be printed.
func (r *rig) run(args ...string) (out string, code int) {
	r.t.Helper()
	var printed bytes.Buffer
	code = run(r.t.Context(), args, nil, &printed, &printed)
	for _, secret := range []string{testSecret, testHeaderValue, testKeySecret, testToken} {
		if strings.Contains(printed.String(), secret) {
			r.t.Errorf("a secret is printed:\n%s", printed.String())
		}
	}
	return printed.String(), code
}

// chdir makes an empty folder the working directory.
func (r *rig) chdir() string {
	r.t.Helper()
	folder := r.t.TempDir()
	r.t.Chdir(folder)
	return folder
}

// setUp makes the account as it should be.
func (r *rig) setUp(flags ...string) {
	r.t.Helper()
	if out, code := r.run(append([]string{"setup", "--url", r.gantry.url, "--yes"}, flags...)...); code != 0 {
		r.t.Fatalf("exit code %d\n%s", code, out)
	}
}

// client is somebody else who works on the account.
func (r *rig) client() *spaceliftapi.Client {
	r.t.Helper()
	key := r.spacelift.AddAPIKey(simulator.APIKey{})
	c, err := spaceliftapi.NewClient(spaceliftapi.Config{
		Account: "acme", Endpoint: os.Getenv("SPACELIFT_API_KEY_ENDPOINT"), Credentials: spaceliftapi.APIKey{ID: key.ID, Secret: key.Secret},
	})
	r.ok(err)
	return c
}

// changeWebhook is somebody's change of the webhook.
func (r *rig) changeWebhook(change func(*spacelift.NamedWebhookInput)) {
	r.t.Helper()
	in := spacelift.NamedWebhookInput{
		Name: "gantry", Endpoint: r.gantry.url, Enabled: true, Labels: []string{"gantry"}, Space: "root", Secret: testSecret, RetryOnFailure: true,
	}
	change(&in)
	_, err := r.client().UpdateNamedWebhook(r.t.Context(), "gantry", in)
	r.ok(err)
}

// changePolicy is somebody's change of the policy.
func (r *rig) changePolicy(change func(*spacelift.PolicyInput)) {
	r.t.Helper()
	c := r.client()
	p, err := c.Policy(r.t.Context(), "gantry")
	r.ok(err)
	in := spacelift.PolicyInput{Name: p.Name, Type: p.Type, Engine: p.Engine, Body: p.Body, Space: p.Space}
	change(&in)
	_, err = c.UpdatePolicy(r.t.Context(), "gantry", in)
	r.ok(err)
}

// receiver fakes the parts of Gantry's HTTP side that setup and doctor
// need.
type receiver struct {
	url string // of the webhook

	mu     sync.Mutex
	header string
	ready  func(w http.ResponseWriter) // nil: all is well
	stacks map[string]int              // notifications taken, by stack

	findings   []api.Finding  // of the account acme
	deliveries []api.Delivery // newest first
}

func newReceiver(t *testing.T) *receiver {
	g := &receiver{stacks: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /webhook", g.webhook)
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		g.mu.Lock()
		defer g.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		if g.ready != nil {
			g.ready(w)
			return
		}
		io.WriteString(w, `{"status":"ready","inbox":{"writable":true,"pending":0},"forwarding":{"down":false}}`)
	})
	mux.HandleFunc("GET /v1/accounts", func(w http.ResponseWriter, r *http.Request) {
		g.show(w, r, func() any { return api.AccountList{Accounts: []api.Account{{Name: "acme", Findings: g.findings}}} })
	})
	mux.HandleFunc("GET /v1/deliveries", func(w http.ResponseWriter, r *http.Request) {
		g.show(w, r, func() any { return api.DeliveryList{Deliveries: g.logged(r.URL.Query())} })
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	g.url = server.URL + "/webhook"
	return g
}

const testToken = "gantry_t0ken"

// show answers a request for /v1.
func (g *receiver) show(w http.ResponseWriter, r *http.Request, what func() any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if r.Header.Get("Authorization") != "Bearer "+testToken {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, `{"type":"urn:gantry:problem:unauthenticated","title":"No token","status":401}`)
		return
	}
	_ = json.NewEncoder(w).Encode(what())
}

// logged lists the deliveries that a query asks for.
func (g *receiver) logged(q url.Values) []api.Delivery {
	found := []api.Delivery{}
	since, _ := time.Parse(time.RFC3339Nano, q.Get("since"))
	for _, d := range g.deliveries {
		if string(d.Outcome) == q.Get("outcome") && (q.Get("account") == "" || deref(d.Account) == q.Get("account")) && !d.ReceivedAt.Before(since) {
			found = append(found, d)
		}
	}
	return found
}

// log adds a delivery to Gantry's log.
func (g *receiver) log(outcome, reason string, at time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	d := api.Delivery{ID: fmt.Sprintf("01KDX3V4T8Q2M5N7P9R1S3T5%02d", len(g.deliveries)), Outcome: api.Outcome(outcome), Reason: given(reason), ReceivedAt: at}
	if outcome == "accepted" {
		d.Account, d.Run = new("acme"), new("01KDX3V4T8Q2M5N7P9R1S3T5V7")
	}
	g.deliveries = slices.Insert(g.deliveries, 0, d)
}

// finds adds a finding of the account.
func (g *receiver) finds(kind, summary string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.findings = append(g.findings, api.Finding{Kind: kind, Summary: summary, Fix: "as " + kind + " says"})
}

func (g *receiver) webhook(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	refuse := func(reason string) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, `{"type":"urn:gantry:problem:`+reason+`","title":"Unauthorized","status":401,"detail":"because"}`)
	}
	if spacelift.VerifySignature([]byte(testSecret), body, r.Header.Get(spacelift.SignatureHeader)) != nil {
		refuse("signature-mismatch")
		return
	}
	if g.header != "" && r.Header.Get(g.header) != testHeaderValue {
		refuse("secret-header-mismatch")
		return
	}
	var event struct {
		Stack struct{ ID string }
	}
	_ = json.Unmarshal(body, &event)
	outcome := `"outcome":"ignored","reason":"internal-error"`
	if event.Stack.ID != "" {
		g.stacks[event.Stack.ID]++
		outcome = `"outcome":"accepted"`
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	io.WriteString(w, `{"delivery":"01KDX3V4T8Q2M5N7P9R1S3T5V7",`+outcome+`}`)
}

// received counts the notifications of a stack.
func (g *receiver) received(stack string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stacks[stack]
}

// push lets a run without changes pass from the push to its end.
func (r *rig) push(stack spacelift.StackID) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	run, err := r.spacelift.Push(stack, simulator.Commit{}, simulator.Plan{})
	r.ok(err)
	_, err = r.spacelift.WaitState(ctx, stack, run, spacelift.RunStateFinished)
	r.ok(err)
	r.ok(r.spacelift.Flush(ctx))
}

// fakeGantry serves answers as Gantry does: problems, streams and JSON say that they are.
func fakeGantry(t *testing.T, answer http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer.ServeHTTP(&typedAnswer{ResponseWriter: w, stream: strings.HasSuffix(r.URL.Path, "/events")}, r)
	}))
	t.Cleanup(server.Close)
	return server
}

// typedAnswer gives an answer the type of its content, unless it has one.
type typedAnswer struct {
	http.ResponseWriter

	stream, began bool
}

func (a *typedAnswer) WriteHeader(status int) {
	kind := "application/json"
	switch {
	case status >= http.StatusBadRequest:
		kind = "application/problem+json"
	case a.stream:
		kind = "text/event-stream"
	}
	if a.Header().Get("Content-Type") == "" {
		a.Header().Set("Content-Type", kind)
	}
	a.began = true
	a.ResponseWriter.WriteHeader(status)
}

func (a *typedAnswer) Write(b []byte) (int, error) {
	if !a.began {
		a.WriteHeader(http.StatusOK)
	}
	return a.ResponseWriter.Write(b)
}

func (a *typedAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
