package main

import (
	"os"
	"runtime"
)

// useProcessors has Go run one goroutine more at a time than the container has
// processors: while events arrive, one waits for the disk most of the time, in a system
// call. Go otherwise polls for such calls, and hands the processor of each to another
// thread and back. GOMAXPROCS wins. A limit that changes later is not followed.
func useProcessors() {
	if _, given := os.LookupEnv("GOMAXPROCS"); !given {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	}
}
