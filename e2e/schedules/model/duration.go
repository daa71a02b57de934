package model

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

var durationPattern = regexp.MustCompile(`^(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$`)

// ParseDuration reads durations as labels and profiles write them, such as 90m,
// 24h, 2d or 1d12h; a day has 24 hours.
func ParseDuration(text string) (time.Duration, error) {
	parts := durationPattern.FindStringSubmatch(text)
	if text == "" || parts == nil {
		return 0, fmt.Errorf("read duration %q: write it like 90m, 24h or 2d", text)
	}
	var d time.Duration
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
		if parts[i+1] == "" {
			continue
		}
		n, err := strconv.Atoi(parts[i+1])
		if err != nil || n > 100_000 {
			return 0, fmt.Errorf("read duration %q: it is too long", text)
		}
		d += time.Duration(n) * unit
	}
	return d, nil
}
