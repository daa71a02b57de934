package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"
)

// frontDoor compares the webhook with a bare handler: first with Temporal
// stopped, then with Temporal running and taking what the forwarder hands over.
func (b *bench) frontDoor(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "gantry-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	t := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', tabwriter.AlignRight)
	defer t.Flush() //nolint:errcheck // to standard output
	fmt.Fprintln(t, "Temporal\tconnections\taccepted/s\tp50\tp99\tbare/s\t× bare\t")
	if err := b.compare(ctx, t, filepath.Join(dir, "stopped"), "stopped", "127.0.0.1:1"); err != nil {
		return err
	}
	temporal, err := startTemporal(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, temporal.stop()) }()
	return b.compare(ctx, t, filepath.Join(dir, "up"), "up", temporal.address)
}

// compare measures gantry and a bare handler in turns.
func (b *bench) compare(ctx context.Context, t io.Writer, dir, state, temporal string) (err error) {
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
	gantry, err := b.startGantry(ctx, dir, temporal, "http://127.0.0.1:1")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, gantry.stop()) }()

	total, peak := int64(0), 0.0
	for _, connections := range []int{1, 16, 64} {
		var ours, theirs []result
		for range b.rounds {
			r, err := drive(ctx, address, connections, b.span)
			if err != nil {
				return fmt.Errorf("bare handler: %w", err)
			}
			theirs = append(theirs, r)
			before := events.Load()
			if r, err = drive(ctx, gantry.address, connections, b.span); err != nil {
				return fmt.Errorf("gantry: %w", err)
			}
			ours, total = append(ours, r), total+events.Load()-before
			if connections <= 16 {
				if peak, err = gantry.residentMB(); err != nil {
					return err
				}
			}
		}
		base, m := median(theirs), median(ours)
		fmt.Fprintf(t, "%s\t%d\t%.0f\t%s\t%s\t%.0f\t%.2f\t\n", state, connections, m.perSecond, round(m.p50), round(m.p99), base.perSecond, m.perSecond/base.perSecond)
	}
	memory, err := gantry.residentMB()
	if err != nil {
		return err
	}
	disk, err := folderBytes(dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(t, "%s: %.0f MB resident after 16 connections, %.0f MB after 64; %d events, %d bytes on disk each\n", state, peak, memory, total, disk/max(1, total))
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
