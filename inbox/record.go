package inbox

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/workflows"
)

// A row of the database holds the records of one commit, one behind the other.
// Each has a head with all that the index needs, so that a start decodes no
// JSON, and a checksum of its own, so that damage to one is not damage to all.
// The layout is a contract with files on disk; integers are little endian.
//
//	 0  payload length, uint32
//	 4  CRC-32C of everything behind it, payload included, uint32
//	 8  id
//	24  key
//	40  run key, uint64
//	48  body length, uint32
//	52  slot, uint16
//	54  outcome, one byte
//	55  format, one byte
//	56  payload, JSON
const (
	headSize     = 56
	recordFormat = 1

	maxPayload = 16 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errRecord = errors.New("malformed record")

// key is the identity of an event: Spacelift sends no delivery id, and numbers
// the states of a run. It is a cryptographic hash, so that equal keys are the
// same event and nothing has to be read to be sure.
type key [16]byte

func keyOf(run spacelift.RunRef, version int, state spacelift.RunState) key {
	sum := digest(run, strconv.Itoa(version), string(state))
	return key(sum[:16])
}

// runKeyOf names a run in the queue. Runs that shared one would share a queue,
// which the forwarder takes apart.
func runKeyOf(run spacelift.RunRef) uint64 {
	sum := digest(run)
	return binary.LittleEndian.Uint64(sum[:])
}

func digest(run spacelift.RunRef, more ...string) [sha256.Size]byte {
	b := make([]byte, 0, 256)
	for _, s := range []string{string(run.Account), string(run.Stack), string(run.Run)} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	for _, s := range more {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	return sha256.Sum256(b)
}

var outcomes = []Outcome{OutcomeAccepted, OutcomeDuplicate, OutcomeIgnored, OutcomeRefused, OutcomeUnavailable}

// outcomeCode is 0 for an outcome that is not one.
func outcomeCode(o Outcome) uint8 { return uint8(slices.Index(outcomes, o) + 1) }

// head is what a record says of itself without being decoded.
type head struct {
	id      ulid.ULID
	key     key
	run     uint64
	body    uint32
	slot    uint16
	outcome uint8
}

// payload is the JSON part: an accepted delivery's event with what the event
// does not tell, or any other delivery.
type payload struct {
	Delivery *Delivery `json:"delivery,omitempty"`

	Event      *workflows.RunEvent `json:"event,omitempty"`
	ReceivedAt time.Time           `json:"receivedAt,omitzero"`
	Source     string              `json:"source,omitempty"`
	Reason     string              `json:"reason,omitempty"`
	Detail     string              `json:"detail,omitempty"`
	Size       int                 `json:"size,omitempty"`
	Secret     int                 `json:"secret,omitempty"`
}

func appendRecord(b []byte, h head, p payload) ([]byte, error) {
	text, err := json.Marshal(p)
	if err != nil {
		return b, err
	}
	if len(text) > maxPayload {
		return b, fmt.Errorf("%d bytes are more than the inbox stores", len(text))
	}
	start := len(b)
	b = append(slices.Grow(b, headSize+len(text)), make([]byte, headSize)...)
	b = append(b, text...)
	f := b[start:]
	binary.LittleEndian.PutUint32(f, uint32(len(text)))
	copy(f[24:], h.key[:])
	binary.LittleEndian.PutUint64(f[40:], h.run)
	binary.LittleEndian.PutUint32(f[48:], h.body)
	f[54], f[55] = h.outcome, recordFormat
	seal(f, h.id, h.slot)
	return b, nil
}

// seal sets what is known only when a record gets its place, and the checksum.
func seal(f []byte, id ulid.ULID, slot uint16) {
	copy(f[8:], id[:])
	binary.LittleEndian.PutUint16(f[52:], slot)
	binary.LittleEndian.PutUint32(f[4:], crc32.Checksum(f[8:], castagnoli))
}

// loseBody says in a record that its body is not kept.
func loseBody(f []byte) {
	clear(f[48:52])
	h := readHead(f)
	seal(f, h.id, h.slot)
}

func readHead(f []byte) head {
	h := head{
		run: binary.LittleEndian.Uint64(f[40:]), body: binary.LittleEndian.Uint32(f[48:]),
		slot: binary.LittleEndian.Uint16(f[52:]), outcome: f[54],
	}
	copy(h.id[:], f[8:])
	copy(h.key[:], f[24:])
	return h
}

// records visits the records of a row, head and all, in order. A damaged one
// comes as nil; if its length can't be right, it is the last.
func records(b []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			if len(b) < headSize {
				yield(nil)
				return
			}
			n := headSize + int64(binary.LittleEndian.Uint32(b))
			if n > int64(len(b)) {
				yield(nil)
				return
			}
			f := b[:n:n]
			b = b[n:]
			if crc32.Checksum(f[8:], castagnoli) != binary.LittleEndian.Uint32(f[4:]) || f[55] != recordFormat {
				f = nil
			}
			if !yield(f) {
				return
			}
		}
	}
}

