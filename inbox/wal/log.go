package wal

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultSegment is the usual size of a segment.
const DefaultSegment = 4 << 20

// reserved is the part of the last segment that Full keeps free.
const reserved = 512 << 10

// The errors of Read.
var (
	// ErrNotFound: the log doesn't have the record, or no longer.
	ErrNotFound = errors.New("no such record")
	// ErrDamaged: the record's checksum is wrong.
	ErrDamaged = errors.New("damaged record")
)

// Options configure a log.
type Options struct {
	Dir string // must exist

	// Pending reports whether a record is pending when it is written.
	Pending func(rec []byte) bool

	// Segment is the size of a segment in bytes; 0 means DefaultSegment. A record that is
	// larger gets a segment of its own.
	Segment int64

	// Damaged is called for damage that is found after Load.
	Damaged func(Damage)

	// OpenFile opens a file, or the folder to flush its entries, as os.OpenFile does; nil
	// means that one. Of a file opened with O_DSYNC each write is on disk when it returns.
	OpenFile func(path string, flags int) (File, error)
}

// Log is an open log.
type Log struct {
	disk      disk
	isPending func(rec []byte) bool
	damaged   func(Damage)
	buf       []byte // of Append

	reserving sync.Mutex // held by Reserve
	wg        sync.WaitGroup

	noSpare atomic.Pointer[error]

	mu   sync.RWMutex
	segs []*segment // oldest first
	w    *segment   // the last one; nil if nothing can be written to it
	next uint64     // index of the next record
}

// New returns a log without records; Load reads them.
func New(o Options) *Log {
	l := &Log{disk: disk{o.Dir, o.Segment, o.OpenFile}, isPending: o.Pending, damaged: o.Damaged}
	if l.disk.size == 0 {
		l.disk.size = DefaultSegment
	}
	if l.disk.open == nil {
		l.disk.open = openFile
	}
	return l
}

// Close closes the files. Nothing else may be called any more.
func (l *Log) Close() (err error) {
	l.wg.Wait()
	for _, s := range l.segs {
		err = errors.Join(err, s.f.Close())
	}
	return err
}

// find returns the segment that has or lacks an index, nil if it is deleted.
func (l *Log) find(idx uint64) *segment {
	i := sort.Search(len(l.segs), func(i int) bool { return l.segs[i].next > idx })
	if i == len(l.segs) {
		return nil
	}
	return l.segs[i]
}

// place returns the segment of a record and its place in it, nil if it is lost or
// deleted.
func (l *Log) place(idx uint64) (*segment, *uint32) {
	if s := l.find(idx); s != nil && idx >= s.base && !s.cut() && s.at[idx-s.base] != 0 {
		return s, &s.at[idx-s.base]
	}
	return nil, nil
}

// Has reports whether the log has a record.
func (l *Log) Has(idx uint64) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	_, at := l.place(idx)
	return at != nil
}

// Pending reports whether the log has a record that is pending.
func (l *Log) Pending(idx uint64) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	_, at := l.place(idx)
	return at != nil && *at&unsent != 0
}

// Done notes that a record is no longer pending. The log doesn't remember that across
// restarts; its user does, by another record.
func (l *Log) Done(idx uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s, at := l.place(idx); at != nil && *at&unsent != 0 {
		*at &^= unsent
		s.pending--
	}
}

// NextPending returns the first pending record from an index on.
func (l *Log) NextPending(from uint64) (idx uint64, ok bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, s := range l.segs {
		for idx := max(from, s.base); s.pending > 0 && idx < s.next; idx++ {
			if s.at[idx-s.base]&unsent != 0 {
				return idx, true
			}
		}
	}
	return 0, false
}

// Stats describes a log.
type Stats struct {
	First, Next uint64 // indexes of the oldest record, and behind the newest one
	Segments    int
	Pending     int
	Bytes       int64 // of all segments, as far as they are used
}

// Stats counts what the log has.
func (l *Log) Stats() Stats {
	l.mu.RLock()
	defer l.mu.RUnlock()
	st := Stats{First: l.next, Next: l.next, Segments: len(l.segs)}
	for i, s := range l.segs {
		if st.Pending, st.Bytes = st.Pending+s.pending, st.Bytes+s.end; i == 0 {
			st.First = s.base
		}
	}
	return st
}

