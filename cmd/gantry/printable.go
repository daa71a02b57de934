package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
)

// printable is a writer through which the program prints everything. Anyone who can
// push a commit, name a stack or label it may have written some of it, so it replaces
// the characters that a terminal obeys.
type printable struct{ out io.Writer }

func (p printable) Write(b []byte) (int, error) {
	if _, err := io.WriteString(p.out, strings.Map(replaceObeyed, string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}

// replaceObeyed returns a character, or a replacement if it could move a terminal's cursor,
// change its colours or reverse its reading order.
func replaceObeyed(r rune) rune {
	if r != '\n' && r != '\t' && obeyed(r) {
		return unicode.ReplacementChar
	}
	return r
}

func obeyed(r rune) bool { return unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control) }

// exact returns a writer for what must arrive unaltered in a file or a pipe; on a
// terminal it stays printable.
func exact(w io.Writer) io.Writer {
	p, ok := w.(printable)
	if !ok {
		return w
	}
	if file, ok := p.out.(*os.File); ok {
		if info, err := file.Stat(); err != nil || info.Mode()&os.ModeCharDevice != 0 {
			return w
		}
	}
	return p.out
}

// clean returns a text as one printable line, so that it can't pretend to be several.
func clean(s string) string {
	return strings.Map(replaceObeyed, strings.NewReplacer("\n", " ", "\t", " ", "\r", " ").Replace(s))
}

// printJSON writes a value as indented JSON.
func printJSON(w io.Writer, v any) error { return writeJSON(w, v, "  ") }

// writeJSON writes a value as JSON. It escapes the characters that a terminal obeys
// but JSON allows, so that programs read each of them unaltered.
func writeJSON(w io.Writer, v any, indent string) error {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetIndent("", indent)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	var escaped strings.Builder
	for _, r := range text.String() {
		if r != '\n' && obeyed(r) {
			fmt.Fprintf(&escaped, `\u%04x`, r)
		} else {
			escaped.WriteRune(r)
		}
	}
	_, err := io.WriteString(w, escaped.String())
	return err
}
