package server_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/inbox"
	"github.com/gantryhq/gantry/openapi/conformance"
	"github.com/gantryhq/gantry/server"
	"github.com/gantryhq/gantry/spacelift"
)

const (
	acmeSecret    = "local-dev-secret"
	acmePrevious  = "the-secret-before"
	globexSecret  = "another-secret"
	viewerToken   = "gantry_viewer"
	operatorToken = "gantry_operator"
	approverToken = "gantry_approver"
	adminToken    = "gantry_admin"
	otherToken    = "gantry_other" // of the same person as approverToken
)

// rig is a server over a real inbox and a Temporal made of maps.
type rig struct {
	t        *testing.T
	handler  *server.Server
	inbox    *inbox.Inbox
	temporal *fakeTemporal
	registry *prometheus.Registry
	log      *logLines
}

type option func(*server.Config)

func newRig(t *testing.T, options ...option) *rig {
	t.Helper()
	r := &rig{t: t, temporal: &fakeTemporal{status: map[string]managed.RunStatus{}}, registry: prometheus.NewRegistry(), log: &logLines{}}
	log := slog.New(slog.NewJSONHandler(r.log, nil))
	box, err := inbox.Open(t.Context(), inbox.Options{Dir: inMemory(t), Logger: log, Metrics: r.registry})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Close() })
	r.inbox = box
	cfg := ordinary()
	for _, o := range options {
		o(&cfg)
	}
	for i, a := range cfg.Accounts {
		if a.Stacks == nil {
			cfg.Accounts[i].Stacks = &account{stacks: []spacelift.Stack{
				{Account: a.Name, ID: "network-prod", Labels: []string{spacelift.LabelManaged}}, {Account: a.Name, ID: "app-prod", Labels: []string{spacelift.LabelManaged}},
			}}
		}
	}
	r.handler, err = server.New(cfg, box, r.temporal, r.registry, log)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// inMemory returns a folder in memory, where the system has one: each inbox
// reserves several megabytes and syncs them.
func inMemory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "gantry-server-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// serve returns another server over the rig's Temporal and an inbox, with the
// ordinary configuration.
func (r *rig) serve(box server.Inbox) *server.Server {
	r.t.Helper()
	return r.serveWith(ordinary(), box)
}

func (r *rig) serveWith(cfg server.Config, box server.Inbox) *server.Server {
	r.t.Helper()
	handler, err := server.New(cfg, box, r.temporal, prometheus.NewRegistry(), discard())
	if err != nil {
		r.t.Fatal(err)
	}
	return handler
}

// ordinary is the configuration of a rig without options.
func ordinary() server.Config {
	return server.Config{
		Version: "1.2.3",
		Accounts: []server.Account{
			{Name: "acme", Secrets: fixed(acmeSecret, acmePrevious)},
			{Name: "globex", Secrets: fixed(globexSecret)},
		},
		Tokens: []authority.Token{
			{Name: "vera", Role: authority.RoleViewer, Hash: authority.TokenHash(viewerToken)},
			{Name: "otto", Role: authority.RoleOperator, Hash: authority.TokenHash(operatorToken)},
			{Name: "ann", Role: authority.RoleApprover, Groups: []string{"platform"}, Hash: authority.TokenHash(approverToken)},
			{Name: "ada", Role: authority.RoleAdmin, Hash: authority.TokenHash(adminToken)},
			{Name: "ann-laptop", Role: authority.RoleApprover, Hash: authority.TokenHash(otherToken)},
		},
		People:    []decide.Person{{Name: "Ann", Aliases: []string{"ann", "ann-laptop", "acook"}}},
		TaskQueue: "gantry",
	}
}

func fixed(secrets ...string) func() []string { return func() []string { return secrets } }

