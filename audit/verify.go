package audit

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Report is the result of a verification.
type Report struct {
	Entries  int       `json:"entries"`
	First    int64     `json:"first"` // more than 1 if older files were removed
	Head     Head      `json:"head"`  // the last entry; compare it with a head that was kept elsewhere
	Problems []Problem `json:"problems"`
}

// Problem is a place where the log is not as it was written.
type Problem struct {
	File string `json:"file"`
	Line int    `json:"line"` // 1 for the first
	What string `json:"what"`
}

func (p Problem) String() string { return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.What) }

// Verify checks every entry of the log in a folder. A log that is being written may be
// verified. It finds entries that were changed, inserted, dropped or moved, except a
// whole beginning or, without the head that the log keeps beside it, a whole end. kept are
// heads that were kept elsewhere.
func Verify(dir string, kept ...Head) (Report, error) {
	noted, noteErr := readNote(dir, headName) // read first: the log may grow meanwhile
	names, err := files(dir)
	if err != nil {
		return Report{}, fmt.Errorf("verify %s: %w", dir, err)
	}
	if len(names) == 0 && noted == (Head{}) {
		return Report{}, fmt.Errorf("verify %s: there is no audit log; name the folder that holds audit-*.jsonl", dir)
	}
	v := verifier{noted: append(kept, noted)}
	for i, name := range names {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return Report{}, fmt.Errorf("verify %s: %w", dir, err)
		}
		v.file(name, content, i == len(names)-1)
		if first := firstOf(name); v.began && v.firstOfFile != first && v.firstOfFile != 0 {
			v.bad(name, 1, "the file begins with entry %d; its name says %d", v.firstOfFile, first)
		}
	}
	if noteErr != nil {
		v.bad(headName, 1, "the note of the last entry can't be read")
	}
	v.end()
	return v.report, nil
}

// VerifyStream checks the lines of an export, or of a batch that was sent.
func VerifyStream(name string, r io.Reader, kept ...Head) (Report, error) {
	content, err := io.ReadAll(r)
	if err != nil {
		return Report{}, fmt.Errorf("verify %s: %w", name, err)
	}
	v := verifier{noted: kept}
	v.file(name, content, false)
	v.end()
	return v.report, nil
}

type verifier struct {
	report      Report
	began       bool
	firstOfFile int64
	noted       []Head
}

func (v *verifier) bad(file string, line int, format string, args ...any) {
	v.report.Problems = append(v.report.Problems, Problem{file, line, fmt.Sprintf(format, args...)})
}

// file checks a file. A process may be about to write the end of the newest.
func (v *verifier) file(name string, content []byte, newest bool) {
	v.firstOfFile = 0
	whole := bytes.LastIndexByte(content, '\n') + 1
	lines := wholeLines(content)
	if whole < len(content) && !newest {
		v.bad(name, len(lines)+1, "the last line is cut")
	}
	for i, line := range lines {
		e, hash, err := parse(line)
		if err != nil {
			v.bad(name, i+1, "%v", err)
			v.report.Head = Head{v.report.Head.Sequence + 1, ""}
			continue
		}
		if v.firstOfFile == 0 {
			v.firstOfFile = e.Sequence
		}
		v.entry(name, i+1, e, hash)
	}
}

// entry checks an entry against the one before it.
func (v *verifier) entry(name string, line int, e Entry, hash string) {
	head := v.report.Head
	switch {
	case !v.began && head.Sequence == 0:
		v.report.First = e.Sequence
		if (e.Sequence == 1) != (e.Previous == "") {
			v.bad(name, line, "entry %d names the hash %q before it", e.Sequence, e.Previous)
		}
	case e.Sequence != head.Sequence+1:
		v.bad(name, line, "entry %d follows entry %d: entries were dropped or moved", e.Sequence, head.Sequence)
	case head.Hash != "" && e.Previous != head.Hash:
		v.bad(name, line, "entry %d does not continue entry %d: one of them was replaced", e.Sequence, head.Sequence)
	}
	for _, noted := range v.noted {
		if e.Sequence == noted.Sequence && hash != noted.Hash {
			v.bad(name, line, "entry %d is not the one that was noted: the log was replaced", e.Sequence)
		}
	}
	v.began, v.report.Head = true, Head{e.Sequence, hash}
	v.report.Entries++
}

// end checks that the log reaches what was noted.
func (v *verifier) end() {
	for _, noted := range v.noted {
		if last := v.report.Head.Sequence; noted.Sequence > last {
			v.bad("end", 1, "entries %d to %d are missing", last+1, noted.Sequence)
			return
		}
	}
}

// Verify checks the log while it is in use. Nil has nothing to check.
func (l *Log) Verify() (Report, error) {
	if l == nil {
		return Report{}, nil
	}
	return Verify(l.o.Dir, l.Head())
}
