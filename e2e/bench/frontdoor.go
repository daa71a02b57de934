package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"
)

// frontDoor compares the webhook with a bare handler: first with Temporal
// stopped, then with Temporal running and accepting the forwarder's events.
func (b *bench) frontDoor(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "gantry-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	t := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', tabwriter.AlignRight)
	defer t.Flush() //nolint:errcheck // to standard output
	fmt.Fprintln(t, "Temporal\tconnections\taccepted/s\tp50\tp99\tCPU each\tbare/s\tCPU each\t× bare\t")
	if err := b.compare(ctx, t, filepath.Join(dir, "stopped"), "stopped", "127.0.0.1:1"); err != nil {
		return err
	}
	temporal, err := startTemporal(ctx)
	if err != nil {
		return err
	}
	defer temporal.stop()
	return b.compare(ctx, t, filepath.Join(dir, "up"), "up", temporal.address)
}

// compare measures gantry and a bare handler alternately.
func (b *bench) compare(ctx context.Context, t io.Writer, dir, state, temporal string) error {
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
	defer bare.stop()
	bare.address = address
	gantry, err := b.startGantry(ctx, dir, temporal, "http://127.0.0.1:1")
	if err != nil {
		return err
	}
	defer gantry.stop()

	total, peak := int64(0), 0.0
	for _, connections := range []int{1, 16, 64} {
		var ours, theirs []result
		for range b.rounds {
			base, m, err := b.driveBoth(ctx, bare, gantry, connections)
			if err != nil {
				return err
			}
			theirs, ours, total = append(theirs, base), append(ours, m), total+m.count
			if connections <= 16 {
				if peak, err = gantry.residentMB(); err != nil {
					return err
				}
			}
		}
		base, m := median(theirs), median(ours)
		fmt.Fprintf(t, "%s\t%d\t%.0f\t%s\t%s\t%s\t%.0f\t%s\t%.2f\t\n", state, connections,
			m.perSecond, round(m.p50), round(m.p99), m.cpu.Round(time.Microsecond), base.perSecond, base.cpu.Round(time.Microsecond), m.perSecond/base.perSecond)
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

// driveBoth measures a bare handler and then gantry.
func (b *bench) driveBoth(ctx context.Context, bare, gantry *program, connections int) (base, m result, err error) {
	if base, err = b.driveProgram(ctx, bare, connections); err != nil {
		return base, m, fmt.Errorf("bare handler: %w", err)
	}
	if m, err = b.driveProgram(ctx, gantry, connections); err != nil {
		return base, m, fmt.Errorf("gantry: %w", err)
	}
	return base, m, nil
}

// driveProgram measures a program under load, with its processor time.
func (b *bench) driveProgram(ctx context.Context, p *program, connections int) (result, error) {
	before, err := p.processorTime()
	if err != nil {
		return result{}, err
	}
	r, err := drive(ctx, p.address, connections, b.span)
	if err != nil {
		return result{}, err
	}
	after, err := p.processorTime()
	r.cpu = (after - before) / time.Duration(max(1, r.count))
	return r, err
}

// median returns the median of each figure.
func median(results []result) result {
	middle := func(less func(a, b result) int) result {
		slices.SortFunc(results, less)
		return results[len(results)/2]
	}
	return result{
		perSecond: middle(func(a, b result) int { return cmp.Compare(a.perSecond, b.perSecond) }).perSecond,
		p50:       middle(func(a, b result) int { return cmp.Compare(a.p50, b.p50) }).p50,
		p99:       middle(func(a, b result) int { return cmp.Compare(a.p99, b.p99) }).p99,
		cpu:       middle(func(a, b result) int { return cmp.Compare(a.cpu, b.cpu) }).cpu,
	}
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
