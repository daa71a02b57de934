package decide

import (
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	for _, tc := range []struct {
		first    time.Duration
		failures int
		longest  time.Duration
		want     time.Duration
	}{
		{time.Minute, -1, time.Hour, time.Minute},
		{time.Minute, 0, time.Hour, time.Minute},
		{time.Minute, 3, time.Hour, 8 * time.Minute},
		{time.Minute, 6, time.Hour, time.Hour},
		{720 * time.Hour, 1_000_000, 721 * time.Hour, 721 * time.Hour},
		{2 * time.Hour, 0, time.Hour, time.Hour},
		{0, 1_000_000, time.Hour, 0},
	} {
		if got := Backoff(tc.first, tc.failures, tc.longest); got != tc.want {
			t.Errorf("backoff from %s after %d failures, at most %s: got %s, want %s", tc.first, tc.failures, tc.longest, got, tc.want)
		}
	}
}
