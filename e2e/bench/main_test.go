package main

import (
	"encoding/json"
	"testing"
	"time"
)

func TestVerdict(t *testing.T) {
	if got := verdict(true); got != "pass" {
		t.Errorf("a target that is met: %s", got)
	}
	if got := verdict(false); got != "MISS" {
		t.Errorf("a target that is missed: %s", got)
	}
}

// One slow round must not decide a figure, and each figure has its own median.
func TestMedian(t *testing.T) {
	got := median([]result{
		{perSecond: 100, p50: 3 * time.Millisecond},
		{perSecond: 900, p50: 1 * time.Millisecond},
		{perSecond: 1, p50: 2 * time.Millisecond},
	})
	if got.perSecond != 100 || got.p50 != 2*time.Millisecond {
		t.Errorf("the median is %+v", got)
	}
}

func TestRows(t *testing.T) {
	var b bench
	if all, err := b.rows(""); err != nil || len(all) < 10 {
		t.Errorf("without a choice: %d rows, %v", len(all), err)
	}
	if chosen, err := b.rows("memory,webhook"); err != nil || len(chosen) != 2 || chosen[0].name != "memory" || chosen[1].name != "webhook" {
		t.Errorf("two rows: %v, %v", chosen, err)
	}
	if _, err := b.rows("webhook,unknown"); err == nil {
		t.Error("an unknown row is no error")
	}
}

// Each notification is a new event, and their runs are few enough to be forwarded at
// full speed.
func TestNotifications(t *testing.T) {
	loadRuns.Store(runsAtFullSpeed)
	t.Cleanup(func() { loadRuns.Store(0) })
	type event struct {
		Run          struct{ ID string }
		Stack        struct{ ID string }
		StateVersion int
	}
	seen, stacks := map[event]bool{}, map[string]string{}
	for n := range int64(100_000) {
		var e event
		if err := json.Unmarshal([]byte(notification(n)), &e); err != nil {
			t.Fatal(err)
		}
		if seen[e] {
			t.Fatalf("the notification %d repeats another: %+v", n, e)
		}
		if stack, known := stacks[e.Run.ID]; known && stack != e.Stack.ID {
			t.Fatalf("run %s is on the stacks %s and %s", e.Run.ID, stack, e.Stack.ID)
		}
		seen[e], stacks[e.Run.ID] = true, e.Stack.ID
	}
	if len(stacks) > runsAtFullSpeed {
		t.Errorf("%d runs, want at most %d", len(stacks), runsAtFullSpeed)
	}
}
