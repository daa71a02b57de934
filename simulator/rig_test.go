package simulator_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// epoch is the time at which manual clocks start.
var epoch = time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)

// rig is an account on a manual clock whose runs take no time, a client of it
// and a receiver of its webhooks.
type rig struct {
	*simulator.Simulator
	t     *testing.T
	opts  simulator.Options
	clock *simulator.ManualClock
	hook  *receiver
	token string
}

func newRig(t *testing.T, shape ...func(*simulator.Options)) *rig {
	t.Helper()
	r := &rig{t: t, clock: simulator.NewManualClock(epoch), hook: newReceiver(t)}
	opts := simulator.Options{Seed: 1, Clock: r.clock, Phases: simulator.Instant()}
	for _, f := range shape {
		f(&opts)
	}
	r.opts, r.Simulator = opts, simulator.New(opts)
	t.Cleanup(r.Close)
	r.AddAPIKey(simulator.APIKey{ID: "01KEY", Secret: "s3cret"})
	return r
}

// saved is the account's snapshot.
func (r *rig) saved() []byte {
	r.t.Helper()
	var b bytes.Buffer
	r.ok(r.Save(&b))
	return b.Bytes()
}

// restart ends the account and restores it, as a process does that is stopped
// and started again.
func (r *rig) restart(prepare ...func(*simulator.Simulator) error) *rig {
	r.t.Helper()
	r.Close()
	next := *r
	var err error
	next.Simulator, err = simulator.Restore(bytes.NewReader(r.saved()), r.opts, prepare...)
	r.ok(err)
	r.t.Cleanup(next.Close)
	return &next
}

func (r *rig) ok(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) stack(st simulator.Stack) spacelift.StackID {
	r.t.Helper()
	r.ok(r.AddStack(st))
	all := r.Stacks()
	return all[len(all)-1].ID
}

// run lets everything happen that needs no time.
func (r *rig) settle() { r.advance(0) }

func (r *rig) advance(d time.Duration) {
	r.t.Helper()
	for range 4 { // an answer may schedule more
		r.clock.Advance(d)
		d = 0
		ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
		r.ok(r.Flush(ctx))
		cancel()
	}
}

func (r *rig) push(stack spacelift.StackID, p simulator.Plan) spacelift.RunID {
	r.t.Helper()
	id, err := r.Push(stack, simulator.Commit{}, p)
	r.ok(err)
	r.settle()
	return id
}

func (r *rig) get(stack spacelift.StackID, id spacelift.RunID) simulator.Run {
	r.t.Helper()
	run, err := r.Run(stack, id)
	r.ok(err)
	return run
}

// path is the run's history as "QUEUED0 READY1 …".
func (r *rig) path(stack spacelift.StackID, id spacelift.RunID) string {
	r.t.Helper()
	var b bytes.Buffer
	for i, t := range r.get(stack, id).History {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%s%d", t.State, t.StateVersion)
	}
	return b.String()
}

// routeAll sends every run event to the receiver.
func (r *rig) routeAll() {
	r.t.Helper()
	r.ok(r.AddNamedWebhook(simulator.NamedWebhook{ID: "hook", Endpoint: r.hook.url, Secret: "hush", Labels: []string{"target"}}))
	r.ok(r.AddPolicy(simulator.Policy{ID: "all", Engine: simulator.RegoV1, Body: `package spacelift

webhook contains {"endpoint_id": endpoint.id} if some endpoint in input.webhook_endpoints
`}))
}

type answer struct {
	Status int
	Data   json.RawMessage
	Errors []struct {
		Message string
		Path    []any
	}
}

// graphql sends a document with the rig's key and decodes data into out.
func (r *rig) graphql(document string, variables map[string]any, out any) answer {
	r.t.Helper()
	if r.token == "" {
		r.token = r.exchange("01KEY", "s3cret")
	}
	a := r.post(document, variables, http.Header{"Authorization": {"Bearer " + r.token}})
	if out != nil && len(a.Errors) == 0 {
		r.ok(json.Unmarshal(a.Data, out))
	}
	return a
}

func (r *rig) exchange(id, secret string) string {
	r.t.Helper()
	a := r.post(`mutation ($id: ID!, $secret: String!) { apiKeyUser(id: $id, secret: $secret) { jwt validUntil } }`,
		map[string]any{"id": id, "secret": secret}, nil)
	var out struct {
		APIKeyUser struct{ JWT string }
	}
	r.ok(json.Unmarshal(a.Data, &out))
	return out.APIKeyUser.JWT
}

func (r *rig) post(document string, variables map[string]any, header http.Header) answer {
	r.t.Helper()
	body, err := json.Marshal(map[string]any{"query": document, "variables": variables})
	r.ok(err)
	req := httptest.NewRequestWithContext(r.t.Context(), http.MethodPost, "/graphql", bytes.NewReader(body))
	maps.Copy(req.Header, header)
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	a := answer{Status: w.Code}
	if w.Code == http.StatusOK || w.Code == http.StatusUnauthorized {
		r.ok(json.Unmarshal(w.Body.Bytes(), &a))
	}
	return a
}

// receiver is the far end of webhooks.
type receiver struct {
	url string

	mu     sync.Mutex
	got    []received
	answer func(n int) int // status of the nth request, from 0
}

type received struct {
	Header http.Header
	Method string
	URL    string
	Body   string
	Event  struct {
		State        spacelift.RunState
		StateVersion int
		Run          struct{ ID spacelift.RunID }
	}
}

func newReceiver(t *testing.T) *receiver {
	h := &receiver{answer: func(int) int { return http.StatusOK }}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	h.url = srv.URL
	return h
}

func (h *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	got := received{Header: r.Header, Method: r.Method, URL: r.URL.String(), Body: string(body)}
	_ = json.Unmarshal(body, &got.Event) // a policy's own payload may have another shape
	h.mu.Lock()
	defer h.mu.Unlock()
	h.got = append(h.got, got)
	w.WriteHeader(h.answer(len(h.got) - 1))
}

func (h *receiver) all() []received {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]received(nil), h.got...)
}

func (h *receiver) states() []spacelift.RunState {
	var states []spacelift.RunState
	for _, got := range h.all() {
		states = append(states, got.Event.State)
	}
	return states
}
