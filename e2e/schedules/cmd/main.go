// Command schedules runs batches of seeded schedules against the built programs.
//
// Without -seed it runs batch after batch, each with the next seed, until it is
// interrupted, and notes in -results which seeds are done. A second process may
// share the work: -shard 1/2 and -shard 2/2.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules"
	"github.com/gantryhq/gantry/e2e/schedules/rig"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o := schedules.Options{}
	flag.Uint64Var(&o.Seed, "seed", 0, "run the batch of this seed; 0 runs one batch after the other")
	flag.IntVar(&o.Schedules, "schedules", 300, "schedules of a batch")
	flag.DurationVar(&o.Storm, "storm", 45*time.Second, "length of the storm")
	flag.DurationVar(&o.Bound, "bound", 8*time.Minute, "longest time in which everything must have ended after the storm")
	flag.DurationVar(&o.Reconcile, "reconcile", 5*time.Second, "interval of Reconcile")
	flag.StringVar(&o.Dir, "dir", "", "folder for data, logs and the history; a temporary one by default")
	flag.Parse()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "schedules: "+err.Error())
		os.Exit(1)
	}
}

func run(ctx context.Context, o schedules.Options) (err error) {
	if o.Programs, err = rig.Build(); err != nil {
		return err
	}
	o.Progress = func(format string, args ...any) { fmt.Fprintf(os.Stdout, format+"\n", args...) }
	if o.Dir == "" {
		if o.Dir, err = os.MkdirTemp("/dev/shm", "schedules-"); err != nil {
			return err
		}
	}
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return err
	}
	o.Progress("seed %d, %d schedules, in %s", o.Seed, o.Schedules, o.Dir)
	return schedules.Run(ctx, o)
}
