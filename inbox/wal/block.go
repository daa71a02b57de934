package wal

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"hash/crc32"
	"time"
)

// A segment is a header and blocks; zeros follow. A block is what one flush wrote:
//
//	file    magic (8 bytes), salt (8 bytes)
//	block   salt, index of the first record (8), time (8), size (4), checksum of these (4)
//	record  size (4), checksum (4), the record
//
// The salt is random: nobody can send an event that looks like a block. A block
// without records shows that the one before was whole.
const (
	magic        = "gantry\x00\x01"
	saltLen      = 8
	fileHeader   = len(magic) + saltLen
	blockHeader  = saltLen + 8 + 8 + 4 + 4
	recordHeader = 4 + 4

	maxRecord = 64 << 20 // so that a damaged size costs no more memory
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func newHeader() []byte {
	header := append([]byte(magic), make([]byte, saltLen)...)
	_, _ = rand.Read(header[len(magic):]) // never fails: crypto/rand
	return header
}

// Block is a set of records that one Append wrote.
type Block struct {
	First uint64    // index of its first record
	At    time.Time // when it was written
	Recs  [][]byte  // nil for a damaged one

	place, size int // in the file
	whole       bool
}

// recordSize returns the size that a record's header gives.
func recordSize(from []byte) int { return int(binary.LittleEndian.Uint32(from)) }

// Next returns the index behind the block's last record.
func (b *Block) Next() uint64 { return b.First + uint64(len(b.Recs)) }

// appendBlock encodes a block.
func appendBlock(to, salt []byte, b Block) []byte {
	start := len(to)
	to = append(to, salt...)
	to = binary.LittleEndian.AppendUint64(to, b.First)
	to = binary.LittleEndian.AppendUint64(to, uint64(b.At.UnixNano()))
	to = append(to, 0, 0, 0, 0, 0, 0, 0, 0)
	for _, rec := range b.Recs {
		to = binary.LittleEndian.AppendUint32(to, uint32(len(rec)))
		to = binary.LittleEndian.AppendUint32(to, crc32.Checksum(rec, castagnoli))
		to = append(to, rec...)
	}
	header := to[start : start+blockHeader]
	binary.LittleEndian.PutUint32(header[24:], uint32(len(to)-start-blockHeader))
	binary.LittleEndian.PutUint32(header[28:], crc32.Checksum(header[:28], castagnoli))
	return to
}

// readHeader decodes a block's header.
func readHeader(from, salt []byte) (b Block, ok bool) {
	if len(from) < blockHeader || !bytes.HasPrefix(from, salt) || crc32.Checksum(from[:28], castagnoli) != binary.LittleEndian.Uint32(from[28:]) {
		return b, false
	}
	b.First, b.At = binary.LittleEndian.Uint64(from[8:]), time.Unix(0, int64(binary.LittleEndian.Uint64(from[16:])))
	b.size = blockHeader + int(binary.LittleEndian.Uint32(from[24:]))
	return b, true
}

// readRecords decodes a block's records.
func (b *Block) readRecords(from []byte) {
	b.whole = true
	for len(from) > 0 {
		rec, rest, ok := readRecord(from)
		if b.whole = b.whole && ok; rest == nil {
			return
		}
		b.Recs, from = append(b.Recs, rec), rest
	}
}

// readRecord returns a record, nil if it is damaged, and what follows it, nil if
// that is unknown.
func readRecord(from []byte) (rec, rest []byte, ok bool) {
	if len(from) < recordHeader {
		return nil, nil, false
	}
	n := recordSize(from)
	if n == 0 || n > len(from)-recordHeader {
		return nil, nil, false
	}
	rec, rest = from[recordHeader:recordHeader+n:recordHeader+n], from[recordHeader+n:]
	if crc32.Checksum(rec, castagnoli) != binary.LittleEndian.Uint32(from[4:]) {
		return nil, rest, false
	}
	return rec, rest, true
}

// scan decodes a segment. A break with nothing but zeros or fragments behind it is
// the torn end of a write that nobody got an answer for. A break with a block behind
// it is damage, because a block is written after the one before is on disk.
func scan(image []byte) (blocks []Block, damaged bool) {
	if !bytes.HasPrefix(image, []byte(magic)) || len(image) < fileHeader {
		return nil, true
	}
	salt := image[len(magic):fileHeader]
	for at := fileHeader; ; {
		b, ok := readHeader(image[at:], salt)
		if ok {
			b.place = at
			b.readRecords(image[at+blockHeader : min(at+b.size, len(image))])
			b.whole = b.whole && at+b.size <= len(image)
		}
		if ok && b.whole {
			blocks, at = append(blocks, b), at+b.size
			continue
		}
		next := findBlock(image, at+1, salt)
		if next < 0 {
			return blocks, damaged
		}
		if damaged = true; ok {
			blocks = append(blocks, b)
		}
		at = next
	}
}

func findBlock(image []byte, from int, salt []byte) int {
	for from < len(image) {
		i := bytes.Index(image[from:], salt)
		if i < 0 {
			return -1
		}
		if _, ok := readHeader(image[from+i:], salt); ok {
			return from + i
		}
		from += i + 1
	}
	return -1
}
