package main

import (
	"net/http/httptest"

	"github.com/gantryhq/gantry/simulator"
)

const (
	keyID     = "01KDWKEY000000000000000001"
	keySecret = "bench-api-key-secret" //nolint:gosec // serves loopback only
)

// startSpacelift starts a simulated Spacelift with an API key of Gantry's.
func startSpacelift() (*simulator.Simulator, *httptest.Server) {
	sim := simulator.New(simulator.Options{Account: "acme", Seed: 1, Phases: simulator.Instant()})
	sim.AddAPIKey(simulator.APIKey{ID: keyID, Secret: keySecret})
	return sim, httptest.NewServer(sim)
}
