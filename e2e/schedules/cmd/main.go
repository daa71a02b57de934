// Command schedules runs batches of seeded schedules against the built programs,
// and judges them.
//
// Without -seed it runs batch after batch until it is interrupted, and continues
// where it was: -results has the seeds that are done, and the histories in which a
// rule is broken. Several processes share the work with -shard 0/2 and -shard 1/2.
//
//	go run ./e2e/schedules/cmd -batches 10
//	go run ./e2e/schedules/cmd -seed 7
//	go run ./e2e/schedules/cmd -seed 7 -schedule 12 -rule policy -minimise
//	go run ./e2e/schedules/cmd -case dist/faults/policy-7-12.json
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules"
	"github.com/gantryhq/gantry/e2e/schedules/checker"
	"github.com/gantryhq/gantry/e2e/schedules/rig"
)

type flags struct {
	series   schedules.Series
	seed     uint64
	batches  int
	shard    string
	schedule int
	rule     string
	minimise bool
	play     string
	report   string
	clocks   bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var f flags
	o := &f.series.Options
	flag.Uint64Var(&f.seed, "seed", 0, "run the batch of this seed alone")
	flag.Uint64Var(&f.series.First, "first", 1, "seed of the first batch of a series")
	flag.IntVar(&f.batches, "batches", 0, "batches to run; 0 is without end")
	flag.StringVar(&f.shard, "shard", "0/1", "run every n-th seed of a series: i/n, i from 0")
	flag.StringVar(&f.series.Results, "results", "dist/faults", "folder of the results")
	flag.IntVar(&o.Schedules, "schedules", 250, "schedules of a batch")
	flag.DurationVar(&o.Storm, "storm", 45*time.Second, "length of the storm")
	flag.DurationVar(&o.Bound, "bound", 5*time.Minute, "longest time after the storm in which nothing moves before everything has ended")
	flag.DurationVar(&o.Reconcile, "reconcile", 5*time.Second, "interval of Reconcile")
	flag.StringVar(&o.Dir, "dir", schedules.MemoryFolder(), "folder for data and logs of running batches")
	flag.BoolVar(&f.minimise, "minimise", false, "find the fewest steps and mishaps of -seed and -schedule that still break -rule")
	flag.IntVar(&f.schedule, "schedule", 0, "schedule to minimise")
	flag.StringVar(&f.rule, "rule", "", "rule that the schedule breaks")
	flag.StringVar(&f.play, "case", "", "play this file, which -minimise wrote")
	flag.BoolVar(&f.clocks, "clocks", true, "let clocks of replicas be apart, for which Gantry is built a second time")
	flag.StringVar(&f.report, "report", "", "write the counts of all results to this file, for docs/guarantees.md, and end")
	flag.Parse()
	if err := run(ctx, f); err != nil {
		fmt.Fprintln(os.Stderr, "schedules: "+err.Error())
		os.Exit(1)
	}
}

func run(ctx context.Context, f flags) (err error) {
	o := &f.series.Options
	debug.SetGCPercent(400) // a batch has more memory to spend than processor time
	o.Progress = func(format string, args ...any) { fmt.Fprintf(os.Stdout, format+"\n", args...) }
	if _, err := fmt.Sscanf(f.shard, "%d/%d", &f.series.Shard, &f.series.Of); err != nil || f.series.Of < 1 || f.series.Shard < 0 || f.series.Shard >= f.series.Of {
		return fmt.Errorf("-shard %s: give i/n with i from 0 to n-1, such as 0/2", f.shard)
	}
	if err := os.MkdirAll(f.series.Results, 0o700); err != nil {
		return fmt.Errorf("make the folder of the results: %w", err)
	}
	if f.report != "" {
		return report(f.series, f.report)
	}
	if o.Programs, err = rig.Build(); err == nil && f.clocks {
		err = o.Programs.BuildClock()
	}
	if err != nil {
		return err
	}
	switch {
	case f.play != "":
		return play(ctx, *o, f.play)
	case f.minimise:
		return minimise(ctx, f)
	case f.seed != 0:
		f.series.First, f.series.Of, f.series.Shard, f.batches = f.seed, 1, 0, 1
		_, err := f.series.Batch(ctx, f.seed)
		return errors.Join(err, brokenIf(f.series))
	}
	broken, err := f.series.Run(ctx, f.batches)
	if err == nil && broken > 0 {
		err = fmt.Errorf("%d batches broke a rule; see %s", broken, f.series.Results)
	}
	return err
}

// report writes the counts of all results.
func report(s schedules.Series, file string) error {
	done, err := s.Done()
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(schedules.Totals(done), "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o600)
}

// brokenIf returns an error if the last batch broke a rule.
func brokenIf(s schedules.Series) error {
	done, err := s.Done()
	if err != nil || len(done) == 0 {
		return err
	}
	if last := done[len(done)-1]; len(last.Violations) > 0 {
		return fmt.Errorf("%d violations; the history is in %s", len(last.Violations), filepath.Join(s.Results, fmt.Sprintf("seed-%d", last.Seed)))
	}
	return nil
}

func minimise(ctx context.Context, f flags) error {
	if f.seed == 0 || f.schedule == 0 || f.rule == "" {
		return errors.New("-minimise needs -seed, -schedule and -rule")
	}
	c := schedules.CaseOf(f.seed, checker.Violation{Rule: f.rule, Schedule: f.schedule}, f.series.Options)
	o := f.series.Options
	least, broke, err := schedules.Minimise(c, func(what string, c schedules.Case) (bool, error) {
		broke, err := schedules.Replay(ctx, o, c)
		o.Progress("%s: %d steps, %d mishaps: broken again: %t", what, len(c.Script.Steps), len(c.Mishaps), broke)
		return broke, err
	})
	if err != nil {
		return err
	}
	if !broke {
		return fmt.Errorf("schedule %d of seed %d did not break %s again; its history shows what happened", f.schedule, f.seed, f.rule)
	}
	text, err := json.MarshalIndent(least, "", "  ")
	if err != nil {
		return err
	}
	file := filepath.Join(f.series.Results, fmt.Sprintf("%s-%d-%d.json", f.rule, f.seed, f.schedule))
	fmt.Fprintf(os.Stdout, "%s\nwritten to %s\n", text, file)
	return os.WriteFile(file, text, 0o600)
}

func play(ctx context.Context, o schedules.Options, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var c schedules.Case
	if err := json.Unmarshal(text, &c); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	broke, err := schedules.Replay(ctx, o, c)
	if err == nil && broke {
		err = fmt.Errorf("it breaks %s", c.Rule)
	}
	return err
}
