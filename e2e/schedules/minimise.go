package schedules

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gantryhq/gantry/e2e/schedules/checker"
	"github.com/gantryhq/gantry/e2e/schedules/history"
	"github.com/gantryhq/gantry/e2e/schedules/rig"
	"github.com/gantryhq/gantry/e2e/schedules/script"
)

// Case is a schedule with its mishaps that broke a rule: a file to play again.
type Case struct {
	Rule    string          `json:"rule"`
	Seed    uint64          `json:"seed"`
	Weather rig.Weather     `json:"weather"` // of notifications
	Mishaps []script.Mishap `json:"mishaps"`
	Script  history.Script  `json:"script"`
}

// clones counts the copies of a schedule that are played in one batch: chance decides
// whether a mishap strikes at the wrong moment, so one copy would prove little.
const clones = 24

// Minimise drops mishaps and steps of a case for as long as it still breaks its
// rule, and returns what is left. It reports false if the case as a whole doesn't
// break the rule again.
func Minimise(ctx context.Context, o Options, c Case) (least Case, broke bool, err error) {
	again := func(what string, c Case) (bool, error) {
		broke, err := Replay(ctx, o, c)
		o.Progress("%s: %d steps, %d mishaps: broken again: %t", what, len(c.Script.Steps), len(c.Mishaps), broke)
		return broke, err
	}
	if broke, err = again("as it was", c); err != nil || !broke {
		return c, broke, err
	}
	try := func(what string, smaller Case) {
		if err != nil {
			return
		}
		if broke, err = again(what, smaller); err == nil && broke {
			c = smaller
		}
	}
	quiet := c
	quiet.Weather = rig.Weather{}
	try("no notification lost", quiet)
	alone := c
	alone.Mishaps = []script.Mishap{}
	try("without mishaps", alone)
	for size := (len(c.Mishaps) + 1) / 2; size > 0 && len(c.Mishaps) > 0; size /= 2 {
		for first := 0; first < len(c.Mishaps); {
			smaller, before := c, len(c.Mishaps)
			smaller.Mishaps = slices.Delete(slices.Clone(c.Mishaps), first, min(first+size, before))
			if try(fmt.Sprintf("without mishaps %d to %d", first+1, min(first+size, before)), smaller); len(c.Mishaps) == before {
				first += size
			}
		}
	}
	for i := len(c.Script.Steps) - 1; i >= 0; i-- {
		smaller := c
		smaller.Script.Steps = slices.Delete(slices.Clone(c.Script.Steps), i, i+1)
		if i < len(smaller.Script.Steps) && smaller.Script.Steps[i].With && !c.Script.Steps[i].With {
			smaller.Script.Steps[i].With, smaller.Script.Steps[i].After, smaller.Script.Steps[i].Until = false, c.Script.Steps[i].After, c.Script.Steps[i].Until
		}
		try("without step "+strconv.Itoa(i+1)+", "+c.Script.Steps[i].Do, smaller)
	}
	return c, true, err
}

// Replay plays copies of a case in one batch, and reports whether one of them
// breaks the rule.
func Replay(ctx context.Context, o Options, c Case) (broke bool, err error) {
	if o.Dir, err = os.MkdirTemp(o.Dir, "replay-"); err != nil {
		return false, fmt.Errorf("make a folder for a replay: %w", err)
	}
	defer func() { _ = os.RemoveAll(o.Dir) }() // a temporary one
	o.Seed, o.Schedules, o.Mishaps, o.Weather, o.Scripts = c.Seed, clones, c.Mishaps, &c.Weather, map[int]history.Script{}
	if o.Mishaps == nil {
		o.Mishaps = []script.Mishap{}
	}
	for n := 1; n <= clones; n++ {
		if o.Scripts[n], err = renumbered(c.Script, n); err != nil {
			return false, err
		}
	}
	progress := o.Progress
	o.Progress = func(string, ...any) {}
	report, err := RunAndJudge(ctx, o)
	o.Progress = progress
	for _, v := range report.Violations {
		broke = broke || v.Rule == c.Rule
	}
	return broke, err
}

// renumbered returns a script whose stacks belong to another schedule.
func renumbered(s history.Script, number int) (copied history.Script, err error) {
	text, err := json.Marshal(s)
	if err != nil || len(s.Stacks) == 0 {
		return s, err
	}
	was := strings.TrimSuffix(s.Stacks[0].ID, "a")
	for _, before := range []string{`"`, `=`, `,`} { // an id, a label that names one, a list of them
		text = []byte(strings.ReplaceAll(string(text), before+was, before+"s"+strconv.Itoa(number)+"-"))
	}
	for _, key := range []string{`"k`} { // keys of requests
		text = []byte(strings.ReplaceAll(string(text), key+strings.TrimPrefix(was, "s"), key+strconv.Itoa(number)+"-"))
	}
	return copied, json.Unmarshal(text, &copied)
}

// RunAndJudge runs a batch and applies the rules to its history.
func RunAndJudge(ctx context.Context, o Options) (checker.Report, error) {
	if err := Run(ctx, o); err != nil {
		return checker.Report{}, err
	}
	file, err := os.Open(HistoryFile(o.Dir))
	if err != nil {
		return checker.Report{}, fmt.Errorf("open the history: %w", err)
	}
	defer file.Close() //nolint:errcheck // it was only read
	records, err := history.Load(file)
	if err != nil {
		return checker.Report{}, fmt.Errorf("read %s: %w", filepath.Base(file.Name()), err)
	}
	return checker.Judge(records), nil
}

// CaseOf returns the case of a violation in the batch of a seed.
func CaseOf(seed uint64, v checker.Violation, o Options) Case {
	return Case{Rule: v.Rule, Seed: seed, Weather: usual, Mishaps: script.Mishaps(seed, o.Storm), Script: script.New(seed, v.Schedule)}
}
