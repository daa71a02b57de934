package reconcile

import (
	"slices"

	"github.com/gantryhq/gantry/spacelift"
)

// Sweep is the progress of comparing every open execution whole, whatever the lists
// show, in the order of their runs' keys.
type Sweep struct {
	After string   `json:"after,omitempty"` // the key of the last run that was compared
	Owed  []string `json:"owed,omitempty"`  // up to it, the keys of those that could not be
}

// KeyOf returns the key of a run within its account.
func KeyOf(r spacelift.RunRef) string { return string(r.Stack) + "/" + string(r.Run) }

// Progress is the result of comparing some runs, by their keys.
type Progress struct {
	Left, Failed []string // that could not be compared
	Swept        []string // whose turn it was in the sweep, and that were compared
}

// Advance returns the sweep after a tick that was to take it up to a run: nil
// once every run has been compared. Runs that could not be compared are owed, and go
// first next time: there are never more than two ticks compare.
func (s *Sweep) Advance(to string, all bool, stillOwed []string, p Progress) *Sweep {
	if s == nil {
		return nil
	}
	next := &Sweep{After: max(s.After, to)}
	for _, key := range stillOwed {
		if !slices.Contains(p.Swept, key) {
			next.Owed = append(next.Owed, key)
		}
	}
	for _, key := range slices.Sorted(slices.Values(slices.Concat(p.Left, p.Failed))) {
		if key > s.After && key <= next.After {
			next.Owed = append(next.Owed, key)
		}
	}
	if all && len(next.Owed) == 0 {
		return nil
	}
	return next
}