// metrics returns the metrics on the operations listener.
func (r *rig) metrics() string {
	r.t.Helper()
	w := httptest.NewRecorder()
	r.handler.Operations.ServeHTTP(w, httptest.NewRequestWithContext(r.t.Context(), http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		r.t.Fatalf("metrics: %d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// send sends a request to the server and returns its answer.
func (r *rig) send(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequestWithContext(r.t.Context(), method, path, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, req)
	answersAsDocumented(r.t, req, w)
	return w
}

// answersAsDocumented checks an answer against the contract.
func answersAsDocumented(t *testing.T, req *http.Request, w *httptest.ResponseRecorder) {
	t.Helper()
	if err := conformance.Check(req, conformance.Answer{Status: w.Code, Header: w.Header(), Body: w.Body.Bytes()}); err != nil {
		t.Errorf("%s %s answered %d, not as documented: %.1000s", req.Method, req.URL.Path, w.Code, err)
	}
}

// deliver sends a signed notification.
func (r *rig) deliver(secret, body string) *httptest.ResponseRecorder {
	return r.send(http.MethodPost, "/webhook", body, "Content-Type", "application/json", spacelift.SignatureHeader, spacelift.Sign([]byte(secret), []byte(body)))
}

// receipt sends a notification signed by acme and returns its receipt, which
// must be a 202.
func (r *rig) receipt(body string) api.Receipt {
	r.t.Helper()
	w := r.deliver(acmeSecret, body)
	if w.Code != http.StatusAccepted {
		r.t.Fatalf("status %d, want 202: %s", w.Code, w.Body)
	}
	return decode[api.Receipt](r.t, w)
}

func (r *rig) get(path, token string) *httptest.ResponseRecorder {
	return r.send(http.MethodGet, path, "", "Authorization", "Bearer "+token)
}

func (r *rig) deliveries(query string) []api.Delivery {
	r.t.Helper()
	w := r.get("/v1/deliveries"+query, viewerToken)
	if w.Code != http.StatusOK {
		r.t.Fatalf("list deliveries: %d %s", w.Code, w.Body)
	}
	return decode[api.DeliveryList](r.t, w).Deliveries
}

func decode[T any](t *testing.T, w *httptest.ResponseRecorder) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("decode %s: %v", w.Body, err)
	}
	return v
}

// wantProblem checks that an answer is a problem document of a kind.
func wantProblem(t *testing.T, w *httptest.ResponseRecorder, status int, kind string) api.Problem {
	t.Helper()
	if ct := w.Header().Get("Content-Type"); ct != "application/problem+json" {
		t.Fatalf("content type %q of %d %s, want a problem", ct, w.Code, w.Body)
	}
	p := decode[api.Problem](t, w)
	if w.Code != status || p.Status != status || p.Type != "urn:gantry:problem:"+kind {
		t.Fatalf("got %d %s (%s), want %d %s", w.Code, p.Type, w.Body, status, kind)
	}
	if p.Title == "" || p.Detail == nil || *p.Detail == "" {
		t.Errorf("problem without title or detail: %s", w.Body)
	}
	return p
}

// example reads a body as Spacelift sends it: compact.
func example(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "openapi", "examples", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, content); err != nil {
		t.Fatal(err)
	}
	return compact.String()
}

// edited returns the unconfirmed example with something changed.
func edited(t *testing.T, edit func(body map[string]any)) string {
	t.Helper()
	var body map[string]any
	if err := json.Unmarshal([]byte(example(t, "run_tracked_unconfirmed")), &body); err != nil {
		t.Fatal(err)
	}
	edit(body)
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// logLines keeps what was logged.
type logLines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// entries returns the log lines with a message.
func (l *logLines) entries(t *testing.T, message string) []map[string]any {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []map[string]any
	for d := json.NewDecoder(bytes.NewReader(l.buf.Bytes())); ; {
		var line map[string]any
		switch err := d.Decode(&line); {
		case err == io.EOF:
			return found
		case err != nil:
			t.Fatal(err)
		}
		if line["msg"] == message {
			found = append(found, line)
		}
	}
}

// counter returns the values of a counter by its labels.
func (r *rig) counter(name string) map[string]float64 {
	r.t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			values[strings.Join(labels, ",")] = m.GetCounter().GetValue()
		}
	}
	return values
}

func newRecorder() *httptest.ResponseRecorder { return httptest.NewRecorder() }

func newRegistry() *prometheus.Registry { return prometheus.NewRegistry() }

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
