package output

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// Tone is a colour or weight: the parameter of its escape sequence.
type Tone string

// The tones. They are few, and of the 16 colours that each terminal's theme defines.
const (
	NoTone Tone = ""
	Bold   Tone = "1"
	Dim    Tone = "2"
	Bad    Tone = "31"
	Good   Tone = "32"
	Warn   Tone = "33"
)

// In returns a clean text in a tone, if the printer uses colours. Write it with
// Styled: a Printable would replace the escape sequences.
func (p *Printer) In(tone Tone, text string) string {
	if !p.Colour || tone == NoTone || text == "" {
		return text
	}
	return "\x1b[" + string(tone) + "m" + text + "\x1b[0m"
}

// Styled writes a line that is clean but for what In added.
func (p *Printer) Styled(line string) error {
	_, err := io.WriteString(underlying(p.Out), line+"\n")
	return err
}

// Column is a column of a table. The zero values of its options fit ids and words: the
// column is always there and never wraps.
type Column struct {
	Title string
	Wraps bool // sentences, which may take several lines
	Wide  bool // only with -o wide

	// Drop is the order in which columns go when the terminal is too narrow, the
	// highest first; 0 for one that stays.
	Drop int

	// Tone returns the colour of a cell; nil for none.
	Tone func(cell string) Tone
}

// Rows collects the rows of a table. Each cell is a text of one line.
type Rows struct {
	p        *Printer
	what     string // that the table lists; empty if no rows need no words
	columns  []Column
	headless bool
	rows     [][]string
}

// Table returns an empty table. Columns that stay empty aren't printed, unless with
// --all.
func (p *Printer) Table(columns []Column) *Rows { return &Rows{p: p, columns: columns} }

// List returns an empty table for a list of things. If it stays empty, it says so on the
// error output.
func (p *Printer) List(what string, columns []Column) *Rows {
	t := p.Table(columns)
	t.what = what
	return t
}

// Facts returns an empty list of names and values.
func (p *Printer) Facts() *Rows {
	return &Rows{p: p, headless: true, columns: []Column{{Tone: func(string) Tone { return Dim }}, {Wraps: true}}}
}

// Row adds a row, with a cell for each column.
func (t *Rows) Row(cells ...string) {
	for i, c := range cells {
		cells[i] = Clean(c)
	}
	t.rows = append(t.rows, cells)
}

// Fact adds a name and a value, unless the value is empty.
func (t *Rows) Fact(name, value string) {
	if value != "" {
		t.Row(name+":", value)
	}
}

// Len returns the number of rows.
func (t *Rows) Len() int { return len(t.rows) }

// gap separates columns.
const gap = 2

// Flush prints the table. Without rows it prints no titles.
func (t *Rows) Flush() error {
	if len(t.rows) == 0 {
		if t.what != "" {
			fmt.Fprintf(t.p.Err, "no %s\n", t.what)
		}
		return nil
	}
	shown := t.shown()
	widths := t.widths(shown)
	if widths == nil {
		return t.cards(shown)
	}
	for i := range len(t.rows) + 1 {
		if i == 0 && t.headless {
			continue
		}
		if err := t.line(shown, widths, i); err != nil {
			return err
		}
	}
	return nil
}

// line prints a row, and for 0 the titles. A row has as many lines as its longest cell.
func (t *Rows) line(shown []measured, widths []int, row int) error {
	cells := make([][]string, len(shown))
	height := 1
	for c, column := range shown {
		if widths[c] > 0 {
			cells[c] = wrap(column.cells[row], widths[c])
			height = max(height, len(cells[c]))
		}
	}
	for l := range height {
		var line strings.Builder
		pending := 0 // blanks before the next text, so that no line ends in any
		for c, column := range shown {
			if widths[c] == 0 {
				continue
			}
			text := ""
			if l < len(cells[c]) {
				text = cells[c][l]
			}
			if text != "" {
				line.WriteString(strings.Repeat(" ", pending) + t.p.In(column.tone(row), text))
				pending = 0
			}
			pending += widths[c] - ansi.StringWidth(text) + gap
		}
		if err := t.p.Styled(line.String()); err != nil {
			return err
		}
	}
	return nil
}

