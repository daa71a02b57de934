package inbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
)

// A stream is a row of segments in a directory of its own. Frames go to the
// last one; only the first one is ever removed, so that a missing number means
// a missing file.
type stream struct {
	dir     string
	durable bool  // flush, reserve space, and expect to find everything again
	limit   int64 // bytes of a segment
	count   int   // frames of a segment

	// segs is guarded by Inbox.mu. All but the last are complete: nothing in
	// them changes any more, and reading them needs no lock.
	segs []*segment
	// open is the last of segs, and belongs to the one goroutine that writes
	// the stream.
	open *segment

	// The next segment is made ready while the current one fills: reserving its
	// space takes as long as a hundred commits.
	prep  sync.Mutex
	next  uint32
	spare *segment
}

func (st *stream) segment(num uint32) *segment {
	i, ok := slices.BinarySearchFunc(st.segs, num, func(s *segment, num uint32) int { return int(s.num) - int(num) })
	if !ok {
		return nil
	}
	return st.segs[i]
}

// full reports whether the active segment has no place for frames of n bytes.
func (st *stream) full(n int) bool {
	s := st.open
	if s == nil || s.sealed || s.frames >= st.count {
		return true
	}
	if st.durable {
		return !s.room(n)
	}
	return s.frames > 0 && s.end+int64(n) > st.limit
}

// prepare makes the next segment ready, big enough for n bytes. It is called
// ahead of time, and again by roll if that came to nothing.
func (st *stream) prepare(n int) error {
	st.prep.Lock()
	defer st.prep.Unlock()
	if st.spare != nil && (!st.durable || st.spare.room(n)) {
		return nil
	}
	if st.spare != nil { // an enormous frame: it gets a segment to itself
		if err := errors.Join(st.spare.f.Close(), os.Remove(st.spare.path)); err != nil {
			return err
		}
		st.next, st.spare = st.spare.num, nil
	}
	reserve := int64(0)
	if st.durable {
		reserve = max(st.limit, int64(n)+2*sealRoom)
	}
	s, err := createSegment(st.dir, st.next, reserve)
	if err != nil {
		return fmt.Errorf("make segment %d: %w", st.next, err)
	}
	st.spare = s
	st.next++
	return nil
}

// takeSpare hands over the prepared segment.
func (st *stream) takeSpare() *segment {
	st.prep.Lock()
	defer st.prep.Unlock()
	s := st.spare
	st.spare = nil
	return s
}

// damage is what was found wrong with one segment.
type damage struct {
	segment string // path
	problem string // what is wrong, in words
	tail    bool   // only the end is unreadable: most likely a write that a crash cut short
	kept    int    // frames that could be read
	aside   string // where the damaged file was put; empty when there is none
}

func (d damage) String() string {
	s := fmt.Sprintf("%s %s; kept %d readable records", d.segment, d.problem, d.kept)
	if d.aside != "" {
		s += ", moved the damaged file to " + d.aside
	}
	return s
}

// loadStream opens the segments of a directory and visits their frames in
// order. A damaged segment is replaced by one with what could be read, and the
// original put aside, before any of its frames is visited. The stream comes
// back also with an error, for the caller to close.
func loadStream(dir string, durable bool, suffix string, visit func(*segment, frame)) (st *stream, found []damage, err error) {
	st = &stream{dir: dir, durable: durable, next: 1}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return st, nil, err
	}
	nums, err := segmentNumbers(dir)
	if err != nil {
		return st, nil, err
	}
	var buf []byte
	for i, num := range nums {
		path := filepath.Join(dir, segmentName(num))
		if i > 0 && num != nums[i-1]+1 && durable {
			found = append(found, damage{segment: path, problem: fmt.Sprintf("follows segment %d: the files between them are gone", nums[i-1])})
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return st, found, err
		}
		s := &segment{num: num, path: path, f: f}
		st.segs = append(st.segs, s)
		if buf, err = s.contents(buf); err != nil {
			return st, found, fmt.Errorf("read %s: %w", path, err)
		}
		frames, d := s.examine(buf, durable)
		if s.version > segmentVersion {
			return st, found, fmt.Errorf("%s was written by a newer version of Gantry (format %d, this one reads %d)", path, s.version, segmentVersion)
		}
		if d != nil {
			if s, frames, err = salvage(s, frames, d, suffix, buf); err != nil {
				return st, found, fmt.Errorf("%s %s; saving what is readable: %w", path, d.problem, err)
			}
			st.segs[i] = s
			found = append(found, *d)
		}
		for _, fr := range frames {
			visit(s, fr)
		}
		st.next = num + 1
	}
	unfinished, err := st.adopt()
	for _, s := range unfinished {
		found = append(found, damage{segment: s.path, problem: "was never finished, and files follow it: its end may be missing", kept: s.frames})
	}
	return st, found, err
}

