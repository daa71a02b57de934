package rig

import (
	"context"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gantryhq/gantry/e2e/schedules/history"
)

// work is the processor time of a piece of work by which the machine is measured:
// more than a time slice, so that it has to share.
const work = 10 * time.Millisecond

// measure records how busy the machine is, until ctx ends. Rules allow more time where
// everything is slow.
func measure(ctx context.Context, h *history.Writer) {
	runtime.LockOSThread() // its processor time is measured
	defer runtime.UnlockOSThread()
	for ctx.Err() == nil {
		began, spent := time.Now(), threadTime()
		for threadTime()-spent < work {
			for range 1_000 {
				runtime.KeepAlive(began)
			}
		}
		took := time.Since(began)
		h.AddSince(h.Now()-took, history.Record{Machine: &history.Machine{Slowdown: float64(took) / float64(threadTime()-spent)}})
		wait(ctx, time.Second)
	}
}

// threadTime returns the processor time of the calling thread.
func threadTime() time.Duration {
	var used unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &used) != nil {
		return 0
	}
	return time.Duration(used.Nano())
}
