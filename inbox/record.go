package inbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/workflows"
)

// Records are written in the protobuf wire format: small, quick, and a reader
// skips fields it does not know. Field numbers are a contract with files on
// disk: add, never reuse. Zero values are left out.
const (
	fieldReceivedAt   protowire.Number = 1 // unix nanoseconds
	fieldSource       protowire.Number = 2
	fieldOutcome      protowire.Number = 3
	fieldReason       protowire.Number = 4
	fieldDetail       protowire.Number = 5
	fieldAccount      protowire.Number = 6
	fieldStack        protowire.Number = 7
	fieldRun          protowire.Number = 8
	fieldType         protowire.Number = 9
	fieldState        protowire.Number = 10
	fieldStateVersion protowire.Number = 11
	fieldSize         protowire.Number = 12
	fieldLatency      protowire.Number = 13 // nanoseconds
	fieldSecret       protowire.Number = 14
	fieldDuplicateOf  protowire.Number = 15
	fieldForwarding   protowire.Number = 16
	fieldAttempts     protowire.Number = 17
	fieldForwardedAt  protowire.Number = 18 // unix nanoseconds
	fieldForwardError protowire.Number = 19
	fieldRevision     protowire.Number = 20
	fieldEvent        protowire.Number = 30 // workflows.RunEvent as JSON
	fieldBody         protowire.Number = 31
)

// record is what a frame holds. Marks and accepted records share it: a mark is
// the same message with nothing but what changed.
type record struct {
	Delivery
	revision int    // of the forwarding part; the greatest one holds
	event    []byte // JSON; its delivery id is left out, being the frame's
	body     []byte
}

func appendText[S ~string](b []byte, n protowire.Number, s S) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), string(s))
}

func appendBytes(b []byte, n protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v)
}

func appendInt(b []byte, n protowire.Number, v int64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), protowire.EncodeZigZag(v))
}

func appendTime(b []byte, n protowire.Number, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	return appendInt(b, n, t.UnixNano())
}

// timeOf is the inverse of appendTime, which leaves the zero time out.
func timeOf(nanoseconds int64) time.Time {
	if nanoseconds == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanoseconds).UTC()
}

// appendTo appends the record's payload to b. The body comes last.
func (r *record) appendTo(b []byte) []byte {
	b = appendTime(b, fieldReceivedAt, r.ReceivedAt)
	b = appendText(b, fieldSource, r.Source)
	b = appendText(b, fieldOutcome, r.Outcome)
	b = appendText(b, fieldReason, r.Reason)
	b = appendText(b, fieldDetail, r.Detail)
	b = appendText(b, fieldAccount, r.Run.Account)
	b = appendText(b, fieldStack, r.Run.Stack)
	b = appendText(b, fieldRun, r.Run.Run)
	b = appendText(b, fieldType, r.Type)
	b = appendText(b, fieldState, r.State)
	b = appendInt(b, fieldStateVersion, int64(r.StateVersion))
	b = appendInt(b, fieldSize, int64(r.Size))
	b = appendInt(b, fieldSecret, int64(r.Secret))
	b = appendText(b, fieldDuplicateOf, r.DuplicateOf)
	b = r.appendForwarding(b)
	b = appendBytes(b, fieldEvent, r.event)
	return appendBytes(b, fieldBody, r.body)
}

// appendForwarding appends the part that changes after acceptance, which is
// all that a mark holds. Latency is in it because it is known only when the
// commit that stores the delivery is over.
func (r *record) appendForwarding(b []byte) []byte {
	b = appendInt(b, fieldLatency, int64(r.Latency))
	b = appendText(b, fieldForwarding, r.Forwarding)
	b = appendInt(b, fieldAttempts, int64(r.Attempts))
	b = appendTime(b, fieldForwardedAt, r.ForwardedAt)
	b = appendText(b, fieldForwardError, r.ForwardError)
	return appendInt(b, fieldRevision, int64(r.revision))
}

// setForwarding takes over the forwarding part of a mark.
func (r *record) setForwarding(mark *record) {
	r.Latency, r.Forwarding, r.Attempts = mark.Latency, mark.Forwarding, mark.Attempts
	r.ForwardedAt, r.ForwardError, r.revision = mark.ForwardedAt, mark.ForwardError, mark.revision
}

