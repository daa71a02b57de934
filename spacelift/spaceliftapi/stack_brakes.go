package spaceliftapi

import (
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi/internal/operations"
)

func fromStackBrakes(s operations.StackBrakes) spacelift.Brakes {
	b := spacelift.Brakes{Disabled: s.IsDisabled, Deleting: s.Deleting}
	if by := orZero(s.LockedBy); by != "" {
		b.Lock = &spacelift.Lock{By: by, Since: unixTime(orZero(s.LockedAt)), Note: orZero(s.LockNote)}
	}
	if s.Blocker != nil {
		b.Blocker = spacelift.RunID(s.Blocker.Id)
	}
	return b
}
