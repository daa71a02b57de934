package schedules

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/checker"
)

// Series is a series of batches, each with the next seed, that can be continued:
// a file has the seeds that are done.
type Series struct {
	Options Options
	Results string // folder of the results; it must exist
	First   uint64 // seed of the first batch
	Shard   int    // this process does every Of-th seed, from First+Shard on
	Of      int
}

// Result is a line of the results: a batch that was run.
type Result struct {
	Seed       uint64         `json:"seed"`
	Schedules  int            `json:"schedules"`
	At         time.Time      `json:"at"`
	Took       string         `json:"took"`
	Violations []string       `json:"violations,omitempty"` // a line each
	Matrix     checker.Matrix `json:"matrix,omitempty"`
}

// MemoryFolder returns a folder in memory for a batch, where there is one: Temporal's
// store and the inboxes flush often.
func MemoryFolder() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return os.TempDir()
}

func (s Series) file() string { return filepath.Join(s.Results, "results.jsonl") }

// Done returns the results so far.
func (s Series) Done() (done []Result, err error) {
	file, err := os.Open(s.file())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the results: %w", err)
	}
	defer file.Close() //nolint:errcheck // it is only read
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var r Result
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("read the results: line %d: %w; remove it", len(done)+1, err)
		}
		done = append(done, r)
	}
	return done, lines.Err()
}

// Run runs the batches that are not done yet, until ctx ends or so many were
// run; 0 is without end. It reports how many broke a rule.
func (s Series) Run(ctx context.Context, batches int) (broken int, err error) {
	done, err := s.Done()
	if err != nil {
		return 0, err
	}
	known := map[uint64]bool{}
	for _, r := range done {
		known[r.Seed] = true
	}
	for seed, n := s.First+uint64(s.Shard), 0; (batches == 0 || n < batches) && ctx.Err() == nil; seed += uint64(s.Of) {
		if known[seed] {
			continue
		}
		n++
		result, err := s.Batch(ctx, seed)
		switch {
		case ctx.Err() != nil: // the batch isn't finished, and is run again
		case err != nil:
			return broken, fmt.Errorf("seed %d: %w", seed, err)
		case len(result.Violations) > 0:
			broken++
		}
	}
	return broken, nil
}

// Batch runs one batch, and adds it to the results. The history of one that breaks
// a rule is kept there.
func (s Series) Batch(ctx context.Context, seed uint64) (Result, error) {
	o := s.Options
	o.Seed = seed
	dir, err := os.MkdirTemp(o.Dir, "schedules-")
	if err != nil {
		return Result{}, fmt.Errorf("make a folder for the batch: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary one
	o.Dir = dir
	began := time.Now()
	o.Progress("seed %d: %d schedules", seed, o.Schedules)
	report, err := RunAndJudge(ctx, o)
	if err != nil {
		return Result{}, errors.Join(err, s.keep(dir, seed))
	}
	result := Result{Seed: seed, Schedules: o.Schedules, At: began.UTC(), Took: time.Since(began).Round(time.Second).String(), Matrix: report.Matrix}
	for _, v := range report.Violations {
		result.Violations = append(result.Violations, fmt.Sprintf("%s: %s: %s", v.Rule, v.Subject, v.Says))
		o.Progress("%s\n    %s", v, o.reproduce(seed, v))
	}
	o.Progress("seed %d: %d violations in %s", seed, len(result.Violations), result.Took)
	if len(result.Violations) > 0 {
		err = s.keep(dir, seed)
	}
	return result, errors.Join(err, s.add(result))
}

// reproduce says how a violation is reproduced, and reduced to what it takes.
func (o Options) reproduce(seed uint64, v checker.Violation) string {
	command := fmt.Sprintf("go run ./e2e/schedules/cmd -seed %d -schedules %d -storm %s", seed, o.Schedules, o.Storm)
	if v.Schedule == 0 {
		return "reproduce it: " + command
	}
	return fmt.Sprintf("reproduce it: %s\n    reduce it: %s -schedule %d -rule %s -minimise", command, command, v.Schedule, v.Rule)
}

func (s Series) add(r Result) error {
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write the results: %w", err)
	}
	file, err := os.OpenFile(s.file(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write the results: %w", err)
	}
	_, err = file.Write(append(line, '\n'))
	return errors.Join(err, file.Close())
}

// keep copies the history and the logs of a batch to the results.
func (s Series) keep(dir string, seed uint64) error {
	kept := filepath.Join(s.Results, fmt.Sprintf("seed-%d", seed))
	if err := os.RemoveAll(kept); err != nil {
		return fmt.Errorf("keep the history: %w", err)
	}
	if err := os.MkdirAll(kept, 0o700); err != nil {
		return fmt.Errorf("keep the history: %w", err)
	}
	for from, to := range map[string]string{
		HistoryFile(dir): "history.jsonl", filepath.Join(dir, "temporal.log"): "temporal.log", filepath.Join(dir, "replica-1", "log"): "replica-1.log",
		filepath.Join(dir, "replica-2", "log"): "replica-2.log", filepath.Join(dir, "worker", "log"): "worker.log",
	} {
		text, err := os.ReadFile(from)
		if err != nil {
			continue // the batch ended before there was any
		}
		if err := os.WriteFile(filepath.Join(kept, to), text, 0o600); err != nil {
			return fmt.Errorf("keep the history: %w", err)
		}
	}
	return nil
}

// Totals adds the results up.
func Totals(done []Result) checker.Totals {
	total := checker.Totals{Matrix: checker.Matrix{}}
	least, most := uint64(0), uint64(0)
	for i, r := range done {
		if i == 0 {
			least, most = r.Seed, r.Seed
		}
		least, most = min(least, r.Seed), max(most, r.Seed)
		total.Schedules += r.Schedules
		total.Violations += len(r.Violations)
		total.Matrix.Add(r.Matrix)
	}
	total.Seeds = fmt.Sprintf("%d to %d", least, most)
	return total
}
