package inbox

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
)

// state is Forwarding as the index and the marks keep it. The first four are on
// disk: add, never renumber.
type state uint8

const (
	statePending state = iota
	stateForwarded
	stateLate
	stateDead
	stateExpired // dead, and beyond the budget of dead ones: it may be trimmed
	stateLogged  // not accepted
	stateGone    // trimmed
)

func (s state) forwarding() Forwarding {
	switch s {
	case statePending:
		return ForwardingPending
	case stateForwarded:
		return ForwardingForwarded
	case stateLate:
		return ForwardingLate
	case stateDead, stateExpired:
		return ForwardingDead
	}
	return ""
}

// done reports whether retention may take the entry.
func (s state) done() bool { return s == stateForwarded || s == stateLate || s == stateExpired }

// entry is what memory keeps of a delivery: 80 bytes, because while Temporal is
// away there can be a million of them. What became of an accepted one is known
// here first; marks on disk are pictures of it.
type entry struct {
	id        ulid.ULID
	key       key
	row       *row
	next      *entry // behind it in the queue of its run
	forwarded int64  // unix milliseconds
	latency   uint32 // microseconds
	size      uint32 // of its record
	body      uint32
	attempts  uint16
	slot      uint16
	state     state
	outcome   uint8
}

// row is what one commit put into a table.
type row struct {
	seq     int64
	entries []entry // by id
	live    int     // pending and dead ones
	pending int
	bodies  bool // they are kept, as far as entries have any
	dirty   bool // something changed that its marks do not say yet
	leaving bool // its done entries are being trimmed
	gone    bool // it was trimmed

	unwritten []Delivery // of a row of the log that is not on disk yet, by slot
	closed    bool       // that row is on its way there
}

// shelf is the rows of a table, by seq and so by id. A class of the log has one
// of its own.
type shelf struct{ rows []*row }

// from returns the place of the first row with at least this seq.
func (s *shelf) from(seq int64) int {
	i, _ := slices.BinarySearchFunc(s.rows, seq, func(r *row, seq int64) int { return cmp.Compare(r.seq, seq) })
	return i
}

// below returns how many rows begin below id, and how many entries of the last
// of them are.
func (s *shelf) below(id ulid.ULID) (rows, entries int) {
	rows, _ = slices.BinarySearchFunc(s.rows, id, func(r *row, id ulid.ULID) int { return bytes.Compare(r.entries[0].id[:], id[:]) })
	if rows > 0 {
		last := s.rows[rows-1].entries
		entries, _ = slices.BinarySearchFunc(last, id, func(e entry, id ulid.ULID) int { return bytes.Compare(e.id[:], id[:]) })
	}
	return rows, entries
}

func (s *shelf) find(id ulid.ULID) *entry {
	i, found := slices.BinarySearchFunc(s.rows, id, func(r *row, id ulid.ULID) int { return bytes.Compare(r.entries[0].id[:], id[:]) })
	n := 0
	if !found {
		i, n = s.below(id)
		i--
	}
	if i < 0 || n == len(s.rows[i].entries) {
		return nil
	}
	if e := &s.rows[i].entries[n]; e.id == id && e.state != stateGone {
		return e
	}
	return nil
}

// descend returns a function that goes down from id, which it leaves out; it
// returns nil at the end.
func (s *shelf) descend(id ulid.ULID) func() *entry {
	rows, n := s.below(id)
	return func() *entry {
		for rows > 0 && n == 0 {
			if rows--; rows > 0 {
				n = len(s.rows[rows-1].entries)
			}
		}
		if rows == 0 {
			return nil
		}
		n--
		return &s.rows[rows-1].entries[n]
	}
}

// remove takes rows out, which are in order.
func (s *shelf) remove(gone []*row) {
	n := 0
	for n < len(gone) && gone[n] == s.rows[n] {
		n++
	}
	clear(s.rows[:n])
	s.rows = s.rows[n:]
	if gone = gone[n:]; len(gone) > 0 {
		s.rows = slices.DeleteFunc(s.rows, func(r *row) bool {
			hit := len(gone) > 0 && gone[0] == r
			if hit {
				gone = gone[1:]
			}
			return hit
		})
	}
}

