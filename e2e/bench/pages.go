package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/temporalserver"
)

// pagesToken is the token of a person who opens pages.
const pagesToken = "bench-token-of-a-person-who-reads-pages"

// pages measures how long pages over 2,000 stacks take, and what is transferred.
func (b *bench) pages(ctx context.Context) error {
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
	for i := range 500 {
		for _, environment := range []string{"dev", "stage", "prod-eu", "prod-us"} {
			err = errors.Join(err, sim.AddStack(simulator.Stack{
				ID: spacelift.StackID(fmt.Sprintf("service%03d-%s", i, environment)), Labels: []string{"gantry:managed", "gantry:confirm=no-deletes", "gantry:approvals=2"},
			}))
		}
	}
	config := filepath.Join(dir, "gantry.yaml")
	tokens := "reconcile: {interval: 0s}\ntokens:\n  - {name: ann, role: operator, hash: " + authority.TokenHash(pagesToken) + "}\n"
	if err := errors.Join(err, os.WriteFile(config, []byte(tokens), 0o600)); err != nil {
		return err
	}
	gantry, err := b.startGantry(ctx, dir, temporal.HostPort(), api.URL, "--config", config)
	if err != nil {
		return err
	}
	defer gantry.stop()
	fmt.Println("| Page | First | p50 of 20 | Transferred | Target p50 < 100 ms, < 150 KB |\n| --- | --- | --- | --- | --- |")
	for _, path := range []string{"/stacks", "/stacks?search=service123", "/stacks/drift"} {
		first, _, err := openPage(ctx, "http://"+gantry.address+path)
		if err != nil {
			return err
		}
		var times []time.Duration
		size := 0
		for range 20 {
			took, n, err := openPage(ctx, "http://"+gantry.address+path)
			if err != nil {
				return err
			}
			times, size = append(times, took), n
		}
		slices.Sort(times)
		p50 := times[len(times)/2]
		fmt.Printf("| %s | %s | %s | %.1f KB | %s |\n", path, round(first), round(p50), float64(size)/1000, verdict(p50 < 100*time.Millisecond && size < 150_000))
	}
	return nil
}

// openPage opens a page as a browser does, and returns how long it took and what was
// transferred.
func openPage(ctx context.Context, address string) (time.Duration, int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, 0, err
	}
	req.Header.Set("Authorization", "Bearer "+pagesToken)
	req.Header.Set("Accept-Encoding", "gzip")
	began := time.Now()
	answer, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return 0, 0, err
	}
	defer answer.Body.Close() //nolint:errcheck // it was read
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("open %s: %s", address, answer.Status)
	}
	return time.Since(began), len(body), err
}
