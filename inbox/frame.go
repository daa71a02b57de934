package inbox

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"github.com/oklog/ulid/v2"
)

// A frame is the unit of every file of the inbox (little endian):
//
//	 0  magic    4 bytes, so that scanning finds its way again after damage
//	 4  checksum CRC-32C of everything from offset 8 to the end of the payload
//	 8  length   of the payload, uint32
//	12  kind     1 byte, and 3 zero bytes
//	16  id       ULID of the delivery; zero for frames about the segment
//	32  payload
//
// The layout is a contract with files on disk: add kinds, never change one.
const (
	frameHeader = 32
	maxPayload  = 64 << 20 // far above any request; a longer length is damage
)

var (
	frameMagic = []byte{0xd5, 'G', 'I', 0x01}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

type frameKind uint8

const (
	frameHead     frameKind = 1 // first of a segment: segmentHead
	frameSeal     frameKind = 2 // last of a segment: segmentSeal
	frameAccepted frameKind = 3 // record with event and body
	frameMark     frameKind = 4 // record: what became of an accepted one
	frameLogged   frameKind = 5 // record of a delivery that was not accepted
	frameNothing  frameKind = 6 // proves that writing works
)

type frame struct {
	kind    frameKind
	id      ulid.ULID
	payload []byte
	off     int64 // where it starts in its segment
	size    int64 // with its header
}

// beginFrame makes room for the header; the payload is appended by the caller.
func beginFrame(buf []byte) []byte {
	return append(buf, make([]byte, frameHeader)...)
}

// endFrame fills the header of the frame that starts at buf[start].
func endFrame(buf []byte, start int, kind frameKind, id ulid.ULID) {
	f := buf[start:]
	copy(f, frameMagic)
	binary.LittleEndian.PutUint32(f[8:], uint32(len(f)-frameHeader))
	f[12], f[13], f[14], f[15] = byte(kind), 0, 0, 0
	copy(f[16:], id[:])
	binary.LittleEndian.PutUint32(f[4:], crc32.Checksum(f[8:], castagnoli))
}

func appendFrame(buf []byte, kind frameKind, id ulid.ULID, payload []byte) []byte {
	start := len(buf)
	buf = append(beginFrame(buf), payload...)
	endFrame(buf, start, kind, id)
	return buf
}

// readFrame returns the frame at the start of b, and whether there is a whole,
// undamaged one. The payload aliases b.
func readFrame(b []byte) (frame, bool) {
	if len(b) < frameHeader || !bytes.Equal(b[:4], frameMagic) {
		return frame{}, false
	}
	n := int64(binary.LittleEndian.Uint32(b[8:]))
	if n > maxPayload || frameHeader+n > int64(len(b)) {
		return frame{}, false
	}
	f := frame{kind: frameKind(b[12]), payload: b[frameHeader : frameHeader+n : frameHeader+n], size: frameHeader + n}
	copy(f.id[:], b[16:])
	if crc32.Checksum(b[8:f.size], castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
		return frame{}, false
	}
	return f, true
}

// span is a part of a file, from its first byte to behind its last.
type span struct{ from, to int64 }

// scanFrames calls visit for every undamaged frame of a segment's contents, in
// order. It returns where the last one ends, and the stretches it could not
// read: whatever is neither a frame nor zeros up to the end of the file. It
// finds every undamaged frame, whatever precedes it.
func scanFrames(b []byte, visit func(frame)) (end int64, damaged []span) {
	for off := int64(0); off < int64(len(b)); {
		if f, ok := readFrame(b[off:]); ok {
			f.off = off
			visit(f)
			off += f.size
			end = off
			continue
		}
		next := off
		for {
			i := bytes.Index(b[next+1:], frameMagic)
			if i < 0 {
				next = int64(len(b))
				break
			}
			next += 1 + int64(i)
			if _, ok := readFrame(b[next:]); ok {
				break
			}
		}
		if next < int64(len(b)) || !zeros(b[off:]) {
			damaged = append(damaged, span{off, next})
		}
		off = next
	}
	return end, damaged
}

func zeros(b []byte) bool {
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b) != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
