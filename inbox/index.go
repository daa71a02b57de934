package inbox

import (
	"bytes"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
)

// state is Forwarding as the index keeps it.
type state uint8

const (
	statePending state = iota
	stateForwarded
	stateLate
	stateDead
	stateExpired // dead, and beyond the budget of dead ones: it may be trimmed
	stateGone    // no longer in the index
)

func (s state) forwarding() Forwarding {
	switch s {
	case stateForwarded:
		return ForwardingForwarded
	case stateLate:
		return ForwardingLate
	case stateDead, stateExpired:
		return ForwardingDead
	}
	return ForwardingPending
}

func stateOf(f Forwarding) state {
	switch f {
	case ForwardingForwarded:
		return stateForwarded
	case ForwardingLate:
		return stateLate
	case ForwardingDead:
		return stateDead
	}
	return statePending
}

// done reports whether retention may take the entry.
func (s state) done() bool { return s == stateForwarded || s == stateLate || s == stateExpired }

// entry is what memory keeps of an accepted delivery: 64 bytes, because while
// Temporal is away there can be a million of them.
type entry struct {
	id      ulid.ULID
	next    *entry // behind it in the queue of its run
	key     uint64 // hash of its identity
	seg     uint32 // where its frame is
	off     uint32
	size    uint32
	body    uint32 // bytes of the body in the frame
	markSeg uint32 // where the newest mark is, unless the frame itself tells all; 0 for none
	markOff uint32
	latency uint32 // microseconds
	rev     uint16 // of its forwarding part; each mark adds one
	state   state
}

func latencyOf(microseconds uint32) time.Duration {
	return time.Duration(microseconds) * time.Microsecond
}

// index knows every accepted delivery. Guarded by Inbox.mu.
type index struct {
	byKey map[uint64]*entry
	order []*entry // by id; includes gone ones until sweep
	gone  int

	pending   int
	oldest    int // order[:oldest] holds no pending entry
	dead      int // without expired ones
	deadBytes int64
	done      int
	doneBytes int64
	bodies    int // of done entries
	bodyBytes int64
}

// account adds the entry to the totals of its state, or takes it out with
// sign -1. The same goes for its segment's, if that is known.
func (x *index) account(e *entry, seg *segment, sign int) {
	n := int64(sign)
	switch e.state {
	case statePending:
		x.pending += sign
	case stateDead:
		x.dead += sign
		x.deadBytes += n * int64(e.size)
	case stateForwarded, stateLate, stateExpired:
		x.done += sign
		x.doneBytes += n * int64(e.size)
		if e.body > 0 {
			x.bodies += sign
			x.bodyBytes += n * int64(e.body)
		}
	}
	if seg == nil {
		return
	}
	switch {
	case e.state == statePending:
		seg.pending += n * int64(e.size)
	case e.state.done() && e.body > 0:
		seg.bodies += sign
		seg.bodyLen += n * int64(e.body)
	}
}

// find returns the entry with this id, or nil.
func (x *index) find(id ulid.ULID) *entry {
	i, ok := slices.BinarySearchFunc(x.order, id, func(e *entry, id ulid.ULID) int { return bytes.Compare(e.id[:], id[:]) })
	if !ok || x.order[i].state == stateGone {
		return nil
	}
	return x.order[i]
}

// oldestPending returns the pending entry accepted first, or nil.
func (x *index) oldestPending() *entry {
	if x.pending == 0 {
		x.oldest = len(x.order)
		return nil
	}
	for ; x.oldest < len(x.order); x.oldest++ {
		if e := x.order[x.oldest]; e.state == statePending {
			return e
		}
	}
	return nil
}

// lookFrom makes oldestPending look again from the start: an old entry became
// pending.
func (x *index) lookFrom() { x.oldest = 0 }

// remove takes an entry out; the caller has taken it out of the totals.
func (x *index) remove(e *entry) {
	e.state = stateGone
	if x.byKey[e.key] == e {
		delete(x.byKey, e.key)
	}
	x.gone++
}

// sweep forgets the gone entries once they are many.
func (x *index) sweep() {
	if x.gone < 1024 && x.gone < len(x.order)/2 {
		return
	}
	x.order = slices.DeleteFunc(x.order, func(e *entry) bool { return e.state == stateGone })
	x.gone = 0
	x.lookFrom()
}