// Append writes records with one flush, in a new segment if there is no room, and returns
// the index of the first one. After an error nothing of it counts.
func (l *Log) Append(recs [][]byte) (first uint64, err error) {
	b := Block{First: l.next, At: time.Now(), Recs: recs}
	size := int64(blockHeader)
	for _, rec := range recs {
		size += recordHeader + int64(len(rec))
	}
	if l.w == nil || l.w.end > int64(fileHeader) && l.w.end+size > l.disk.size {
		if err := l.begin(); err != nil {
			return 0, err
		}
	}
	s := l.w
	l.buf = appendBlock(l.buf[:0], s.salt, b)
	b.place, b.size = int(s.end), len(l.buf)
	if _, err = s.f.WriteAt(l.buf, s.end); err == nil {
		err = s.f.inPlace()
	} else {
		l.recheck(s)
	}
	if cap(l.buf) > 1<<20 {
		l.buf = nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.w = nil
		return 0, err
	}
	l.add(s, b)
	l.next = b.Next()
	return b.First, nil
}

// recheck opens and reads a segment anew after a failed write, which may have torn records
// in front of it, and reports if not all can be read.
func (l *Log) recheck(s *segment) {
	image, _ := os.ReadFile(s.f.path) // without it, no record can be read
	blocks, _ := scan(image[:min(s.end, int64(len(image)))])
	kept := 0
	for _, b := range blocks {
		kept += len(slices.DeleteFunc(b.Recs, func(rec []byte) bool { return rec == nil }))
	}
	if kept == int(s.next-s.base) {
		return
	}
	if d, _ := l.disk.aside(filepath.Base(s.f.path), kept); d != nil {
		l.damaged(*d)
	}
}

// begin opens a new segment for writing, and has another one made in advance.
func (l *Log) begin() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := segmentName(l.next)
	f, err := l.disk.next(name)
	if _, missing := os.Stat(l.disk.path(name)); !errors.Is(missing, fs.ErrNotExist) {
		l.w = nil // its records end where the new one begins
	}
	if err != nil {
		return err
	}
	s, err := newSegment(f, l.next)
	if err != nil {
		return err
	}
	if n := len(l.segs); n > 0 && l.segs[n-1].base == s.base { // nothing was ever stored in it
		_ = l.segs[n-1].f.Close()
		l.segs = l.segs[:n-1]
	} else if n > 0 {
		l.segs[n-1].settle()
	}
	l.segs, l.w = append(l.segs, s), s
	l.wg.Go(func() { _ = l.Reserve() }) // NoSpare returns the error
	return nil
}

// Seal writes a block without records, which shows that the one before was
// whole. It is not an error if that fails.
func (l *Log) Seal() {
	if l.w != nil && l.w.end+blockHeader <= l.disk.size {
		_, _ = l.Append(nil)
	}
}

// Reserve makes the next segment and the ballast in advance, unless they exist. Without room
// for both it deletes the ballast. Append calls it whenever it begins a segment.
func (l *Log) Reserve() error {
	l.reserving.Lock()
	defer l.reserving.Unlock()
	err := l.disk.reserve(spareName, l.disk.size)
	if err != nil && l.DropBallast() {
		err = l.disk.reserve(spareName, l.disk.size)
	}
	l.noSpare.Store(&err)
	if err != nil {
		return err
	}
	return l.disk.reserve(ballastName, min(ballastBytes, l.disk.size))
}

// NoSpare returns the reason why Reserve could not make the next segment the last time, nil
// if there is one.
func (l *Log) NoSpare() error {
	if err := l.noSpare.Load(); err != nil {
		return *err
	}
	return nil
}

// DropBallast deletes the ballast to make room, and reports whether there was one.
func (l *Log) DropBallast() bool { return os.Remove(l.disk.path(ballastName)) == nil }

// DropSpare deletes the next segment to make room, and reports whether there was one.
func (l *Log) DropSpare() bool { return os.Remove(l.disk.path(spareName)) == nil }