// adopt decides which segment is written next: the last one, if it is not
// sealed. An empty one behind an unsealed one is the spare. Unsealed ones that
// others follow are sealed; in a durable stream they are returned as well,
// because there the seal is on disk before anything follows.
func (st *stream) adopt() (unfinished []*segment, err error) {
	if n := len(st.segs); n > 1 && !st.segs[n-1].sealed && st.segs[n-1].frames == 0 && !st.segs[n-2].sealed {
		st.spare = st.segs[n-1]
		st.segs = st.segs[:n-1]
	}
	if n := len(st.segs); n > 0 {
		st.open = st.segs[n-1]
	}
	for _, s := range st.segs {
		if s.sealed || s == st.open {
			continue
		}
		if st.durable {
			unfinished = append(unfinished, s)
		}
		if err := s.seal(st.durable); err != nil {
			return unfinished, err
		}
	}
	return unfinished, nil
}

func segmentNumbers(dir string) ([]uint32, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var nums []uint32
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".seg.tmp"); ok && len(name) == 8 {
			// A file that a crash left half made; nothing in it was promised.
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			continue
		}
		name, ok := strings.CutSuffix(e.Name(), ".seg")
		if !ok {
			continue
		}
		num, err := strconv.ParseUint(name, 10, 32)
		if err != nil || segmentName(uint32(num)) != e.Name() {
			continue
		}
		nums = append(nums, uint32(num))
	}
	slices.Sort(nums)
	return nums, nil
}

// examine reads a segment's contents and says what is wrong with it, or nil.
// The frames it returns are those of deliveries, without head and seal.
func (s *segment) examine(b []byte, durable bool) (frames []frame, d *damage) {
	var head, seal map[protowire.Number]int64
	first := true
	end, spans := scanFrames(b, func(f frame) {
		switch {
		case f.kind == frameHead && first:
			head = readInts(f.payload)
		case f.kind == frameSeal:
			seal = readInts(f.payload)
		default:
			frames = append(frames, f)
		}
		first = false
	})
	s.end, s.size, s.frames, s.sealed = end, int64(len(b)), len(frames), seal != nil
	s.version = head[headVersion]

	var problems []string
	note := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	tail := false
	for _, sp := range spans {
		note("is unreadable from byte %d to %d", sp.from, sp.to)
		tail = len(spans) == 1 && sp.from == end && seal == nil && head != nil
	}
	if durable {
		if head == nil {
			note("has no readable head")
			tail = false
		}
		if seal != nil && int(seal[sealFrames]) != len(frames) {
			note("holds %d of %d records", len(frames), seal[sealFrames])
			tail = false
		}
		if seal == nil && head != nil && head[headSize] != int64(len(b)) {
			note("was cut from %d to %d bytes", head[headSize], len(b))
			tail = false
		}
	}
	if len(problems) == 0 {
		return frames, nil
	}
	return frames, &damage{segment: s.path, problem: strings.Join(problems, ", "), tail: tail, kept: len(frames)}
}

// salvage replaces a damaged segment by one that holds what could be read. The
// original stays beside it under a name that ends in suffix; at no moment is
// there neither of them.
func salvage(s *segment, frames []frame, d *damage, suffix string, contents []byte) (*segment, []frame, error) {
	raw := make([][]byte, len(frames))
	for i, f := range frames {
		raw[i] = contents[f.off : f.off+f.size]
	}
	dir := filepath.Dir(s.path)
	fresh, offsets, err := writeSealed(dir, s.num, raw)
	if err != nil {
		return s, nil, err
	}
	aside := s.path + ".damaged-" + suffix
	err = os.Link(s.path, aside)
	if err == nil {
		err = os.Rename(s.path+".tmp", s.path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return s, nil, errors.Join(err, fresh.f.Close())
	}
	d.aside = aside
	for i := range frames {
		frames[i].off = offsets[i]
	}
	return fresh, frames, s.f.Close()
}

func (st *stream) close() error {
	st.prep.Lock()
	defer st.prep.Unlock()
	var errs []error
	for _, s := range st.segs {
		errs = append(errs, s.f.Close())
	}
	if st.spare != nil {
		errs = append(errs, st.spare.f.Close())
	}
	return errors.Join(errs...)
}
