package inbox

import (
	"slices"
	"time"
)

// The classes of the log of deliveries that were not accepted. Refused ones have
// a class of their own: anyone can cause them. The numbers are on disk.
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
	level     // of the written rows
	budget    Budget
	perRow    int
	max       int // unwritten entries
	unwritten int
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
// storable. It sets its id, and its time if it has none. It never waits and never
// fails; it writes late, and when it can't keep up, it drops and counts the
// oldest unwritten deliveries.
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
	r.entries = append(r.entries, entry{id: id, row: r, at: uint32(len(r.unwritten)), state: stateLogged, outcome: outcomeCode(d.Outcome)})
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

// open returns the row for the next delivery. Its entries never move, because
// there are pointers to them.
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

// dropOldest drops the oldest unwritten entry and returns the number dropped: 0 if
// all are on their way to disk.
func (c *logClass) dropOldest() int {
	i := slices.IndexFunc(c.rows, func(r *row) bool { return r.unwritten != nil && !r.closed })
	if i < 0 {
		return 0
	}
	r := c.rows[i]
	r.unwritten[r.entries[0].at] = Delivery{}
	if r.entries = r.entries[1:]; len(r.entries) == 0 {
		c.rows = slices.Delete(c.rows, i, i+1)
	}
	c.unwritten--
	return 1
}

// gatherLogs takes all unwritten rows. Called with mu held.
func (in *Inbox) gatherLogs() (rows []loggedRow) {
	for class, c := range in.logs {
		for _, r := range c.rows {
			if r.unwritten != nil {
				r.closed, r.seq = true, in.nextLog
				in.nextLog++
				rows = append(rows, loggedRow{class, r, nil})
			}
		}
	}
	in.logSince, in.logsFull = time.Time{}, false
	return rows
}

// encode builds a row's records. A closed row doesn't change.
func (l *loggedRow) encode() error {
	l.records = nil
	for i := range l.row.entries {
		e := &l.row.entries[i]
		start := len(l.records)
		var err error
		if l.records, err = appendRecord(l.records, head{outcome: e.outcome}, payload{Delivery: &l.row.unwritten[e.at]}); err != nil {
			return err
		}
		place(l.records[start:], e.id, 0)
	}
	return nil
}

// written records that a row is on disk, and the places of its entries.
func (c *logClass) written(l loggedRow) {
	r := l.row
	i := 0
	for at, f := range records(l.records) {
		r.entries[i].at, r.entries[i].size = uint32(at), uint32(len(f))
		i++
	}
	c.unwritten -= len(r.entries)
	r.unwritten, r.closed = nil, false
	c.account(r, 1)
}

// account adds a row to the level, or removes it with sign -1.
func (l *level) account(r *row, sign int) {
	l.count += sign * len(r.entries)
	for i := range r.entries {
		l.bytes += int64(sign) * int64(r.entries[i].size)
	}
}

func (c *logClass) trimmed(rows []*row) {
	for _, r := range rows {
		c.account(r, -1)
	}
	c.remove(rows)
}
