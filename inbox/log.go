package inbox

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"os"
	"slices"
	"time"

	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// log is a sequence of numbered records in segments, which are raft-wal's. Only
// its writer changes it, with Inbox.mu held where readers could notice; append
// runs without.
//
// A segment that a write or a flush failed on is never written again: the next
// segment begins behind its last acknowledged record, and records beyond that in
// the old one don't count.
type log struct {
	volume *volume
	filer  *segment.Filer
	segs   []*seg              // oldest first
	w      types.SegmentWriter // of the last one; nil if it can't be written
	next   uint64              // index of the next record
	nextID uint64
}

// seg is a segment with what is known of its records.
type seg struct {
	types.SegmentInfo
	r       types.SegmentReader
	last    uint64 // index of its last record
	bytes   int64
	events  int
	pending int
	open    []uint64 // a bit per record: it is a pending event
}

// codec marks our segments among raft-wal's.
const codec = 0x67616e747279

func newLog(v *volume) *log {
	return &log{volume: v, filer: segment.NewFiler(v.dir, v), next: 1, nextID: 1}
}

func (s *seg) set(idx uint64, open bool) {
	at, bit := (idx-s.BaseIndex)/64, uint64(1)<<((idx-s.BaseIndex)%64)
	for uint64(len(s.open)) <= at {
		s.open = append(s.open, 0)
	}
	if was := s.open[at]&bit != 0; was == open {
		return
	}
	s.open[at] ^= bit
	if open {
		s.pending++
	} else {
		s.pending--
	}
}

func (s *seg) isOpen(idx uint64) bool {
	at := (idx - s.BaseIndex) / 64
	return at < uint64(len(s.open)) && s.open[at]&(1<<((idx-s.BaseIndex)%64)) != 0
}

// find returns the segment of a record, or nil.
func (l *log) find(idx uint64) *seg {
	i, ok := slices.BinarySearchFunc(l.segs, idx, func(s *seg, idx uint64) int { return cmp.Compare(s.BaseIndex, idx) })
	if !ok {
		i--
	}
	if i < 0 || idx > l.segs[i].last {
		return nil
	}
	return l.segs[i]
}

// first returns the index of the oldest record.
func (l *log) first() uint64 {
	if len(l.segs) == 0 {
		return l.next
	}
	return l.segs[0].BaseIndex
}

// read returns a record's bytes. [ErrNotFound]: its segment is gone.
func (s *seg) read(idx uint64) ([]byte, error) { return readFrom(s.r, idx) }

func readFrom(r types.SegmentReader, idx uint64) ([]byte, error) {
	raw, err := r.GetLog(idx)
	if errors.Is(err, types.ErrNotFound) || errors.Is(err, fs.ErrClosed) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	defer raw.Close() //nolint:errcheck // gives the buffer back
	if rec := slices.Clone(raw.Bs); intact(rec) {
		return rec, nil
	}
	return nil, errRecord
}

// close notes that an event is no longer pending.
func (l *log) close(idx uint64) {
	if s := l.find(idx); s != nil {
		s.set(idx, false)
	}
}

// nextOpen returns the first pending event from an index on.
func (l *log) nextOpen(from uint64) (uint64, bool) {
	for _, s := range l.segs {
		if s.pending == 0 || s.last < from {
			continue
		}
		for at := (max(from, s.BaseIndex) - s.BaseIndex) / 64; at < uint64(len(s.open)); at++ {
			word := s.open[at]
			if first := s.BaseIndex + 64*at; from > first {
				word &= ^uint64(0) << (from - first)
			}
			if word != 0 {
				return s.BaseIndex + 64*at + uint64(bits.TrailingZeros64(word)), true
			}
		}
	}
	return 0, false
}

// room is about how many bytes the last segment can take.
func (l *log) room() int64 {
	if len(l.segs) == 0 || l.w == nil {
		return 0
	}
	s := l.segs[len(l.segs)-1]
	return l.volume.size - s.bytes - 20*int64(s.last-s.BaseIndex+1)
}

