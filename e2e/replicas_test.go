package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/simulator"
)

// Two replicas behind one port are killed in turn under load, and come back
// with their inboxes while the load continues. No sender notices, no accepted event
// is lost, and every plan is confirmed once.
func TestReplicasAreKilledInTurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	replicas := []*world{w.beside(), w.beside()}
	balancer := w.balance(replicas...)
	running := []*process{replicas[0].serve(), replicas[1].serve()}

	load := newLoad(w, 30)
	ctx, stop := context.WithCancel(t.Context())
	var senders sync.WaitGroup
	for range 4 {
		senders.Go(func() { load.send(ctx) })
	}
	for round := range 8 {
		victim := round % len(replicas)
		load.waitFor(20 + rand.IntN(60))
		running[victim].Kill()
		load.waitFor(50) // the other one takes all
		running[victim] = replicas[victim].serve()
	}
	load.waitFor(20)
	stop()
	senders.Wait()
	load.check()
	if n := balancer.unserved.Load(); n != 0 {
		t.Errorf("%d requests reached no replica", n)
	}
	for i := range replicas {
		if balancer.served[i].Load() == 0 {
			t.Errorf("replica %d served nothing", i)
		}
	}
	t.Logf("%d events acknowledged, %d requests sent again to the other replica", len(load.accepted), balancer.again.Load())
}

// Events that a replica had accepted but not forwarded when it was killed wait in
// its own inbox: no other replica knows them until it is back.
func TestKilledReplicaComesBackWithItsInbox(t *testing.T) {
	w := newWorld(t, simulator.Stack{ID: "network-prod", Labels: []string{"gantry:managed"}})
	w.silence()
	a, b := w.beside(), w.beside()
	running := a.serve()
	b.serve()

	w.temporal.Stop()
	for _, accepted := range []struct {
		by  *world
		run string
	}{{a, "01KDXREPLICAA0000000000000"}, {b, "01KDXREPLICAB0000000000000"}} {
		if status, answer := accepted.by.deliver(w.notification("network-prod", runID(accepted.run), "QUEUED", 0)); status != http.StatusAccepted {
			t.Fatalf("without Temporal: %d %s", status, answer)
		}
	}
	running.Kill()
	w.startTemporal()
	b.phase("network-prod", "01KDXREPLICAB0000000000000", api.PhaseQueued)
	if r, err := b.client.GetRunWithResponse(t.Context(), "acme", "network-prod", "01KDXREPLICAA0000000000000"); err != nil || r.StatusCode() != http.StatusNotFound {
		t.Errorf("the run that only the dead replica knows: %v %s", err, r.Body)
	}
	a.serve()
	b.phase("network-prod", "01KDXREPLICAA0000000000000", api.PhaseQueued)
}

