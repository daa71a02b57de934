package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
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

// table writes rows in columns. Each cell is one line.
type table struct {
	columns *tabwriter.Writer
	lines   bytes.Buffer
	rows    int // so far, including the header
	out     io.Writer
}

func newTable(w io.Writer, columns ...string) *table {
	t := &table{out: w}
	t.columns = tabwriter.NewWriter(&t.lines, 0, 4, 2, ' ', 0)
	if len(columns) > 0 {
		t.row(columns...)
	}
	return t
}

// row writes a line with a cell for each column. An empty cell keeps its place.
func (t *table) row(cells ...string) {
	for i, c := range cells {
		cells[i] = clean(c)
	}
	t.rows++
	fmt.Fprintln(t.columns, strings.Join(cells, "\t"))
}

// fact writes a name and a value, unless the value is empty.
func (t *table) fact(name, value string) {
	if value != "" {
		t.row(name+":", value)
	}
}

// flush prints the table, without blanks at the ends of its lines.
func (t *table) flush() error {
	if err := t.columns.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(t.lines.String()) {
		if _, err := fmt.Fprintln(t.out, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	t.lines.Reset()
	return nil
}

// when returns a time in UTC, in the format of the API's sentences and of flags;
// empty for none.
func when(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
