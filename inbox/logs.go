package inbox

import (
	"fmt"
	"slices"
	"time"
)

// The log of what was not accepted. Refused deliveries have a class of their
// own: anyone can cause them. The numbers are on disk.
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

// logClass is a log with a budget. Guarded by Inbox.mu. Its last rows may be
// unwritten.
type logClass struct {
	shelf
	budget    Budget
	perRow    int
	max       int // unwritten entries
	unwritten int
	count     int // written entries
	bytes     int64
}

func newLogClass(budget Budget, most int) *logClass {
	return &logClass{budget: budget, perRow: min(256, max(1, budget.Count/8)), max: most}
}

// loggedRow is a row of a log on its way to disk.
type loggedRow struct {
	class   int
	row     *row
	records []byte
}

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
	class := in.logs[classOf(d.Outcome)]

	in.mu.Lock()
	defer in.mu.Unlock()
	id := in.ids.next(time.Now())
	d.ID = id.String()
	r := class.open()
	r.entries = append(r.entries, entry{id: id, row: r, slot: uint16(len(r.unwritten)), state: stateLogged, outcome: outcomeCode(d.Outcome)})
	r.unwritten = append(r.unwritten, d)
	class.unwritten++
	if class.unwritten > class.max {
		in.metrics.logDropped.Add(float64(class.dropOldest()))
	}
	first := in.logSince.IsZero()
	if first {
		in.logSince = time.Now()
	}
	if len(r.entries) == cap(r.entries) && !in.logsFull {
		in.logsFull = true
		first = true
	}
	if first {
		kick(in.kickWrite)
	}
	return d
}

// open returns the row that takes the next delivery. Its entries never move,
// because others point to them.
func (c *logClass) open() *row {
	if n := len(c.rows); n > 0 {
		if r := c.rows[n-1]; r.unwritten != nil && !r.closed && len(r.entries) < cap(r.entries) {
			return r
		}
	}
	r := &row{entries: make([]entry, 0, c.perRow), unwritten: make([]Delivery, 0, min(c.perRow, 16))}
	c.rows = append(c.rows, r)
	return r
}

// dropOldest forgets the oldest unwritten entry and returns how many those are:
// none if all are on their way to disk.
func (c *logClass) dropOldest() int {
	i := slices.IndexFunc(c.rows, func(r *row) bool { return r.unwritten != nil && !r.closed })
	if i < 0 {
		return 0
	}
	r := c.rows[i]
	r.unwritten[r.entries[0].slot] = Delivery{}
	if r.entries = r.entries[1:]; len(r.entries) == 0 {
		c.rows = slices.Delete(c.rows, i, i+1)
	}
	c.unwritten--
	return 1
}

// gatherLogs takes all unwritten rows. Called with mu held.
func (in *Inbox) gatherLogs() (rows []loggedRow) {
	for class, c := range in.logs {
		for i := len(c.rows) - 1; i >= 0 && c.rows[i].unwritten != nil; i-- {
			r := c.rows[i]
			var b []byte
			for j := range r.entries {
				e := &r.entries[j]
				start := len(b)
				var err error
				if b, err = appendRecord(b, head{outcome: e.outcome}, payload{Delivery: &r.unwritten[e.slot]}); err != nil {
					panic(fmt.Sprintf("a delivery cannot be encoded: %v", err)) // it has no such fields
				}
				seal(b[start:], e.id, e.slot)
				e.size = uint32(len(b) - start)
			}
			r.closed = true
			rows = append(rows, loggedRow{class, r, b})
		}
	}
	// Oldest first within a class, so that seqs are in the order of ids.
	slices.SortStableFunc(rows, func(a, b loggedRow) int { return a.row.entries[0].id.Compare(b.row.entries[0].id) })
	for _, l := range rows {
		l.row.seq = in.nextLog
		in.nextLog++
	}
	in.logSince, in.logsFull = time.Time{}, false
	return rows
}

// written notes that a row is on disk. Called with mu held.
func (c *logClass) written(r *row) {
	c.unwritten -= len(r.entries)
	r.unwritten, r.closed = nil, false
	c.account(r, 1)
}

// account adds a written row to the totals, or takes it out with sign -1.
func (c *logClass) account(r *row, sign int) {
	c.count += sign * len(r.entries)
	for i := range r.entries {
		c.bytes += int64(sign) * int64(r.entries[i].size)
	}
}
