package policy

import (
	"slices"
	"time"
)

// Period is a stretch of time in which the same windows and freezes keep Gantry from
// confirming.
type Period struct {
	From, Until time.Time // From is included, Until is not
	Freezes     []string  // ids of those in effect
	Windows     []string  // names of those that are closed, or missing in the configuration
}

// Open reports whether windows and freezes let Gantry confirm.
func (p Period) Open() bool { return len(p.Freezes)+len(p.Windows) == 0 }

func (p Period) closedLike(other Period) bool {
	return slices.Equal(p.Freezes, other.Freezes) && slices.Equal(p.Windows, other.Windows)
}

// MaxPeriods bounds the periods of a calendar.
const MaxPeriods = 1000

// Calendar returns the periods between two times, in order and without a gap. Each says
// what Gate says of any time in it; but no freeze is in effect before it was declared.
// They end early, at a change, if there are more than MaxPeriods.
func (r *Definitions) Calendar(p Policy, stack string, freezes []Freeze, from, until time.Time) (periods []Period) {
	g := r.passage(p, stack, freezes)
	for i := range g.freezes { // which passage copied
		g.freezes[i].DeclaredAt = time.Time{}
	}
	at, until := from.UTC().Round(0), until.UTC().Round(0)
	for range maxChanges {
		if !at.Before(until) {
			break
		}
		_, next := g.openAt(at)
		if next.IsZero() || next.After(until) {
			next = until
		}
		now := g.period(at, next)
		if last := len(periods) - 1; last >= 0 && periods[last].closedLike(now) {
			periods[last].Until = next
		} else if len(periods) == MaxPeriods {
			break
		} else {
			periods = append(periods, now)
		}
		at = next
	}
	return periods
}

// Zone returns the name of a window's time zone; empty if there is no such window.
func (r *Definitions) Zone(window string) string {
	if w := r.window(window); w != nil {
		return w.zone.String()
	}
	return ""
}
