package inbox

import (
	"crypto/rand"
	"time"

	"github.com/oklog/ulid/v2"
)

// ids creates delivery ids that only grow, even across restarts and when the
// clock goes back. Guarded by Inbox.mu.
type ids struct{ last ulid.ULID }

func (g *ids) next(now time.Time) ulid.ULID {
	if ms := ulid.Timestamp(now); ms > g.last.Time() {
		var id ulid.ULID
		_, _ = rand.Read(id[6:]) // never fails: crypto/rand
		id[6] &= 0x7f            // leaves room to count up within the millisecond
		_ = id.SetTime(ms)       // fails in the year 10889
		g.last = id
		return id
	}
	// The carry may reach the time, which keeps the order.
	for i := len(g.last) - 1; i >= 0; i-- {
		g.last[i]++
		if g.last[i] != 0 {
			break
		}
	}
	return g.last
}

// seen makes all further ids greater than this one.
func (g *ids) seen(id ulid.ULID) {
	if id.Compare(g.last) > 0 {
		g.last = id
	}
}
