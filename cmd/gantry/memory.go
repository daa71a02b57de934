package main

import (
	"context"
	"log/slog"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// Memory is given back every givenEvery. What the heap doesn't use is, if the process has
// allocated as much as worthwhile since, and once more after that, since much of it may
// have been in use: that is a collection that nothing else asks for.
const (
	givenEvery = 10 * time.Second
	worthwhile = 4 << 20 // bytes
)

// giveBackMemory gives back the memory that the start needed, and from time to time what
// the work since then needed, until ctx ends. What is still used comes back within
// milliseconds.
func giveBackMemory(ctx context.Context, log *slog.Logger) {
	program := programFile(log)
	tick := time.NewTicker(givenEvery)
	defer tick.Stop()
	for given, again := uint64(0), false; ; {
		all := allocated()
		much := all-given >= worthwhile
		if much || again {
			debug.FreeOSMemory()
			given = all
		}
		again = much
		program.release(log)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// allocated returns how many bytes the process has allocated since its start.
func allocated() uint64 {
	bytes := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(bytes)
	return bytes[0].Value.Uint64()
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
