package conformance

import (
	"slices"
	"strings"
	"unicode"
)

// SaysTwice reports whether the detail of a problem begins by saying what the
// title says, or says one thing twice itself.
func SaysTwice(title, detail string) bool {
	var said [][]string
	for clause := range strings.FieldsFuncSeq(detail, func(r rune) bool { return strings.ContainsRune(":;.()\n", r) }) {
		words := wordsOf(clause)
		if len(words) < 2 {
			continue
		}
		if slices.ContainsFunc(said, func(s []string) bool { return slices.Equal(s, words) }) {
			return true
		}
		said = append(said, words)
	}
	if len(said) == 0 {
		return false
	}
	for _, word := range wordsOf(title) {
		if !slices.Contains(said[0], word) {
			return false
		}
	}
	return true
}

// empty are words that make no difference.
var empty = strings.Fields("a an are be for has have in is it of on that the there this to was you your")

// wordsOf returns the words of a text that make a difference.
func wordsOf(text string) []string {
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '\''
	})
	return slices.DeleteFunc(words, func(w string) bool { return slices.Contains(empty, w) })
}
