package policy

import (
	"slices"
	"strings"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/spacelift"
)

// maxMisspelt bounds the bytes of a label that is compared with Gantry's.
const maxMisspelt = 300

// Misspelt returns the labels that Gantry doesn't read, because they don't begin with its
// prefix, and that were probably meant for it: a stack that somebody holds for managed may
// not be. They have no effect, so they are no problems of a policy.
func Misspelt(labels []string) (all []Problem) {
	for _, label := range labels {
		if meant, ok := meantForGantry(label); ok {
			all = append(all, Problem{
				Label: label, Problem: "Gantry doesn't read it, since it doesn't begin with " + spacelift.LabelPrefix,
				Remedy: "write " + meant + ", or rename it if it isn't meant for Gantry",
			})
		}
	}
	return all
}

// meantForGantry returns the label of Gantry's that another one was probably meant to be.
func meantForGantry(label string) (meant string, ok bool) {
	if spacelift.IsOurs(label) || strings.HasPrefix(strings.TrimSpace(label), spacelift.LabelDependsOn) || len(label) > maxMisspelt {
		return "", false
	}
	text := strings.TrimSpace(label)
	end := strings.IndexAny(text, separators)
	if end < 0 {
		return "", false
	}
	rest := strings.TrimLeft(text[end:], separators)
	colon := strings.ContainsAny(text[end:len(text)-len(rest)], colons)
	prefix, name := strings.ToLower(decide.NameKey(text[:end])), strings.ToLower(rest)
	name, _, _ = strings.Cut(name, "=")
	switch d := distance(prefix, strings.TrimSuffix(spacelift.LabelPrefix, ":")); {
	case rest == "" || d > 2:
		return "", false
	case d == 0 && colon, d == 1 && colon && strings.HasPrefix(prefix, "g"):
	case d < 2 && nearKey(name):
	case name == keyManaged || isKey(name):
	default:
		return "", false
	}
	return spacelift.LabelPrefix + rest, true
}

// Characters that people write between a prefix and the rest of a label.
const (
	colons     = ":\uff1a" // the second has full width
	separators = colons + ";.,/|=-_ \t"
)

// nearKey reports whether a word is a key of Gantry's labels, or nearly one.
func nearKey(word string) bool {
	near := func(key string) bool { return distance(word, key) <= len(key)/4 }
	return near(keyManaged) || slices.ContainsFunc(grammar, func(k key) bool { return near(k.name) })
}