// findRecord returns the record with this slot. It checks no other's checksum.
func findRecord(b []byte, slot uint16) ([]byte, error) {
	for len(b) >= headSize {
		n := headSize + int64(binary.LittleEndian.Uint32(b))
		if n > int64(len(b)) {
			break
		}
		if binary.LittleEndian.Uint16(b[52:]) == slot {
			for f := range records(b[:n]) {
				if f != nil {
					return f, nil
				}
			}
			break
		}
		b = b[n:]
	}
	return nil, fmt.Errorf("%w: number %d of its row", errRecord, slot)
}

// decodeRecord returns a record's delivery as it was stored, and the event of
// an accepted one.
func decodeRecord(f []byte) (Delivery, *workflows.RunEvent, error) {
	h := readHead(f)
	var p payload
	if err := json.Unmarshal(f[headSize:], &p); err != nil {
		return Delivery{}, nil, fmt.Errorf("%w: %w", errRecord, err)
	}
	var d Delivery
	switch {
	case p.Delivery != nil:
		d = *p.Delivery
	case p.Event != nil:
		e := p.Event
		e.Delivery = h.id.String()
		d = Delivery{
			Outcome: OutcomeAccepted, ReceivedAt: p.ReceivedAt, Source: p.Source, Reason: p.Reason, Detail: p.Detail, Size: p.Size, Secret: p.Secret,
			Run: e.Run, Type: e.Type, State: e.State, StateVersion: e.StateVersion,
		}
	default:
		return Delivery{}, nil, fmt.Errorf("%w: neither event nor delivery", errRecord)
	}
	d.ID = h.id.String()
	return d, p.Event, nil
}

// The bodies of a row lie apart from its records, because they go first: slot,
// length, checksum, body.
const bodyHead = 2 + 4 + 4

func appendBody(b []byte, slot uint16, body []byte) []byte {
	if len(body) == 0 {
		return b
	}
	b = binary.LittleEndian.AppendUint16(b, slot)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(body, castagnoli))
	return append(b, body...)
}

// bodies visits a row's undamaged bodies.
func bodies(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= bodyHead {
			n := bodyHead + int64(binary.LittleEndian.Uint32(b[2:]))
			if n > int64(len(b)) {
				return
			}
			slot, sum, body := binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint32(b[6:]), b[bodyHead:n:n]
			b = b[n:]
			if crc32.Checksum(body, castagnoli) == sum && !yield(slot, body) {
				return
			}
		}
	}
}

func findBody(b []byte, slot uint16) []byte {
	for s, body := range bodies(b) {
		if s == slot {
			return body
		}
	}
	return nil
}

// mark is what became of one entry of a row.
type mark struct {
	slot      uint16
	state     state
	attempts  uint16
	latency   uint32 // microseconds
	forwarded int64  // unix milliseconds
	err       string
}

// The marks of a row lie together, because its entries are mostly forwarded
// within moments: a checksum, then for each mark varints and the error.
func appendMark(b []byte, m mark) []byte {
	if len(b) == 0 {
		b = append(b, 0, 0, 0, 0)
	}
	b = binary.AppendUvarint(b, uint64(m.slot))
	b = append(b, byte(m.state))
	b = binary.AppendUvarint(b, uint64(m.attempts))
	b = binary.AppendUvarint(b, uint64(m.latency))
	b = binary.AppendVarint(b, m.forwarded)
	b = binary.AppendUvarint(b, uint64(len(m.err)))
	return append(b, m.err...)
}

func sealMarks(b []byte) {
	binary.LittleEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
}

func decodeMarks(b []byte) ([]mark, error) {
	if len(b) < 4 || crc32.Checksum(b[4:], castagnoli) != binary.LittleEndian.Uint32(b) {
		return nil, fmt.Errorf("%w: checksum of marks", errRecord)
	}
	b = b[4:]
	bad := false
	number := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			bad = true
			return 0
		}
		b = b[n:]
		return v
	}
	var marks []mark
	for len(b) > 0 {
		m := mark{slot: uint16(number())}
		if len(b) > 0 {
			m.state, b = state(b[0]), b[1:]
		}
		m.attempts, m.latency = uint16(number()), uint32(number())
		v := number()
		m.forwarded = int64(v>>1) ^ -int64(v&1)
		n := number()
		if bad || n > uint64(len(b)) || m.state > stateDead {
			return nil, fmt.Errorf("%w: marks", errRecord)
		}
		m.err, b = string(b[:n]), b[n:]
		marks = append(marks, m)
	}
	return marks, nil
}
