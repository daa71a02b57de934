package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/gantryhq/gantry/devserver"
	"github.com/gantryhq/gantry/workflows"
)

// frontDoor compares the webhook with a bare handler, with Temporal running and
// stopped.
func (b *bench) frontDoor(ctx context.Context) (err error) {
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

	self, err := os.Executable()
	if err != nil {
		return err
	}
	address, err := freeAddress(ctx)
	if err != nil {
		return err
	}
	bare, err := startProgram(ctx, "http://"+address, nil, self, "-bare", address)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bare.stop()) }()
	up, err := b.startGantry(ctx, filepath.Join(dir, "up"), temporal.HostPort(), "http://127.0.0.1:1")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, up.stop()) }()
	down, err := b.startGantry(ctx, filepath.Join(dir, "down"), "127.0.0.1:1", "http://127.0.0.1:1")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, down.stop()) }()

	t := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', tabwriter.AlignRight)
	defer t.Flush() //nolint:errcheck // to standard output
	fmt.Fprintln(t, "connections\tserver\taccepted/s\tp50\tp99\t× bare\t")
	total := int64(0)
	for _, connections := range []int{1, 16, 64} {
		servers := []struct {
			name, address string
			results       []result
		}{{"bare handler", address, nil}, {"gantry, Temporal stopped", down.address, nil}, {"gantry, Temporal up", up.address, nil}}
		for range b.rounds {
			for i := range servers {
				before := events.Load()
				r, err := drive(ctx, servers[i].address, connections, b.span)
				if err != nil {
					return fmt.Errorf("%s: %w", servers[i].name, err)
				}
				servers[i].results = append(servers[i].results, r)
				if servers[i].address == down.address {
					total += events.Load() - before
				}
			}
		}
		base := median(servers[0].results)
		for _, s := range servers {
			m := median(s.results)
			fmt.Fprintf(t, "%d\t%s\t%.0f\t%s\t%s\t%.2f\t\n", connections, s.name, m.perSecond, round(m.p50), round(m.p99), m.perSecond/base.perSecond)
		}
	}
	memory, err := down.residentMB()
	if err != nil {
		return err
	}
	disk, err := folderBytes(filepath.Join(dir, "down"))
	if err != nil {
		return err
	}
	fmt.Fprintf(t, "\t\t\t\t\t\t\nmemory with %d events pending\t%.0f MB\t\t\t\t\t\ndisk per event\t%d bytes\t\t\t\t\t\n", total, memory, disk/max(1, total))
	return nil
}

// median takes the run whose rate is in the middle, and the median of the
// latencies.
func median(results []result) result {
	rates, p50s, p99s := make([]float64, 0, len(results)), make([]time.Duration, 0, len(results)), make([]time.Duration, 0, len(results))
	for _, r := range results {
		rates, p50s, p99s = append(rates, r.perSecond), append(p50s, r.p50), append(p99s, r.p99)
	}
	slices.Sort(rates)
	slices.Sort(p50s)
	slices.Sort(p99s)
	mid := len(results) / 2
	return result{rates[mid], p50s[mid], p99s[mid]}
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
