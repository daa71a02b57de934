// Command run builds each mutant and plays schedules against it until the checker
// finds a violation, or until a thousand schedules have found none: that mutant
// survives, and a rule is missing.
//
// It notes each result in a file and continues there: mutants that are in the file
// aren't run again. The mutant "none" is Gantry as it is, which must break no rule.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules"
	"github.com/gantryhq/gantry/e2e/schedules/checker"
	"github.com/gantryhq/gantry/e2e/schedules/history"
	"github.com/gantryhq/gantry/e2e/schedules/mutants"
	"github.com/gantryhq/gantry/e2e/schedules/rig"
	"github.com/gantryhq/gantry/e2e/schedules/script"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flag.StringVar(&o.results, "results", "mutants.jsonl", "file of the results, one a line")
	flag.StringVar(&o.only, "only", "", "run these mutants alone, with commas between; none is Gantry as it is")
	flag.IntVar(&o.most, "most", 1000, "schedules after which a mutant has survived")
	flag.IntVar(&o.batch.Schedules, "schedules", 25, "schedules of a mutant's first batch; each further one has twice as many, up to 250")
	flag.DurationVar(&o.batch.Bound, "bound", 5*time.Minute, "longest time after the storm in which nothing moves before everything has ended")
	flag.DurationVar(&o.batch.Reconcile, "reconcile", 5*time.Second, "interval of Reconcile")
	flag.Uint64Var(&o.seed, "seed", 1, "seed of the first batch of each mutant")
	flag.StringVar(&o.keep, "keep", "", "folder for the histories that show a violation")
	flag.Parse()
	if err := o.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "mutants: "+err.Error())
		os.Exit(1)
	}
}

type options struct {
	results, only, keep string
	most                int
	seed                uint64
	batch               schedules.Options
	programs            rig.Programs
}

func (o options) run(ctx context.Context) error {
	known, err := mutants.ReadResults(o.results)
	if err != nil {
		return err
	}
	if o.programs, err = rig.Build(); err != nil {
		return err
	}
	var missing []mutants.Mutant
	for _, m := range append(slices.Clone(mutants.All), mutants.Mutant{Name: mutants.None}) {
		if o.only != "" && !slices.Contains(strings.Split(o.only, ","), m.Name) {
			continue
		}
		if was, done := known[m.Name]; done {
			fmt.Fprintln(os.Stdout, was)
			continue
		}
		missing = append(missing, m)
	}
	return o.playAll(ctx, missing)
}

// playAll plays mutants, one after the other. A mutant that can't be built or played is
// left for another time.
func (o options) playAll(ctx context.Context, all []mutants.Mutant) error {
	var failed error
	for b := range o.builds(ctx, all) {
		r, err := mutants.Result{}, b.err
		if err == nil {
			r, err = o.play(ctx, b)
			err = errors.Join(err, o.remove(b))
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("play %s: %w", b.mutant.Name, err))
			continue
		}
		fmt.Fprintln(os.Stdout, r)
		if err := o.note(r); err != nil {
			return err
		}
		if r.Caught == (r.Mutant == mutants.None) {
			failed = errors.Join(failed, errors.New(r.String()))
		}
	}
	return failed
}

// built is a mutant with its programs.
type built struct {
	mutant   mutants.Mutant
	programs rig.Programs
	err      error
}

// builds builds mutants, each while the one before it is played.
func (o options) builds(ctx context.Context, all []mutants.Mutant) <-chan built {
	ready := make(chan built)
	go func() {
		defer close(ready)
		for _, m := range all {
			b := built{mutant: m}
			b.programs, b.err = o.build(ctx, m)
			select {
			case ready <- b:
			case <-ctx.Done():
				_ = o.remove(b) // a temporary one
				return
			}
		}
	}()
	return ready
}

// remove removes what was built for a mutant.
func (o options) remove(b built) error {
	if b.err == nil && b.programs.Gantry != o.programs.Gantry {
		return os.RemoveAll(filepath.Dir(b.programs.Gantry))
	}
	return nil
}

