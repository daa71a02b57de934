package wal

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// segment is a file of the log with what is known of its records. One that nobody needs is
// deleted, or cut to its header while an older one is needed.
type segment struct {
	f          *file
	salt       []byte
	base, next uint64   // indexes of its first record, and behind its last
	end        int64    // behind its last block
	at         []uint32 // of each record: the place in the file, 0 for a lost one, and unsent
	counted    int      // records that are or were pending
	pending    int
	bytes      int64 // of the counted ones
}

// unsent marks the place of a record that is pending.
const unsent = 1 << 31

// cut reports whether a segment has lost its records.
func (s *segment) cut() bool { return s.at == nil && s.next > s.base }

// settle gives back the memory for further records.
func (s *segment) settle() { s.at = slices.Clone(s.at) }

func segmentName(base uint64) string { return fmt.Sprintf("%020d.wal", base) }

func baseOf(name string) uint64 {
	base, _ := strconv.ParseUint(strings.TrimSuffix(filepath.Base(name), ".wal"), 10, 64)
	return base
}

func newSegment(f *file, base uint64) (*segment, error) {
	s := &segment{f: f, base: base, next: base, end: int64(fileHeader), salt: make([]byte, saltLen)}
	_, err := f.ReadAt(s.salt, int64(len(magic)))
	return s, err
}

// add notes a block that is on disk. Called with mu held, unless nobody else knows the
// segment.
func (l *Log) add(s *segment, b Block) {
	for s.next < b.First {
		s.at, s.next = append(s.at, 0), s.next+1
	}
	at := uint32(b.place + blockHeader)
	for _, rec := range b.Recs {
		place := at
		if at += uint32(recordHeader + len(rec)); rec != nil && l.isPending(rec) {
			s.counted, s.pending, s.bytes, place = s.counted+1, s.pending+1, s.bytes+int64(len(rec)), place|unsent
		}
		s.at = append(s.at, place)
	}
	s.next, s.end = s.next+uint64(len(b.Recs)), int64(b.place+b.size)
}

// Damage is a damaged file.
type Damage struct {
	File string // the second name, under which it outlives the segment
	What string // a clause
}

// Load reads the segments and calls visit for each record in order; visit may call Done
// and Read. next is the index of the next record if there are no segments. Load returns the
// damage that it found; whatever is readable is used.
func (l *Log) Load(next uint64, visit func(idx uint64, rec []byte)) (found []Damage, err error) {
	l.next = next
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

// loadSegment reads a segment. limit is the base of the following one.
func (l *Log) loadSegment(base, limit uint64, visit func(idx uint64, rec []byte)) (*Damage, error) {
	name := segmentName(base)
	image, err := os.ReadFile(l.disk.path(name))
	if err != nil {
		return nil, err
	}
	f, err := l.disk.openSegment(name)
	if err != nil {
		return nil, err
	}
	s, _ := newSegment(f, base) // a damaged header is found below
	l.segs = append(l.segs, s)
	blocks, damaged := scan(image)
	kept := 0
	for _, b := range blocks {
		b.Recs = b.Recs[:min(uint64(len(b.Recs)), max(limit, b.First)-b.First)]
		if b.First > limit || b.First < s.next {
			continue
		}
		l.add(s, b)
		for i, rec := range b.Recs {
			if idx := b.First + uint64(i); rec == nil {
				s.at[idx-base] = 0
			} else {
				kept++
				visit(idx, rec)
			}
		}
	}
	s.settle()
	if limit != last && len(image) == fileHeader {
		s.next = limit
		return nil, nil //nolint:nilnil // it was cut: see shrink
	}
	if limit != last && s.next < limit {
		damaged = true
		l.add(s, Block{First: limit, place: int(s.end)})
	}
	l.next = s.next
	// A crash may have left the segment's name unflushed.
	if limit == last && !damaged && int64(len(image)) >= l.disk.size && l.disk.sync() == nil {
		l.w = s
	}
	if !damaged {
		return nil, nil //nolint:nilnil // none was found
	}
	return l.disk.aside(name, kept)
}
