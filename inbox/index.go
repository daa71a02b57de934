package inbox

import (
	"cmp"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
)

// state is Forwarding in the index and in marks. The first four are on disk: add,
// never renumber.
type state uint8

const (
	statePending state = iota
	stateForwarded
	stateLate
	stateDead
	stateExpired // dead, but beyond the budget of dead ones: it may be trimmed
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

// done reports whether retention may delete the entry.
func (s state) done() bool { return s == stateForwarded || s == stateLate || s == stateExpired }

// entry is the part of a delivery in memory: 80 bytes, because while Temporal is
// unreachable there can be a million of them. It has the forwarding of an
// accepted delivery first; marks on disk are copies of it.
type entry struct {
	id        ulid.ULID
	key       key
	row       *row
	next      *entry // the next one in the queue of its run
	forwarded int64  // unix milliseconds
	latency   uint32 // microseconds
	at        uint32 // place of its record in the row
	size      uint32 // of the record
	body      uint32 // length
	attempts  uint16
	state     state
	outcome   uint8
}

// row is a row of a table, written by one commit.
type row struct {
	seq     int64
	entries []entry // by id
	live    int     // pending and dead ones
	bodies  bool    // they aren't trimmed yet
	dirty   bool    // its marks on disk are out of date
	leaving bool    // it is being trimmed, or has been

	unwritten []Delivery // of a row of the log that isn't on disk yet, by place
	closed    bool       // that row is being written
}

// shelf holds the rows of a table, by seq and therefore by id. A class of the log
// has a shelf of its own.
type shelf struct{ rows []*row }

// from returns the place of the first row with at least this seq.
func (s *shelf) from(seq int64) int {
	i, _ := slices.BinarySearchFunc(s.rows, seq, func(r *row, seq int64) int { return cmp.Compare(r.seq, seq) })
	return i
}

// descend returns an iterator that descends from id, and returns nil at the end.
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

// remove removes rows. They are in order, and mostly the first ones.
func (s *shelf) remove(gone []*row) {
	s.rows = slices.DeleteFunc(s.rows, func(r *row) bool {
		hit := len(gone) > 0 && gone[0] == r
		if hit {
			gone = gone[1:]
		}
		return hit
	})
}

// index holds every accepted delivery. Guarded by Inbox.mu.
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

	// Trimming has finished the rows, or their bodies, below these.
	doneFrom, bodiesFrom int64
}

// add adds a row that is newer than all others.
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

// account adds the entry to the totals of its state, or removes it with sign -1.
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

// set changes an entry's state and marks its row dirty. why is for dead entries.
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
	x.oldestPending() // drops entries that are no longer pending
	x.touch(e.row)
}

func (x *index) touch(r *row) {
	if !r.dirty {
		r.dirty = true
		x.dirty = append(x.dirty, r)
	}
}

// forget removes a row's entries.
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

// marks returns a row's marks for the disk.
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
