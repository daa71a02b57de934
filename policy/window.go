package policy

import (
	"errors"
	"fmt"
	"time"
)

// Window is when Gantry may confirm: within Allow, or always if there is none,
// but never within Deny.
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

// look reports whether the window is open, and a time after which that may
// change, but not before; zero if it never does.
func (w *window) look(at time.Time) (open bool, until time.Time) {
	shown := floating(at, w.zone)
	open = len(w.allow) == 0
	var change time.Time
	for _, r := range w.allow {
		within, next, ok := r.look(shown)
		open = open || within
		if ok && (change.IsZero() || next.Before(change)) {
			change = next
		}
	}
	for _, r := range w.deny {
		within, next, ok := r.look(shown)
		open = open && !within
		if ok && (change.IsZero() || next.Before(change)) {
			change = next
		}
	}
	if !change.IsZero() {
		until = at.Add(change.Sub(shown))
	}
	// At the end of this stretch of equal offsets the clock jumps, maybe back to
	// what has been.
	if _, jump := at.In(w.zone).ZoneBounds(); !jump.IsZero() && (until.IsZero() || jump.Before(until)) {
		until = jump
	}
	return open, until.UTC()
}

// lookAhead is how far into the future a change is searched for.
const lookAhead = 10 * 366 * day

// change returns when the window opens or closes next; zero if it does not
// within lookAhead.
func (w *window) change(at time.Time) time.Time {
	was, next := w.look(at)
	for !next.IsZero() && next.Sub(at) <= lookAhead {
		open, after := w.look(next)
		if open != was {
			return next
		}
		next = after
	}
	return time.Time{}
}

// after returns when a window has been open for a time since another; zero if
// that is not within lookAhead.
func (w *window) after(since time.Time, d time.Duration) time.Time {
	at := since
	for at.Sub(since) <= lookAhead {
		open, next := w.look(at)
		if open && (next.IsZero() || next.Sub(at) >= d) {
			return at.Add(d).UTC()
		}
		if next.IsZero() {
			break
		}
		if open {
			d -= next.Sub(at)
		}
		at = next
	}
	return time.Time{}
}
