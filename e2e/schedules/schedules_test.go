package schedules_test

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules"
	"github.com/gantryhq/gantry/e2e/schedules/rig"
)

// A few hundred schedules on a seed of the day, or on $SEED, break no rule.
func TestSchedulesOfTheDay(t *testing.T) {
	seed := uint64(time.Now().UTC().Year()*10_000 + int(time.Now().UTC().Month())*100 + time.Now().UTC().Day())
	if given := os.Getenv("SEED"); given != "" {
		var err error
		if seed, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatalf("SEED: %v", err)
		}
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
