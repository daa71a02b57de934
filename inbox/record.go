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

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// A row of the database holds the records of one commit, one after the other.
// Each has a head with all fields of the index, so that a start decodes no JSON,
// and a checksum of its own, so that damage to one record spares the others. The
// layout is a contract with files on disk; integers are little endian.
//
//	 0  length of the payload, uint32
//	 4  CRC-32C of everything after it, payload included, uint32
//	 8  id
//	24  key
//	40  run key, uint64
//	48  the body's place in the row's bodies, its length, its CRC-32C; uint32 each
//	60  outcome
//	61  format; 0 is a gap, left by a record that could not be saved
//	64  payload, JSON
const (
	headSize     = 64
	recordFormat = 1

	// maxStored limits the size of one event with its body.
	maxStored = 16 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

var errRecord = errors.New("malformed record")

// key is the identity of an event: Spacelift sends no delivery id, but numbers the
// states of a run. It is a cryptographic hash: equal keys mean the same event,
// without a comparison of the events themselves.
type key [16]byte

func keyOf(run spacelift.RunRef, version int, state spacelift.RunState) key {
	sum := digest(run, strconv.Itoa(version), string(state))
	return key(sum[:16])
}

// runKeyOf returns a run's key in the queue. Runs with the same key would share a
// queue, and the forwarder would separate them.
func runKeyOf(run spacelift.RunRef) uint64 {
	sum := digest(run)
	return binary.LittleEndian.Uint64(sum[:])
}

func digest(run spacelift.RunRef, more ...string) [sha256.Size]byte {
	b := make([]byte, 0, 256)
	for _, s := range append([]string{string(run.Account), string(run.Stack), string(run.Run)}, more...) {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	return sha256.Sum256(b)
}

var outcomes = []Outcome{OutcomeAccepted, OutcomeDuplicate, OutcomeIgnored, OutcomeRefused, OutcomeUnavailable}

// outcomeCode returns an outcome's code, or 0 for an unknown one.
func outcomeCode(o Outcome) uint8 { return uint8(slices.Index(outcomes, o) + 1) }

// head is the part of a record that can be read without decoding it.
type head struct {
	id      ulid.ULID
	key     key
	run     uint64
	bodyAt  uint32
	body    uint32 // its length
	bodySum uint32
	outcome uint8
}

// payload is the JSON part: an accepted delivery's event and the fields that the
// event lacks, or any other delivery.
type payload struct {
	Delivery *Delivery `json:"delivery,omitempty"`

	Event      *managed.RunEvent `json:"event,omitempty"`
	ReceivedAt time.Time         `json:"receivedAt,omitzero"`
	Source     string            `json:"source,omitempty"`
	Reason     string            `json:"reason,omitempty"`
	Detail     string            `json:"detail,omitempty"`
	Size       int               `json:"size,omitempty"`
	Secret     int               `json:"secret,omitempty"`
}

// appendRecord appends a record, which is valid only after place.
func appendRecord(b []byte, h head, p payload) ([]byte, error) {
	text, err := json.Marshal(p)
	if err != nil {
		return b, err
	}
	start := len(b)
	b = append(slices.Grow(b, headSize+len(text)), make([]byte, headSize)...)
	b = append(b, text...)
	f := b[start:]
	binary.LittleEndian.PutUint32(f, uint32(len(text)))
	copy(f[24:], h.key[:])
	binary.LittleEndian.PutUint64(f[40:], h.run)
	binary.LittleEndian.PutUint32(f[52:], h.body)
	binary.LittleEndian.PutUint32(f[56:], h.bodySum)
	f[60], f[61] = h.outcome, recordFormat
	return b, nil
}

// place sets the fields that are known only once a record has a place in a row.
func place(f []byte, id ulid.ULID, bodyAt int) {
	copy(f[8:], id[:])
	binary.LittleEndian.PutUint32(f[48:], uint32(bodyAt))
	binary.LittleEndian.PutUint32(f[4:], checksum(f[8:]))
}

func readHead(f []byte) (h head) {
	copy(h.id[:], f[8:])
	copy(h.key[:], f[24:])
	h.run, h.bodyAt = binary.LittleEndian.Uint64(f[40:]), binary.LittleEndian.Uint32(f[48:])
	h.body, h.bodySum, h.outcome = binary.LittleEndian.Uint32(f[52:]), binary.LittleEndian.Uint32(f[56:]), f[60]
	return h
}

// records visits the records of a row, intact or not, with their heads and
// places. A record with an impossible length comes as nil and is the last.
func records(row []byte) iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		for at := 0; at < len(row); {
			f := cut(row, at)
			if !yield(at, f) || f == nil {
				return
			}
			at += len(f)
		}
	}
}

