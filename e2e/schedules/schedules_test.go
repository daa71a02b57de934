package schedules_test

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules"
	"github.com/gantryhq/gantry/e2e/schedules/rig"
)

// A few hundred schedules on a seed of the day break no rule.
func TestSchedulesOfTheDay(t *testing.T) {
	if os.Getenv("SEED") == "" {
		t.Skip("make schedules gives it the seed of the day")
	}
	seed, err := strconv.ParseUint(os.Getenv("SEED"), 10, 64)
	if err != nil {
		t.Fatalf("SEED: %v", err)
	}
	programs, err := rig.Build()
	if err != nil {
		t.Fatal(err)
	}
	s := schedules.Series{
		Results: t.ArtifactDir(),
		Options: schedules.Options{
			Programs: programs, Dir: schedules.MemoryFolder(), Schedules: 200, Storm: 40 * time.Second, Bound: 5 * time.Minute, Reconcile: 5 * time.Second, Progress: t.Logf,
		},
	}
	t.Logf("seed %d", seed)
	result, err := s.Batch(t.Context(), seed)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range result.Violations {
		t.Error(v)
	}
}
