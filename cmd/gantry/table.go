package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

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
