package main

import (
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

func TestHealthReportsReadiness(t *testing.T) {
	r := newRig(t)
	t.Setenv("GANTRY_OPS_LISTEN", strings.TrimSuffix(strings.TrimPrefix(r.gantry.url, "http://"), webhookPath))
	answer := func(status int, body string) {
		r.gantry.mu.Lock()
		defer r.gantry.mu.Unlock()
		r.gantry.ready = func(w http.ResponseWriter) {
			w.WriteHeader(status)
			io.WriteString(w, body)
		}
	}
	for _, tt := range []struct {
		name   string
		status int
		body   string
		code   int
		says   string
	}{
		{"ready", 200, `{"status":"ready","inbox":{"writable":true,"pending":0},"forwarding":{"down":false}}`, 0, "ready\n"},
		{
			"without Temporal", 200, `{"status":"degraded","inbox":{"writable":true,"pending":7},"forwarding":{"down":true,"problem":"gone"}}`,
			0, "degraded: Temporal is down: gone; 7 events wait\n",
		},
		{"disk full", 503, `{"status":"unavailable"}`, 1, "503 Service Unavailable"},
		{"something else", 200, `<html>`, 1, "it is not Gantry"},
	} {
		answer(tt.status, tt.body)
		if out, code := r.run("health"); code != tt.code || !strings.Contains(out, tt.says) {
			t.Errorf("%s: exit code %d\n%s", tt.name, code, out)
		}
	}

	answer(200, `{"status":"ready"}`)
	t.Setenv("GANTRY_LISTEN", os.Getenv("GANTRY_OPS_LISTEN"))
	t.Setenv("GANTRY_OPS_LISTEN", "")
	if out, code := r.run("health"); code != 0 || out != "ready\n" {
		t.Errorf("without an operations listener: exit code %d\n%s", code, out)
	}

	t.Setenv("GANTRY_OPS_LISTEN", "127.0.0.1:1")
	if out, code := r.run("health", "--wait", "300ms"); code != 1 || !strings.Contains(out, "not within 300ms") || !strings.Contains(out, "connection refused") {
		t.Errorf("nobody listens: exit code %d\n%s", code, out)
	}
}

func TestHealthOfTheWorker(t *testing.T) {
	r := newRig(t)
	t.Setenv("GANTRY_OPS_LISTEN", strings.TrimSuffix(strings.TrimPrefix(r.gantry.url, "http://"), webhookPath))
	newTemporal(t)
	if out, code := r.run("health", "--worker"); code != 0 || !strings.Contains(out, "workflows run in namespace default on task queue gantry") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	for want, change := range map[string]func(*temporal){
		"no worker polls task queue gantry": func(f *temporal) { f.pollers = 0 },
		"missing: ":                         func(f *temporal) { clear(f.attributes) },
		"there is no namespace default":     func(f *temporal) { f.namespaces = nil },
	} {
		f := newTemporal(t)
		f.change(func() { change(f) })
		if out, code := r.run("health", "--worker"); code != 1 || !strings.Contains(out, want) {
			t.Errorf("exit code %d, want %q in\n%s", code, want, out)
		}
	}
}
