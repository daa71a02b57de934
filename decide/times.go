package decide

import "time"

// Backoff returns how long to wait after some failures in a row: first, then twice
// as long each time, and never more than longest.
func Backoff(first time.Duration, failures int, longest time.Duration) time.Duration {
	wait := first
	for range min(failures, 62) {
		if wait >= longest {
			break
		}
		wait *= 2
	}
	return min(wait, longest)
}

// Storable reports whether a time is within the years that JSON can hold, in UTC. Times of
// requests can be outside of them by their zone's offset.
func Storable(t time.Time) bool {
	year := t.UTC().Year()
	return year >= 1 && year <= 9999
}

// Clamp returns a duration that is neither shorter than shortest nor longer than
// longest.
func Clamp(d, shortest, longest time.Duration) time.Duration {
	return min(max(d, shortest), longest)
}

// Earlier returns the earlier of two times, of which either may be zero for none.
func Earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Later returns the later of two times.
func Later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
