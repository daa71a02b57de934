package deploy_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi"
)

const (
	secret      = "webhook-s3cret"
	headerValue = "header-s3cret"
)

// rig is an empty account, a client that is its admin, and a receiver of
// notifications.
type rig struct {
	*simulator.Simulator
	t       *testing.T
	admin   *spaceliftapi.Client
	address string
	hook    *receiver
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, Simulator: simulator.New(simulator.Options{Account: "acme", Phases: simulator.Instant()}), hook: newReceiver(t)}
	t.Cleanup(r.Close)
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.address = server.URL
	r.admin = r.client(simulator.Admin)
	return r
}

func (r *rig) client(role simulator.Role) *spaceliftapi.Client {
	r.t.Helper()
	key := r.AddAPIKey(simulator.APIKey{Role: role})
	c, err := spaceliftapi.NewClient(spaceliftapi.Config{
		Account: "acme", Endpoint: r.address, Credentials: spaceliftapi.APIKey{ID: key.ID, Secret: key.Secret},
	})
	r.ok(err)
	return c
}

func (r *rig) ok(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// wanted is the set-up that most stories ask for.
func (r *rig) wanted() deploy.Wanted {
	return deploy.Wanted{Webhook: "gantry", Policy: "gantry", Endpoint: r.hook.url, Secret: secret}
}

func (r *rig) plan(w deploy.Wanted) deploy.Plan {
	r.t.Helper()
	found, err := deploy.Inspect(r.t.Context(), r.admin, w)
	r.ok(err)
	plan, err := deploy.Compare(w, found)
	r.ok(err)
	return plan
}

// setUp applies what is planned and returns what was done.
func (r *rig) setUp(w deploy.Wanted) []string {
	r.t.Helper()
	var done []string
	r.ok(deploy.Apply(r.t.Context(), r.admin, r.plan(w), func(what string) { done = append(done, what) }))
	return done
}

func (r *rig) webhook() spacelift.NamedWebhook {
	r.t.Helper()
	w, err := r.admin.NamedWebhook(r.t.Context(), "gantry")
	r.ok(err)
	return w
}

func (r *rig) policy() spacelift.Policy { return r.policyNamed("gantry") }

func (r *rig) policyNamed(name string) spacelift.Policy {
	r.t.Helper()
	p, err := r.admin.Policy(r.t.Context(), name)
	r.ok(err)
	return p
}

// push lets a run without changes pass from the push to its end.
func (r *rig) push(stack spacelift.StackID) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	run, err := r.Push(stack, simulator.Commit{}, simulator.Plan{})
	r.ok(err)
	_, err = r.WaitState(ctx, stack, run, spacelift.RunStateFinished)
	r.ok(err)
	r.ok(r.Flush(ctx))
}

func items(p deploy.Plan) []deploy.Item {
	all := []deploy.Item{}
	for _, c := range p.Changes {
		all = append(all, c.Item)
	}
	return all
}

// receiver is Gantry as Spacelift sees it: it takes what is signed and carries
// the secret header, once that is asked for.
type receiver struct {
	url string
	t   *testing.T

	mu     sync.Mutex
	header string
	stacks []string // of each notification taken
}

func newReceiver(t *testing.T) *receiver {
	h := &receiver{t: t}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	h.url = server.URL + "/webhook"
	return h
}

func (h *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		h.t.Error(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	err = spacelift.VerifySignature([]byte(secret), body, r.Header.Get(spacelift.SignatureHeader))
	if err != nil || h.header != "" && r.Header.Get(h.header) != headerValue {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	var event struct {
		Stack struct{ ID string }
	}
	if err := json.Unmarshal(body, &event); err != nil {
		h.t.Error(err)
	}
	h.stacks = append(h.stacks, event.Stack.ID)
}

// heardOf lists the stacks whose notifications came and were taken, once each.
func (h *receiver) heardOf() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Compact(slices.Sorted(slices.Values(h.stacks)))
}

func (h *receiver) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.stacks)
}
