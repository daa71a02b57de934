package service_test

import (
	"net/http"
	"strings"
	"testing"

	"go.temporal.io/api/serviceerror"

	"github.com/gantryhq/gantry/config"
)

// Every process is healthy while it serves, with or without Temporal.
func TestHealth(t *testing.T) {
	t.Parallel()
	for _, role := range []string{config.RoleAll, config.RoleAPI, config.RoleWorker} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.config.Role = role
			r.temporal.fail("", serviceerror.NewPermissionDenied("not yet", ""))
			a := r.start().get("/healthz")
			if a.Status != http.StatusOK || !strings.Contains(a.Body, `"status":"ok"`) || !strings.Contains(a.Body, `"version":"1.2.3"`) {
				t.Errorf("/healthz answers %d %s", a.Status, a.Body)
			}
		})
	}
}

// A process that takes webhooks is ready without Temporal: the inbox keeps what
// it accepts.
func TestReadyWithoutTemporal(t *testing.T) {
	t.Parallel()
	for _, role := range []string{config.RoleAll, config.RoleAPI} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.config.Role = role
			r.temporal.fail("", serviceerror.NewPermissionDenied("not yet", ""))
			g := r.start()
			var a answer
			g.eventually(func() bool {
				a = g.operator("/readyz")
				return a.Status != http.StatusOK || strings.Contains(a.Body, "degraded") && strings.Contains(a.Body, "not yet")
			}, func() string { return "no event failed, and /readyz answers " + a.Body })
			if a.Status != http.StatusOK {
				t.Errorf("/readyz answers %d %s, want 200", a.Status, a.Body)
			}
			r.temporal.fail("", nil)
			g.eventually(func() bool {
				a = g.get("/readyz")
				return strings.Contains(a.Body, `"status":"ready"`)
			}, func() string { return "with Temporal, /readyz answers " + a.Body })
		})
	}
}

// Readiness names a missing namespace before an event fails.
func TestReadyWithoutTheNamespace(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.config.Role = config.RoleAPI
	r.temporal.fail("DescribeNamespace", serviceerror.NewNamespaceNotFound("default"))
	g := r.start()
	var a answer
	g.eventually(func() bool {
		a = g.operator("/readyz")
		return strings.Contains(a.Body, "degraded") && strings.Contains(a.Body, "create the namespace default")
	}, func() string { return "without the namespace, /readyz answers " + a.Body })
	r.temporal.fail("DescribeNamespace", nil)
	g.eventually(func() bool {
		a = g.get("/readyz")
		return strings.Contains(a.Body, `"status":"ready"`)
	}, func() string { return "with the namespace, /readyz answers " + a.Body })
}

// A worker is ready while Temporal answers, once it takes tasks.
func TestReadyWorker(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.config.Role = config.RoleWorker
	r.temporal.fail("", serviceerror.NewPermissionDenied("not yet", ""))
	g := r.start()
	a := g.operator("/readyz")
	if a.Status != http.StatusServiceUnavailable || !strings.Contains(a.Body, "temporal is unavailable") || a.Header.Get("Retry-After") != "1" {
		t.Errorf("without Temporal, /readyz answers %d %v %s, want 503 with Retry-After: 1", a.Status, a.Header, a.Body)
	}
	if a := g.get("/readyz"); a.Status != http.StatusServiceUnavailable || strings.Contains(a.Body, "temporal") {
		t.Errorf("on the public listener, /readyz answers %d %s, want 503 without a cause", a.Status, a.Body)
	}
	r.temporal.fail("", nil)
	if a := g.awaitStatus("/readyz", http.StatusOK); !strings.Contains(a.Body, `"status":"ready"`) {
		t.Errorf("with a worker that takes tasks, /readyz answers %s", a.Body)
	}
	r.temporal.fail("", serviceerror.NewPermissionDenied("not any more", ""))
	g.awaitStatus("/readyz", http.StatusServiceUnavailable)
	if a := g.get("/healthz"); a.Status != http.StatusOK {
		t.Errorf("without Temporal, /healthz answers %d, want 200", a.Status)
	}
}

// Every process shows its own metrics and those of Temporal's SDK, without the
// attempts and the label that say nothing more.
func TestMetrics(t *testing.T) {
	t.Parallel()
	for role, wants := range map[string][]string{
		config.RoleAll:    {"gantry_inbox_", "gantry_confirmed_unseen_total 0", "temporal_request_total", "temporal_worker_start_total"},
		config.RoleAPI:    {"gantry_inbox_", "temporal_request_total"},
		config.RoleWorker: {"gantry_confirmed_unseen_total 0", "temporal_request_total", "temporal_worker_start_total"},
	} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.config.Role = role
			g := r.start()
			if role == config.RoleAPI {
				g.deliver(webhookSecret)
				r.temporal.await(t, "the event is forwarded", func() bool { return len(r.temporal.signals) == 1 })
			} else {
				r.temporal.awaitWorker(t)
			}
			got, missing := "", ""
			g.eventually(func() bool {
				got, missing = g.operator("/metrics").Body, ""
				for _, want := range append(wants, "go_goroutines", "process_cpu_seconds_total") {
					if !strings.Contains(got, want) {
						missing = want
					}
				}
				return missing == ""
			}, func() string { return "the metrics lack " + missing })
			for _, unwanted := range []string{"_attempt", "client_name"} {
				if strings.Contains(got, unwanted) {
					t.Errorf("the metrics contain %s", unwanted)
				}
			}
		})
	}
}

// Operators get probes, metrics and profiles on a listener of their own. The public one
// has no metrics and no profiles.
func TestOperationsListener(t *testing.T) {
	t.Parallel()
	for _, role := range []string{config.RoleAll, config.RoleAPI, config.RoleWorker} {
		t.Run(role, func(t *testing.T) { // one after the other: a process has one profile of its processor at a time
			r := newRig(t)
			r.config.Role = role
			g := r.start()
			for _, path := range []string{"/healthz", "/metrics", "/debug/pprof/", "/debug/pprof/goroutine?debug=1", "/debug/pprof/profile?seconds=1"} {
				if a := g.operator(path); a.Status != http.StatusOK {
					t.Errorf("operators get %d %.200s for %s", a.Status, a.Body, path)
				}
			}
			for _, path := range []string{"/metrics", "/debug/pprof/", "/debug/pprof/goroutine"} {
				if a := g.get(path, "Authorization", "Bearer "+viewerToken); a.Status != http.StatusNotFound {
					t.Errorf("the public listener answers %d for %s", a.Status, path)
				}
			}
			for _, path := range []string{"/debug/pprof/cmdline", "/v1/runs", "/webhook", "/docs"} {
				if a := g.operator(path); a.Status != http.StatusNotFound {
					t.Errorf("operators get %d for %s, want 404", a.Status, path)
				}
			}
		})
	}
}

// Without opsListen there are no metrics.
func TestNoOperationsListener(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.config.OpsListen, r.noOps = "", true
	g := r.start()
	if a := g.get("/metrics"); a.Status != http.StatusNotFound {
		t.Errorf("/metrics answers %d, want 404", a.Status)
	}
	if r.log.find("serving operators") != "" {
		t.Error("it serves operators")
	}
}
