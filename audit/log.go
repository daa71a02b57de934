package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gantryhq/gantry/folder"
)

// DefaultFileBytes is the size at which a log begins a new file.
const DefaultFileBytes = 8 << 20

// maxWaiting bounds the entries that wait in memory while the log can't be written.
const maxWaiting = 10_000

// Options holds the settings of a log.
type Options struct {
	Dir       string
	Replica   string
	FileBytes int64         // 0 means DefaultFileBytes
	LockWait  time.Duration // longest wait for a process that uses the folder
	Metrics   prometheus.Registerer
	Logger    *slog.Logger

	// Write replaces the write and the flush of a line in tests. Nil means those of the
	// operating system.
	Write func(f *os.File, line []byte) error
}

// Log is the log of one replica. It is safe for concurrent use. A nil Log records
// nothing.
type Log struct {
	o       Options
	entries *prometheus.CounterVec

	mu      sync.Mutex
	lock    *os.File
	file    *os.File
	written int64 // bytes of file
	head    Head
	waiting []Entry // could not be written yet
	err     error   // of the last write
	changed chan struct{}
}

// Head is the last entry of a log. Kept elsewhere, it proves that nothing was dropped from
// the log's end.
type Head struct {
	Sequence int64  `json:"sequence"`
	Hash     string `json:"hash,omitempty"`
}

// Open opens the log in a folder, which it makes if there is none.
func Open(ctx context.Context, o Options) (*Log, error) {
	if o.FileBytes == 0 {
		o.FileBytes = DefaultFileBytes
	}
	if o.Write == nil {
		o.Write = writeLine
	}
	l := &Log{o: o, changed: make(chan struct{})}
	l.entries = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gantry_audit_entries_total", Help: "Entries of the audit log, by result.",
	}, []string{"result"})
	waiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gantry_audit_waiting_entries", Help: "Entries that could not be written to the audit log yet.",
	}, func() float64 { return float64(l.Waiting()) })
	if o.Metrics != nil {
		o.Metrics.MustRegister(l.entries, waiting)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the audit log: %w", err)
	}
	var err error
	if l.lock, err = folder.Lock(ctx, o.Dir, o.LockWait); err != nil {
		return nil, fmt.Errorf("lock the audit log in %s: %w; give each replica a folder of its own", o.Dir, err)
	}
	if err := l.recover(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open the audit log in %s: %w", o.Dir, err), folder.Unlock(l.lock))
	}
	return l, nil
}

// recover finds the last entry. The end of a line that a crash cut was never
// acknowledged, so it goes. Anything else that is wrong stays, and an entry reports it.
func (l *Log) recover(ctx context.Context) error {
	names, err := files(l.o.Dir)
	if err != nil {
		return err
	}
	var damage string
	if len(names) > 0 {
		path := filepath.Join(l.o.Dir, names[len(names)-1])
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		whole := bytes.LastIndexByte(content, '\n') + 1
		if whole < len(content) {
			if err := os.Truncate(path, int64(whole)); err != nil {
				return err
			}
			damage = fmt.Sprintf("the last line was cut; %d bytes of it were removed from %s", len(content)-whole, filepath.Base(path))
		}
		head, found := lastEntry(content[:whole])
		if !found {
			head = Head{Sequence: firstOf(names[len(names)-1]) - 1}
			if len(names) > 1 || whole > 0 {
				damage = "the last entry of " + filepath.Base(path) + " can't be read"
			}
		}
		l.head = head
		if l.file, err = os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
			return err
		}
		l.written = int64(whole)
	}
	switch noted, err := readNote(l.o.Dir, headName); {
	case err != nil:
		damage = "the note of the last entry can't be read: " + err.Error()
	case noted.Sequence > l.head.Sequence:
		damage = fmt.Sprintf("entries %d to %d are missing at the end", l.head.Sequence+1, noted.Sequence)
		l.head.Sequence = noted.Sequence // never a second entry of the same number
	}
	if damage == "" {
		return nil
	}
	l.o.Logger.ErrorContext(ctx, "audit: the log is damaged", "damage", damage)
	return l.Record(ctx, Entry{By: Gantry, Action: ActionRecover, Result: Done, Detail: damage})
}

// lastEntry returns the place of the last entry.
func lastEntry(content []byte) (Head, bool) {
	content = bytes.TrimSuffix(content, []byte("\n"))
	e, hash, err := parse(content[bytes.LastIndexByte(content, '\n')+1:])
	return Head{e.Sequence, hash}, err == nil
}