// cards prints each row as a list of facts: the terminal is too narrow for columns.
func (t *Rows) cards(shown []measured) error {
	for i := range t.rows {
		if i > 0 {
			fmt.Fprintln(t.p.Out)
		}
		facts := t.p.Facts()
		for c, column := range shown {
			switch cell := column.cells[i+1]; {
			case column.Title != "":
				facts.Fact(column.Title, cell)
			case strings.TrimSpace(cell) == "":
			case c == 0: // a mark
				facts.Row(cell)
			default:
				facts.Row("", cell)
			}
		}
		if err := facts.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// measured is a column with its cells, the title first.
type measured struct {
	Column
	cells            []string
	natural, longest int // widths of the widest cell, and of the longest word
}

// shown returns the columns that have anything to show in this format.
func (t *Rows) shown() (all []measured) {
	for i, column := range t.columns {
		if column.Wide && t.p.Format != Wide {
			continue
		}
		m := measured{Column: column, cells: []string{column.Title}}
		for _, cells := range t.rows {
			cell := ""
			if i < len(cells) {
				cell = cells[i]
			}
			m.cells = append(m.cells, cell)
		}
		if m.measure() || t.p.All && !t.headless {
			all = append(all, m)
		}
	}
	return all
}

// measure notes the widths of the cells, and reports whether any below the title has text.
func (m *measured) measure() (filled bool) {
	for row, cell := range m.cells {
		filled = filled || row > 0 && cell != ""
		m.natural = max(m.natural, ansi.StringWidth(cell))
		for word := range strings.FieldsSeq(cell) {
			m.longest = max(m.longest, ansi.StringWidth(word))
		}
	}
	return filled
}

func (m measured) tone(row int) Tone {
	switch {
	case row == 0:
		return Bold
	case m.Tone == nil:
		return NoTone
	}
	return m.Tone(m.cells[row])
}

// comfort is the width below which sentences are hard to read: other columns are
// dropped first.
const comfort = 24

// widths returns the width of each column, 0 for one that is dropped; nil if the columns
// that stay don't fit. The columns of -o wide are as wide as they need. A fact wraps in
// the columns that its name leaves, though another holds a longer word.
func (t *Rows) widths(columns []measured) []int {
	switch {
	case t.headless && t.p.Width > 0 && len(columns) == 2:
		return []int{columns[0].natural, max(1, t.p.Width-columns[0].natural-gap)}
	case t.p.Format == Wide:
		return fit(columns, 0)
	}
	return fit(columns, t.p.Width)
}

// fit is widths for a terminal of a width; 0 is unlimited. Lines break between words
// alone.
func fit(columns []measured, width int) []int {
	widths := make([]int, len(columns))
	for i, c := range columns {
		widths[i] = c.natural
	}
	if width == 0 || total(widths) <= width {
		return widths
	}
	narrow(columns, widths, comfort)
	for total(widths) > width && drop(columns, widths) {
	}
	if total(widths) > width {
		narrow(columns, widths, 0)
	}
	if total(widths) > width {
		return nil
	}
	for total(widths) < width && widen(columns, widths) {
	}
	return widths
}

// narrow gives the columns that wrap no more than floor, or what their longest word takes.
func narrow(columns []measured, widths []int, floor int) {
	for i, c := range columns {
		if c.Wraps && widths[i] > 0 {
			widths[i] = min(c.natural, max(c.longest, floor))
		}
	}
}

// drop leaves out the next column that may go; false if none may.
func drop(columns []measured, widths []int) bool {
	next := -1
	for i, c := range columns {
		if c.Drop > 0 && widths[i] > 0 && (next < 0 || c.Drop > columns[next].Drop) {
			next = i
		}
	}
	if next >= 0 {
		widths[next] = 0
	}
	return next >= 0
}

// widen gives one more to the column that lacks most; false if none lacks any.
func widen(columns []measured, widths []int) bool {
	most := -1
	for i, c := range columns {
		if widths[i] > 0 && widths[i] < c.natural && (most < 0 || c.natural-widths[i] > columns[most].natural-widths[most]) {
			most = i
		}
	}
	if most >= 0 {
		widths[most]++
	}
	return most >= 0
}

// total returns the width of a line.
func total(widths []int) int {
	sum, shown := 0, 0
	for _, w := range widths {
		if w > 0 {
			sum, shown = sum+w, shown+1
		}
	}
	return sum + gap*max(0, shown-1)
}

// wrap breaks a text between words into lines of a width. Each line keeps the blanks
// at the text's beginning. A longer word stays whole.
func wrap(text string, width int) []string {
	if ansi.StringWidth(text) <= width {
		return []string{text}
	}
	indent := text[:len(text)-len(strings.TrimLeft(text, " "))]
	var lines []string
	line := indent
	for word := range strings.FieldsSeq(text) {
		if line != indent && ansi.StringWidth(line)+1+ansi.StringWidth(word) > width {
			lines, line = append(lines, line), indent
		}
		if line != indent {
			line += " "
		}
		line += word
	}
	return slices.Concat(lines, []string{line})
}

// Paragraphs breaks the paragraphs of a text between words into lines of a width. Lines that
// begin with a blank stay as they are, and with 0 the whole text does.
func Paragraphs(text string, width int) string {
	if width == 0 {
		return text
	}
	var lines []string
	paragraph := ""
	end := func() {
		if paragraph != "" {
			lines = append(lines, wrap(paragraph, width)...)
		}
		paragraph = ""
	}
	for line := range strings.SplitSeq(text, "\n") {
		if line == "" || line[0] == ' ' {
			end()
			lines = append(lines, line)
			continue
		}
		paragraph = strings.TrimSpace(paragraph + " " + line)
	}
	end()
	return strings.Join(lines, "\n")
}

// Sentence prints a text, broken between words where the terminal ends.
func (p *Printer) Sentence(text string) error {
	width := p.Width
	text = Clean(text)
	if width == 0 {
		width = ansi.StringWidth(text)
	}
	for _, line := range wrap(text, width) {
		if _, err := fmt.Fprintln(p.Out, line); err != nil {
			return err
		}
	}
	return nil
}
