package spacelift

import "strings"

// LabelPrefix starts every stack label that Gantry reads. All other labels are
// somebody else's.
const LabelPrefix = "gantry:"

// LabelManaged opts a stack in. The other labels only refine it.
const LabelManaged = LabelPrefix + "managed"

// Managed reports whether the labels opt a stack in.
func Managed(labels []string) bool {
	for _, l := range labels {
		if strings.TrimSpace(l) == LabelManaged {
			return true
		}
	}
	return false
}

// IsOurs reports whether Gantry reads the label, whatever it makes of it. Case
// and surrounding space don't matter here, so that a slip of the pen is seen
// and reported rather than passed over.
func IsOurs(label string) bool {
	label = strings.TrimSpace(label)
	return len(label) >= len(LabelPrefix) && strings.EqualFold(label[:len(LabelPrefix)], LabelPrefix)
}
