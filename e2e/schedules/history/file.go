package history

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Writer writes a history. Its methods are safe for concurrent use.
type Writer struct {
	began time.Time

	mu  sync.Mutex
	buf *bufio.Writer
	n   int
	err error
}

// NewWriter returns a writer of a history that begins now.
func NewWriter(w io.Writer) *Writer {
	return &Writer{began: time.Now(), buf: bufio.NewWriterSize(w, 1<<20)}
}

// Now returns the monotonic time since the history began.
func (w *Writer) Now() time.Duration { return time.Since(w.began) }

// Add appends a record that took no time.
func (w *Writer) Add(r Record) { w.add(r, -1) }

// AddSince appends a record of something that began earlier, at a time of Now.
func (w *Writer) AddSince(began time.Duration, r Record) { w.add(r, began) }

func (w *Writer) add(r Record, began time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return
	}
	now := time.Now()
	w.n++
	r.N, r.Ended, r.At = w.n, now.Sub(w.began), now.UTC()
	if r.Began = began; began < 0 {
		r.Began = r.Ended
	}
	line, err := json.Marshal(r)
	if err == nil {
		_, err = w.buf.Write(append(line, '\n'))
	}
	if err != nil {
		w.err = fmt.Errorf("write record %d: %w", r.N, err)
	}
}

// Flush writes what is buffered, and returns the first error of any record.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(w.err, w.buf.Flush())
}

// Load reads a history. A line that is no record is an error, and so is a record
// out of order.
func Load(r io.Reader) (all []Record, err error) {
	decoder := json.NewDecoder(bufio.NewReaderSize(r, 1<<20))
	decoder.DisallowUnknownFields()
	for {
		var record Record
		switch err := decoder.Decode(&record); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return all, fmt.Errorf("read record %d: %w", len(all)+1, err)
		}
		if record.N != len(all)+1 {
			return all, fmt.Errorf("read record %d: it is numbered %d; the history is incomplete", len(all)+1, record.N)
		}
		all = append(all, record)
	}
}

// RawOf returns a body as JSON: as it is if it is JSON, or as a JSON string.
func RawOf(body []byte) Raw {
	if len(body) == 0 {
		return nil
	}
	if json.Valid(body) {
		return Raw(body)
	}
	text, err := json.Marshal(string(body))
	if err != nil { // a string always has JSON
		return nil
	}
	return text
}