// cut returns the bytes of the record at a place, or nil if its length is
// impossible.
func cut(row []byte, at int) []byte {
	if len(row)-at < headSize {
		return nil
	}
	end := int64(at) + headSize + int64(binary.LittleEndian.Uint32(row[at:]))
	if end > int64(len(row)) {
		return nil
	}
	return row[at:end:end]
}

// intact reports what is wrong with a record, or nil.
func intact(f []byte) error {
	switch {
	case f == nil:
		return fmt.Errorf("%w: length", errRecord)
	case checksum(f[8:]) != binary.LittleEndian.Uint32(f[4:]):
		return fmt.Errorf("%w: checksum", errRecord)
	case f[61] > recordFormat:
		return fmt.Errorf("%w: format %d", errRecord, f[61])
	}
	return nil
}

// isGap reports whether a valid record replaces one that was lost.
func isGap(f []byte) bool { return f[61] == 0 }

// makeGap clears a record but keeps its place.
func makeGap(f []byte) {
	clear(f[4:])
	binary.LittleEndian.PutUint32(f[4:], checksum(f[8:]))
}

// decodeRecord returns a record's delivery as stored, and the event of an accepted
// one.
func decodeRecord(f []byte) (Delivery, *managed.RunEvent, error) {
	var p payload
	if err := json.Unmarshal(f[headSize:], &p); err != nil {
		return Delivery{}, nil, fmt.Errorf("%w: %w", errRecord, err)
	}
	id := readHead(f).id.String()
	if d := p.Delivery; d != nil {
		d.ID = id
		return *d, nil, nil
	}
	e := p.Event
	if e == nil {
		return Delivery{}, nil, fmt.Errorf("%w: neither event nor delivery", errRecord)
	}
	e.Delivery = id
	return Delivery{
		ID: id, Outcome: OutcomeAccepted, ReceivedAt: p.ReceivedAt, Source: p.Source, Reason: p.Reason, Detail: p.Detail, Size: p.Size, Secret: p.Secret,
		Run: e.Run, Type: e.Type, State: e.State, StateVersion: e.StateVersion,
	}, e, nil
}

// bodyOf returns a record's body, or nil if it is not among the row's bodies.
func bodyOf(h head, bodies []byte) []byte {
	from, to := uint64(h.bodyAt), uint64(h.bodyAt)+uint64(h.body)
	if to > uint64(len(bodies)) || checksum(bodies[from:to]) != h.bodySum {
		return nil
	}
	return bodies[from:to]
}

// mark is the forwarding of the entry at a place in its row.
type mark struct {
	at        uint32
	state     state
	attempts  uint16
	latency   uint32 // microseconds
	forwarded int64  // unix milliseconds
	err       string // shorter than 64 KiB
}

// The marks of a row are stored together, because its entries are usually
// forwarded within moments: a checksum, then the fields and the error of each.
const markSize = 4 + 1 + 2 + 4 + 8 + 2

func appendMark(b []byte, m mark) []byte {
	if len(b) == 0 {
		b = append(b, 0, 0, 0, 0)
	}
	b = append(binary.LittleEndian.AppendUint32(b, m.at), byte(m.state))
	b = binary.LittleEndian.AppendUint16(b, m.attempts)
	b = binary.LittleEndian.AppendUint32(b, m.latency)
	b = binary.LittleEndian.AppendUint64(b, uint64(m.forwarded))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(m.err)))
	return append(b, m.err...)
}

func sealMarks(b []byte) { binary.LittleEndian.PutUint32(b, checksum(b[4:])) }

func decodeMarks(b []byte) (marks []mark, err error) {
	if len(b) < 4 || checksum(b[4:]) != binary.LittleEndian.Uint32(b) {
		return nil, fmt.Errorf("%w: checksum of marks", errRecord)
	}
	for b = b[4:]; len(b) > 0; {
		if len(b) < markSize {
			return nil, fmt.Errorf("%w: marks cut short", errRecord)
		}
		m := mark{
			at: binary.LittleEndian.Uint32(b), state: state(b[4]), attempts: binary.LittleEndian.Uint16(b[5:]),
			latency: binary.LittleEndian.Uint32(b[7:]), forwarded: int64(binary.LittleEndian.Uint64(b[11:])),
		}
		n := markSize + int(binary.LittleEndian.Uint16(b[19:]))
		if n > len(b) || m.state > stateDead {
			return nil, fmt.Errorf("%w: marks", errRecord)
		}
		m.err, b = string(b[markSize:n]), b[n:]
		marks = append(marks, m)
	}
	return marks, nil
}
