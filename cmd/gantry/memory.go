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

// calmSpan is the time for which a process has had little to do when it gives back memory.
const calmSpan = 10 * time.Second

// giveBackMemory gives back the memory that only the start or a burst of events
// needed, each time there is little to do after it, until ctx ends.
func giveBackMemory(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(calmSpan)
	defer tick.Stop()
	for b := (burst{seen: allocated()}); ; {
		select {
		case <-tick.C:
			if b.over(allocated()) {
				debug.FreeOSMemory()
				releaseProgram(log)
			}
		case <-ctx.Done():
			return
		}
	}
}

// burst recognizes times of much work by the bytes that the process has allocated.
type burst struct {
	seen  uint64
	given uint64 // when memory was given back; 0 before the first time, which is the start's
}

const (
	calm       = 16 << 20 // bytes allocated in calmSpan, at most, if there is little to do
	worthwhile = 16 << 20 // bytes allocated since memory was given back, at least: it is a collection that nothing else asks for
)

// over reports whether memory is to be given back. It gets all bytes that the
// process has allocated, every calmSpan.
func (b *burst) over(all uint64) bool {
	lately := all - b.seen
	b.seen = all
	if lately > calm || b.given > 0 && all-b.given < worthwhile {
		return false
	}
	b.given = all
	return true
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