// begin opens a new segment for writing.
func (l *log) begin() (*seg, types.SegmentWriter, error) {
	info := types.SegmentInfo{ID: l.nextID, BaseIndex: l.next, MinIndex: l.next, Codec: codec, CreateTime: time.Now(), SizeLimit: uint32(l.volume.size)}
	w, err := l.filer.Create(info)
	if err != nil {
		return nil, nil, err
	}
	l.nextID++
	return &seg{SegmentInfo: info, r: w, last: info.BaseIndex - 1}, w, nil
}

// append writes records and flushes them. It returns the index of the first one,
// and whether the segment is full. After an error the segment must not be written
// again.
func (l *log) append(recs [][]byte) (first uint64, full bool, err error) {
	entries := make([]types.LogEntry, len(recs))
	for i, rec := range recs {
		entries[i] = types.LogEntry{Index: l.next + uint64(i), Data: rec}
	}
	if err := l.w.Append(entries); err != nil {
		return 0, false, err
	}
	first = l.next
	l.next += uint64(len(recs))
	full, _, err = l.w.Sealed()
	return first, full, err
}

// reader replaces a sealed segment's writer, which needs memory for each record.
func (l *log) reader(s *seg, start uint64) (types.SegmentReader, error) {
	s.IndexStart, s.MaxIndex, s.SealTime = start, s.last, time.Now()
	return l.filer.Open(s.SegmentInfo)
}

// open reads the segments and calls visit for each record in order. It returns
// what damage it found. Damaged files are renamed; whatever is readable before
// the damage is kept.
func (l *log) open(visit func(s *seg, idx uint64, rec []byte)) (damage []string, err error) {
	l.volume.loading = true
	defer func() { l.volume.loading = false }()
	ids, err := l.filer.List()
	if err != nil {
		return nil, err
	}
	var infos []types.SegmentInfo
	for id, base := range ids {
		l.nextID = max(l.nextID, id+1)
		infos = append(infos, types.SegmentInfo{ID: id, BaseIndex: base, MinIndex: base, Codec: codec, SizeLimit: uint32(l.volume.size)})
	}
	slices.SortFunc(infos, func(a, b types.SegmentInfo) int {
		return cmp.Or(cmp.Compare(a.BaseIndex, b.BaseIndex), cmp.Compare(a.ID, b.ID))
	})
	for i, info := range infos {
		next := uint64(0)
		if i+1 < len(infos) {
			next = infos[i+1].BaseIndex
		}
		if next == info.BaseIndex { // an empty one, or one that a repair has replaced
			if err := l.retire(info); err != nil {
				return nil, err
			}
			continue
		}
		found, err := l.load(info, next, visit)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", segment.FileName(info), err)
		}
		damage = append(damage, found...)
	}
	return damage, nil
}

// retire removes a segment that another one replaces.
func (l *log) retire(info types.SegmentInfo) error {
	w, err := l.filer.RecoverTail(info)
	if err == nil {
		if err := w.Close(); err != nil {
			return err
		}
		if w.LastIndex() < info.BaseIndex {
			return l.filer.Delete(info.BaseIndex, info.ID)
		}
	}
	_, err = l.volume.aside(segment.FileName(info))
	return err
}

// torn is the reach of a write that was cut off, beyond the last whole record.
const torn = maxBatchBytes + 64<<10

