package inbox

import (
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
	at        uint32 // place of its record in the row
	size      uint32 // of the record
	body      uint32 // length
	attempts  uint16
	state     state
	outcome   uint8
}

// row is what one commit put into a table.
type row struct {
	seq     int64
	entries []entry // by id
	live    int     // pending and dead ones
	bodies  bool    // they are kept
	dirty   bool    // something changed that its marks do not say yet
	leaving bool    // it is being trimmed, or was

	unwritten []Delivery // of a row of the log that is not on disk yet, by place
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

// descend returns a function that goes down from id, and returns nil at the end.
func (s *shelf) descend(id ulid.ULID, inclusive bool) func() *entry {
	order := func(other ulid.ULID) int {
		if inclusive && other == id {
			return -1
		}
		return other.Compare(id)
	}
	n := 0
	rows, _ := slices.BinarySearchFunc(s.rows, id, func(r *row, _ ulid.ULID) int { return order(r.entries[0].id) })
	if rows > 0 {
		n, _ = slices.BinarySearchFunc(s.rows[rows-1].entries, id, func(e entry, _ ulid.ULID) int { return order(e.id) })
	}
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

func (s *shelf) find(id ulid.ULID) *entry {
	if e := s.descend(id, true)(); e != nil && e.id == id {
		return e
	}
	return nil
}

// remove takes rows out, which are in order and mostly the first ones.
func (s *shelf) remove(gone []*row) {
	s.rows = slices.DeleteFunc(s.rows, func(r *row) bool {
		hit := len(gone) > 0 && gone[0] == r
		if hit {
			gone = gone[1:]
		}
		return hit
	})
}

// index knows every accepted delivery. Guarded by Inbox.mu.
type index struct {
	shelf
	byKey map[key]*entry
	dead  map[*entry]string // why
	dirty []*row
	queue fifo[*entry] // those that became pending, in this order

	pending   int
	deads     int // without expired ones
	deadBytes int64
	done      int
	doneBytes int64
	bodies    int // of done entries
	bodyBytes int64

	// Trimming has dealt with the rows below these; with their bodies.
	doneFrom, bodiesFrom int64
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
		if e.state == statePending {
			x.queue.push(e)
		}
	}
}

// account adds the entry to the totals of its state, or takes it out with sign
// -1.
func (x *index) account(e *entry, sign int) {
	r := e.row
	switch e.state {
	case statePending:
		x.pending += sign
		r.live += sign
	case stateDead:
		x.deads += sign
		x.deadBytes += int64(sign) * int64(e.size+e.body)
		r.live += sign
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
	switch to {
	case statePending:
		x.queue.push(e)
	case stateDead, stateExpired:
		x.dead[e] = why
	}
	x.oldestPending() // lets go of what is not pending any more
	x.touch(e.row)
}

func (x *index) touch(r *row) {
	if !r.dirty {
		r.dirty = true
		x.dirty = append(x.dirty, r)
	}
}

// forget takes a row out.
func (x *index) forget(r *row) {
	for i := range r.entries {
		e := &r.entries[i]
		x.account(e, -1)
		e.state = stateGone
		delete(x.dead, e)
		if x.byKey[e.key] == e {
			delete(x.byKey, e.key)
		}
	}
}

// oldestPending returns the entry that has been pending for longest, or nil.
func (x *index) oldestPending() *entry {
	for x.queue.len() > 0 {
		if e := x.queue.peek(); e.state == statePending {
			return e
		}
		x.queue.pop()
	}
	return nil
}

// marks is the picture of a row that goes to disk.
func (x *index) marks(r *row) (b []byte) {
	for i := range r.entries {
		e := &r.entries[i]
		m := mark{at: e.at, state: min(e.state, stateDead), attempts: e.attempts, latency: e.latency, forwarded: e.forwarded, err: x.dead[e]}
		b = appendMark(b, m)
	}
	sealMarks(b)
	return b
}

func latencyOf(microseconds uint32) time.Duration {
	return time.Duration(microseconds) * time.Microsecond
}

func microseconds(d time.Duration) uint32 {
	return uint32(min(max(d.Microseconds(), 0), 1<<32-1))
}
