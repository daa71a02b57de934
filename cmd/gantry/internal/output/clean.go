package output

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/gantryhq/gantry/untrusted"
)

// Printable is a writer through which the program prints everything. Anyone who can
// push a commit, name a stack or label it may have written some of it, so it replaces
// the characters that a terminal obeys.
type Printable struct{ Out io.Writer }

func (p Printable) Write(b []byte) (int, error) {
	if plain(b) { // as almost every line of the log is
		return p.Out.Write(b)
	}
	if _, err := io.WriteString(p.Out, strings.Map(replaceObeyed, string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}

// plain reports whether a text consists of printable ASCII and line ends.
func plain(b []byte) bool {
	for _, c := range b {
		if (c < ' ' || c > '~') && c != '\n' {
			return false
		}
	}
	return true
}

// replaceObeyed returns a character, or a replacement if it could move a terminal's cursor,
// change its colours or reverse its reading order.
func replaceObeyed(r rune) rune {
	if r != '\n' && r != '\t' && untrusted.Obeyed(r) {
		return unicode.ReplacementChar
	}
	return r
}

// Exact returns a writer for what must arrive unaltered in a file or a pipe; on a
// terminal it stays printable.
func Exact(w io.Writer) io.Writer {
	if p, ok := w.(Printable); ok && !onTerminal(p.Out) {
		return p.Out
	}
	return w
}

// Clean returns a text as one printable line, so that it can't pretend to be several.
func Clean(s string) string {
	return strings.Map(replaceObeyed, strings.NewReplacer("\n", " ", "\t", " ", "\r", " ").Replace(s))
}

// WriteJSON writes a value as JSON. It escapes the characters that a terminal obeys
// but JSON allows, so that programs read each of them unaltered.
func WriteJSON(w io.Writer, v any, indent string) error {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetIndent("", indent)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := io.WriteString(w, escapeObeyed(text.String()))
	return err
}

// escapeObeyed escapes the characters that a terminal obeys as the double-quoted
// strings of JSON and YAML do.
func escapeObeyed(text string) string {
	var escaped strings.Builder
	for _, r := range text {
		if r != '\n' && untrusted.Obeyed(r) {
			fmt.Fprintf(&escaped, `\u%04x`, r)
		} else {
			escaped.WriteRune(r)
		}
	}
	return escaped.String()
}
