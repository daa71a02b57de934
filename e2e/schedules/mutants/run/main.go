// Command run builds each mutant and plays schedules against it until the checker
// finds a violation, or until a thousand schedules have found none: that mutant
// survives, and a rule is missing.
//
// It notes each result in a file and continues there: mutants that are in the file
// aren't run again. The mutant "none" is Gantry as it is, which must break no rule.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
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
)

// none is Gantry as it is.
const none = "none"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flag.StringVar(&o.results, "results", "mutants.jsonl", "file of the results, one a line")
	flag.StringVar(&o.only, "only", "", "run these mutants alone, with commas between; none is Gantry as it is")
	flag.IntVar(&o.most, "most", 1000, "schedules after which a mutant has survived")
	flag.IntVar(&o.batch.Schedules, "schedules", 125, "schedules of a batch")
	flag.DurationVar(&o.batch.Storm, "storm", 30*time.Second, "length of the storm of a batch")
	flag.DurationVar(&o.batch.Bound, "bound", 4*time.Minute, "longest calm of a batch")
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
}

// result is the fate of a mutant.
type result struct {
	Mutant    string `json:"mutant"`
	Caught    bool   `json:"caught"`
	Rule      string `json:"rule,omitempty"`
	Says      string `json:"says,omitempty"`
	Seed      uint64 `json:"seed,omitempty"` // of the batch that showed it
	Schedules int    `json:"schedules"`      // that were played
}

func (o options) run(ctx context.Context) error {
	known, err := o.known()
	if err != nil {
		return err
	}
	all := append([]mutants.Mutant{{Name: none}}, mutants.All...)
	survived := 0
	for _, m := range all {
		was, done := known[m.Name]
		if o.only != "" && !slices.Contains(strings.Split(o.only, ","), m.Name) {
			continue
		}
		if done {
			fmt.Fprintln(os.Stdout, was)
			continue
		}
		r, err := o.play(ctx, m)
		if err != nil {
			return fmt.Errorf("play %s: %w", m.Name, err)
		}
		fmt.Fprintln(os.Stdout, r)
		if err := o.note(r); err != nil {
			return err
		}
		if r.Caught == (m.Name == none) {
			survived++
		}
	}
	if survived > 0 {
		return fmt.Errorf("%d mutants survived, or Gantry itself broke a rule", survived)
	}
	return nil
}

func (r result) String() string {
	switch {
	case r.Caught:
		return fmt.Sprintf("%-28s caught by %s after at most %d schedules: %s", r.Mutant, r.Rule, r.Schedules, r.Says)
	case r.Mutant == none:
		return fmt.Sprintf("%-28s broke no rule in %d schedules", r.Mutant, r.Schedules)
	}
	return fmt.Sprintf("%-28s SURVIVED %d schedules", r.Mutant, r.Schedules)
}

func (o options) known() (map[string]result, error) {
	known := map[string]result{}
	file, err := os.Open(o.results)
	if errors.Is(err, os.ErrNotExist) {
		return known, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var r result
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("read %s: %w; remove the line that is damaged", o.results, err)
		}
		known[r.Mutant] = r
	}
	return known, nil
}

func (o options) note(r result) error {
	file, err := os.OpenFile(o.results, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(json.NewEncoder(file).Encode(r), file.Close())
}

// play plays batches against a mutant.
func (o options) play(ctx context.Context, m mutants.Mutant) (result, error) {
	programs, err := build(ctx, m)
	if err != nil {
		return result{}, err
	}
	r := result{Mutant: m.Name}
	for seed := o.seed; r.Schedules < o.most; seed++ {
		if ctx.Err() != nil {
			return result{}, context.Cause(ctx)
		}
		found, err := o.playBatch(ctx, m, programs, seed)
		if err != nil {
			return result{}, err
		}
		r.Schedules += o.batch.Schedules
		if len(found) > 0 {
			r.Caught, r.Rule, r.Says, r.Seed = true, found[0].Rule, found[0].Subject+": "+found[0].Says, seed
			break
		}
	}
	return r, nil
}

// patient are the rules that need a batch that has settled: within a short calm,
// they find something in any Gantry.
var patient = []string{"settled", "accepted", "executions", "released", "current"}

func (o options) playBatch(ctx context.Context, m mutants.Mutant, programs rig.Programs, seed uint64) (found []checker.Violation, err error) {
	batch := o.batch
	batch.Programs, batch.Seed = programs, seed
	if batch.Dir, err = os.MkdirTemp(o.keep, "gantry-mutant-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(batch.Dir)) }()
	settled := true
	batch.Progress = func(format string, args ...any) {
		settled = settled && format != "not settled within %s: %s"
	}
	if err := schedules.Run(ctx, batch); err != nil {
		return nil, err
	}
	file, err := os.Open(schedules.HistoryFile(batch.Dir))
	if err != nil {
		return nil, err
	}
	records, err := history.Load(file)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	found = checker.Check(records)
	if !settled {
		found = slices.DeleteFunc(found, func(v checker.Violation) bool { return slices.Contains(patient, v.Rule) })
	}
	if len(found) > 0 && o.keep != "" {
		return found, os.Rename(schedules.HistoryFile(batch.Dir), filepath.Join(o.keep, fmt.Sprintf("%s-%d.jsonl", m.Name, seed)))
	}
	return found, nil
}

// build builds Gantry with the changes of a mutant.
func build(ctx context.Context, m mutants.Mutant) (rig.Programs, error) {
	programs, err := rig.Build()
	if err != nil || m.Name == none {
		return programs, err
	}
	// bin/e2e/gantry
	root := filepath.Dir(filepath.Dir(filepath.Dir(programs.Gantry)))
	dir, err := os.MkdirTemp("", "gantry-mutant-")
	if err != nil {
		return programs, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	overlay, err := mutants.Overlay(root, dir, m)
	if err != nil {
		return programs, err
	}
	programs.Gantry = filepath.Join(filepath.Dir(programs.Gantry), "gantry-mutant")
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags", "-s -w", "-overlay", overlay, "-o", programs.Gantry, "./cmd/gantry")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return programs, fmt.Errorf("build: %w\n%s", err, out)
	}
	return programs, nil
}
