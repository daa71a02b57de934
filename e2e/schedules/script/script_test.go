package script_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/e2e/schedules/history"
	"github.com/gantryhq/gantry/e2e/schedules/script"
)

func TestASeedFixesABatch(t *testing.T) {
	storm := 40 * time.Second
	for n := 1; n <= 200; n++ {
		if a, b := script.New(7, n), script.New(7, n); !reflect.DeepEqual(a, b) {
			t.Fatalf("schedule %d differs: %s", n, cmp.Diff(a, b))
		}
		if a, b := script.Begin(7, n, storm), script.Begin(7, n, storm); a != b || a < 0 || a > storm {
			t.Errorf("schedule %d begins after %s and %s", n, a, b)
		}
	}
	if a, b := script.Mishaps(7, storm), script.Mishaps(7, storm); !reflect.DeepEqual(a, b) {
		t.Errorf("mishaps differ: %s", cmp.Diff(a, b))
	}
	if reflect.DeepEqual(script.New(7, 1), script.New(8, 1)) {
		t.Error("two seeds have the same schedule")
	}
}

// Each schedule has stacks of its own, and its steps name no others.
func TestSchedulesAreApart(t *testing.T) {
	kinds := map[string]bool{}
	for n := 1; n <= 1000; n++ {
		s := script.New(1, n)
		kinds[s.Kind] = true
		var own []string
		for _, st := range s.Stacks {
			own = append(own, st.ID)
			if history.ScheduleOf(st.ID) != n {
				t.Errorf("schedule %d has the stack %s", n, st.ID)
			}
		}
		for _, step := range s.Steps {
			named := []string{step.Stack}
			if all := step.Args["stacks"]; all != "" {
				named = append(named, strings.Split(all, ",")...)
			}
			for _, stack := range named {
				if !slices.Contains(own, stack) {
					t.Errorf("schedule %d: %s names the stack %q", n, step.Do, stack)
				}
			}
			if step.With && (step.After != 0 || step.Until != "") {
				t.Errorf("schedule %d: %s is taken with another step, and waits", n, step.Do)
			}
		}
	}
	for _, kind := range script.Kinds() {
		if !kinds[kind] {
			t.Errorf("no schedule is of the kind %s", kind)
		}
	}
}

func TestReadableLabelsKeepTheOrderOfStacks(t *testing.T) {
	got := script.Readable("s1-b", []string{"gantry:confirm=manual", "gantry:after=s1-a", "gantry:after=s1-b", "gantry:after=", "gantry:window=never", "team:infra"})
	if diff := cmp.Diff([]string{"gantry:managed", "gantry:confirm=auto", "gantry:after=s1-a"}, got); diff != "" {
		t.Error(diff)
	}
}
