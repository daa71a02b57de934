package schedules

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/e2e/schedules/history"
	"github.com/gantryhq/gantry/e2e/schedules/rig"
	"github.com/gantryhq/gantry/e2e/schedules/script"
)

// Somebody can take every step of every script.
func TestEveryStepCanBeTaken(t *testing.T) {
	requests := []string{
		script.Approve, script.Reject, script.Revoke, script.Stop, script.Retry, script.Freeze, script.Lift, script.Skip, script.StopChain, script.Read,
		script.List, script.Ask, script.Forecast, script.SignIn, script.SignOut, script.Follow,
	}
	for n := 1; n <= 1000; n++ {
		for _, s := range script.New(3, n).Steps {
			if _, native := world[s.Do]; !native && !slices.Contains(requests, s.Do) {
				t.Errorf("schedule %d: nobody can take the step %q", n, s.Do)
			}
		}
	}
}

func TestACopyOfAScheduleHasStacksOfItsOwn(t *testing.T) {
	for n := 100; n <= 400; n++ {
		s := script.New(3, n)
		copied, err := renumbered(s, 7)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(copied)
		if err != nil {
			t.Fatal(err)
		}
		if was := strings.TrimSuffix(s.Stacks[0].ID, "a"); strings.Contains(string(text), was) || len(copied.Stacks) != len(s.Stacks) || len(copied.Steps) != len(s.Steps) {
			t.Errorf("the copy of schedule %d names %s: %s", n, was, text)
		}
	}
}

// Whatever isn't needed to break a rule goes.
func TestMinimise(t *testing.T) {
	c := Case{Rule: "policy", Weather: usual, Mishaps: script.Mishaps(3, time.Minute), Script: history.Script{Steps: []history.ScriptStep{
		{Do: "push"}, {Until: "asked", Do: "read"}, {With: true, Do: "approve"}, {With: true, Do: "reject"}, {Do: "lock"},
	}}}
	needs := func(_ string, c Case) (bool, error) {
		var done []string
		for _, s := range c.Script.Steps {
			done = append(done, s.Do)
		}
		killed := slices.ContainsFunc(c.Mishaps, func(m script.Mishap) bool { return m.Kind == script.DiskFull })
		return killed && slices.Contains(done, "push") && slices.Contains(done, "approve"), nil
	}
	least, broke, err := Minimise(c, needs)
	if err != nil || !broke {
		t.Fatal(broke, err)
	}
	want := []history.ScriptStep{{Do: "push"}, {Until: "asked", Do: "approve"}}
	if diff := cmp.Diff(want, least.Script.Steps); diff != "" || len(least.Mishaps) != 1 || least.Weather != (rig.Weather{}) {
		t.Errorf("%s\nmishaps %+v, weather %+v", diff, least.Mishaps, least.Weather)
	}
	if _, broke, _ := Minimise(c, func(string, Case) (bool, error) { return false, nil }); broke {
		t.Error("a case that doesn't break its rule was minimised")
	}
}

// A series continues where it was: after an interruption, and beside another process.
func TestASeriesContinuesWhereItWas(t *testing.T) {
	s := Series{Results: t.TempDir(), First: 1, Of: 1}
	for _, seed := range []uint64{1, 2, 5} {
		if err := s.add(Result{Seed: seed, Schedules: 10, At: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	done, err := s.Done()
	if err != nil || len(done) != 3 || done[2].Seed != 5 {
		t.Fatalf("done: %+v, %v", done, err)
	}
	if total := Totals(done); total.Schedules != 30 || total.Seeds != "1 to 5" {
		t.Errorf("total %+v", total)
	}
}

// Readers of the event stream take turns at both replicas, and stay away for longer than
// ten seconds now and then.
func TestReadersTakeTurns(t *testing.T) {
	b := &Batch{begin: time.Now(), Rig: &rig.Rig{Replicas: make([]*rig.Gantry, 2)}}
	var seen []string
	for at, end := b.begin, b.begin.Add(94*time.Second); at.Before(end); {
		replica, until := b.turn(at)
		seen = append(seen, fmt.Sprintf("%d for %s", replica, until.Sub(at)))
		at = until
	}
	want := []string{
		"0 for 9s", "-1 for 3s", "1 for 9s", "-1 for 3s", "0 for 9s", "-1 for 14s",
		"1 for 9s", "-1 for 3s", "0 for 9s", "-1 for 3s", "1 for 9s", "-1 for 14s",
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Error(diff)
	}
}
