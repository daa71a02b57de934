package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// The targets after a million events.
const (
	targetMemory = 60.0 // MB resident
	targetDisk   = 1400 // bytes an event
)

// millionTime bounds the time that a million events may take, for each state of
// Temporal.
const millionTime = 5 * time.Minute

const (
	calmTime = 30 * time.Second // longer than a process waits until it gives back memory
	restTime = 20 * time.Minute // longer than it takes to finish its work
)

// memory sends a million events, and prints what the process then has in memory and on
// disk: what it has must not grow with the events that it took. Spacelift knows none of
// the runs, so Gantry's executions end after a while.
func (b *bench) memory(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "gantry-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	sim, api := startSpacelift()
	defer sim.Close()
	defer api.Close()
	if err := b.million(ctx, filepath.Join(dir, "stopped"), "stopped", "127.0.0.1:1", api.URL); err != nil {
		return err
	}
	temporal, err := startTemporal(ctx)
	if err != nil {
		return err
	}
	defer temporal.stop()
	loadRuns.Store(runsAtFullSpeed)
	defer loadRuns.Store(0)
	return b.million(ctx, filepath.Join(dir, "up"), "up", temporal.address, api.URL)
}

// million sends a million events to a new process, or as many as it takes in
// millionTime.
func (b *bench) million(ctx context.Context, dir, state, temporal, spacelift string) error {
	gantry, err := b.startGantry(ctx, dir, temporal, spacelift)
	if err != nil {
		return err
	}
	defer gantry.stop()
	show := func(when string, sent int64) (resident, error) {
		r, err := gantry.resident()
		fmt.Printf("Temporal %s, %s %9d events: %v\n", state, when, sent, r)
		return r, err
	}
	if _, err := show("after", 0); err != nil {
		return err
	}
	var sent int64
	began := time.Now()
	for _, until := range []int64{200_000, 600_000, 1_000_000} {
		for sent < until && time.Since(began) < millionTime {
			r, err := drive(ctx, gantry.address, 64, b.span)
			if err != nil {
				return err
			}
			sent += r.count
		}
		if _, err := show("after", sent); err != nil {
			return err
		}
	}
	if err := gantry.restFor(ctx, calmTime, restTime); err != nil {
		return err
	}
	last, err := show("calm after", sent)
	if err != nil {
		return err
	}
	disk, err := folderBytes(dir)
	if err != nil {
		return err
	}
	if sent == 0 {
		return errors.New("no event was accepted")
	}
	fmt.Printf("Temporal %s: target < %.0f MB resident: %s; %d bytes on disk each (target ≤ %d: %s)\n",
		state, targetMemory, verdict(last.all < targetMemory), disk/sent, targetDisk, verdict(disk/sent <= targetDisk))
	return nil
}
