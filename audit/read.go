package audit

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gantryhq/gantry/decide"
)

// Stored is an entry as the log has it.
type Stored struct {
	Entry
	Line string // with its hash, without a newline
}

// Filter selects entries. Empty fields select all.
type Filter struct {
	By, Action, Account, Stack, Run string
	Result                          Result
	Since, Until                    time.Time // Since is included, Until is not

	// Visible reports whether the reader may see an entry. Nil shows all.
	Visible func(Entry) bool
}

func (f Filter) selects(e Entry) bool {
	for _, want := range [][2]string{{f.Action, e.Action}, {f.Account, e.Account}, {f.Stack, e.Stack}, {f.Run, e.Run}, {string(f.Result), string(e.Result)}} {
		if want[0] != "" && want[0] != want[1] {
			return false
		}
	}
	return (f.By == "" || decide.SameName(f.By, e.By)) && (f.Since.IsZero() || !e.At.Before(f.Since)) &&
		(f.Until.IsZero() || e.At.Before(f.Until)) && (f.Visible == nil || f.Visible(e))
}

// maxFilesRead bounds the files that one page reads.
const maxFilesRead = 16

// List returns a page of at most size entries, newest first, that are older than the
// entry with the number before; 0 means from the newest. next is where the next page
// begins; 0 means that this was the last. A page may be short, or empty, although more
// follow.
func (l *Log) List(ctx context.Context, f Filter, before int64, size int) (page []Stored, next int64, err error) {
	if l == nil {
		return nil, 0, nil
	}
	if before == 0 {
		before = l.Head().Sequence + 1
	}
	names, err := files(l.o.Dir)
	if err != nil {
		return nil, 0, fmt.Errorf("list the audit log: %w", err)
	}
	read := 0
	for _, name := range slices.Backward(names) {
		if firstOf(name) >= before {
			continue
		}
		if read++; read > maxFilesRead || ctx.Err() != nil {
			return page, before, ctx.Err()
		}
		content, err := os.ReadFile(filepath.Join(l.o.Dir, name))
		if err != nil {
			return nil, 0, fmt.Errorf("list the audit log: %w", err)
		}
		var last bool
		if page, before, last = f.collect(page, content, before, size); last {
			return page, 0, nil
		}
		if len(page) == size {
			return page, before, nil
		}
		before = firstOf(name)
	}
	return page, 0, nil
}

// collect adds entries of a file to a page, newest first, and returns where it stopped. last
// reports that no older entry is selected.
func (f Filter) collect(page []Stored, content []byte, before int64, size int) (_ []Stored, _ int64, last bool) {
	for _, line := range slices.Backward(wholeLines(content)) {
		e, _, err := parse(line)
		if err != nil || e.Sequence >= before { // Verify reports lines that can't be read
			continue
		}
		before = e.Sequence
		if !f.Since.IsZero() && e.At.Before(f.Since) {
			return page, before, true
		}
		if !f.selects(e) {
			continue
		}
		if page = append(page, Stored{e, string(line)}); len(page) == size {
			break
		}
	}
	return page, before, false
}

// wholeLines returns the lines that end with a newline, without it.
func wholeLines(content []byte) [][]byte {
	whole := content[:bytes.LastIndexByte(content, '\n')+1]
	if len(whole) == 0 {
		return nil
	}
	return bytes.Split(whole[:len(whole)-1], []byte("\n"))
}

// after returns lines as they are stored, of the entries after one, of at most size bytes
// but at least one, and the number of the last.
func (l *Log) after(sequence int64, size int) (lines []byte, last int64, err error) {
	names, err := files(l.o.Dir)
	if err != nil {
		return nil, 0, err
	}
	last = sequence
	for i, name := range names {
		if i+1 < len(names) && firstOf(names[i+1]) <= sequence+1 {
			continue
		}
		content, err := os.ReadFile(filepath.Join(l.o.Dir, name))
		if err != nil {
			return nil, 0, err
		}
		for _, line := range wholeLines(content) {
			e, _, err := parse(line)
			if err != nil || e.Sequence <= sequence {
				continue
			}
			if len(lines) > 0 && len(lines)+len(line) >= size {
				return lines, last, nil
			}
			lines, last = append(append(lines, line...), '\n'), e.Sequence
		}
		if len(lines) > 0 {
			return lines, last, nil
		}
	}
	return lines, last, nil
}