// Full returns what NoSpare does if little is left of the present segment as well: that is
// for records by which others become unneeded.
func (l *Log) Full() error {
	err := l.NoSpare()
	if err == nil {
		return nil
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.w != nil && l.disk.size-l.w.end >= min(reserved, l.disk.size/4) {
		return nil
	}
	return err
}

const readGuess = 2 << 10 // most records are shorter

// Read returns a record. Its errors are ErrNotFound, ErrDamaged and the disk's.
func (l *Log) Read(idx uint64) ([]byte, error) {
	l.mu.RLock()
	defer l.mu.RUnlock() // the file stays open
	s, at := l.place(idx)
	if at == nil {
		return nil, ErrNotFound
	}
	b := make([]byte, readGuess)
	n, err := s.f.ReadAt(b, int64(*at&^unsent))
	if want := recordHeader + recordSize(b); n == len(b) && want > n && want <= maxRecord {
		b = make([]byte, want)
		n, err = s.f.ReadAt(b, int64(*at&^unsent))
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	rec, _, ok := readRecord(b[:n])
	if !ok {
		return nil, ErrDamaged
	}
	return rec, nil
}

// Block reads the block that begins with a record, or the first one behind it.
// Its records are in room, which grows if needed, until that is used again. ErrNotFound:
// there is none.
func (l *Log) Block(from uint64, room *[]byte) (b Block, err error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var s *segment
	for ; ; from++ {
		if s = l.find(from); s == nil || s.next <= s.base {
			return b, ErrNotFound
		}
		if from = max(from, s.base); s.cut() {
			from = s.next - 1
		} else if s.at[from-s.base] != 0 {
			break
		}
	}
	at := int64(s.at[from-s.base]&^unsent) - blockHeader
	raw := make([]byte, blockHeader)
	if _, err := s.f.ReadAt(raw, at); err != nil {
		return b, err
	}
	b, ok := readHeader(raw, s.salt)
	if !ok {
		return Block{First: from, Recs: make([][]byte, 1)}, nil
	}
	n := b.size - blockHeader
	*room = slices.Grow((*room)[:0], n)[:n]
	if _, err := s.f.ReadAt(*room, at+blockHeader); err != nil {
		return b, err
	}
	b.readRecords(*room)
	return b, nil
}

// Retention says which records Trim may delete.
type Retention struct {
	Through uint64 // records behind it are kept

	// The newest records that were pending and are done are kept, up to a number and a
	// number of bytes, approximately.
	Count int
	Bytes int64
}

// Trim deletes segments that are not needed, oldest first, and writes those that have few
// pending records anew with these alone. The other records of a segment are needed while an
// older one has pending records. before is called once before anything is deleted, and its
// error ends Trim.
func (l *Log) Trim(keep Retention, before func() error) error {
	all := l.unneeded(keep)
	if len(all) == 0 {
		return nil
	}
	err := before()
	for _, s := range all {
		if err == nil {
			err = l.shrink(s)
		}
	}
	return err
}

// unneeded returns the segments of which little or nothing is needed, oldest first.
func (l *Log) unneeded(keep Retention) (all []*segment) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	beyond, count, bytes := len(l.segs)-1, 0, int64(0)
	for ; beyond > 0; beyond-- {
		s := l.segs[beyond]
		if count, bytes = count+s.counted-s.pending, bytes+s.bytes; count >= keep.Count || bytes >= keep.Bytes {
			break
		}
	}
	for _, s := range l.segs[:max(0, beyond)] {
		switch {
		case s.cut() || s.pending > 0 && s.pending == s.counted:
		case s.next-1 > keep.Through || s.pending > s.counted/4:
			return all
		default:
			all = append(all, s)
		}
	}
	return all
}

// shrink deletes all records of a segment but its pending ones, and the files that no
// older one needs as a sign that nothing is missing.
func (l *Log) shrink(s *segment) (err error) {
	l.mu.RLock()
	pending := s.pending > 0
	l.mu.RUnlock()
	if pending {
		return l.rewrite(s)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.at, s.counted, s.bytes, s.end = nil, 0, 0, int64(fileHeader)
	err = s.f.Truncate(s.end)
	for len(l.segs) > 1 && l.segs[0].cut() {
		err = errors.Join(err, l.segs[0].f.Close(), os.Remove(l.segs[0].f.path))
		l.segs = slices.Delete(l.segs, 0, 1)
	}
	return err
}

// rewrite replaces a segment by one with its pending records alone, and an empty block at
// its end.
func (l *Log) rewrite(s *segment) error {
	content := newHeader()
	fresh := &segment{base: s.base, next: s.base, end: int64(fileHeader), salt: content[len(magic):]}
	put := func(b Block) {
		b.place = len(content)
		content = appendBlock(content, fresh.salt, b)
		b.size = len(content) - b.place
		l.add(fresh, b)
	}
	for idx, more := l.NextPending(s.base); more && idx < s.next; idx, more = l.NextPending(idx + 1) {
		rec, err := l.Read(idx)
		if err != nil {
			return err
		}
		put(Block{First: idx, Recs: [][]byte{rec}})
	}
	put(Block{First: s.next})
	name := segmentName(s.base)
	if err := l.disk.create(name, content, 0); err != nil {
		return err
	}
	f, err := l.disk.openSegment(name)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, at := range fresh.at {
		if at != 0 && s.at[i]&unsent == 0 { // done meanwhile
			fresh.at[i], fresh.pending = at&^unsent, fresh.pending-1
		}
	}
	_ = s.f.Close()
	fresh.f = f
	*s = *fresh
	return nil
}

// last is the index behind all others.
const last = math.MaxUint64
