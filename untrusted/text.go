// Package untrusted holds the rules of text that others wrote, such as commit messages,
// notes, labels and names: which characters Gantry shows, in one line or several, of
// what length, and in Markdown. What else a reader obeys, such as Slack's mentions, is
// escaped where Gantry writes for that reader.
//
// It imports no other package of Gantry.
package untrusted

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Obeyed reports whether a reader obeys a character instead of showing it: it could end a
// line, move a terminal's cursor, or change the direction of text.
func Obeyed(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// Invisible reports whether a character leaves no mark of its own: a reader can't tell a text
// with it from one without. (Unicode calls most of them default-ignorable:
// https://www.unicode.org/reports/tr44/#Default_Ignorable_Code_Point.)
func Invisible(r rune) bool {
	return Obeyed(r) || unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u2028", "\n", "\u2029", "\n", "\t", " ")

// Lines returns a text in lines that end in "\n", with U+FFFD for bytes that aren't UTF-8
// and for characters that Obeyed reports.
func Lines(s string) string {
	s = strings.Map(func(r rune) rune {
		if r != '\n' && Obeyed(r) {
			return utf8.RuneError
		}
		return r
	}, lineEnds.Replace(s))
	return strings.TrimSpace(s)
}

// Line returns a text as Lines does, in one line, so that it can't look like several.
func Line(s string) string { return strings.Join(strings.Fields(Lines(s)), " ") }

// Cut returns a text, or its beginning and "…" if its characters have more than limit
// together. limit has room for "…".
func Cut(s string, limit int, size func(rune) int) string {
	total, fits := 0, 0
	for i, r := range s {
		if total <= limit-size('…') {
			fits = i
		}
		if total += size(r); total > limit {
			return s[:fits] + "…"
		}
	}
	return s
}
