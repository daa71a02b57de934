package deploy

import (
	"slices"

	"github.com/gantryhq/gantry/spacelift"
)

// Reaches reports whether a webhook or notification policy in one space has effect
// in another: it has in its own space and in the spaces below that inherit from it,
// link by link.
// https://docs.spacelift.io/concepts/spaces/
func Reaches(spaces []spacelift.Space, from, to string) bool {
	for range len(spaces) + 1 { // a tree has no longer way up
		if from == to {
			return true
		}
		i := slices.IndexFunc(spaces, func(s spacelift.Space) bool { return s.ID == to })
		if i < 0 || !spaces[i].Inherits || spaces[i].Parent == "" {
			return false
		}
		to = spaces[i].Parent
	}
	return false
}

// WayIsKnown reports whether the list has all spaces from which a policy may have
// effect in a space: the space itself and those that it inherits from.
func WayIsKnown(spaces []spacelift.Space, in string) bool {
	for range len(spaces) + 1 {
		i := slices.IndexFunc(spaces, func(s spacelift.Space) bool { return s.ID == in })
		if i < 0 {
			return false
		}
		if !spaces[i].Inherits || spaces[i].Parent == "" {
			return true
		}
		in = spaces[i].Parent
	}
	return false
}
