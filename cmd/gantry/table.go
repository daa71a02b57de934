package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// printJSON writes an answer for machines.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// table writes rows in columns. Cells may come from anybody who can push a
// commit or name a stack, so they are cleaned.
type table struct {
	columns *tabwriter.Writer
	lines   bytes.Buffer
	rows    int // so far, with the names of columns
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

// row writes a line with a cell for each column: an empty one keeps its place, or
// the columns behind it would begin anew.
func (t *table) row(cells ...string) {
	for i, c := range cells {
		cells[i] = clean(c)
	}
	t.rows++
	fmt.Fprintln(t.columns, strings.Join(cells, "\t"))
}

// fact writes a name and what is known of it, unless nothing is.
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

// clean returns a text without the characters that could move a terminal's
// cursor, change its colours or reverse its reading order.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || r == '\r' {
			return ' '
		}
		if unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control) {
			return '�'
		}
		return r
	}, s)
}

// when writes a time in UTC, as the sentences beside it and the flags that take
// one do; nothing for none.
func when(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// timeOf reads a time that a person gave: as RFC 3339, or as a distance from now
// such as 2h.
func timeOf(flag, s string, now time.Time, direction time.Duration) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(direction * d).UTC(), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, fmt.Errorf("--%s: %q is neither a time such as 2026-01-05T06:00:00Z nor a span such as 2h", flag, s)
	}
	return t, nil
}
