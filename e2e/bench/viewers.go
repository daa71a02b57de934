package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/gen/api"
)

const (
	viewerCount  = 8
	viewedEvents = 88_000
	fillTime     = 2 * time.Minute // until lists have all events
	viewerToken  = "bench-token-of-a-person-who-reads-deliveries"

	// A page is fast enough, and costs the webhook little enough.
	targetPage    = 10 * time.Millisecond
	targetViewers = 0.95
)

// viewers measures the webhook's rate while people list the deliveries of a run without a
// pause, against its rate without them, and the time of a page that nothing competes with.
func (b *bench) viewers(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "gantry-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	config := filepath.Join(dir, "gantry.yaml")
	text := fmt.Appendf(nil, "tokens:\n  - {name: reader, role: viewer, hash: %s}\n", authority.TokenHash(viewerToken))
	if err := os.WriteFile(config, text, 0o600); err != nil {
		return err
	}
	gantry, err := b.startGantry(ctx, dir, "127.0.0.1:1", "http://127.0.0.1:1", "--config", config)
	if err != nil {
		return err
	}
	defer gantry.stop()
	first, err := b.fill(ctx, gantry)
	if err != nil {
		return err
	}
	page := func(i int) error { return gantry.listRun(ctx, first+int64(i)%(viewedEvents/statesOfRun)) }
	var alone, among []result
	var pages []time.Duration
	for range b.rounds {
		for i := range 50 {
			began := time.Now()
			if err := page(101 * i); err != nil {
				return err
			}
			pages = append(pages, time.Since(began))
		}
		r, err := b.driveProgram(ctx, gantry, 16)
		if err != nil {
			return err
		}
		alone = append(alone, r)
		if r, err = b.driveViewed(ctx, gantry, page); err != nil {
			return err
		}
		among = append(among, r)
	}
	slices.Sort(pages)
	without, with := median(alone), median(among)
	ratio := with.perSecond / without.perSecond
	fmt.Printf("%d events; a page of one run's: median %s, p99 %s (target < %s: %s)\n", viewedEvents,
		round(pages[len(pages)/2]), round(pages[len(pages)*99/100]), targetPage, verdict(pages[len(pages)/2] < targetPage))
	fmt.Printf("processor time of each accepted one, lists included: %s alone, %s with viewers\n", without.cpu.Round(time.Microsecond), with.cpu.Round(time.Microsecond))
	fmt.Printf("accepted/s at 16 connections: %.0f alone, %.0f with %d viewers   %.2f × (target ≥ %.2f: %s)\n",
		without.perSecond, with.perSecond, viewerCount, ratio, targetViewers, verdict(ratio >= targetViewers))
	return nil
}

// fill sends the events that are listed, waits until lists have them, and returns the number
// of their first run.
func (b *bench) fill(ctx context.Context, gantry *program) (first int64, err error) {
	first = events.Load()/statesOfRun + 1
	for sent := int64(0); sent < viewedEvents; {
		r, err := drive(ctx, gantry.address, 16, b.span)
		if err != nil {
			return 0, err
		}
		sent += r.count
	}
	ctx, cancel := context.WithTimeout(ctx, fillTime)
	defer cancel()
	for { // lists lag behind so many events
		if err = gantry.listRun(ctx, events.Load()/statesOfRun-1); err == nil || ctx.Err() != nil {
			return first, err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

// driveViewed measures the webhook while viewers ask for pages.
func (b *bench) driveViewed(ctx context.Context, gantry *program, page func(i int) error) (result, error) {
	viewing, leave := context.WithCancel(ctx)
	failed := make([]error, viewerCount)
	var viewers sync.WaitGroup
	for v := range viewerCount {
		viewers.Go(func() {
			for i := v; viewing.Err() == nil && failed[v] == nil; i += 7 {
				failed[v] = page(i)
			}
		})
	}
	r, err := b.driveProgram(ctx, gantry, 16)
	leave()
	viewers.Wait()
	return r, errors.Join(err, errors.Join(failed...))
}

// listRun lists the deliveries of a run. It is an error if there are none.
func (p *program) listRun(ctx context.Context, run int64) error {
	url := fmt.Sprintf("http://%s/v1/deliveries?run=01KDX3V4T8%016d", p.address, run)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+viewerToken)
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // it was read
	var list api.DeliveryList
	switch err := json.NewDecoder(answer.Body).Decode(&list); {
	case err != nil:
		return fmt.Errorf("list deliveries: %w", err)
	case answer.StatusCode != http.StatusOK:
		return fmt.Errorf("list deliveries: %s", answer.Status)
	case len(list.Deliveries) == 0:
		return fmt.Errorf("list deliveries: run %d has none", run)
	}
	return nil
}