func (o options) note(r mutants.Result) error {
	file, err := os.OpenFile(o.results, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(json.NewEncoder(file).Encode(r), file.Close())
}

// play plays batches against a mutant, small ones first.
func (o options) play(ctx context.Context, b built) (mutants.Result, error) {
	r := mutants.Result{Mutant: b.mutant.Name}
	for seed, size := o.seed, o.batch.Schedules; r.Schedules < o.most; seed, size = seed+1, min(2*size, largest) {
		size = min(size, o.most-r.Schedules)
		found, err := o.playBatch(ctx, b.mutant, b.programs, seed, size)
		if err != nil {
			return mutants.Result{}, err
		}
		r.Schedules += size
		if len(found) > 0 {
			r.Caught, r.Rule, r.Says, r.Seed = true, found[0].Rule, found[0].Subject+": "+found[0].Says, seed
			break
		}
	}
	return r, nil
}

// The schedules of the largest batch, and the length of a storm for each schedule.
const (
	largest     = 250
	perSchedule = 200 * time.Millisecond
	leastStorm  = 12 * time.Second
)

// late are the rules that need a batch that has ended, besides those that are patient.
var late = []string{"audit", "recorded", "bypasses", "alarms", "messages", "budgets", "linearizable"}

// playBatch returns what in a batch breaks a rule that the mutant should break. The
// batch ends as soon as there is something.
func (o options) playBatch(ctx context.Context, m mutants.Mutant, programs rig.Programs, seed uint64, size int) (found []checker.Violation, err error) {
	batch := o.batch
	batch.Programs, batch.Seed, batch.Schedules = programs, seed, size
	batch.Storm = max(leastStorm, time.Duration(size)*perSchedule)
	if batch.Scripts = scripts(seed, size, mutants.SignOf(m).Stories); batch.Scripts != nil {
		batch.Schedules = slices.Max(slices.Collect(maps.Keys(batch.Scripts)))
	}
	if batch.Dir, err = os.MkdirTemp(schedules.MemoryFolder(), "mutant-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(batch.Dir)) }()
	unready := slices.Concat(late, checker.Patient)
	batch.Progress = func(string, ...any) {}
	batch.Enough = func(sofar checker.Report) bool { return len(shown(m, sofar, unready)) > 0 }
	report, err := schedules.RunAndJudge(ctx, batch)
	if err != nil {
		return nil, err
	}
	if found = shown(m, report, unready); len(found) == 0 {
		found = shown(m, report, nil)
	}
	if len(report.Violations) > 0 && o.keep != "" {
		err = copyFile(schedules.HistoryFile(batch.Dir), filepath.Join(o.keep, fmt.Sprintf("%s-%d.jsonl", m.Name, seed)))
	}
	for _, v := range report.Violations {
		if !slices.ContainsFunc(found, func(f checker.Violation) bool { return f.Rule == v.Rule }) {
			fmt.Fprintf(os.Stderr, "%s, seed %d: it breaks %s as well: %s: %s\n", m.Name, seed, v.Rule, v.Subject, v.Says)
		}
	}
	return found, err
}

// shown returns the violations by which a mutant shows, without those of some rules.
// Gantry as it is shows by all.
func shown(m mutants.Mutant, report checker.Report, without []string) []checker.Violation {
	return slices.DeleteFunc(slices.Clone(report.Violations), func(v checker.Violation) bool {
		return slices.Contains(without, v.Rule) || m.Name != mutants.None && !slices.Contains(mutants.SignOf(m).Rules, v.Rule)
	})
}

// scripts returns schedules of a seed by their number, three quarters of them of the
// given stories; nil if all stories will do.
func scripts(seed uint64, size int, stories []string) map[int]history.Script {
	if len(stories) == 0 {
		return nil
	}
	taken, others := map[int]history.Script{}, 0
	for n := 1; len(taken) < size; n++ {
		s := script.New(seed, n)
		if !slices.Contains(stories, s.Kind) {
			if others >= size/4 {
				continue
			}
			others++
		}
		taken[n] = s
	}
	return taken
}

func copyFile(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o600)
}

// build builds Gantry with the changes of a mutant, in a folder of its own.
func (o options) build(ctx context.Context, m mutants.Mutant) (rig.Programs, error) {
	programs := o.programs
	if m.Name == mutants.None {
		return programs, nil
	}
	// bin/e2e/gantry
	root := filepath.Dir(filepath.Dir(filepath.Dir(programs.Gantry)))
	dir, err := os.MkdirTemp("", "gantry-mutant-")
	if err != nil {
		return programs, err
	}
	overlay, err := mutants.Overlay(root, dir, m)
	if err != nil {
		return programs, errors.Join(err, os.RemoveAll(dir))
	}
	programs.Gantry = filepath.Join(dir, "gantry")
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags", "-s -w", "-overlay", overlay, "-o", programs.Gantry, "./cmd/gantry")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return programs, errors.Join(fmt.Errorf("build: %w\n%s", err, out), os.RemoveAll(dir))
	}
	return programs, nil
}