var errRecord = errors.New("malformed record")

// decodeRecord reads a payload. Event and body alias it.
func decodeRecord(id ulid.ULID, b []byte) (record, error) {
	var r record
	r.ID = id.String()
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return record{}, fmt.Errorf("%w: %w", errRecord, protowire.ParseError(n))
		}
		b = b[n:]
		switch typ {
		case protowire.BytesType:
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return record{}, fmt.Errorf("%w: field %d: %w", errRecord, num, protowire.ParseError(n))
			}
			r.setBytes(num, v)
			b = b[n:]
		case protowire.VarintType:
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return record{}, fmt.Errorf("%w: field %d: %w", errRecord, num, protowire.ParseError(n))
			}
			r.setInt(num, protowire.DecodeZigZag(v))
			b = b[n:]
		default:
			n := protowire.ConsumeFieldValue(num, typ, b)
			if n < 0 {
				return record{}, fmt.Errorf("%w: field %d: %w", errRecord, num, protowire.ParseError(n))
			}
			b = b[n:]
		}
	}
	r.HasBody = len(r.body) > 0
	return r, nil
}

func (r *record) setBytes(num protowire.Number, v []byte) {
	switch num {
	case fieldSource:
		r.Source = string(v)
	case fieldOutcome:
		r.Outcome = Outcome(v)
	case fieldReason:
		r.Reason = string(v)
	case fieldDetail:
		r.Detail = string(v)
	case fieldAccount:
		r.Run.Account = spacelift.Account(v)
	case fieldStack:
		r.Run.Stack = spacelift.StackID(v)
	case fieldRun:
		r.Run.Run = spacelift.RunID(v)
	case fieldType:
		r.Type = spacelift.RunType(v)
	case fieldState:
		r.State = spacelift.RunState(v)
	case fieldDuplicateOf:
		r.DuplicateOf = string(v)
	case fieldForwarding:
		r.Forwarding = Forwarding(v)
	case fieldForwardError:
		r.ForwardError = string(v)
	case fieldEvent:
		r.event = v
	case fieldBody:
		r.body = v
	}
}

func (r *record) setInt(num protowire.Number, v int64) {
	switch num {
	case fieldReceivedAt:
		r.ReceivedAt = timeOf(v)
	case fieldStateVersion:
		r.StateVersion = int(v)
	case fieldSize:
		r.Size = int(v)
	case fieldLatency:
		r.Latency = time.Duration(v)
	case fieldSecret:
		r.Secret = int(v)
	case fieldAttempts:
		r.Attempts = int(v)
	case fieldForwardedAt:
		r.ForwardedAt = timeOf(v)
	case fieldRevision:
		r.revision = int(v)
	}
}

// runEvent decodes the event of an accepted record.
func (r *record) runEvent() (workflows.RunEvent, error) {
	var e workflows.RunEvent
	if err := json.Unmarshal(r.event, &e); err != nil {
		return workflows.RunEvent{}, fmt.Errorf("%w: event: %w", errRecord, err)
	}
	e.Delivery = r.ID
	return e, nil
}

// identity is what makes two deliveries the same event: Spacelift sends no
// delivery id, and numbers the states of a run.
type identity struct {
	run     spacelift.RunRef
	version int
	state   spacelift.RunState
}

func (r *record) identity() identity {
	return identity{r.Run, r.StateVersion, r.State}
}

// hash is 64 bits of the identity, for the index. Two identities may share it:
// a hit is compared with the stored record before it counts.
func (i identity) hash() uint64 {
	h := runHash(i.run)
	h = hashText(h, string(i.state))
	v := uint64(i.version)
	for range 8 {
		h = (h ^ v&0xff) * fnvPrime
		v >>= 8
	}
	return h
}

// FNV-1a, 64 bits.
const (
	fnvOffset uint64 = 14695981039346656037
	fnvPrime  uint64 = 1099511628211
)

func hashText(h uint64, s string) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * fnvPrime
	}
	return (h ^ 0xff) * fnvPrime // a byte no UTF-8 text holds, as a separator
}

// runHash is 64 bits of a run's name, for the queue of pending runs.
func runHash(run spacelift.RunRef) uint64 {
	h := hashText(fnvOffset, string(run.Account))
	h = hashText(h, string(run.Stack))
	return hashText(h, string(run.Run))
}
