package inbox

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
)

// What a cell of a table's leaf page holds.
const (
	cellBatch = iota
	cellMarks
	cellLog
)

// cell is a row as a salvage finds it.
type cell struct {
	kind    int
	seq     int64
	class   int
	records []byte // or marks
	bodies  []byte
}

// cells reads the leaf pages of all tables, wherever they are, without the
// tree that leads to them. It also finds rows that were deleted or moved: it is
// for the caller to know which ones are missed.
// See https://sqlite.org/fileformat2.html#b_tree_pages.
func cells(path string, visit func(cell) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	page := make([]byte, pageSize)
	for at := int64(pageSize); ; at += pageSize { // the first one holds the schema
		if _, err := f.ReadAt(page, at); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		const leaf = 0x0d
		if page[0] != leaf {
			continue
		}
		count := int(binary.BigEndian.Uint16(page[3:]))
		if 8+2*count > pageSize {
			continue
		}
		for i := range count {
			start := int(binary.BigEndian.Uint16(page[8+2*i:]))
			if start < 8 || start >= pageSize {
				continue
			}
			if c, ok := readCell(f, page[start:]); ok {
				if err := visit(c); err != nil {
					return err
				}
			}
		}
	}
}

// readCell reads a row, following it to its overflow pages.
func readCell(f io.ReaderAt, b []byte) (c cell, ok bool) {
	size, b, ok := varint(b)
	if !ok || size == 0 || size > 2*maxPayload+pageSize {
		return c, false
	}
	seq, b, ok := varint(b)
	if !ok {
		return c, false
	}
	// How much of a row stays in its leaf: same page, "cell payload overflow pages".
	local := int64(size)
	if most := int64(pageSize - 35); local > most {
		least := int64((pageSize-12)*32/255 - 23)
		if local = least + (int64(size)-least)%(pageSize-4); local > most {
			local = least
		}
	}
	if local > int64(len(b)) {
		return c, false
	}
	row := append(make([]byte, 0, size), b[:local]...)
	if local < int64(size) {
		if int(local)+4 > len(b) {
			return c, false
		}
		row = overflow(f, row, int(size), binary.BigEndian.Uint32(b[local:]))
	}
	c.seq = int64(seq)
	return c, c.fill(row)
}

// overflow appends pages of a chain until the row has its size, or as far as
// they can be read: what is missing will not match its checksum.
func overflow(f io.ReaderAt, row []byte, size int, next uint32) []byte {
	page := make([]byte, pageSize)
	for len(row) < size && next != 0 {
		if _, err := f.ReadAt(page, int64(next-1)*pageSize); err != nil {
			break
		}
		next = binary.BigEndian.Uint32(page)
		row = append(row, page[4:4+min(size-len(row), pageSize-4)]...)
	}
	return append(row, make([]byte, size-len(row))...)
}

// fill takes a row's columns apart; their number and types tell the tables
// from each other. See https://sqlite.org/fileformat2.html#record_format.
func (c *cell) fill(row []byte) bool {
	size, rest, ok := varint(row)
	if !ok || size > uint64(len(row)) {
		return false
	}
	rest = row[len(row)-len(rest) : size]
	values := row[size:]
	var types []uint64
	var columns [][]byte
	for len(rest) > 0 && len(types) < 4 {
		var t uint64
		if t, rest, ok = varint(rest); !ok {
			return false
		}
		n := uint64(0)
		switch {
		case t >= 12:
			n = (t - 12) / 2
		case t <= 4:
			n = t // integers of so many bytes, and NULL
		}
		if n > uint64(len(values)) {
			return false
		}
		types, columns, values = append(types, t), append(columns, values[:n]), values[n:]
	}
	blob := func(i int) bool { return types[i] >= 12 && types[i]%2 == 0 }
	switch {
	case len(types) < 2 || types[0] != 0: // seq is the row's id and stored as NULL
		return false
	case len(types) == 2 && blob(1):
		c.kind, c.records = cellMarks, columns[1]
	case len(types) == 3 && blob(1) && (blob(2) || types[2] == 0):
		c.kind, c.records, c.bodies = cellBatch, columns[1], columns[2]
	case len(types) == 3 && (types[1] == 8 || types[1] == 9) && blob(2): // the constants 0 and 1
		c.kind, c.class, c.records = cellLog, int(types[1]-8), columns[2]
	default:
		return false
	}
	return true
}

// varint reads one of SQLite's: big endian, seven bits a byte, the ninth whole.
func varint(b []byte) (v uint64, rest []byte, ok bool) {
	for i := range min(9, len(b)) {
		if i == 8 {
			return v<<8 | uint64(b[i]), b[9:], true
		}
		v = v<<7 | uint64(b[i]&0x7f)
		if b[i] < 0x80 {
			return v, b[i+1:], true
		}
	}
	return 0, nil, false
}
