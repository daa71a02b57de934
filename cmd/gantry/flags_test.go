package main

import (
	"testing"
	"time"
)

// Flags take times as the API's sentences and --utc print them, and distances from now.
func TestTimesOfFlags(t *testing.T) {
	now := time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)
	for given, want := range map[string]time.Time{
		"": {}, "2h": now.Add(-2 * time.Hour), "7d": now.AddDate(0, 0, -7), "2026-01-05T07:00:00+01:00": time.Date(2026, 1, 5, 6, 0, 0, 0, time.UTC),
	} {
		if got, err := timeOf("since", given, now, -1); err != nil || !got.Equal(want) {
			t.Errorf("%q is %s; %v", given, got, err)
		}
	}
	for _, given := range []string{"tomorrow", "-2h", "-1d", "1.5d", "99999d", "2026-01-05"} {
		if got, err := timeOf("since", given, now, -1); err == nil {
			t.Errorf("%q is %s", given, got)
		}
	}
}
