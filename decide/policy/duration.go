package policy

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// ParseDuration reads a duration such as "90m", "24h", "2d" or "1d12h". A day
// is 24 hours.
func ParseDuration(s string) (Duration, error) {
	bad := fmt.Errorf("%q is not a duration such as 90m, 24h or 2d", s)
	var days time.Duration
	rest := s
	if n, after, ok := strings.Cut(s, "d"); ok {
		count, err := strconv.ParseUint(n, 10, 16) // 65535 days fit in a time.Duration
		if err != nil {
			return 0, bad
		}
		days, rest = time.Duration(count)*day, after
	}
	if rest == "" && s != "" {
		return Duration(days), nil
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || strings.HasPrefix(rest, "+") || d+days < days {
		return 0, bad
	}
	return Duration(days + d), nil
}

// String spells the duration as ParseDuration reads it, without parts that are
// zero: "24h", "1h30m".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDuration(string(text))
	return err
}