// load reads a segment. next is the first index of the following one, 0 if there
// is none.
func (l *log) load(info types.SegmentInfo, next uint64, visit func(*seg, uint64, []byte)) ([]string, error) {
	w, err := l.filer.RecoverTail(info)
	if err != nil && !errors.Is(err, types.ErrCorrupt) {
		return nil, err
	}
	s := &seg{SegmentInfo: info, last: info.BaseIndex - 1}
	if err == nil {
		s.r, s.last = w, max(s.last, w.LastIndex())
	}
	if next > 0 {
		s.last = min(s.last, next-1)
	}
	recs, bad, err := s.readAll()
	if err != nil {
		return nil, err
	}
	f := l.volume.opened
	rest := f.leftover(f.scanned + torn)
	f.scanned, f.image = -1, nil
	sealed := false
	if s.r != nil {
		sealed, s.IndexStart, _ = w.Sealed()
	}
	switch name := segment.FileName(info); {
	case s.r == nil:
		return l.repair(s, recs, next, name+" has no valid header", visit)
	case bad > 0:
		return l.repair(s, recs, next, fmt.Sprintf("%d records of %s are damaged", bad, name), visit)
	case next > s.last+1:
		return l.repair(s, recs, next, fmt.Sprintf("%d records behind %s are missing", next-s.last-1, name), visit)
	case next == 0 && !sealed && rest:
		return l.repair(s, recs, next, name+" is damaged before its end", visit)
	case s.last < info.BaseIndex:
		return nil, errors.Join(w.Close(), l.filer.Delete(info.BaseIndex, info.ID))
	}
	if !sealed && next == 0 {
		if s.IndexStart, err = w.ForceSeal(); err == nil {
			sealed = true
			index := int64(s.last-info.BaseIndex+2) / 2 * 8
			_ = os.Truncate(l.volume.path(segment.FileName(info)), int64(s.IndexStart)+index+frameHeader)
		}
	}
	if sealed {
		if s.r, err = l.reader(s, s.IndexStart); err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
	}
	l.adopt(s, recs, visit)
	return nil, nil
}

// readAll reads a segment's records, nil for those that are lost, and counts the
// damaged ones.
func (s *seg) readAll() (recs [][]byte, bad int, err error) {
	for idx := s.BaseIndex; idx <= s.last; idx++ {
		rec, err := s.read(idx)
		if err != nil && !errors.Is(err, errRecord) {
			return nil, 0, err
		}
		if err != nil && !s.filler(idx) {
			bad++
		}
		recs = append(recs, rec)
	}
	return recs, bad, nil
}

// filler reports whether a record is the filler of a lost one.
func (s *seg) filler(idx uint64) bool {
	raw, err := s.r.GetLog(idx)
	return err == nil && len(raw.Bs) == 0
}

func (l *log) adopt(s *seg, recs [][]byte, visit func(*seg, uint64, []byte)) {
	l.segs, l.next = append(l.segs, s), max(l.next, s.last+1)
	for i, rec := range recs {
		s.bytes += int64(len(rec))
		if rec != nil {
			visit(s, s.BaseIndex+uint64(i), rec)
		}
	}
}

// repair writes a damaged segment's readable records to a new one, with fillers
// for those that are lost, and renames the damaged file.
func (l *log) repair(s *seg, recs [][]byte, next uint64, damage string, visit func(*seg, uint64, []byte)) ([]string, error) {
	for next > s.last+1 {
		recs = append(recs, nil)
		s.last++
	}
	old := segment.FileName(s.SegmentInfo)
	_ = l.volume.opened.Close()
	if len(recs) > 0 {
		s.ID = l.nextID
		w, err := l.filer.Create(s.SegmentInfo)
		if err != nil {
			return nil, err
		}
		l.nextID++
		entries := make([]types.LogEntry, len(recs))
		for i, rec := range recs {
			entries[i] = types.LogEntry{Index: s.BaseIndex + uint64(i), Data: rec}
		}
		if err := w.Append(entries); err != nil {
			return nil, err
		}
		start, err := w.ForceSeal()
		if err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		if s.r, err = l.reader(s, start); err != nil {
			return nil, err
		}
		l.adopt(s, recs, visit)
	}
	aside, err := l.volume.aside(old)
	kept := len(recs)
	for _, rec := range recs {
		if rec == nil {
			kept--
		}
	}
	return []string{fmt.Sprintf("%s: %d records were kept; the damaged file is %s", damage, kept, aside)}, err
}
