package inbox

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/inbox/queue"
	"github.com/gantryhq/gantry/inbox/wal"
	"github.com/gantryhq/gantry/spacelift"
)

// A record of the log is an event or a set of marks.
//
//	event  kind, number (8 bytes), tag (8), time of arrival (8), secret, state
//	       version, size, source, account, stack, run, type, state, body
//	marks  kind, then for each: index, number, status, attempts, time, error
//
// Numbers are varints, strings have their length before them.
const (
	kindEvent byte = 'e'
	kindAgain byte = 'r' // an older event that is sent again
	kindMarks byte = 'm'
)

func isEvent(rec []byte) bool { return len(rec) > 0 && (rec[0] == kindEvent || rec[0] == kindAgain) }

// appendEvent encodes an event with its number.
func appendEvent(to []byte, d *archive.Delivery, body []byte, kind byte, id ulid.ULID) []byte {
	to = append(append(to, kind), id[:]...)
	to = binary.LittleEndian.AppendUint64(to, uint64(d.ReceivedAt.UnixNano()))
	to = binary.AppendUvarint(to, uint64(d.Secret))
	to = binary.AppendUvarint(to, uint64(d.StateVersion))
	to = binary.AppendUvarint(to, uint64(d.Size))
	for _, s := range [...]string{d.Source, string(d.Run.Account), string(d.Run.Stack), string(d.Run.Run), string(d.Type), string(d.State)} {
		to = append(binary.AppendUvarint(to, uint64(len(s))), s...)
	}
	return append(to, body...)
}

// readEvent decodes an event. Its body is part of the record.
func readEvent(rec []byte) (e archive.Row, err error) {
	if len(rec) < 1+16+8 || !isEvent(rec) {
		return e, wal.ErrDamaged
	}
	r := reader{rec[1:]}
	id := ulid.ULID(r.take(16))
	e.Number, _ = splitID(id)
	e.ID = id.String()
	e.ReceivedAt = time.Unix(0, int64(binary.LittleEndian.Uint64(r.take(8)))).UTC()
	e.Secret, e.StateVersion, e.Size = int(r.number()), int(r.number()), int(r.number())
	e.Source = r.text()
	e.Run = spacelift.RunRef{Account: spacelift.Account(r.text()), Stack: spacelift.StackID(r.text()), Run: spacelift.RunID(r.text())}
	e.Type, e.State = spacelift.RunType(r.text()), spacelift.RunState(r.text())
	e.Outcome, e.Forwarding, e.Body, e.HasBody = archive.OutcomeAccepted, archive.ForwardingPending, r.b, len(r.b) > 0
	return e, nil
}

// stages are the stages of forwarding, as marks number them.
var stages = [...]archive.Forwarding{archive.ForwardingPending, archive.ForwardingForwarded, archive.ForwardingLate, archive.ForwardingDead}

// newPending returns an event of the queue; of a record that can't be read, nil.
func newPending(idx uint64, n int64, rec []byte) queue.Pending {
	return queue.Pending{Index: idx, Number: n, Size: uint32(len(rec) + 512), Again: len(rec) > 0 && rec[0] == kindAgain, Record: rec}
}

// newMarks encodes the results of forwarding.
func newMarks(marks []archive.Result) []byte {
	b := append(make([]byte, 0, 16+16*len(marks)), kindMarks)
	var last archive.Result
	for _, m := range marks {
		b = binary.AppendVarint(b, int64(m.Index-last.Index))
		b = binary.AppendVarint(b, m.Number-last.Number)
		b = append(b, byte(slices.Index(stages[:], m.Forwarding)))
		b = binary.AppendUvarint(b, uint64(m.Attempts))
		b = binary.AppendVarint(b, m.ForwardedAt-last.ForwardedAt)
		b = append(binary.AppendUvarint(b, uint64(len(m.Error))), m.Error...)
		last = m
	}
	return b
}

// readMarks decodes marks; an event has none.
func readMarks(rec []byte) (marks []archive.Result) {
	if len(rec) == 0 || rec[0] != kindMarks {
		return nil
	}
	r := reader{rec[1:]}
	var m archive.Result
	for len(r.b) > 0 {
		m.Index += uint64(r.signed())
		m.Number += r.signed()
		m.Forwarding = stages[min(int(r.take(1)[0]), len(stages)-1)]
		m.Attempts = int(r.number())
		m.ForwardedAt += r.signed()
		m.Error = r.text()
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
