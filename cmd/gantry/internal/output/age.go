package output

import (
	"fmt"
	"time"
)

// Stamp returns a time in UTC, in the format of the API's sentences and of flags;
// empty for none.
func Stamp(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// When returns how long ago a time was, or in how long it is; with --utc the time
// itself. It is empty for no time.
func (p *Printer) When(t *time.Time) string {
	if p.UTC || t == nil || t.IsZero() {
		return Stamp(t)
	}
	return age(*t, p.Now)
}

// oldest is the age from which a date says more than a number of days.
const oldest = 100 * 24 * time.Hour

// age returns a distance from now in its largest unit, such as "3m ago" or "in 2h".
func age(t, now time.Time) string {
	d, format := now.Sub(t), "%s ago"
	if d < 0 {
		d, format = -d, "in %s"
	}
	switch {
	case d < time.Second:
		return "now"
	case d < 2*time.Minute:
		return fmt.Sprintf(format, fmt.Sprintf("%ds", d/time.Second))
	case d < 2*time.Hour:
		return fmt.Sprintf(format, fmt.Sprintf("%dm", d/time.Minute))
	case d < 48*time.Hour:
		return fmt.Sprintf(format, fmt.Sprintf("%dh", d/time.Hour))
	case d < oldest:
		return fmt.Sprintf(format, fmt.Sprintf("%dd", d/(24*time.Hour)))
	}
	return t.UTC().Format(time.DateOnly)
}
