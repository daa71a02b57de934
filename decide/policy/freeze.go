package policy

import (
	"slices"
	"time"
)

// Freeze keeps Gantry from confirming anything in an account, or in some of
// its stacks. It is declared and lifted by people.
type Freeze struct {
	ID         string    `json:"id"`
	Reason     string    `json:"reason"`
	Stacks     []string  `json:"stacks,omitempty"` // empty: all of the account
	From       time.Time `json:"from"`
	Until      time.Time `json:"until,omitzero"` // zero: until it is lifted
	DeclaredBy string    `json:"declaredBy"`
	DeclaredAt time.Time `json:"declaredAt"`
}

func (f Freeze) covers(stack string) bool {
	return len(f.Stacks) == 0 || slices.Contains(f.Stacks, stack)
}

// immediate reports whether the freeze begins with its declaration. Then it is in
// effect wherever it is known, even by a clock that is behind the one that it was
// declared by: no plan may pass in between.
func (f Freeze) immediate() bool { return !f.DeclaredAt.IsZero() && !f.From.After(f.DeclaredAt) }

// activeAt reports whether the freeze is in effect at a time.
func (f Freeze) activeAt(at time.Time) bool {
	return (f.immediate() || !at.Before(f.From)) && (f.Until.IsZero() || at.Before(f.Until))
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
