package spacelift

import (
	"slices"
	"strings"
)

// LabelPrefix starts every stack label that is Gantry's own. All other labels
// are somebody else's; of those Gantry reads only LabelDependsOn.
const LabelPrefix = "gantry:"

// LabelManaged opts a stack in. The other labels only refine it.
const LabelManaged = LabelPrefix + "managed"

// LabelDependsOn starts a label that the community uses to name stacks that a
// stack follows. Gantry reads it where the configuration says so.
const LabelDependsOn = "depends-on:"

// Managed reports whether the labels opt a stack in.
func Managed(labels []string) bool {
	for _, l := range labels {
		if strings.TrimSpace(l) == LabelManaged {
			return true
		}
	}
	return false
}

// IsOurs reports whether the label is Gantry's own, whatever it makes of it.
// Case and surrounding space don't matter here, so that a slip of the pen is
// seen and reported rather than passed over.
func IsOurs(label string) bool {
	label = strings.TrimSpace(label)
	return len(label) >= len(LabelPrefix) && strings.EqualFold(label[:len(LabelPrefix)], LabelPrefix)
}

// OurLabels returns the labels among all that Gantry may read, its own and
// those that begin with LabelDependsOn: trimmed, sorted, each once, so that
// labels that ask for the same compare equal.
func OurLabels(labels []string) []string {
	var ours []string
	for _, l := range labels {
		if l = strings.TrimSpace(l); IsOurs(l) || strings.HasPrefix(l, LabelDependsOn) {
			ours = append(ours, l)
		}
	}
	slices.Sort(ours)
	return slices.Compact(ours)
}