// Record appends an entry and flushes it to the disk. An entry that can't be written waits
// in memory, and the error says why; it is written with the next one.
func (l *Log) Record(ctx context.Context, e Entry) error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.At.IsZero() {
		e.At = time.Now()
	}
	e.At = e.At.UTC()
	e.fit()
	l.entries.WithLabelValues(string(e.Result)).Inc()
	if len(l.waiting) == maxWaiting {
		return fmt.Errorf("record %s by %s: %d entries wait already, and it is lost: %w", e.Action, e.By, maxWaiting, l.err)
	}
	l.waiting = append(l.waiting, e)
	if err := l.write(); err != nil {
		l.o.Logger.ErrorContext(ctx, "audit: an entry waits because the log can't be written", "action", e.Action, "by", e.By, "error", err)
		return err
	}
	return nil
}

// Ready reports whether entries can be written, after an attempt to write those that
// wait.
func (l *Log) Ready() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.write()
}

// Waiting returns the number of entries that could not be written yet.
func (l *Log) Waiting() int {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

// write writes what waits. Called with mu held.
func (l *Log) write() error {
	l.err = nil
	written := 0
	for written < len(l.waiting) && l.err == nil {
		if l.err = l.append(l.waiting[written]); l.err == nil {
			written++
		}
	}
	l.waiting = slices.Delete(l.waiting, 0, written)
	if l.err != nil {
		return fmt.Errorf("write the audit log in %s: %w", l.o.Dir, l.err)
	}
	return nil
}

// append writes one entry. After an error nothing of it is left in the file: the next
// attempt writes the file's end anew.
func (l *Log) append(e Entry) error {
	e.Sequence, e.Replica, e.Previous = l.head.Sequence+1, l.o.Replica, l.head.Hash
	line, hash, err := e.line()
	if err != nil {
		return err
	}
	if l.file == nil || l.written >= l.o.FileBytes {
		if err := l.begin(e.Sequence); err != nil {
			return err
		}
	}
	if err := l.o.Write(l.file, line); err != nil {
		return errors.Join(err, l.reopen())
	}
	l.written += int64(len(line))
	l.head = Head{e.Sequence, hash}
	close(l.changed)
	l.changed = make(chan struct{})
	return writeNote(l.o.Dir, headName, l.head)
}

func writeLine(f *os.File, line []byte) error {
	if _, err := f.Write(line); err != nil {
		return err
	}
	return f.Sync()
}

// begin starts a new file.
func (l *Log) begin(sequence int64) error {
	f, err := os.OpenFile(filepath.Join(l.o.Dir, nameOf(sequence)), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if err := folder.Sync(l.o.Dir); err != nil {
		return errors.Join(err, f.Close())
	}
	if l.file != nil {
		_ = l.file.Close() // each line was flushed
	}
	l.file, l.written = f, 0
	return nil
}

// reopen cuts off what a failed write left. The state of a file after a failed flush is
// unknown, so it is opened again.
func (l *Log) reopen() error {
	path := l.file.Name()
	_ = l.file.Close()
	l.file = nil
	if err := os.Truncate(path, l.written); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	l.file = f
	return nil
}

// Head returns the place of the last entry that was written.
func (l *Log) Head() Head {
	if l == nil {
		return Head{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head
}

// wait returns a channel that is closed at the next entry.
func (l *Log) wait() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// Close closes the log, after a last attempt to write what waits.
func (l *Log) Close() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.write()
	if l.file != nil {
		err = errors.Join(err, l.file.Close())
	}
	return errors.Join(err, folder.Unlock(l.lock))
}

// The notes beside a log: its last entry, and the last that was sent.
const (
	headName = "head.json"
	sentName = "sent.json"
)

// writeNote notes a place in the log. A note that a crash took back is older than the log,
// which does no harm.
func writeNote(dir, name string, h Head) error {
	content, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return folder.Replace(filepath.Join(dir, name), content, 0o600, nil)
}

// readNote returns a note; the zero Head if there is none.
func readNote(dir, name string) (h Head, err error) {
	content, err := os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return Head{}, nil
	}
	if err == nil {
		err = json.Unmarshal(content, &h)
	}
	if err != nil {
		return Head{}, fmt.Errorf("%s: %w", filepath.Join(dir, name), err)
	}
	return h, nil
}

// nameOf returns the name of the file that begins with an entry.
func nameOf(sequence int64) string { return fmt.Sprintf("audit-%012d.jsonl", sequence) }

// firstOf returns the number of a file's first entry; 0 for other files.
func firstOf(name string) (sequence int64) {
	if _, err := fmt.Sscanf(name, "audit-%d.jsonl", &sequence); err != nil || nameOf(sequence) != name {
		return 0
	}
	return sequence
}

// files returns the names of the log's files, oldest first.
func files(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir) // sorted
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if firstOf(e.Name()) > 0 {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
