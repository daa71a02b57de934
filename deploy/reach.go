package deploy

import (
	"slices"

	"github.com/gantryhq/gantry/spacelift"
)

// Reaches reports whether what lives in one space, such as a webhook or a
// notification policy, has effect in another: in the space itself and in those
// below that inherit from it, link by link.
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

// WayIsKnown reports whether all spaces are listed from which something may have
// effect in a space: itself and those that it inherits from.
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
