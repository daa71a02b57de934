package inbox

import (
	"crypto/rand"
	"encoding/binary"
	"time"

	"github.com/oklog/ulid/v2"
)

// ids numbers deliveries. The numbers only grow, even across restarts and when
// the clock goes back: milliseconds, and a counter of 16 bits. A delivery's id is
// a ULID of the number and the inbox's tag, which is random, so that ids of
// different inboxes differ. Guarded by Inbox.mu.
type ids struct {
	last int64
	tag  int64
}

func newIDs() ids {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	return ids{tag: int64(binary.BigEndian.Uint64(b[:]))}
}

func (g *ids) next(now time.Time) int64 {
	g.last = max(g.last+1, now.UnixMilli()<<16)
	return g.last
}

// seen makes all further numbers greater than this one, and keeps the tag.
func (g *ids) seen(n, tag int64) {
	if n > g.last {
		g.last, g.tag = n, tag
	}
}

// id returns the delivery id of a number.
func (g *ids) id(n int64) string { return makeID(n, g.tag).String() }

// IDSuffix returns the end of the id of each delivery of this inbox. No other inbox
// has the same, and it lasts as long as the deliveries do.
func (in *Inbox) IDSuffix() string {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.ids.id(0)[14:] // the characters before it have bits of the number
}

func makeID(n, tag int64) (id ulid.ULID) {
	binary.BigEndian.PutUint64(id[:8], uint64(n))
	binary.BigEndian.PutUint64(id[8:], uint64(tag))
	return id
}

func splitID(id ulid.ULID) (n, tag int64) {
	return int64(binary.BigEndian.Uint64(id[:8])), int64(binary.BigEndian.Uint64(id[8:]))
}
