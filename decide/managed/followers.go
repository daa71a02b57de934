package managed

import (
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// Followers are the managed stacks that follow a stack directly, as this
// replica knew them: see followersOf.
type Followers struct {
	Stacks []spacelift.StackID `json:"stacks,omitempty"` // sorted; the first of them, if there are many
	More   int                 `json:"more,omitempty"`   // how many are left out
	At     time.Time           `json:"at,omitzero"`      // when Spacelift was asked for the list that says so
}

// Any reports whether any stack follows.
func (f Followers) Any() bool { return len(f.Stacks)+f.More > 0 }
