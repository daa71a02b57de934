package service_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/service"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

const (
	webhookSecret = "local-dev-secret"
	viewerToken   = "gantry_viewer"
	adminToken    = "gantry_admin"

	// patience bounds how long a test waits for anything.
	patience = 30 * time.Second
)

// rig holds a configuration, a Spacelift account and a Temporal server for one
// Gantry.
type rig struct {
	*testing.T
	config    config.Config
	options   service.Options // beside the configuration
	temporal  *fakeTemporal
	spacelift *simulator.Simulator
	hold      func(*http.Request) // is called with each request to Spacelift; set it before start
	log       *logLines
	noOps     bool // start without an operations listener
}

// newRig returns a rig whose configuration is valid, with the account's secrets
// in files.
func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{T: t, config: config.Default(), temporal: newTemporal(t), log: &logLines{}}
	r.spacelift = simulator.New(simulator.Options{Account: "acme", Phases: simulator.Instant()})
	t.Cleanup(r.spacelift.Close)
	api := httptest.NewServer(http.HandlerFunc(r.serveSpacelift))
	t.Cleanup(api.Close)
	key := r.spacelift.AddAPIKey(simulator.APIKey{})
	r.config.Listen, r.config.OpsListen = "127.0.0.1:0", "127.0.0.1:0"
	r.config.Data = filepath.Join(t.TempDir(), "inbox")
	r.config.Inbox.Linger = 0
	r.config.Accounts = []config.Account{{
		Name: "acme", Endpoint: api.URL, APIKeyID: key.ID, APIKeySecretFile: r.file("api-key", key.Secret), WebhookSecretFiles: []string{r.file("webhook", webhookSecret)},
	}}
	r.config.Tokens = []authority.Token{{Name: "vera", Role: authority.RoleViewer, Hash: authority.TokenHash(viewerToken)}, {Name: "ada", Role: authority.RoleAdmin, Hash: authority.TokenHash(adminToken)}}
	r.options = service.Options{Temporal: client.Options{HostPort: r.temporal.address}, Version: "1.2.3"}
	return r
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// holdFirstCall lets the first request to Spacelift wait until it is released or
// given up. The channel called is closed once it waits.
func (r *rig) holdFirstCall() (called <-chan struct{}, release func()) {
	waits, released := make(chan struct{}), make(chan struct{})
	var first sync.Once
	r.hold = func(req *http.Request) {
		first.Do(func() {
			close(waits)
			select {
			case <-released:
			case <-req.Context().Done():
			}
		})
	}
	return waits, func() { close(released) }
}

// serveSpacelift is Spacelift's API.
func (r *rig) serveSpacelift(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body) // only then the server sees that the client is gone
	if err != nil {
		r.Error(err)
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	if r.hold != nil {
		r.hold(req)
	}
	r.spacelift.ServeHTTP(w, req)
}

// file writes a file that only its owner can read.
func (r *rig) file(name, content string) string {
	r.Helper()
	path := filepath.Join(r.TempDir(), name)
	r.must(os.WriteFile(path, []byte(content+"\n"), 0o600))
	return path
}