// index knows every accepted delivery. Guarded by Inbox.mu.
type index struct {
	shelf
	byKey map[key]*entry
	dead  map[*entry]string // why
	dirty []*row

	pending   int
	deads     int // without expired ones
	deadBytes int64
	done      int
	doneBytes int64
	bodies    int // of done entries
	bodyBytes int64

	// Rows below these need no look: none has a pending entry; trimming has
	// dealt with their entries; with their bodies.
	pendingFrom, doneFrom, bodiesFrom int64
}

// add takes a row in that is newer than all others.
func (x *index) add(r *row) {
	x.rows = append(x.rows, r)
	for i := range r.entries {
		e := &r.entries[i]
		if x.byKey[e.key] == nil {
			x.byKey[e.key] = e
		}
		x.account(e, 1)
	}
}

// account adds the entry to the totals of its state, or takes it out with sign
// -1.
func (x *index) account(e *entry, sign int) {
	r := e.row
	switch {
	case e.state == statePending:
		x.pending += sign
		r.pending += sign
		r.live += sign
		x.pendingFrom = min(x.pendingFrom, r.seq)
	case e.state == stateDead:
		r.live += sign
		x.deads += sign
		x.deadBytes += int64(sign) * int64(e.size+e.body)
	default:
		x.done += sign
		x.doneBytes += int64(sign) * int64(e.size)
		x.doneFrom = min(x.doneFrom, r.seq)
		if e.body > 0 && r.bodies {
			x.bodies += sign
			x.bodyBytes += int64(sign) * int64(e.body)
			x.bodiesFrom = min(x.bodiesFrom, r.seq)
		}
	}
}

// set changes an entry's state; the row's marks will have to say so. Why is for
// dead ones.
func (x *index) set(e *entry, to state, why string) {
	x.account(e, -1)
	e.state = to
	x.account(e, 1)
	delete(x.dead, e)
	if to == stateDead || to == stateExpired {
		x.dead[e] = why
	}
	x.touch(e.row)
}

func (x *index) touch(r *row) {
	if !r.dirty {
		r.dirty = true
		x.dirty = append(x.dirty, r)
	}
}

// forget takes an entry out of everything but its row.
func (x *index) forget(e *entry) {
	x.account(e, -1)
	delete(x.dead, e)
	if x.byKey[e.key] == e {
		delete(x.byKey, e.key)
	}
	e.state = stateGone
}

// oldestPending returns the pending entry accepted first, or nil.
func (x *index) oldestPending() *entry {
	if x.pending == 0 {
		return nil
	}
	for i := x.from(x.pendingFrom); i < len(x.rows); i++ {
		r := x.rows[i]
		x.pendingFrom = r.seq
		if r.pending == 0 {
			continue
		}
		for j := range r.entries {
			if e := &r.entries[j]; e.state == statePending {
				return e
			}
		}
	}
	return nil
}

// marks is the picture of a row that goes to disk.
func (x *index) marks(r *row) (b []byte) {
	for i := range r.entries {
		e := &r.entries[i]
		if e.state == stateGone {
			continue
		}
		m := mark{slot: e.slot, state: e.state, attempts: e.attempts, latency: e.latency, forwarded: e.forwarded, err: x.dead[e]}
		if m.state == stateExpired {
			m.state = stateDead
		}
		b = appendMark(b, m)
	}
	sealMarks(b)
	return b
}

// apply takes over what a picture says.
func (r *row) apply(marks []mark) (errs map[uint16]string) {
	for _, m := range marks {
		i, ok := slices.BinarySearchFunc(r.entries, m.slot, func(e entry, slot uint16) int { return cmp.Compare(e.slot, slot) })
		if !ok {
			continue
		}
		e := &r.entries[i]
		e.state, e.attempts, e.latency, e.forwarded = m.state, m.attempts, m.latency, m.forwarded
		if m.err != "" {
			if errs == nil {
				errs = make(map[uint16]string)
			}
			errs[m.slot] = m.err
		}
	}
	return errs
}

func latencyOf(microseconds uint32) time.Duration {
	return time.Duration(microseconds) * time.Microsecond
}

func microseconds(d time.Duration) uint32 {
	return uint32(min(max(d.Microseconds(), 0), 1<<32-1))
}
