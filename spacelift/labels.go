package spacelift

import (
	"slices"
	"strings"
)

// LabelPrefix starts every stack label of Gantry's own. Of all other labels
// Gantry reads only LabelDependsOn.
const LabelPrefix = "gantry:"

// LabelManaged opts a stack in. The other labels only refine it.
const LabelManaged = LabelPrefix + "managed"

// LabelDependsOn starts a label by which the community names the stacks that a
// stack follows. Gantry reads it if the configuration says so.
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

// IsOurs reports whether the label is Gantry's own, valid or not. It ignores case
// and surrounding space, so that a typo is reported rather than skipped.
func IsOurs(label string) bool {
	label = strings.TrimSpace(label)
	return len(label) >= len(LabelPrefix) && strings.EqualFold(label[:len(LabelPrefix)], LabelPrefix)
}

// OurLabels returns the labels that Gantry may read, its own and those that begin
// with LabelDependsOn: trimmed, sorted and without duplicates, so that labels
// with the same meaning compare equal.
func OurLabels(labels []string) []string {
	var ours []string
	for _, l := range labels {
		if isRead(l) {
			ours = append(ours, strings.TrimSpace(l))
		}
	}
	slices.Sort(ours)
	return slices.Compact(ours)
}

// OtherLabels returns the labels that OurLabels leaves out, as they are.
func OtherLabels(labels []string) []string {
	return slices.DeleteFunc(slices.Clone(labels), isRead)
}

func isRead(label string) bool {
	return IsOurs(label) || strings.HasPrefix(strings.TrimSpace(label), LabelDependsOn)
}