// run runs Gantry until ctx ends.
func (r *rig) run(ctx context.Context) error {
	o := r.options
	o.Config, o.Log = r.config, slog.New(slog.NewJSONHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return service.Run(ctx, o)
}

// refused runs a Gantry that must not start, and returns its error.
func (r *rig) refused() string {
	r.Helper()
	r.options.Ready = func(net.Addr) { r.Error("it serves") }
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	err := r.run(ctx)
	if err == nil {
		r.Fatal("Run returned nil, want an error")
	}
	return err.Error()
}

// gantry is one running Gantry.
type gantry struct {
	*rig
	url    string
	ops    string // URL of the operations listener
	cancel context.CancelFunc
	ended  chan error // Run's result
}

// start runs Gantry and returns once it serves. The test's end stops it.
func (r *rig) start() *gantry {
	r.Helper()
	ctx, cancel := context.WithCancel(r.Context())
	g := &gantry{rig: r, cancel: cancel, ended: make(chan error, 1)}
	if !r.noOps {
		operators, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		r.must(err)
		r.options.OpsListener, g.ops = operators, "http://"+operators.Addr().String()
	}
	address := make(chan net.Addr, 1)
	r.options.Ready = func(a net.Addr) { address <- a }
	go func() { g.ended <- r.run(ctx) }()
	select {
	case a := <-address:
		g.url = "http://" + a.String()
	case err := <-g.ended:
		r.Fatalf("Run returned %v before it served", err)
	case <-time.After(patience):
		r.Fatal("it doesn't serve")
	}
	r.Cleanup(g.stop)
	return g
}

// stop stops Gantry. It must end without an error, however often it is stopped.
func (g *gantry) stop() {
	g.Helper()
	g.cancel()
	select {
	case err := <-g.ended:
		if err != nil {
			g.Errorf("Run returned %v after it was stopped", err)
		}
		g.ended <- nil
	case <-time.After(patience):
		g.Error("it doesn't stop")
	}
}

// answer is an answer that was read.
type answer struct {
	Status int
	Header http.Header
	Body   string
}

// send sends a request.
func (g *gantry) send(method, path, body string, headers ...string) answer {
	g.Helper()
	a, err := g.try(method, g.url+path, body, headers...)
	g.must(err)
	return a
}

func (g *gantry) try(method, url, body string, headers ...string) (answer, error) {
	// Without the test's context, which has ended when the test cleans up.
	req, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := (&http.Client{Transport: transport, Timeout: patience}).Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	content, err := io.ReadAll(res.Body)
	return answer{Status: res.StatusCode, Header: res.Header, Body: string(content)}, err
}

func (g *gantry) get(path string, headers ...string) answer {
	g.Helper()
	return g.send(http.MethodGet, path, "", headers...)
}

// operator sends a GET request to the operations listener.
func (g *gantry) operator(path string) answer {
	g.Helper()
	a, err := g.try(http.MethodGet, g.ops+path, "")
	g.must(err)
	return a
}

// deliver sends a notification of a run that waits for confirmation, signed
// with a secret.
func (g *gantry) deliver(secret string) answer {
	g.Helper()
	body := notification(g.T)
	return g.send(http.MethodPost, "/webhook", body, "Content-Type", "application/json", spacelift.SignatureHeader, spacelift.Sign([]byte(secret), []byte(body)))
}

// awaitStatus sends GET requests until one is answered with a status.
func (g *gantry) awaitStatus(path string, status int) answer {
	g.Helper()
	var last answer
	g.eventually(func() bool {
		last = g.get(path)
		return last.Status == status
	}, func() string { return path + " answers " + last.Body })
	return last
}

// eventually repeats what can't be waited for otherwise until it is true.
func (r *rig) eventually(try func() bool, otherwise func() string) {
	r.Helper()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	timeout := time.After(patience)
	for !try() {
		select {
		case <-again.C:
		case <-timeout:
			r.Fatalf("after %s: %s", patience, otherwise())
		}
	}
}

// notification returns the body of a notification, as Spacelift sends it:
// compact.
func notification(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "openapi", "examples", "run_tracked_unconfirmed.json"))
	if err != nil {
		t.Fatal(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, content); err != nil {
		t.Fatal(err)
	}
	return compact.String()
}

// logLines collects log lines.
type logLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *logLines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(line))
	return len(line), nil
}

// find returns the first line with all words; "" if there is none.
func (l *logLines) find(words ...string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		missing := ""
		for _, w := range words {
			if !strings.Contains(line, w) {
				missing = cmp.Or(missing, w)
			}
		}
		if missing == "" {
			return line
		}
	}
	return ""
}

// awaitLog returns the first log line with all words, once there is one.
func (r *rig) awaitLog(words ...string) (line string) {
	r.Helper()
	r.eventually(func() bool {
		line = r.log.find(words...)
		return line != ""
	}, func() string { return "nothing logged with " + strings.Join(words, ", ") })
	return line
}
