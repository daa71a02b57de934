package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/temporalserver"
)

// reaction measures how long a plan waits for Gantry: from the moment a run is
// UNCONFIRMED until Spacelift has the confirmation.
func (b *bench) reaction(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "gantry-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	temporal, err := temporalserver.Start(ctx, temporalserver.Options{SearchAttributes: temporalserver.Keywords(managed.SearchAttributes()...)})
	if err != nil {
		return err
	}
	defer temporal.Stop()
	sim, api := startSpacelift()
	defer sim.Close()
	defer api.Close()
	gantry, err := b.startGantry(ctx, dir, temporal.HostPort(), api.URL)
	if err != nil {
		return err
	}
	defer gantry.stop()
	if err := errors.Join(
		sim.AddNamedWebhook(simulator.NamedWebhook{ID: "gantry", Endpoint: "http://" + gantry.address + "/webhook", Secret: webhookSecret, Labels: []string{deploy.WebhookLabel}}),
		sim.AddPolicy(simulator.Policy{ID: "gantry", Engine: simulator.RegoV1, Body: deploy.Policy}),
		sim.AddStack(simulator.Stack{ID: "network-prod", Labels: []string{"gantry:managed", "gantry:confirm=auto"}}),
	); err != nil {
		return err
	}
	waits, err := confirmations(ctx, sim, 50)
	if err != nil {
		return err
	}
	waits = waits[5:] // the first ones warm the worker
	slices.Sort(waits)
	p50 := waits[len(waits)/2]
	fmt.Printf("p50 %s, p90 %s (target p50 < 100 ms: %s)\n", round(p50), round(waits[len(waits)*9/10]), verdict(p50 < 100*time.Millisecond))
	return checkToAct(ctx, sim, gantry.ops)
}

// confirmations lets Gantry confirm runs, one after the other, and returns how
// long each plan waited.
func confirmations(ctx context.Context, sim *simulator.Simulator, n int) ([]time.Duration, error) {
	var waits []time.Duration
	for range n {
		id, err := sim.Push("network-prod", simulator.Commit{}, simulator.Plan{Delta: spacelift.Delta{Added: 1}})
		if err != nil {
			return nil, err
		}
		run, err := sim.WaitState(ctx, "network-prod", id, spacelift.RunStateFinished)
		if err != nil {
			return nil, err
		}
		waits = append(waits, run.History[6].At.Sub(run.History[5].At)) // UNCONFIRMED to CONFIRMED
	}
	return waits, nil
}

// checkToAct measures the age of Gantry's last check when it sends a confirmation,
// by Gantry's own metric, while Spacelift is slow and fails every fifth
// confirmation.
func checkToAct(ctx context.Context, sim *simulator.Simulator, ops string) error {
	const target = 250 * time.Millisecond
	for _, fault := range []simulator.APIFault{
		{Kind: simulator.Slow, Field: "query", Probability: 0.5, Delay: simulator.Duration(100 * time.Millisecond)},
		{Kind: simulator.RateLimited, Field: "runConfirm", Probability: 0.1},
		{Kind: simulator.ServerError, Field: "runConfirm", Probability: 0.1},
	} {
		if _, err := sim.InjectAPI(fault); err != nil {
			return err
		}
	}
	if _, err := confirmations(ctx, sim, 150); err != nil {
		return err
	}
	within, all, err := observed(ctx, "http://"+ops+"/metrics", "gantry_check_to_act_seconds", `operation="RunConfirm"`, target.Seconds())
	if err != nil {
		return err
	}
	share := within / all
	fmt.Printf("check to act within %s: %.1f %% of %.0f (target p99 < %s: %s)\n", target, 100*share, all, target, verdict(share >= 0.99))
	return nil
}

// observed reads a histogram: the number of observations within a limit, which is
// one of its buckets, and the number of all.
func observed(ctx context.Context, url, name, label string, bound float64) (within, all float64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, 0, err
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer answer.Body.Close() //nolint:errcheck // it was read
	bucket, count := fmt.Sprintf(`%s_bucket{%s,le="%g"} `, name, label, bound), fmt.Sprintf("%s_count{%s} ", name, label)
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		for start, value := range map[string]*float64{bucket: &within, count: &all} {
			if text, found := strings.CutPrefix(lines.Text(), start); found {
				if *value, err = strconv.ParseFloat(text, 64); err != nil {
					return 0, 0, err
				}
			}
		}
	}
	if all == 0 {
		return 0, 0, fmt.Errorf("%s shows no %s of %s", url, name, label)
	}
	return within, all, nil
}
