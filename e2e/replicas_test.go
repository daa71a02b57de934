package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"sync/atomic"
	"testing"

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
