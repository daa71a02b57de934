package decide

import (
	"encoding/json"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gantryhq/gantry/untrusted"
)

// Bounds on texts that are kept, in bytes as JSON.
const (
	MaxText = 1_000 // of a note, a message or a reason
	MaxName = 300   // of a branch, a login or a URL
)

// Fit cuts a text that needs more than limit bytes as JSON, at a rune's end.
func Fit(s string, limit int) string {
	return untrusted.Cut(strings.ToValidUTF8(s, "\uFFFD"), limit, jsonSize)
}

// TextSize returns the number of bytes of a text as JSON, without the quotes.
func TextSize(s string) (size int) {
	for _, r := range s {
		size += jsonSize(r)
	}
	return size
}

func jsonSize(r rune) int {
	switch {
	case r == '"', r == '\\':
		return 2
	case r < ' ', r == '<', r == '>', r == '&', r == '\u2028', r == '\u2029':
		return len(`\u0000`)
	}
	return utf8.RuneLen(r)
}

// SizeOf returns the number of bytes of a value as JSON.
func SizeOf(v any) int {
	text, err := json.Marshal(v) //workflowcheck:ignore structs of plain values have one JSON form
	if err != nil {
		return 0 // no value here lacks a JSON form
	}
	return len(text)
}

// Sentence makes a sentence of a reason.
func Sentence(s string) string {
	if s == "" {
		return ""
	}
	first, size := utf8.DecodeRuneInString(s)
	s = string(unicode.ToUpper(first)) + s[size:]
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	return s
}

// AfterColon returns a note with a colon before it, or nothing for no note.
func AfterColon(note string) string {
	if note == "" {
		return ""
	}
	return ": " + note
}

// Enumerate writes a list as in a sentence.
func Enumerate(names []string) string {
	switch n := len(names); n {
	case 0:
		return "nobody"
	case 1:
		return names[0]
	default:
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
}
