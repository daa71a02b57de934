package schedules

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/checker"
	"github.com/gantryhq/gantry/e2e/schedules/history"
	"github.com/gantryhq/gantry/e2e/schedules/rig"
	"github.com/gantryhq/gantry/e2e/schedules/script"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// Options say which batch is run, and how long it may take.
type Options struct {
	Programs  rig.Programs
	Dir       string // of data and logs; the history is history.jsonl in it
	Seed      uint64
	Number    int           // of the batch in a series
	Schedules int           // schedules 1 to this
	Storm     time.Duration //
	Bound     time.Duration // of the time in the calm in which nothing moves
	Reconcile time.Duration // Gantry's interval
	Weather   *rig.Weather  // of notifications in the storm; the usual one if nil

	// Scripts replace those of the seed, and Mishaps its mishaps, unless they are nil.
	Scripts map[int]history.Script
	Mishaps []script.Mishap

	// Enough is asked after the storm, and now and then until everything has ended,
	// whether the history so far will do; nil is never.
	Enough func(sofar checker.Report) bool

	Progress func(format string, args ...any)
}

// usual is the weather of a storm.
var usual = rig.Weather{Drop: 0.08, Double: 0.08, Delay: 0.06, Reorder: 0.06, Cut: 0.03, Forge: 0.08}

// poll is the interval at which the driver checks what it waits for.
const poll = 100 * time.Millisecond

// Batch is one batch under way.
type Batch struct {
	*rig.Rig

	options Options
	begin   time.Time
	calm    chan struct{} // closed when the storm is over

	readers sync.WaitGroup // of the event stream
	leave   chan struct{}  // closed when they leave

	mu      sync.Mutex
	freezes map[int][]string // of each schedule
	changed bool             // the processes have, or get, the second configuration
}

// HistoryFile returns the history of the batch in a folder.
func HistoryFile(dir string) string { return filepath.Join(dir, "history.jsonl") }

// Run runs a batch, and writes its history. An error says that the batch could
// not be run; the history has what went wrong in it.
func Run(ctx context.Context, o Options) (err error) {
	if o.Progress == nil {
		o.Progress = func(string, ...any) {}
	}
	file, err := os.Create(HistoryFile(o.Dir))
	if err != nil {
		return fmt.Errorf("create the history: %w", err)
	}
	h := history.NewWriter(file)
	defer func() { err = errors.Join(err, h.Flush(), file.Close()) }()
	h.Add(history.Record{Batch: &history.Batch{
		Seed: o.Seed, Number: o.Number, Schedules: o.Schedules, Storm: o.Storm, Account: rig.Account, Actor: rig.Actor,
		Reconcile: o.Reconcile, Poll: poll, Replicas: []string{"replica-1", "replica-2"}, Enforced: script.Enforced,
	}})
	began := time.Now()
	r := rig.New(h, rig.Options{
		Programs: o.Programs, Dir: o.Dir, Seed: o.Seed, Setup: script.Setup(began, o.Storm, false),
		Timing: rig.Timing{Reconcile: o.Reconcile, Phases: phases},
	})
	defer r.Close()
	if err := r.Start(ctx); err != nil {
		return fmt.Errorf("start the rig: %w", err)
	}
	o.Progress("ready after %s", time.Since(began).Round(time.Second))
	b := &Batch{Rig: r, options: o, begin: time.Now(), calm: make(chan struct{}), leave: make(chan struct{}), freezes: map[int][]string{}}
	return b.run(ctx)
}

// phases are the times of runs: short, and long enough to be interrupted.
var phases = simulator.Phases{
	spacelift.RunStateQueued: 20 * time.Millisecond, spacelift.RunStatePreparing: 30 * time.Millisecond, spacelift.RunStateInitializing: 80 * time.Millisecond,
	spacelift.RunStatePlanning: 250 * time.Millisecond, spacelift.RunStatePreparingApply: 50 * time.Millisecond, spacelift.RunStateApplying: 250 * time.Millisecond,
	spacelift.RunStatePerforming: 150 * time.Millisecond, spacelift.RunStateDestroying: 150 * time.Millisecond, spacelift.RunStatePreparingReplan: 50 * time.Millisecond,
}

func (b *Batch) run(ctx context.Context) error {
	b.RecordUsage()
	b.History.Add(history.Record{Phase: &history.Phase{Name: history.Storm}})
	storm, cancel := context.WithTimeout(ctx, b.options.Storm)
	defer cancel()
	weather := usual
	if b.options.Weather != nil {
		weather = *b.options.Weather
	}
	b.Balancer.SetWeather(weather)
	leave := sync.OnceFunc(func() {
		close(b.leave)
		b.readers.Wait()
	})
	defer leave()
	b.readStreams(ctx)
	var schedules, mishaps sync.WaitGroup
	for n := 1; n <= b.options.Schedules; n++ {
		s, replaced := b.options.Scripts[n]
		switch {
		case !replaced && b.options.Scripts != nil:
			continue
		case !replaced:
			s = script.New(b.options.Seed, n)
		}
		schedules.Go(func() { b.play(ctx, n, s) })
	}
	all := b.options.Mishaps
	if all == nil {
		all = script.Mishaps(b.options.Seed, b.options.Storm)
	}
	for _, m := range all {
		mishaps.Go(func() { b.suffer(storm, m) })
	}
	<-storm.Done()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	mishaps.Wait()
	if err := b.clear(ctx); err != nil {
		return err
	}
	close(b.calm)
	b.History.Add(history.Record{Phase: &history.Phase{Name: history.Calm}})
	b.options.Progress("calm after %s: %d runs are open", time.Since(b.begin).Round(time.Second), len(b.Spacelift.Open()))
	b.showSpent()
	b.RecordUsage()
	if b.enough() {
		return nil
	}
	schedules.Wait()
	moving := b.settle(ctx)
	leave()
	if b.enough() {
		return nil
	}
	b.showSpent()
	b.History.Add(history.Record{Phase: &history.Phase{Name: history.Settled, Moving: moving}})
	defer b.showSpent()
	return b.conclude(ctx)
}

// enough reports whether the history so far will do.
func (b *Batch) enough() bool {
	if b.options.Enough == nil || b.History.Flush() != nil {
		return false
	}
	report, err := judge(b.options.Dir)
	return err == nil && b.options.Enough(report)
}

// showSpent shows the processor time that the batch has cost so far.
func (b *Batch) showSpent() {
	all, each := b.Spent()
	b.options.Progress("processor time %s: %s", all.Round(time.Second), each)
}

// clear ends everything that goes wrong, and makes sure that every process runs.
func (b *Batch) clear(ctx context.Context) error {
	b.Balancer.SetWeather(rig.Weather{})
	b.Spacelift.ClearFaults()
	b.Spacelift.Cut(0)
	b.Spacelift.Lag(0)
	b.Receiver.Fail(false)
	var failed error
	for _, p := range b.Processes() {
		p.Continue()
		failed = errors.Join(failed, p.Start(ctx))
		if p != b.Temporal {
			failed = errors.Join(failed, p.FillDisk(-1))
		}
	}
	b.Balancer.Flush()
	return failed
}
