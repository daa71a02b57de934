package inbox

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// log is a sequence of numbered records in segments. A segment that a write failed
// on is never written again: the next segment begins behind its last acknowledged
// record, and records beyond that in the old one don't count. A segment that nobody
// needs is deleted, or cut to its header while an older one is needed.
type log struct {
	disk *disk
	buf  []byte // of the writer

	mu   sync.RWMutex
	segs []*segment // oldest first
	w    *segment   // the last one; nil if nothing can be written to it
	next uint64     // index of the next record
}

// segment is a file of the log with what is known of its records.
type segment struct {
	f          *file
	salt       []byte
	base, next uint64   // indexes of its first record, and behind its last
	end        int64    // behind its last block
	at         []uint32 // of each record: the place in the file, 0 for a lost one, and unsent
	events     int
	pending    int
	bytes      int64 // of events
}

// cut reports whether a segment has lost its records.
func (s *segment) cut() bool { return s.at == nil && s.next > s.base }

// unsent marks the place of an event that is pending.
const unsent = 1 << 31

func segmentName(base uint64) string { return fmt.Sprintf("%020d.wal", base) }

// add notes a block that is on disk. Called with the log's mu held.
func (s *segment) add(b block) {
	for s.next < b.first {
		s.at, s.next = append(s.at, 0), s.next+1
	}
	at := uint32(b.place + blockHeader)
	for _, rec := range b.recs {
		place := at
		if at += uint32(recordHeader + len(rec)); isEvent(rec) {
			s.events, s.pending, s.bytes, place = s.events+1, s.pending+1, s.bytes+int64(len(rec)), place|unsent
		}
		s.at = append(s.at, place)
	}
	s.next, s.end = s.next+uint64(len(b.recs)), int64(b.place+b.size)
}

// find returns the segment that has or lacks an index, nil if it is deleted.
func (l *log) find(idx uint64) *segment {
	i := sort.Search(len(l.segs), func(i int) bool { return l.segs[i].next > idx })
	if i == len(l.segs) {
		return nil
	}
	return l.segs[i]
}

// place returns the segment of a record and its place in it, nil if it is lost or
// deleted.
func (l *log) place(idx uint64) (*segment, *uint32) {
	if s := l.find(idx); s != nil && idx >= s.base && !s.cut() && s.at[idx-s.base] != 0 {
		return s, &s.at[idx-s.base]
	}
	return nil, nil
}

// has reports whether the log has a record.
func (l *log) has(idx uint64) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	_, at := l.place(idx)
	return at != nil
}

// pending reports whether a record is a pending event.
func (l *log) pending(idx uint64) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	_, at := l.place(idx)
	return at != nil && *at&unsent != 0
}

// close notes that an event is no longer pending.
func (l *log) close(idx uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s, at := l.place(idx); at != nil && *at&unsent != 0 {
		*at &^= unsent
		s.pending--
	}
}

// nextPending returns the first pending event from an index on.
func (l *log) nextPending(from uint64) (uint64, bool) {
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

// first returns the index of the oldest record.
func (l *log) first() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.segs) == 0 {
		return l.next
	}
	return l.segs[0].base
}

// room is the number of bytes that the last segment can take.
func (l *log) room() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.w == nil {
		return 0
	}
	return l.disk.size - l.w.end
}

// bytes is the size of all segments.
func (l *log) bytes() (n int64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, s := range l.segs {
		n += s.end
	}
	return n
}

// append writes records with one flush, in a new segment if there is no room. It
// returns the index of the first one, and whether a segment was begun. After an
// error nothing of it counts.
func (l *log) append(recs [][]byte) (first uint64, begun bool, err error) {
	b := block{first: l.next, at: time.Now().UnixNano(), recs: recs}
	size := int64(blockHeader)
	for _, rec := range recs {
		size += recordHeader + int64(len(rec))
	}
	if l.w == nil || l.w.end > int64(fileHeader) && l.w.end+size > l.disk.size {
		if err := l.begin(); err != nil {
			return 0, false, err
		}
		begun = true
	}
	s := l.w
	l.buf = appendBlock(l.buf[:0], s.salt, b)
	b.place, b.size = int(s.end), len(l.buf)
	if _, err = s.f.WriteAt(l.buf, s.end); err == nil {
		err = s.f.flushed()
	}
	if cap(l.buf) > 1<<20 {
		l.buf = nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.w = nil
		return 0, begun, err
	}
	s.add(b)
	l.next = b.next()
	return b.first, begun, nil
}

// begin opens a new segment for writing.
func (l *log) begin() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.w = nil
	f, err := l.disk.next(segmentName(l.next))
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
	}
	l.segs, l.w = append(l.segs, s), s
	return nil
}

// seal writes a block without records, which shows that the one before was
// whole. It is not an error if that fails.
func (l *log) seal() {
	if l.w != nil && l.room() >= blockHeader {
		_, _, _ = l.append(nil)
	}
}

const readGuess = 2 << 10 // most records are shorter

// read returns a record. [ErrNotFound]: the log no longer has it.
func (l *log) read(idx uint64) ([]byte, error) {
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
		return nil, errRecord
	}
	return rec, nil
}

// block reads the block that begins with a record, or the first one behind it.
func (l *log) block(from uint64) (b block, err error) {
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
	b, size, ok := readHeader(raw, s.salt)
	if !ok {
		return block{first: from, recs: make([][]byte, 1)}, nil
	}
	raw = make([]byte, size)
	if _, err := s.f.ReadAt(raw, at+blockHeader); err != nil {
		return b, err
	}
	b.readRecords(raw)
	return b, nil
}

