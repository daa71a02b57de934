package main

import (
	"context"
	"log/slog"
	"os"
	"runtime/debug"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// startTakes is the time after which a process that serves has used what it needs only once:
// it has begun to work for Temporal, or has failed to reach it.
const startTakes = 10 * time.Second

// releaseStart gives back the memory that only the start needed, unless ctx ends before.
func releaseStart(ctx context.Context, log *slog.Logger) {
	select {
	case <-time.After(startTakes):
		debug.FreeOSMemory()
		releaseProgram(log)
	case <-ctx.Done():
	}
}

// smallestLimit is the smallest memory limit that Gantry's collector respects:
// below it, it would do little else than collect.
const smallestLimit = 64 << 20

// limitMemory has the garbage collector stay below the memory limit of the
// container, which would kill the process. GOMEMLIMIT wins.
func limitMemory(log *slog.Logger) {
	if _, given := os.LookupEnv("GOMEMLIMIT"); given {
		return
	}
	limit, err := memlimit.FromCgroup()
	if err != nil { // there is no limit
		log.Debug("memory limit of the container", "error", err)
		return
	}
	if bytes := collectorLimit(limit); bytes > 0 {
		debug.SetMemoryLimit(bytes)
		log.Info("memory limit of the garbage collector", "bytes", bytes, "container", limit)
	}
}

// collectorLimit returns the limit for the collector below a container's; 0 for
// none. A tenth is left for what the collector doesn't count.
func collectorLimit(container uint64) int64 {
	if container > 1<<50 { // some runtimes write "no limit" as a huge number
		return 0
	}
	return max(int64(container/10*9), smallestLimit)
}
