package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide"
)

// Gate says whether Gantry may confirm at a time, by windows and freezes.
type Gate struct {
	Open   bool      `json:"open"`
	At     time.Time `json:"at"`               // the time that Open is about
	Until  time.Time `json:"until,omitzero"`   // when that may change at the earliest; zero: never, unless somebody acts
	Reason string    `json:"reason,omitempty"` // a sentence, when closed
	Freeze string    `json:"freeze,omitempty"` // id of the freeze that closes it
	Window string    `json:"window,omitempty"` // name of the window that closes it

	// Closed is everything that closes it, freezes first.
	Closed []Closure `json:"closed,omitempty"`

	// Config identifies the configuration that the gate was computed by, so that
	// a run at the gate can be found once it is another; empty without one.
	Config string `json:"config,omitempty"`
}

// Closure is a freeze or a window that closes a gate.
type Closure struct {
	Freeze     string `json:"freeze,omitempty"`     // its id
	DeclaredBy string `json:"declaredBy,omitempty"` // of a freeze
	Window     string `json:"window,omitempty"`     // its name
	Setting    string `json:"setting,omitempty"`    // holdWhen, if that closes it
	Reason     string `json:"reason"`               // a sentence
}

// HeldByPolicy reports whether an expression of the policy closes the gate, and no window
// or freeze does.
func (g Gate) HeldByPolicy() bool {
	return len(g.Closed) > 0 && g.Freeze == "" && g.Window == ""
}

// HeldBy returns the gate of a plan with these results of its policy's expressions.
func (g Gate) HeldBy(v *Verdicts) Gate {
	if v == nil || len(v.Holds) == 0 {
		return g
	}
	reasons := []string{g.Reason}
	if g.Open {
		reasons, g.Open, g.Until = nil, false, v.Until
	}
	g.Until = decide.Earlier(g.Until, v.Until)
	g.Closed = slices.Clone(g.Closed)
	for _, why := range v.Holds {
		g.Closed = append(g.Closed, Closure{Setting: "holdWhen", Reason: why})
		reasons = append(reasons, why)
	}
	g.Reason = strings.Join(reasons, "; ")
	return g
}

// Gate returns whether Gantry may confirm a stack's plan at a time: all windows of the
// policy must be open and no freeze in effect. Until is the earliest change of the
// combined result, looking at most ten years ahead.
func (r *Definitions) Gate(p Policy, stack string, freezes []Freeze, at time.Time) Gate {
	at = at.UTC().Round(0)
	g := r.passage(p, stack, freezes)
	result := Gate{At: at, Config: r.fingerprint()}
	var reasons []string
	var untils []time.Time // of each reason; zero for ever
	closes := func(c Closure, until time.Time) {
		result.Closed = append(result.Closed, c)
		result.Freeze, result.Window = cmp.Or(result.Freeze, c.Freeze), cmp.Or(result.Window, c.Window)
		reasons, untils = append(reasons, c.Reason), append(untils, until)
	}
	for _, f := range g.freezes {
		if f.activeAt(at) {
			closes(Closure{Freeze: f.ID, DeclaredBy: f.DeclaredBy, Reason: f.sentence(at)}, f.Until)
		}
	}
	zone := time.UTC
	for _, name := range p.Windows.Value {
		w := r.window(name)
		if w == nil {
			closes(Closure{Window: name, Reason: fmt.Sprintf("there is no window %s in the configuration any more", name)}, time.Time{})
			continue
		}
		zone = w.zone
		if open, _ := w.openAt(at); !open {
			opens := change(w.openAt, at)
			closes(Closure{Window: name, Reason: w.sentence(opens, at)}, opens)
		}
	}
	result.Open = len(reasons) == 0
	result.Until = change(g.openAt, at)
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

// passage combines the windows and freezes that a plan has to pass.
type passage struct {
	windows []*window
	freezes []Freeze
	missing []string // windows that are not in the configuration, and will remain so
}

// passage returns what a plan of a stack has to pass.
func (r *Definitions) passage(p Policy, stack string, freezes []Freeze) passage {
	g := passage{freezes: slices.DeleteFunc(slices.Clone(freezes), func(f Freeze) bool { return !f.covers(stack) })}
	for _, name := range p.Windows.Value {
		if w := r.window(name); w != nil {
			g.windows = append(g.windows, w)
		} else {
			g.missing = append(g.missing, name)
		}
	}
	return g
}

// period returns what closes the way at a time, as the period from then on.
func (g passage) period(at, until time.Time) Period {
	p := Period{From: at, Until: until, Windows: slices.Clone(g.missing)}
	for _, f := range g.freezes {
		if f.activeAt(at) {
			p.Freezes = append(p.Freezes, f.ID)
		}
	}
	for _, w := range g.windows {
		if open, _ := w.openAt(at); !open {
			p.Windows = append(p.Windows, w.name)
		}
	}
	return p
}

// openAt is like window.openAt.
func (g passage) openAt(at time.Time) (open bool, until time.Time) {
	open = len(g.missing) == 0
	sooner := func(t time.Time) {
		if t.After(at) && (until.IsZero() || t.Before(until)) {
			until = t.UTC()
		}
	}
	for _, f := range g.freezes {
		open = open && !f.activeAt(at)
		if !f.immediate() {
			sooner(f.From)
		}
		sooner(f.Until)
	}
	for _, w := range g.windows {
		within, next := w.openAt(at)
		open = open && within
		sooner(next)
	}
	return open, until
}

// clock writes a time for people, with its zone, and its year unless that is this
// year.
func clock(t time.Time, zone *time.Location, now time.Time) string {
	t = t.In(zone)
	layout := "Mon 2 Jan 15:04"
	if t.Year() != now.In(zone).Year() {
		layout = "Mon 2 Jan 2006 15:04"
	}
	return t.Format(layout) + " " + zone.String()
}
