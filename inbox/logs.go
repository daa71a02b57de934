package inbox

import (
	"bytes"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
)

// The delivery log of what was not accepted. Refused deliveries have a log of
// their own: anyone can cause them.
const (
	classIgnored = iota // ignored, duplicate, unavailable: correctly signed
	classRefused
	logClasses
)

func classOf(o Outcome) int {
	if o == OutcomeRefused {
		return classRefused
	}
	return classIgnored
}

// logEntry is where a logged delivery is.
type logEntry struct {
	id      ulid.ULID
	seg     uint32
	off     uint32
	size    uint32
	outcome Outcome
}

// logged is a delivery that is not on disk yet.
type logged struct {
	id  ulid.ULID
	rec record
}

// logClass is a log with a budget. Guarded by Inbox.mu, but for the stream,
// which belongs to the keeper.
type logClass struct {
	stream  *stream
	budget  Budget
	entries []logEntry // by id
	bytes   int64
	buf     []logged // by id, behind entries
	max     int      // of buf
}

func (c *logClass) find(id ulid.ULID) (spot, bool) {
	if i, ok := slices.BinarySearchFunc(c.entries, id, func(e logEntry, id ulid.ULID) int { return bytes.Compare(e.id[:], id[:]) }); ok {
		return c.spot(c.entries[i]), true
	}
	if i, ok := slices.BinarySearchFunc(c.buf, id, func(l logged, id ulid.ULID) int { return bytes.Compare(l.id[:], id[:]) }); ok {
		return spot{id: id, mark: &c.buf[i].rec}, true
	}
	return spot{}, false
}

func (c *logClass) spot(e logEntry) spot {
	s := c.stream.segment(e.seg)
	s.refs++
	return spot{id: e.id, seg: s, off: int64(e.off), size: int(e.size)}
}

const (
	// logDelay is how long a logged delivery stays in memory alone.
	logDelay = 250 * time.Millisecond
	// logSoon is how many of them are written without waiting.
	logSoon = 256
)

// Log records a delivery that was not accepted: ignored, refused, or not
// storable. It gives it an id, and a time if it has none. It never waits and
// never fails; it writes late, and when it cannot keep up it forgets the oldest
// unwritten ones, counting them.
func (in *Inbox) Log(d Delivery) Delivery {
	if d.ReceivedAt.IsZero() {
		d.ReceivedAt = time.Now()
	}
	d.clip()
	d.Forwarding, d.HasBody = "", false
	c := in.logs[classOf(d.Outcome)]

	in.mu.Lock()
	id := in.ids.next(time.Now())
	d.ID = id.String()
	dropped := len(c.buf) >= c.max
	if dropped {
		c.buf = c.buf[1:]
	}
	c.buf = append(c.buf, logged{id, record{Delivery: d}})
	n := len(c.buf)
	in.mu.Unlock()

	if dropped {
		in.metrics.logDropped.Inc()
	}
	if n == 1 || n == logSoon {
		kick(in.kickKeep)
	}
	return d
}

// flushLog writes what a log holds in memory. Called by the keeper alone.
func (in *Inbox) flushLog(c *logClass) error {
	in.mu.Lock()
	todo := slices.Clone(c.buf)
	in.mu.Unlock()
	for len(todo) > 0 {
		n, err := in.flushSome(c, todo)
		if err != nil {
			return err
		}
		todo = todo[n:]
	}
	return nil
}

func (in *Inbox) flushSome(c *logClass, todo []logged) (int, error) {
	var buf []byte
	var entries []logEntry
	for _, l := range todo {
		if len(entries) == c.stream.count || int64(len(buf)) >= c.stream.limit/2 {
			break
		}
		start := len(buf)
		buf = l.rec.appendTo(beginFrame(buf))
		endFrame(buf, start, frameLogged, l.id)
		entries = append(entries, logEntry{id: l.id, off: uint32(start), size: uint32(len(buf) - start), outcome: l.rec.Outcome})
	}
	if c.stream.full(len(buf)) {
		if err := in.rollLog(c.stream); err != nil {
			return 0, err
		}
	}
	s := c.stream.open
	off := s.end
	if err := s.append(buf, len(entries), false); err != nil {
		return 0, err
	}

	in.mu.Lock()
	defer in.mu.Unlock()
	for i := range entries {
		entries[i].seg = s.num
		entries[i].off += uint32(off)
	}
	c.entries = append(c.entries, entries...)
	c.bytes += int64(len(buf))
	last := entries[len(entries)-1].id
	i := 0
	for i < len(c.buf) && c.buf[i].id.Compare(last) <= 0 {
		i++
	}
	c.buf = slices.Clone(c.buf[i:])
	return len(entries), nil
}

func (in *Inbox) rollLog(st *stream) error {
	if err := st.prepare(0); err != nil {
		return err
	}
	if s := st.open; s != nil {
		if err := s.seal(false); err != nil {
			return err
		}
	}
	s := st.takeSpare()
	in.mu.Lock()
	st.segs = append(st.segs, s)
	st.open = s
	in.mu.Unlock()
	return nil
}

// trimLog removes the oldest segments of a log that is over its budget.
func (in *Inbox) trimLog(c *logClass) error {
	for {
		in.mu.Lock()
		over := len(c.entries) > c.budget.Count || c.bytes > c.budget.Bytes
		if !over || len(c.stream.segs) < 2 {
			in.mu.Unlock()
			return nil
		}
		s := c.stream.segs[0]
		i := 0
		for i < len(c.entries) && c.entries[i].seg == s.num {
			c.bytes -= int64(c.entries[i].size)
			i++
		}
		c.entries = slices.Clone(c.entries[i:])
		in.retireFirst(c.stream)
		in.mu.Unlock()
		if err := removeFile(s.path); err != nil {
			return err
		}
	}
}

// retireFirst takes the first segment out of a stream. Called with mu held.
func (in *Inbox) retireFirst(st *stream) {
	s := st.segs[0]
	st.segs = slices.Clone(st.segs[1:])
	s.retired = true
	in.closeRetired(s)
}
