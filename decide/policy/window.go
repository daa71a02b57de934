package policy

import (
	"errors"
	"fmt"
	"time"
)

// Window is a set of times at which Gantry may confirm: within Allow, or always if
// there is none, but never within Deny.
type Window struct {
	Name     string
	TimeZone string // of the IANA database, such as "Europe/Berlin"
	Allow    []Recurrence
	Deny     []Recurrence
}

// window is a Window that was checked. It is open whenever the clock in its
// time zone shows a time within it: an hour that the clock skips is not there,
// and one that it shows twice counts twice.
type window struct {
	name        string
	zone        *time.Location
	allow, deny []*recurrence
}

const maxRecurrences = 50

func compileWindow(c Window) (*window, []error) {
	var errs []error
	w := &window{name: c.Name, zone: time.UTC}
	if zone, err := time.LoadLocation(c.TimeZone); err != nil || c.TimeZone == "" || c.TimeZone == "Local" {
		errs = append(errs, fmt.Errorf("timeZone: there is no time zone %q; name one such as Europe/Berlin or UTC", c.TimeZone))
	} else {
		w.zone = zone
	}
	if len(c.Allow)+len(c.Deny) == 0 {
		errs = append(errs, errors.New("allow: the window says nothing; give times to allow or to deny"))
	}
	if len(c.Allow)+len(c.Deny) > maxRecurrences {
		errs = append(errs, fmt.Errorf("allow: %d times are more than %d", len(c.Allow)+len(c.Deny), maxRecurrences))
		return w, errs
	}
	compile := func(list string, from []Recurrence) (to []*recurrence) {
		for i, rc := range from {
			r, problems := compileRecurrence(rc, w.zone)
			for _, err := range problems {
				errs = append(errs, fmt.Errorf("%s.%w", rank(list, i), err))
			}
			if r != nil {
				to = append(to, r)
			}
		}
		return to
	}
	w.allow, w.deny = compile("allow", c.Allow), compile("deny", c.Deny)
	return w, errs
}

// openAt reports whether the window is open, and the earliest time at which that may
// change; zero if it never does.
func (w *window) openAt(at time.Time) (open bool, until time.Time) {
	shown := floating(at, w.zone)
	open = len(w.allow) == 0
	var change time.Time
	for _, r := range w.allow {
		within, next, ok := r.within(shown)
		open = open || within
		if ok && (change.IsZero() || next.Before(change)) {
			change = next
		}
	}
	for _, r := range w.deny {
		within, next, ok := r.within(shown)
		open = open && !within
		if ok && (change.IsZero() || next.Before(change)) {
			change = next
		}
	}
	if !change.IsZero() {
		until = at.Add(change.Sub(shown))
	}
	// At the end of this stretch of equal offsets the clock jumps, maybe back.
	if _, jump := at.In(w.zone).ZoneBounds(); !jump.IsZero() {
		if !jump.After(at) { // the zone database returns that on 31 December of leap years
			jump = at.Add(time.Hour)
		}
		if until.IsZero() || jump.Before(until) {
			until = jump
		}
	}
	return open, until.UTC()
}

// A search for changes ends after horizon, and after maxChanges candidate times.
const (
	horizon    = 10 * 366 * day
	maxChanges = 100_000
)

// change returns the time at which a window or passage opens or closes next; zero
// if it does not within the horizon.
func change(openAt func(time.Time) (bool, time.Time), at time.Time) time.Time {
	was, next := openAt(at)
	for range maxChanges {
		if next.IsZero() || next.Sub(at) > horizon {
			break
		}
		open, after := openAt(next)
		if open != was {
			return next
		}
		next = after
	}
	return time.Time{}
}

// after returns, for each of some ascending durations, the time by which the window
// has been open for that long since a time; zero if that is beyond the horizon.
func (w *window) after(since time.Time, durations []time.Duration) []time.Time {
	times := make([]time.Time, len(durations))
	at, passed, i := since, time.Duration(0), 0
	for range maxChanges {
		open, next := w.openAt(at)
		for open && i < len(durations) && (next.IsZero() || next.Sub(at) >= durations[i]-passed) {
			times[i] = at.Add(durations[i] - passed).UTC()
			i++
		}
		if i == len(durations) || next.IsZero() || next.Sub(since) > horizon {
			break
		}
		if open {
			passed += next.Sub(at)
		}
		at = next
	}
	return times
}

func (w *window) sentence(opens, at time.Time) string {
	if opens.IsZero() {
		return fmt.Sprintf("the window %s is closed and never opens again", w.name)
	}
	return fmt.Sprintf("the window %s is closed and opens %s", w.name, clock(opens, w.zone, at))
}
