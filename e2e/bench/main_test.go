package main

import (
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
