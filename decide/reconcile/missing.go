package reconcile

import (
	"slices"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/spacelift"
)

// A run that Spacelift doesn't know is given up after a time. A run that it never
// showed is probably a forgery. One that it showed before was deleted, or Gantry's
// API key lost access to it, and that may be repaired.
const (
	neverShown   = 5 // intervals
	noLonger     = 24 * time.Hour
	missingReads = 3         // at least
	missingLater = time.Hour // between two reads, at most
	maxMissing   = 32_000    // bytes of all missing runs, as JSON
)

// MissingRun is a run that Spacelift did not know when it was read.
type MissingRun struct {
	Run   string    `json:"run"` // its key
	Since time.Time `json:"since"`
	Next  time.Time `json:"next"`            // when to read it again
	Reads int       `json:"looks"`           // that did not find it
	Shown bool      `json:"shown,omitempty"` // the API showed it to its execution before
}

// Due reports whether it is time to read the run again.
func (m MissingRun) Due(at time.Time) bool { return !at.Before(m.Next) }

// Missed records that Spacelift did not know the run once more, and reports
// whether that is enough to give it up.
func (m *MissingRun) Missed(at time.Time, interval time.Duration) (enough bool) {
	patience := neverShown * interval
	if m.Shown {
		patience = noLonger
	}
	if m.Reads++; m.Reads == 1 {
		m.Since = at
	}
	early := interval / 2 // ticks are not exactly on time
	end := m.Since.Add(patience - early)
	if m.Reads >= missingReads && !at.Before(end) {
		return true
	}
	m.Next = at.Add(decide.Backoff(interval, m.Reads-1, max(missingLater, interval)) - early)
	if m.Reads >= missingReads && end.Before(m.Next) {
		m.Next = end
	}
	return false
}

// RoomForMissing reports whether another missing run can be remembered.
func (c *carried) RoomForMissing() bool { return decide.SizeOf(c.Missing) < maxMissing }

// TakeMissing returns the entry of a run that Spacelift does not know; nil if there
// is no room for one.
func (c *carried) TakeMissing(run spacelift.RunRef, shown bool) *MissingRun {
	i := slices.IndexFunc(c.Missing, func(m MissingRun) bool { return m.Run == KeyOf(run) })
	if i < 0 {
		if !c.RoomForMissing() {
			return nil
		}
		c.Missing = append(c.Missing, MissingRun{Run: KeyOf(run), Shown: shown})
		i = len(c.Missing) - 1
	}
	return &c.Missing[i]
}

// Forget removes the entry of a run that Spacelift knows, or that is given up.
func (c *carried) Forget(run spacelift.RunRef) {
	c.Missing = slices.DeleteFunc(c.Missing, func(m MissingRun) bool { return m.Run == KeyOf(run) })
}
