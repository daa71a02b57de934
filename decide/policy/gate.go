package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Gate says whether Gantry may confirm a stack's plan at a time: all windows of
// the policy must be open and no freeze may hold. What is said of Until counts
// all of them together, as far as ten years ahead.
func (r *Definitions) Gate(p Policy, stack string, freezes []Freeze, at time.Time) Gate {
	at = at.UTC().Round(0)
	g := passage{freezes: slices.DeleteFunc(slices.Clone(freezes), func(f Freeze) bool { return !f.covers(stack) })}
	result := Gate{At: at, Config: r.fingerprint()}
	var reasons []string
	var untils []time.Time // of each reason; zero for ever
	closes := func(c Closure, until time.Time) {
		result.Closed = append(result.Closed, c)
		result.Freeze, result.Window = cmp.Or(result.Freeze, c.Freeze), cmp.Or(result.Window, c.Window)
		reasons, untils = append(reasons, c.Reason), append(untils, until)
	}
	for _, f := range g.freezes {
		if f.holds(at) {
			closes(Closure{Freeze: f.ID, DeclaredBy: f.DeclaredBy, Reason: f.sentence(at)}, f.Until)
		}
	}
	zone := time.UTC
	for _, name := range p.Windows.Value {
		w := r.window(name)
		if w == nil {
			closes(Closure{Window: name, Reason: fmt.Sprintf("there is no window %s in the configuration any more", name)}, time.Time{})
			g.shut = true
			continue
		}
		g.windows, zone = append(g.windows, w), w.zone
		if open, _ := w.look(at); !open {
			opens := change(w.look, at)
			closes(Closure{Window: name, Reason: w.sentence(opens, at)}, opens)
		}
	}
	result.Open = len(reasons) == 0
	result.Until = change(g.look, at)
	said := slices.ContainsFunc(untils, result.Until.Equal) // whether one of the reasons says when the gate opens
	switch {
	case result.Open || len(reasons) == 1 && said:
	case result.Until.IsZero() && !said:
		reasons = append(reasons, "the windows and freezes together never let it pass")
	case !result.Until.IsZero():
		reasons = append(reasons, "the windows and freezes together let it pass from "+clock(result.Until, zone, at))
	}
	result.Reason = strings.Join(reasons, "; ")
	return result
}

func (r *Definitions) window(name string) *window {
	if r == nil {
		return nil
	}
	return r.windows[name]
}

// passage is what must let a plan pass together.
type passage struct {
	windows []*window
	freezes []Freeze
	shut    bool // something is missing, and time does not bring it
}

// look is like window.look.
func (g passage) look(at time.Time) (open bool, until time.Time) {
	open = !g.shut
	sooner := func(t time.Time) {
		if t.After(at) && (until.IsZero() || t.Before(until)) {
			until = t.UTC()
		}
	}
	for _, f := range g.freezes {
		open = open && !f.holds(at)
		if !f.atOnce() {
			sooner(f.From)
		}
		sooner(f.Until)
	}
	for _, w := range g.windows {
		within, next := w.look(at)
		open = open && within
		sooner(next)
	}
	return open, until
}

func (f Freeze) covers(stack string) bool {
	return len(f.Stacks) == 0 || slices.Contains(f.Stacks, stack)
}

// atOnce reports whether the freeze was to hold from its declaration on. Then it
// does for everybody who knows of it: a clock that is behind the one it was
// declared by must not let a plan pass in between.
func (f Freeze) atOnce() bool { return !f.DeclaredAt.IsZero() && !f.From.After(f.DeclaredAt) }

func (f Freeze) holds(at time.Time) bool {
	return (f.atOnce() || !at.Before(f.From)) && (f.Until.IsZero() || at.Before(f.Until))
}

func (f Freeze) sentence(at time.Time) string {
	s := "frozen by " + orUnknown(f.DeclaredBy)
	if f.Until.IsZero() {
		s += " until somebody lifts it"
	} else {
		s += " until " + clock(f.Until, time.UTC, at)
	}
	if f.Reason != "" {
		s += ": " + f.Reason
	}
	return s
}

func (w *window) sentence(opens, at time.Time) string {
	if opens.IsZero() {
		return fmt.Sprintf("the window %s is closed and never opens again", w.name)
	}
	return fmt.Sprintf("the window %s is closed and opens %s", w.name, clock(opens, w.zone, at))
}

// clock writes a time for people, with its zone, and its year where that is not
// the one they are in.
func clock(t time.Time, zone *time.Location, now time.Time) string {
	t = t.In(zone)
	layout := "Mon 2 Jan 15:04"
	if t.Year() != now.In(zone).Year() {
		layout = "Mon 2 Jan 2006 15:04"
	}
	return t.Format(layout) + " " + zone.String()
}
