package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/gantryhq/gantry/e2e/program"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// beside is the same world as another replica of Gantry sees it: a port and a
// folder of its own.
func (w *world) beside() *world {
	w.t.Helper()
	other := &world{t: w.t, temporal: w.temporal, spacelift: w.spacelift, apiURL: w.apiURL, port: program.FreePort(w.t), opsPort: program.FreePort(w.t), dir: w.t.TempDir()}
	other.connect(apiToken)
	return other
}

// A process with the role api accepts webhooks and forwards them to Temporal, but
// doesn't act; one with the role worker acts, but doesn't accept webhooks.
func TestRoles(t *testing.T) {
	w := newWorld(t, simulator.Stack{ID: "network-prod", Labels: []string{"gantry:managed", "gantry:confirm=auto"}})
	front, back := w, w.beside()
	front.serveAs("api")
	run := w.push("network-prod", 1)
	_, err := w.spacelift.WaitState(t.Context(), "network-prod", run, spacelift.RunStateUnconfirmed)
	w.must(err)
	w.must(w.spacelift.Flush(t.Context()))
	front.eventually("Temporal has every event", func(ctx context.Context) error {
		r, err := front.client.GetReadinessWithResponse(ctx)
		if err == nil && (r.JSON200 == nil || r.JSON200.Status != api.ReadinessStatusReady || r.JSON200.Inbox.Pending != 0) {
			err = fmt.Errorf("%d %s", r.StatusCode(), r.Body)
		}
		return err
	})
	c := w.dialTemporal()
	if pollers := w.pollers(c); pollers != 0 {
		t.Errorf("the api process polls for tasks: %d pollers", pollers)
	}
	if schedules := w.schedules(c); len(schedules) != 0 {
		t.Errorf("the api process made schedules: %v", schedules)
	}
	if n := len(w.spacelift.Mutations("runConfirm")); n != 0 {
		t.Errorf("the api process confirmed a run, %d times", n)
	}

	back.serveAs("worker")
	if done := front.phase("network-prod", run, api.PhaseDone); done.State != "FINISHED" {
		t.Errorf("the run ended as %s", done.State)
	}
	if pollers := w.pollers(c); pollers == 0 {
		t.Error("the worker does not poll")
	}
	back.eventually("the worker made the schedule", func(context.Context) error {
		if len(w.schedules(c)) != 1 {
			return errors.New("there is none")
		}
		return nil
	})
}

// In an unprepared namespace, accepted events wait for the first worker, which
// prepares it. No event is dropped meanwhile.
func TestEventsWaitForTheNamespace(t *testing.T) {
	w := newWorld(t, simulator.Stack{ID: "network-prod", Labels: []string{"gantry:managed"}})
	w.silence()
	c := w.dialTemporal()
	_, err := c.WorkflowService().RegisterNamespace(t.Context(), &workflowservice.RegisterNamespaceRequest{
		Namespace: "fresh", WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour),
	})
	w.must(err)
	w.env = []string{"TEMPORAL_NAMESPACE=fresh"}
	front, back := w, w.beside()
	back.env = w.env

	front.serveAs("api")
	if status, answer := front.deliver(w.notification("network-prod", "01KDXFRESH0000000000000000", "QUEUED", 0)); status != http.StatusAccepted {
		t.Fatalf("%d %s", status, answer)
	}
	front.eventually("the namespace lacks search attributes", func(ctx context.Context) error {
		r, err := front.client.GetReadinessWithResponse(ctx)
		if err == nil && (r.JSON200 == nil || r.JSON200.Forwarding.Problem == nil || !strings.Contains(*r.JSON200.Forwarding.Problem, "search attribute")) {
			err = fmt.Errorf("%d %s", r.StatusCode(), r.Body)
		}
		return err
	})
	deliveries, err := front.client.ListDeliveriesWithResponse(t.Context(), &api.ListDeliveriesParams{Forwarding: new(api.ForwardingDead)})
	w.must(err)
	if deliveries.JSON200 == nil || len(deliveries.JSON200.Deliveries) != 0 {
		t.Errorf("given up: %s", deliveries.Body)
	}

	back.serveAs("worker")
	front.phase("network-prod", "01KDXFRESH0000000000000000", api.PhaseQueued)
}

// A worker serves probes and metrics, and nothing else; it has no inbox.
func TestWorkerServesProbesOnly(t *testing.T) {
	w := newWorld(t)
	p := w.serveAs("worker")
	for path, want := range map[string]struct {
		status int
		says   string
	}{
		"/healthz":         {http.StatusOK, `"status":"ok"`},
		"/readyz":          {http.StatusOK, `"status":"ready"`},
		"/metrics":         {http.StatusNotFound, ""},
		"/v1/runs":         {http.StatusNotFound, ""},
		"/docs":            {http.StatusNotFound, ""},
		"/openapi.yaml":    {http.StatusNotFound, ""},
		"/webhook":         {http.StatusNotFound, ""},
		"/v1/deliveries/x": {http.StatusNotFound, ""},
	} {
		if status, body := w.fetch(w.url() + path); status != want.status || !strings.Contains(body, want.says) {
			t.Errorf("GET %s: %d %.200s; want %d with %q", path, status, body, want.status, want.says)
		}
	}
	if status, body := w.fetch(w.ops() + "/metrics"); status != http.StatusOK || !strings.Contains(body, "temporal_worker_start_total") {
		t.Errorf("GET /metrics for operators: %d %.200s", status, body)
	}
	status, answer := w.deliver(w.notification("network-prod", "01KDXWORKER000000000000000", "QUEUED", 0))
	if status != http.StatusNotFound {
		t.Errorf("POST /webhook: %d %s", status, answer)
	}
	if found, err := os.ReadDir(filepath.Join(w.dir, "inbox")); err != nil || len(found) != 1 || found[0].Name() != "audit" {
		t.Errorf("the folder of a worker has %v, %v; want the audit log alone", found, err)
	}

	// Without Temporal it is alive but not ready.
	w.temporal.Stop()
	w.eventually("it is not ready", func(context.Context) error {
		if status, body := w.fetch(w.ops() + "/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "temporal") {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
	if status, body := w.fetch(w.url() + "/healthz"); status != http.StatusOK {
		t.Errorf("GET /healthz without Temporal: %d %s", status, body)
	}
	w.startTemporal()
	w.ready(p)
}

// serveAs starts `gantry serve` in a role, with Reconcile as by default.
func (w *world) serveAs(role string) *process {
	w.t.Helper()
	return w.serveWith(withToken + "role: " + role + "\nreconcile: {interval: 1h}\n")
}

func (w *world) dialTemporal() client.Client {
	w.t.Helper()
	c, err := client.DialContext(w.t.Context(), client.Options{HostPort: w.temporal.HostPort()})
	w.must(err)
	w.t.Cleanup(c.Close)
	return c
}

func (w *world) pollers(c client.Client) int {
	w.t.Helper()
	queue, err := c.DescribeTaskQueue(w.t.Context(), "gantry", enums.TASK_QUEUE_TYPE_WORKFLOW)
	w.must(err)
	return len(queue.GetPollers())
}

func (w *world) schedules(c client.Client) (ids []string) {
	w.t.Helper()
	all, err := c.ScheduleClient().List(w.t.Context(), client.ScheduleListOptions{})
	w.must(err)
	for all.HasNext() {
		s, err := all.Next()
		w.must(err)
		ids = append(ids, s.ID)
	}
	return ids
}
