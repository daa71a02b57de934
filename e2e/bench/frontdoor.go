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

// The targets of the front door with Temporal stopped.
const (
	targetPerSecond = 15_000 // at 16 connections
	targetRatio16   = 0.6
	targetRatio64   = 0.85
	targetP99       = 5 * time.Millisecond // at 16 connections
)

// frontDoor compares the webhook with a bare handler: without a store, which shows
// what the handler costs, with Temporal stopped, and with Temporal running and
// accepting the forwarder's events. Spacelift answers, and knows none of the runs.
func (b *bench) frontDoor(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "gantry-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	t := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', tabwriter.AlignRight)
	defer t.Flush() //nolint:errcheck // to standard output
	fmt.Fprintln(t, "Temporal\tconnections\taccepted/s\tp50\tp99\tCPU each\tbare/s\tCPU each\t× bare\t\t")
	flushes, err := b.flushLoop(dir)
	if err != nil {
		return err
	}
	fmt.Printf("The limit without group commits: %.0f/s, a write and a flush per event\n\n", flushes)
	bare, err := startSelf(ctx, "-bare")
	if err != nil {
		return err
	}
	defer bare.stop()
	handler, err := startSelf(ctx, "-handler")
	if err != nil {
		return err
	}
	_, err = b.compare(ctx, t, bare, handler, "no store")
	if handler.stop(); err != nil {
		return err
	}
	sim, api := startSpacelift()
	defer sim.Close()
	defer api.Close()
	if err := b.compareGantry(ctx, t, bare, filepath.Join(dir, "stopped"), "stopped", "127.0.0.1:1", api.URL); err != nil {
		return err
	}
	temporal, err := startTemporal(ctx)
	if err != nil {
		return err
	}
	defer temporal.stop()
	loadRuns.Store(runsAtFullSpeed)
	defer loadRuns.Store(0)
	return b.compareGantry(ctx, t, bare, filepath.Join(dir, "up"), "up", temporal.address, api.URL)
}

// startSelf starts one of this program's servers.
func startSelf(ctx context.Context, flag string) (*program, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	p, err := startProgram(ctx, "http://"+address, nil, self, flag, address)
	if err == nil {
		p.address = address
	}
	return p, err
}

// compareGantry measures the product, and what it keeps in memory.
func (b *bench) compareGantry(ctx context.Context, t io.Writer, bare *program, dir, state, temporal, spacelift string) error {
	gantry, err := b.startGantry(ctx, dir, temporal, spacelift)
	if err != nil {
		return err
	}
	defer gantry.stop()
	after16, err := b.compare(ctx, t, bare, gantry, state)
	if err != nil {
		return err
	}
	memory, err := gantry.resident()
	if err != nil {
		return err
	}
	fmt.Fprintf(t, "%s: %v after 16 connections, %v after 64\n", state, after16, memory)
	return nil
}

// compare measures a server and a bare handler alternately. It returns what the
// server has in memory after 16 connections.
func (b *bench) compare(ctx context.Context, t io.Writer, bare, server *program, state string) (after16 resident, err error) {
	for _, connections := range []int{1, 16, 64} {
		var ours, theirs []result
		for range b.rounds {
			base, m, err := b.driveBoth(ctx, bare, server, connections)
			if err != nil {
				return after16, err
			}
			theirs, ours = append(theirs, base), append(ours, m)
			if connections <= 16 {
				if after16, err = server.resident(); err != nil {
					return after16, err
				}
			}
		}
		base, m := median(theirs), median(ours)
		ratio := m.perSecond / base.perSecond
		fmt.Fprintf(t, "%s\t%d\t%.0f\t%s\t%s\t%s\t%.0f\t%s\t%.2f\t%s\t\n", state, connections,
			m.perSecond, round(m.p50), round(m.p99), m.cpu.Round(time.Microsecond), base.perSecond, base.cpu.Round(time.Microsecond), ratio,
			frontDoorVerdict(state, connections, m, ratio))
	}
	return after16, nil
}

// frontDoorVerdict compares a row with its targets; those are for Temporal stopped.
func frontDoorVerdict(state string, connections int, m result, ratio float64) string {
	switch {
	case state != "stopped" || connections == 1:
		return ""
	case connections == 16:
		return verdict(m.perSecond >= targetPerSecond && ratio >= targetRatio16 && m.p99 < targetP99)
	default:
		return verdict(ratio >= targetRatio64)
	}
}

// driveBoth measures a bare handler and then gantry, each alone: what Gantry has put
// off is done first.
func (b *bench) driveBoth(ctx context.Context, bare, gantry *program, connections int) (base, m result, err error) {
	if err := gantry.rest(ctx); err != nil {
		return base, m, err
	}
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
