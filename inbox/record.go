package inbox

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/gantryhq/gantry/spacelift"
)

// A record of the log is an event or a set of marks. Its last 4 bytes are its
// checksum. An empty record fills the place of a lost one.
//
//	event  kind, flags, time of arrival (8 bytes), secret, state version, size,
//	       source, account, stack, run, type, state, body, id (16 bytes)
//	marks  kind, then for each: index, number, status, attempts, time, error
//
// Numbers are varints, strings have their length before them.
const (
	kindEvent byte = 'e'
	kindMarks byte = 'm'
)

const (
	flagMoved       byte = 1 << iota // a copy of an older event: it has its place by its number
	flagRedelivered                  // an older event that is sent again
	flagPadded                       // a byte between the body and the id
)

const (
	idLen       = 16
	checksumLen = 4
)

var (
	errRecord  = errors.New("damaged record")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// newEvent encodes an event; stamp completes it.
func newEvent(d *Delivery, body []byte, flags byte) []byte {
	text := [...]string{d.Source, string(d.Run.Account), string(d.Run.Stack), string(d.Run.Run), string(d.Type), string(d.State)}
	size := 64 + len(body)
	for _, s := range text {
		size += 2 + len(s)
	}
	b := make([]byte, 0, size)
	b = append(b, kindEvent, flags)
	b = binary.LittleEndian.AppendUint64(b, uint64(d.ReceivedAt.UnixNano()))
	b = binary.AppendUvarint(b, uint64(d.Secret))
	b = binary.AppendUvarint(b, uint64(d.StateVersion))
	b = binary.AppendUvarint(b, uint64(d.Size))
	for _, s := range text {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	b = append(b, body...)
	if len(b)+idLen+checksumLen == readBuffer {
		b[1] |= flagPadded
		b = append(b, 0)
	}
	return b
}

// stamp appends the id and the checksum.
func stamp(rec []byte, id ulid.ULID) []byte { return checked(append(rec, id[:]...)) }

func checked(rec []byte) []byte {
	return binary.LittleEndian.AppendUint32(rec, crc32.Checksum(rec, castagnoli))
}

// intact reports whether a record is as it was written.
func intact(rec []byte) bool {
	n := len(rec) - checksumLen
	return n > 0 && crc32.Checksum(rec[:n], castagnoli) == binary.LittleEndian.Uint32(rec[n:])
}

// event is a decoded event. Its body is part of the record.
type event struct {
	Delivery
	flags byte
	n     int64
	tag   int64
	body  []byte
}

// readEvent decodes an intact event.
func readEvent(rec []byte) (e event, err error) {
	if len(rec) < 2+8+idLen+checksumLen || rec[0] != kindEvent {
		return e, errRecord
	}
	end := len(rec) - checksumLen - idLen
	e.n, e.tag = splitID(ulid.ULID(rec[end : end+idLen]))
	e.ID, e.flags = makeID(e.n, e.tag).String(), rec[1]
	r := reader{rec[2:end]}
	e.ReceivedAt = time.Unix(0, int64(binary.LittleEndian.Uint64(r.take(8)))).UTC()
	e.Secret, e.StateVersion, e.Size = int(r.number()), int(r.number()), int(r.number())
	e.Source = r.text()
	e.Run = spacelift.RunRef{Account: spacelift.Account(r.text()), Stack: spacelift.StackID(r.text()), Run: spacelift.RunID(r.text())}
	e.Type, e.State = spacelift.RunType(r.text()), spacelift.RunState(r.text())
	if e.flags&flagPadded != 0 {
		r.b = r.b[:max(0, len(r.b)-1)]
	}
	e.Outcome, e.Forwarding, e.body, e.HasBody = OutcomeAccepted, ForwardingPending, r.b, len(r.b) > 0
	return e, nil
}

// mark is the result of forwarding an event, or of moving it.
type mark struct {
	idx      uint64 // of the event in the log
	n        int64
	status   status
	attempts int
	at       int64 // milliseconds, when it was forwarded
	err      string
}

func newMarks(marks []mark) []byte {
	b := append(make([]byte, 0, 16+16*len(marks)), kindMarks)
	var last mark
	for _, m := range marks {
		b = binary.AppendVarint(b, int64(m.idx-last.idx))
		b = binary.AppendVarint(b, m.n-last.n)
		b = append(b, byte(m.status))
		b = binary.AppendUvarint(b, uint64(m.attempts))
		b = binary.AppendVarint(b, m.at-last.at)
		b = append(binary.AppendUvarint(b, uint64(len(m.err))), m.err...)
		last = m
	}
	return checked(b)
}

// readMarks decodes intact marks.
func readMarks(rec []byte) (marks []mark) {
	if len(rec) < 1+checksumLen || rec[0] != kindMarks {
		return nil
	}
	r := reader{rec[1 : len(rec)-checksumLen]}
	var m mark
	for len(r.b) > 0 {
		m.idx += uint64(r.signed())
		m.n += r.signed()
		m.status = status(r.take(1)[0])
		m.attempts = int(r.number())
		m.at += r.signed()
		m.err = r.text()
		marks = append(marks, m)
	}
	return marks
}

// reader reads a record's fields. Beyond the end it reads zeros: the checksum
// says that a record is as it was written.
type reader struct{ b []byte }

func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.b = nil
		return make([]byte, n)
	}
	field := r.b[:n]
	r.b = r.b[n:]
	return field
}

func (r *reader) number() uint64 {
	v, n := binary.Uvarint(r.b)
	r.b = r.b[max(n, 0):]
	return v
}

func (r *reader) signed() int64 {
	v, n := binary.Varint(r.b)
	r.b = r.b[max(n, 0):]
	return v
}

func (r *reader) text() string { return string(r.take(int(min(r.number(), uint64(len(r.b)))))) }
