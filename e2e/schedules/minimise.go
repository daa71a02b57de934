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

// Minimise drops mishaps and steps of a case for as long as replay reports that it
// still breaks its rule, and returns what is left. It reports false if the case as a
// whole doesn't break the rule again.
func Minimise(c Case, replay func(what string, c Case) (broke bool, err error)) (least Case, broke bool, err error) {
	if broke, err = replay("as it was", c); err != nil || !broke {
		return c, broke, err
	}
	m := minimiser{Case: c, replay: replay}
	quiet := c
	quiet.Weather = rig.Weather{}
	m.try("lost and forged notifications", quiet)
	m.dropMishaps()
	m.dropSteps()
	return m.Case, true, m.err
}

// minimiser has the smallest case so far that breaks its rule.
type minimiser struct {
	Case
	replay func(what string, c Case) (bool, error)
	err    error
}

// try takes a smaller case if it breaks the rule too.
func (m *minimiser) try(what string, smaller Case) (smallerNow bool) {
	if m.err != nil {
		return false
	}
	broke, err := m.replay("without "+what, smaller)
	if m.err = err; broke && err == nil {
		m.Case = smaller
		return true
	}
	return false
}

// dropMishaps drops all mishaps, or halves of them, quarters and so on.
func (m *minimiser) dropMishaps() {
	alone := m.Case
	alone.Mishaps = []script.Mishap{}
	if m.try("any mishap", alone) {
		return
	}
	for size := (len(m.Mishaps) + 1) / 2; size > 0; size /= 2 {
		for first := 0; first < len(m.Mishaps); {
			last := min(first+size, len(m.Mishaps))
			smaller := m.Case
			smaller.Mishaps = slices.Delete(slices.Clone(m.Mishaps), first, last)
			if !m.try(fmt.Sprintf("mishaps %d to %d of %d", first+1, last, len(m.Mishaps)), smaller) {
				first = last
			}
		}
	}
}

// dropSteps drops one step after the other, the last first. If a step goes that
// others were taken with, the next of them takes its time.
func (m *minimiser) dropSteps() {
	for i := len(m.Script.Steps) - 1; i >= 0; i-- {
		dropped, smaller := m.Script.Steps[i], m.Case
		smaller.Script.Steps = slices.Delete(slices.Clone(m.Script.Steps), i, i+1)
		if i < len(smaller.Script.Steps) && smaller.Script.Steps[i].With && !dropped.With {
			next := &smaller.Script.Steps[i]
			next.With, next.After, next.Until = false, dropped.After, dropped.Until
		}
		m.try(fmt.Sprintf("step %d, %s", i+1, dropped.Do), smaller)
	}
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
	return judge(o.Dir)
}

// judge judges the history in a folder.
func judge(dir string) (checker.Report, error) {
	file, err := os.Open(HistoryFile(dir))
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
