package service

import (
	"context"
	"encoding/json"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.temporal.io/sdk/client"
)

// askTemporal bounds how long a probe waits for Temporal.
const askTemporal = 2 * time.Second

// workerHandler is all that a process with the role worker serves: probes and
// metrics, at the paths and with the status that every process has. It takes
// no webhook and has no API.
func workerHandler(version string, polling *atomic.Bool, temporal client.Client, registry *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"status": "ok", "version": version})
	})
	// Unlike a process that takes webhooks, a worker is of no use without Temporal.
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), askTemporal)
		defer cancel()
		if _, err := temporal.CheckHealth(ctx, nil); err != nil {
			answer(w, http.StatusServiceUnavailable, map[string]string{"status": "unavailable", "problem": "temporal is unavailable"})
			return
		}
		if !polling.Load() {
			answer(w, http.StatusServiceUnavailable, map[string]string{"status": "unavailable", "problem": "the worker has not started"})
			return
		}
		answer(w, http.StatusOK, map[string]string{"status": "ready"})
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return mux
}

func answer(w http.ResponseWriter, status int, body map[string]string) {
	w.Header().Set("Content-Type", "application/json")
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the caller is gone
}
