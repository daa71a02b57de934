package service

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.temporal.io/sdk/client"
)

// probeTimeout bounds how long a probe waits for Temporal.
const probeTimeout = 2 * time.Second

// workerHandlers returns the HTTP surface of a process with the role worker, for the
// public and for the operations listener: probes and metrics, at the same paths and
// with the same status codes as in every process. It takes no webhooks and has no API.
func workerHandlers(running context.Context, version string, polling *atomic.Bool, temporal client.Client, registry *prometheus.Registry) (public, operations http.Handler) {
	probes := func(problem func(string) map[string]string) *http.ServeMux {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
			answer(w, http.StatusOK, map[string]string{"status": "ok", "version": version})
		})
		// Unlike a process that takes webhooks, a worker needs Temporal to be useful.
		mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
			if running.Err() != nil {
				answer(w, http.StatusServiceUnavailable, problem("the process is stopping"))
				return
			}
			ctx, cancel := context.WithTimeout(r.Context(), probeTimeout)
			defer cancel()
			if _, err := temporal.CheckHealth(ctx, nil); err != nil {
				answer(w, http.StatusServiceUnavailable, problem("temporal is unavailable"))
				return
			}
			if !polling.Load() {
				answer(w, http.StatusServiceUnavailable, problem("the worker has not started"))
				return
			}
			answer(w, http.StatusOK, map[string]string{"status": "ready"})
		})
		return mux
	}
	detailed := probes(func(why string) map[string]string { return map[string]string{"status": "unavailable", "problem": why} })
	detailed.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return probes(func(string) map[string]string { return map[string]string{"status": "unavailable"} }), detailed
}

// withProfiles adds the profiles of package pprof to what operators can read. The
// command line stays hidden: flags may hold what isn't for everyone.
func withProfiles(next http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", next)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /debug/pprof/cmdline", http.NotFound)
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