// Two processes that know each other list the deliveries of both, and show and redeliver
// each other's. One that was killed is named, and keeps its ids when it is back.
func TestDeliveriesOfTwoProcesses(t *testing.T) {
	t.Parallel()
	a := newWorld(t)
	a.silence()
	b := a.beside()
	serve := func(w *world, name string) *process {
		return w.serveWith(withToken + fmt.Sprintf("replica: %s\npeers: ['%s', '%s']\n", name, a.url(), b.url()))
	}
	serve(a, "gantry-a")
	second := serve(b, "gantry-b")

	var want []string
	for n := range 6 {
		w := []*world{a, b}[n%2]
		status, answer := w.deliver(a.notification("network-prod", runID(fmt.Sprintf("01KDXPEERS%016d", n)), "QUEUED", 0))
		var receipt api.Receipt
		if err := json.Unmarshal([]byte(answer), &receipt); err != nil || status != http.StatusAccepted {
			t.Fatalf("%d %s", status, answer)
		}
		want = append(want, receipt.Delivery)
	}
	theirs := want[5] // of gantry-b
	slices.Sort(want) // two may have come in one millisecond
	slices.Reverse(want)
	list := func(w *world) (ids []string, replicas []api.Replica) {
		var token *string
		for first := true; first || token != nil; first = false {
			r, err := w.client.ListDeliveriesWithResponse(t.Context(), &api.ListDeliveriesParams{PageSize: new(4), PageToken: token})
			w.must(err)
			if r.JSON200 == nil {
				t.Fatalf("%d %s", r.StatusCode(), r.Body)
			}
			for _, d := range r.JSON200.Deliveries {
				ids = append(ids, d.ID)
			}
			token, replicas = r.JSON200.NextPageToken, r.JSON200.Replicas
		}
		return ids, replicas
	}
	both := func(w *world, first, second string) {
		t.Helper()
		ids, replicas := list(w)
		if diff := cmp.Diff(want, ids); diff != "" {
			t.Errorf("%s lists (-want +got):\n%s", first, diff)
		}
		if len(replicas) != 2 || replicas[0].Name != first || replicas[1].Name != second || replicas[1].Problem != nil {
			t.Errorf("%s names %+v", first, replicas)
		}
	}
	both(a, "gantry-a", "gantry-b")
	both(b, "gantry-b", "gantry-a")

	detail, err := a.client.GetDeliveryWithResponse(t.Context(), theirs)
	a.must(err)
	if detail.JSON200 == nil || detail.JSON200.Delivery.Replica != "gantry-b" || detail.JSON200.Body == nil {
		t.Errorf("a delivery of the other replica: %d %s", detail.StatusCode(), detail.Body)
	}
	again, err := a.client.RedeliverWithResponse(t.Context(), theirs, nil)
	a.must(err)
	if again.JSON202 == nil || again.JSON202.ID != theirs {
		t.Errorf("redeliver: %d %s", again.StatusCode(), again.Body)
	}

	second.Kill()
	out := a.cli("deliveries", "list")
	if !strings.Contains(out, "REPLICA") || !strings.Contains(out, "gantry-a") || !strings.Contains(out, "without the deliveries of "+strings.TrimPrefix(b.url(), "http://")) {
		t.Errorf("the program prints\n%s", out)
	}
	gone, err := a.client.GetDeliveryWithResponse(t.Context(), theirs)
	a.must(err)
	if gone.StatusCode() != http.StatusServiceUnavailable {
		t.Errorf("a delivery of a replica that is down: %d %s", gone.StatusCode(), gone.Body)
	}
	serve(b, "gantry-b")
	both(a, "gantry-a", "gantry-b")
}

// cli runs a command that calls Gantry, and returns what it prints.
func (w *world) cli(args ...string) string {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), gantryBinary, args...)
	cmd.Env = []string{"HOME=" + w.dir, "GANTRY_URL=" + w.url(), "GANTRY_TOKEN=" + apiToken}
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("gantry %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// balancer is a typical load balancer in front of replicas: it alternates, and
// sends a request that one replica doesn't answer to the next.
type balancer struct {
	replicas []*world
	turn     atomic.Int64
	served   []atomic.Int64
	again    atomic.Int64
	unserved atomic.Int64
}

// balance serves the world's port from the replicas.
func (w *world) balance(replicas ...*world) *balancer {
	w.t.Helper()
	b := &balancer{replicas: replicas, served: make([]atomic.Int64, len(replicas))}
	l, err := new(net.ListenConfig).Listen(w.t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", w.port))
	w.must(err)
	srv := &http.Server{Handler: &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.Out.URL.Scheme = "http" },
		Transport: b,
		ErrorHandler: func(rw http.ResponseWriter, r *http.Request, _ error) {
			if r.Context().Err() == nil {
				b.unserved.Add(1)
			}
			rw.WriteHeader(http.StatusBadGateway)
		},
	}}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	w.t.Cleanup(func() {
		srv.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			w.t.Error(err)
		}
	})
	return b
}

// RoundTrip has a whole answer or an error, never half of one.
func (b *balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	var err error
	if r.Body != nil {
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	first := int(b.turn.Add(1))
	for i := range b.replicas {
		n := (first + i) % len(b.replicas)
		attempt := r.Clone(r.Context())
		attempt.Body = io.NopCloser(bytes.NewReader(body))
		attempt.URL.Host = fmt.Sprintf("127.0.0.1:%d", b.replicas[n].port)
		var res *http.Response
		if res, err = whole(http.DefaultTransport.RoundTrip(attempt)); err == nil {
			b.served[n].Add(1)
			return res, nil
		}
		if r.Context().Err() == nil {
			b.again.Add(1)
		}
	}
	return nil, err
}

func whole(res *http.Response, err error) (*http.Response, error) {
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, err
}
