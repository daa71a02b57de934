package inbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/encoding/protowire"
)

// A segment is one file of a stream. It begins with a frameHead; a frameSeal
// says that it is complete. Its name is its number.
type segment struct {
	num     uint32
	path    string
	version int64 // of its format
	f       *os.File

	size   int64 // of the file: reserved while it is open for writing
	end    int64 // where the next frame goes
	dirty  int64 // up to here a failed write may have left something
	frames int
	sealed bool
	flush  func(*os.File) error // instead of syncData, in tests that watch or break it

	// Guarded by Inbox.mu.
	refs    int  // readers of f
	retired bool // replaced or removed: closed when the last reader leaves
	pending int64
	bodies  int   // bodies of deliveries that are done, and may go
	bodyLen int64 // their bytes
}

const (
	segmentVersion = 1
	sealRoom       = 64 // kept free for the seal
)

// The fields of frameHead and frameSeal; a contract with files on disk.
const (
	headVersion protowire.Number = 1
	headNumber  protowire.Number = 2
	headSize    protowire.Number = 3 // bytes reserved; 0 when the file grows as it is written
	sealFrames  protowire.Number = 1 // frames between head and seal
)

func headPayload(num uint32, reserved int64) []byte {
	b := appendInt(nil, headVersion, segmentVersion)
	b = appendInt(b, headNumber, int64(num))
	return appendInt(b, headSize, reserved)
}

// readInts reads a payload of numbers only.
func readInts(b []byte) map[protowire.Number]int64 {
	ints := make(map[protowire.Number]int64)
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 || typ != protowire.VarintType {
			break
		}
		v, m := protowire.ConsumeVarint(b[n:])
		if m < 0 {
			break
		}
		ints[num] = protowire.DecodeZigZag(v)
		b = b[n+m:]
	}
	return ints
}

func segmentName(num uint32) string { return fmt.Sprintf("%08d.seg", num) }

// createSegment makes an empty segment. With reserve > 0 its blocks are
// written with zeros first: then appending to it needs no space and changes no
// metadata, so it neither fails for want of space nor waits for the
// file system's journal.
func createSegment(dir string, num uint32, reserve int64) (_ *segment, err error) {
	path := filepath.Join(dir, segmentName(num))
	f, err := os.OpenFile(path+".tmp", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(path+".tmp"))
		}
	}()
	head := appendFrame(nil, frameHead, ulid.ULID{}, headPayload(num, reserve))
	if reserve > 0 {
		blank := make([]byte, min(reserve, 256<<10))
		for off := int64(0); off < reserve; off += int64(len(blank)) {
			if _, err := f.WriteAt(blank[:min(int64(len(blank)), reserve-off)], off); err != nil {
				return nil, err
			}
		}
	}
	if _, err := f.WriteAt(head, 0); err != nil {
		return nil, err
	}
	if reserve > 0 {
		if err := f.Sync(); err != nil {
			return nil, err
		}
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return nil, err
	}
	if reserve > 0 {
		if err := syncDir(dir); err != nil {
			return nil, errors.Join(err, os.Remove(path))
		}
	}
	end := int64(len(head))
	return &segment{num: num, path: path, f: f, size: max(reserve, end), end: end}, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the operator's own directory
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// room reports whether n more bytes, and a seal, fit what was reserved.
func (s *segment) room(n int) bool { return s.end+int64(n)+sealRoom <= s.size }

// append writes whole frames behind the last ones, and with durable waits until
// they are on disk. After an error the segment is as it was: what the failed
// write left behind is overwritten by the next one. That also writes each page
// of a failed flush again, which the kernel may have dropped from its memory
// of what still needs writing.
func (s *segment) append(buf []byte, frames int, durable bool) error {
	n := int64(len(buf))
	if rest := s.dirty - (s.end + n); rest > 0 {
		buf = append(buf, make([]byte, rest)...)
	}
	if _, err := s.f.WriteAt(buf, s.end); err != nil {
		s.dirty = max(s.dirty, s.end+n)
		return err
	}
	if durable {
		if err := s.sync(); err != nil {
			s.dirty = max(s.dirty, s.end+n)
			return err
		}
	}
	s.end += n
	s.frames += frames
	s.dirty = 0
	if s.end > s.size {
		s.size = s.end
	}
	return nil
}

func (s *segment) sync() error {
	if s.flush != nil {
		return s.flush(s.f)
	}
	return syncData(s.f)
}

// seal ends the segment. Sealing a sealed one does nothing.
func (s *segment) seal(durable bool) error {
	if s.sealed {
		return nil
	}
	buf := appendFrame(nil, frameSeal, ulid.ULID{}, appendInt(nil, sealFrames, int64(s.frames)))
	if err := s.append(buf, 0, durable); err != nil {
		return fmt.Errorf("seal %s: %w", s.path, err)
	}
	s.sealed = true
	return nil
}

// read returns the frame of size bytes at off.
func (s *segment) read(off int64, size int) (frame, error) {
	b := make([]byte, size)
	if _, err := s.f.ReadAt(b, off); err != nil {
		return frame{}, fmt.Errorf("read %s at %d: %w", s.path, off, err)
	}
	f, ok := readFrame(b)
	if !ok {
		return frame{}, fmt.Errorf("read %s at %d: %w: checksum", s.path, off, errRecord)
	}
	f.off = off
	return f, nil
}

// contents reads the whole file into buf, which it may replace.
func (s *segment) contents(buf []byte) ([]byte, error) {
	st, err := s.f.Stat()
	if err != nil {
		return nil, err
	}
	buf = slices.Grow(buf[:0], int(st.Size()))[:st.Size()]
	if len(buf) == 0 {
		return buf, nil
	}
	_, err = s.f.ReadAt(buf, 0)
	return buf, err
}

// writeSealed makes a sealed segment of whole frames, under a temporary name.
// The caller renames it; until then a crash leaves nothing but a .tmp file.
func writeSealed(dir string, num uint32, frames [][]byte) (_ *segment, offsets []int64, err error) {
	path := filepath.Join(dir, segmentName(num))
	f, err := os.OpenFile(path+".tmp", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(path+".tmp"))
		}
	}()
	s := &segment{num: num, path: path, f: f}
	buf := appendFrame(nil, frameHead, ulid.ULID{}, headPayload(num, 0))
	for _, fr := range frames {
		offsets = append(offsets, s.end+int64(len(buf)))
		buf = append(buf, fr...)
		if len(buf) >= 256<<10 {
			if err := s.append(buf, 0, false); err != nil {
				return nil, nil, err
			}
			buf = buf[:0]
		}
	}
	if err := s.append(buf, 0, false); err != nil {
		return nil, nil, err
	}
	s.frames = len(frames)
	if err := s.seal(false); err != nil {
		return nil, nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, nil, err
	}
	return s, offsets, nil
}
