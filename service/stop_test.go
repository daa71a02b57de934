package service_test

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/inbox"
	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// A stop ends things in order. New requests are refused first, while the inbox
// still serves those under way. The worker says that it stops and gives up a call
// that Spacelift doesn't answer, so that another worker repeats it. The inbox and
// the connections to Temporal are closed last.
func TestStopOrder(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	called, answerCall := r.holdFirstCall()
	release := make(chan struct{})
	r.temporal.answers = release
	g := r.start()
	if a := g.deliver(webhookSecret); a.Status != http.StatusAccepted {
		t.Fatalf("the webhook answers %d %s, want 202", a.Status, a.Body)
	}
	r.temporal.await(t, "the event is forwarded", func() bool { return len(r.temporal.signals) == 1 })
	call := r.temporal.start(t, "ReadRun", spacelift.RunRef{Account: "acme", Stack: "network-prod", Run: "01KDX3V4T8Q2M5N7P9R1S3T5V7"})
	<-called
	answered := make(chan answer, 1)
	go func() {
		a, err := g.try(http.MethodGet, g.url+"/v1/accounts/acme/stacks/network-prod/runs/01KDX3V4T8Q2M5N7P9R1S3T5V7", "", "Authorization", "Bearer "+viewerToken)
		if err != nil {
			t.Error(err)
		}
		answered <- a
	}()
	r.temporal.await(t, "the request is under way", func() bool { return r.temporal.calls["QueryWorkflow"] > 0 })

	g.cancel()
	r.eventually(func() bool {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(g.url, "http://"))
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	}, func() string { return "it takes new connections" })
	if box, err := inbox.Open(t.Context(), inbox.Options{Dir: r.config.Data}); err == nil {
		t.Error("the inbox is closed while a request is under way")
		r.must(box.Close())
	}
	select {
	case a := <-answered:
		t.Errorf("the request is answered with %d %s before Temporal has answered", a.Status, a.Body)
	default:
	}
	close(release)
	if a := <-answered; a.Status != http.StatusNotFound || a.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("the request under way is answered with %d %s, want Temporal's answer", a.Status, a.Body)
	}

	err := (<-call).err
	if app, ok := errors.AsType[*temporal.ApplicationError](err); !ok || app.Type() != "Stopping" || app.NonRetryable() {
		t.Errorf("the call ends with %v, want an error of type Stopping that is retried", err)
	}
	g.stop()
	answerCall() // signing in is shared by all calls, so it isn't given up with one
	r.temporal.await(t, "the worker says that it stops, and the connections are closed", func() bool {
		return r.temporal.stopping && r.temporal.connections == 0
	})
	box, err := inbox.Open(t.Context(), inbox.Options{Dir: r.config.Data})
	r.must(err)
	t.Cleanup(func() { r.must(box.Close()) })
	deliveries, _, err := box.List(t.Context(), archive.Filter{}, 10, "")
	if err != nil || len(deliveries) != 1 || deliveries[0].Forwarding != archive.ForwardingForwarded {
		t.Errorf("the inbox has %v, %v; want the delivery, forwarded", deliveries, err)
	}
}

// A stop first makes the process not ready. Until shutdownDelay has passed it accepts
// events, forwards them and takes tasks, because load balancers still send requests.
func TestShutdownDelay(t *testing.T) {
	t.Parallel()
	for _, role := range []string{config.RoleAll, config.RoleAPI, config.RoleWorker} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.config.Role, r.config.ShutdownDelay = role, 3*time.Second
			g := r.start()
			g.awaitStatus("/readyz", http.StatusOK)
			began := time.Now()
			g.cancel()
			g.awaitStatus("/readyz", http.StatusServiceUnavailable)
			if a := g.operator("/readyz"); a.Status != http.StatusServiceUnavailable {
				t.Errorf("operators get %d %s, want 503", a.Status, a.Body)
			}
			if role != config.RoleWorker {
				if a := g.deliver(webhookSecret); a.Status != http.StatusAccepted {
					t.Errorf("the webhook answers %d %s, want 202", a.Status, a.Body)
				}
				r.temporal.await(t, "the event is forwarded", func() bool { return len(r.temporal.signals) == 1 })
			}
			g.stop()
			if took := time.Since(began); took < r.config.ShutdownDelay {
				t.Errorf("it ends %s after the stop, before the delay has passed", took)
			}
		})
	}
}

// A call that Spacelift answers soon after the stop counts.
func TestStopWaitsForCalls(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.config.Role = config.RoleWorker
	r.must(r.spacelift.AddStack(simulator.Stack{ID: "network-prod"}))
	run, err := r.spacelift.Push("network-prod", simulator.Commit{}, simulator.Plan{})
	r.must(err)
	called, answer := r.holdFirstCall()
	g := r.start()
	call := r.temporal.start(t, "ReadRun", spacelift.RunRef{Account: "acme", Stack: "network-prod", Run: run})
	<-called
	g.cancel()
	r.temporal.await(t, "the worker says that it stops", func() bool { return r.temporal.stopping })
	answer()
	if got := <-call; got.err != nil {
		t.Errorf("the call ends with %v, want its result", got.err)
	}
	g.stop()
}

// A process that is stopped before it reaches Temporal ends without an error.
func TestStopWithoutTemporal(t *testing.T) {
	t.Parallel()
	for _, role := range []string{config.RoleAll, config.RoleAPI, config.RoleWorker} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.config.Role = role
			r.options.Temporal.HostPort = unreachable(t)
			r.start().stop()
		})
	}
}

// unreachable returns an address on which nothing listens.
func unreachable(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