// load reads the segments and calls visit for each record in order. It returns the
// damage that it found. A damaged file gets a second name, under which it outlives
// the segment; whatever is readable is used.
func (l *log) load(visit func(idx uint64, rec []byte)) (found []damage, err error) {
	names, err := filepath.Glob(l.disk.path("*.wal"))
	if err != nil {
		return nil, err
	}
	for i, name := range names {
		limit := uint64(last)
		if i+1 < len(names) {
			limit = baseOf(names[i+1])
		}
		d, err := l.loadSegment(baseOf(name), limit, visit)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		if d != nil {
			found = append(found, *d)
		}
	}
	return found, nil
}

// last is the index behind all others.
const last = math.MaxUint64

func baseOf(name string) uint64 {
	base, _ := strconv.ParseUint(strings.TrimSuffix(filepath.Base(name), ".wal"), 10, 64)
	return base
}

// loadSegment reads a segment. limit is the base of the following one.
func (l *log) loadSegment(base, limit uint64, visit func(idx uint64, rec []byte)) (*damage, error) {
	name := segmentName(base)
	image, err := os.ReadFile(l.disk.path(name))
	if err != nil {
		return nil, err
	}
	f, err := l.disk.openFile(name, syscall.O_DSYNC)
	if err != nil {
		return nil, err
	}
	s, _ := newSegment(f, base) // a damaged header is found below
	l.segs = append(l.segs, s)
	blocks, damaged := scan(image)
	kept := 0
	for _, b := range blocks {
		b.recs = b.recs[:min(uint64(len(b.recs)), max(limit, b.first)-b.first)]
		if b.first > limit || b.first < s.next {
			continue
		}
		s.add(b)
		for i, rec := range b.recs {
			if idx := b.first + uint64(i); rec == nil {
				s.at[idx-base] = 0
			} else {
				kept++
				visit(idx, rec)
			}
		}
	}
	if limit != last && len(image) == fileHeader {
		s.next = limit
		return nil, nil //nolint:nilnil // it was cut: see shrink
	}
	if limit != last && s.next < limit {
		damaged = true
		s.add(block{first: limit, place: int(s.end)})
	}
	l.next = s.next
	if limit == last && !damaged && int64(len(image)) >= l.disk.size {
		l.w = s
	}
	if !damaged {
		return nil, nil //nolint:nilnil // none was found
	}
	return l.disk.aside(name, kept)
}

func newSegment(f *file, base uint64) (*segment, error) {
	s := &segment{f: f, base: base, next: base, end: int64(fileHeader), salt: make([]byte, saltLen)}
	_, err := f.ReadAt(s.salt, int64(len(magic)))
	return s, err
}

// unneeded returns the segments of which little or nothing is needed, oldest first: the
// events are forwarded, the archive has them up to through, and what follows fills the
// budget. The marks of a segment are needed while an older one has their events.
func (l *log) unneeded(keep Budget, through uint64, tight bool) (all []*segment) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	beyond, events, bytes := len(l.segs)-1, 0, int64(0)
	for ; beyond > 0 && !tight; beyond-- {
		s := l.segs[beyond]
		if events, bytes = events+s.events-s.pending, bytes+s.bytes; events >= keep.Count || bytes >= keep.Bytes {
			break
		}
	}
	for _, s := range l.segs[:max(0, beyond)] {
		switch {
		case s.cut() || s.pending > 0 && s.pending == s.events:
		case s.next-1 > through || s.pending > s.events/4:
			return all
		default:
			all = append(all, s)
		}
	}
	return all
}

// shrink deletes all records of a segment but its pending events, and the files that no
// older one needs as a sign that nothing is missing.
func (l *log) shrink(s *segment) (err error) {
	l.mu.RLock()
	pending := s.pending > 0
	l.mu.RUnlock()
	if pending {
		return l.rewrite(s)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.at, s.events, s.bytes, s.end = nil, 0, 0, int64(fileHeader)
	err = s.f.Truncate(s.end)
	for len(l.segs) > 1 && l.segs[0].cut() {
		err = errors.Join(err, l.segs[0].f.Close(), os.Remove(l.segs[0].f.Name()))
		l.segs = l.segs[1:]
	}
	return err
}

// rewrite replaces a segment by one with its pending events alone, and an empty block at its
// end.
func (l *log) rewrite(s *segment) error {
	content := newHeader()
	fresh := &segment{base: s.base, next: s.base, end: int64(fileHeader), salt: content[len(magic):]}
	put := func(b block) {
		b.place = len(content)
		content = appendBlock(content, fresh.salt, b)
		b.size = len(content) - b.place
		fresh.add(b)
	}
	for idx, more := l.nextPending(s.base); more && idx < s.next; idx, more = l.nextPending(idx + 1) {
		rec, err := l.read(idx)
		if err != nil {
			return err
		}
		put(block{first: idx, recs: [][]byte{rec}})
	}
	put(block{first: s.next})
	if err := l.disk.create(s.f.name, content, 0); err != nil {
		return err
	}
	f, err := l.disk.openFile(s.f.name, syscall.O_DSYNC)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, at := range fresh.at {
		if at != 0 && s.at[i]&unsent == 0 { // forwarded meanwhile
			fresh.at[i], fresh.pending = at&^unsent, fresh.pending-1
		}
	}
	_ = s.f.Close()
	fresh.f = f
	*s = *fresh
	return nil
}
