package main

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"slices"
	"time"

	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/devserver"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/simulator"
	"github.com/gantryhq/gantry/workflows"
)

const (
	keyID     = "01KDWKEY000000000000000001"
	keySecret = "bench-api-key-secret" //nolint:gosec // serves loopback only
)

// reaction measures how long a plan waits for Gantry: from the moment a run is
// UNCONFIRMED until Spacelift has the confirmation.
func (b *bench) reaction(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "gantry-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	temporal, err := devserver.Start(ctx, devserver.Options{SearchAttributes: workflows.SearchAttributes()})
	if err != nil {
		return err
	}
	defer temporal.Stop()
	sim := simulator.New(simulator.Options{Account: "acme", Seed: 1, Phases: simulator.Instant()})
	defer sim.Close()
	api := httptest.NewServer(sim)
	defer api.Close()
	gantry, err := b.startGantry(ctx, dir, temporal.HostPort(), api.URL)
	if err != nil {
		return err
	}
	defer gantry.stop()
	sim.AddAPIKey(simulator.APIKey{ID: keyID, Secret: keySecret})
	if err := errors.Join(
		sim.AddNamedWebhook(simulator.NamedWebhook{ID: "gantry", Endpoint: "http://" + gantry.address + "/webhook", Secret: webhookSecret, Labels: []string{deploy.WebhookLabel}}),
		sim.AddPolicy(simulator.Policy{ID: "gantry", Engine: simulator.RegoV1, Body: deploy.Policy}),
		sim.AddStack(simulator.Stack{ID: "network-prod", Labels: []string{"gantry:managed", "gantry:confirm=auto"}}),
	); err != nil {
		return err
	}
	var waits []time.Duration
	for range 50 {
		id, err := sim.Push("network-prod", simulator.Commit{}, simulator.Plan{Delta: spacelift.Delta{Added: 1}})
		if err != nil {
			return err
		}
		run, err := sim.WaitState(ctx, "network-prod", id, spacelift.RunStateFinished)
		if err != nil {
			return err
		}
		waits = append(waits, run.History[6].At.Sub(run.History[5].At)) // UNCONFIRMED to CONFIRMED
	}
	waits = waits[5:] // the first ones warm the worker
	slices.Sort(waits)
	p50 := waits[len(waits)/2]
	fmt.Printf("p50 %s, p90 %s (target p50 < 100 ms: %s)\n", round(p50), round(waits[len(waits)*9/10]), verdict(p50 < 100*time.Millisecond))
	return nil
}
