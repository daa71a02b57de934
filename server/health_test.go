package server_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/inbox"
	"github.com/gantryhq/gantry/server"
)

// brokenInbox is an inbox whose problems name a folder and an address.
type brokenInbox struct {
	server.Inbox
	writable bool
}

func (b brokenInbox) Health() inbox.Health {
	return inbox.Health{
		Writable: b.writable, Problem: "write /var/lib/gantry/wal: no space left on device",
		ForwarderDown: true, ForwarderSince: time.Now(), LastForwardError: "dial tcp 10.0.0.7:7233: connection refused",
	}
}

// Strangers learn whether Gantry is ready, but no folders and no addresses. A token and
// the operations listener show both.
func TestReadinessHidesInternals(t *testing.T) {
	r := newRig(t)
	for _, writable := range []bool{true, false} {
		s := r.serve(brokenInbox{writable: writable})
		status := http.StatusOK
		if !writable {
			status = http.StatusServiceUnavailable
		}
		for name, tt := range map[string]struct {
			handler http.Handler
			token   string
			full    bool
		}{
			"a stranger":              {s, "", false},
			"another token":           {s, "gantry_guess", false},
			"a viewer":                {s, viewerToken, true},
			"the operations listener": {s.Operations, "", true},
		} {
			req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", nil)
			if tt.token != "" {
				req.Header.Set("Authorization", "Bearer "+tt.token)
			}
			w := httptest.NewRecorder()
			tt.handler.ServeHTTP(w, req)
			if w.Code != status || !strings.Contains(w.Body.String(), `"down":true`) {
				t.Errorf("%s is answered %d %s, want %d", name, w.Code, w.Body, status)
			}
			for _, internal := range []string{"/var/lib/gantry/wal", "10.0.0.7:7233"} {
				if got := strings.Contains(w.Body.String(), internal); got != tt.full {
					t.Errorf("%s sees %s: %t, want %t", name, internal, got, tt.full)
				}
			}
		}
	}
}

// An outage doesn't begin anew when the first event fails.
func TestReadinessKeepsTheBeginningOfAnOutage(t *testing.T) {
	began := time.Now().Add(-time.Minute).UTC().Truncate(time.Second)
	r := newRig(t)
	cfg := ordinary()
	cfg.TemporalProblem = func() (time.Time, string) { return began, "no answer" }
	s, err := server.New(cfg, brokenInbox{writable: true}, r.temporal, newRegistry(), discard())
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	s.Operations.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", nil))
	if since := decode[api.Readiness](t, w).Forwarding.DownSince; since == nil || !since.Equal(began) {
		t.Errorf("down since %v, want %s: %s", since, began, w.Body)
	}
}

// The public listener serves no metrics; the operations listener serves nothing else
// but probes.
func TestListenersServeTheirOwn(t *testing.T) {
	r := newRig(t)
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		if w := r.send(method, "/metrics", "", "Authorization", "Bearer "+operatorToken); w.Code != http.StatusNotFound || strings.Contains(w.Body.String(), "gantry_webhook") {
			t.Errorf("%s /metrics on the public listener: %d %s", method, w.Code, w.Body)
		}
	}
	for _, path := range []string{"/webhook", "/v1/runs", "/v1/deliveries", "/docs", "/openapi.yaml", "/"} {
		w := httptest.NewRecorder()
		r.handler.Operations.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		if w.Code != http.StatusNotFound {
			t.Errorf("GET %s on the operations listener: %d %s", path, w.Code, w.Body)
		}
	}
}
