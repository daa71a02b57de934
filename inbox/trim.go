package inbox

import (
	"slices"
)

// Limits of the trimming in one commit, so that no event waits long for it.
const (
	maxTrimRows  = 256
	maxTrimBytes = 1 << 20
)

// level is the used part of a budget.
type level struct {
	count int
	bytes int64
}

func (l level) over(b Budget) bool { return l.count > b.Count || l.bytes > b.Bytes }

// low returns the level to trim down to once a budget is exceeded, so that not
// every commit has to trim.
func (b Budget) low() Budget { return Budget{b.Count - b.Count/64, b.Bytes - b.Bytes/64} }

// trim is the data that a commit deletes: rows of events, the bodies of rows, and
// the oldest rows of the logs.
type trim struct {
	rows, bodies []*row
	logs         [logClasses][]*row
}

func (t *trim) empty() bool {
	return len(t.rows)+len(t.bodies)+len(t.logs[classIgnored])+len(t.logs[classRefused]) == 0
}

// done counts the entries that retention may delete, and their bodies.
func (r *row) done() (entries, bodies level) {
	for i := range r.entries {
		if e := &r.entries[i]; e.state.done() {
			entries.count++
			entries.bytes += int64(e.size)
			if e.body > 0 && r.bodies {
				bodies.count++
				bodies.bytes += int64(e.body)
			}
		}
	}
	return entries, bodies
}

// planTrim plans the trimming of the next commit: the oldest rows whose entries
// are all done lose their bodies first, and are deleted later. A row with a
// pending or dead entry isn't touched: what was committed together is deleted
// together. Called with mu held.
func (in *Inbox) planTrim() (t trim) {
	if in.trimOff {
		return t
	}
	in.expireDead()
	bodies, work := t.planRows(&in.index, in.opts.Entries)
	t.planBodies(&in.index, in.opts.Bodies, bodies, work)
	for class, c := range in.logs {
		t.logs[class] = c.planTrim()
	}
	return t
}

// planRows adds rows until their entries are within the budget. It returns the
// level of the remaining bodies, and the bytes to delete.
func (t *trim) planRows(x *index, budget Budget) (bodies level, work int64) {
	entries, bodies := level{x.done, x.doneBytes}, level{x.bodies, x.bodyBytes}
	if !entries.over(budget) {
		return bodies, 0
	}
	budget = budget.low()
	for i := x.from(x.doneFrom); i < len(x.rows) && entries.over(budget) && len(t.rows) < maxTrimRows && work < maxTrimBytes; i++ {
		r := x.rows[i]
		if x.doneFrom = r.seq + 1; r.live > 0 {
			continue
		}
		t.rows = append(t.rows, r)
		r.leaving = true
		e, b := r.done()
		entries.count, entries.bytes = entries.count-e.count, entries.bytes-e.bytes
		bodies.count, bodies.bytes = bodies.count-b.count, bodies.bytes-b.bytes
		work += e.bytes + b.bytes
	}
	return bodies, work
}

// planBodies adds bodies of other rows until the bodies are within the budget.
func (t *trim) planBodies(x *index, budget Budget, bodies level, work int64) {
	if !bodies.over(budget) {
		return
	}
	budget = budget.low()
	for i := x.from(x.bodiesFrom); i < len(x.rows) && bodies.over(budget) && len(t.bodies) < maxTrimRows && work < maxTrimBytes; i++ {
		r := x.rows[i]
		if x.bodiesFrom = r.seq + 1; r.live > 0 || r.leaving || !r.bodies {
			continue
		}
		t.bodies = append(t.bodies, r)
		_, b := r.done()
		bodies.count, bodies.bytes = bodies.count-b.count, bodies.bytes-b.bytes
		work += b.bytes
	}
}

// planTrim returns the oldest rows beyond the budget.
func (c *logClass) planTrim() (rows []*row) {
	l := c.level
	for _, r := range c.rows {
		if !l.over(c.budget) || r.unwritten != nil || len(rows) == maxTrimRows {
			break
		}
		rows = append(rows, r)
		l.account(r, -1)
	}
	return rows
}

// write deletes the planned data within a transaction.
func (t *trim) write(s *store) error {
	for _, r := range t.rows {
		if err := s.exec("DELETE FROM batches WHERE seq = ?", r.seq); err != nil {
			return err
		}
		if err := s.exec("DELETE FROM marks WHERE seq = ?", r.seq); err != nil {
			return err
		}
	}
	for _, r := range t.bodies {
		if err := s.exec("UPDATE batches SET bodies = NULL WHERE seq = ?", r.seq); err != nil {
			return err
		}
	}
	for _, r := range slices.Concat(t.logs[:]...) {
		if err := s.exec("DELETE FROM log WHERE seq = ?", r.seq); err != nil {
			return err
		}
	}
	return nil
}

// trimmed removes from the index what a commit deleted. Called with mu held.
func (in *Inbox) trimmed(t trim) {
	x := &in.index
	for _, r := range t.rows {
		x.forget(r)
	}
	if len(t.rows) > 0 {
		x.remove(t.rows)
	}
	for _, r := range t.bodies {
		for i := range r.entries {
			x.account(&r.entries[i], -1)
		}
		r.bodies = false
		for i := range r.entries {
			x.account(&r.entries[i], 1)
		}
	}
	for class, rows := range t.logs {
		if len(rows) > 0 {
			in.logs[class].trimmed(rows)
		}
	}
}

// keep reverts a plan whose commit failed. Called with mu held.
func (in *Inbox) keep(t trim) {
	for _, r := range t.rows {
		r.leaving, r.dirty = false, false
		in.index.touch(r)
	}
	in.index.doneFrom, in.index.bodiesFrom = 0, 0
}

// stopTrimming stops trimming until the next start, which repairs damage: a
// damaged old row must not keep new events out.
func (in *Inbox) stopTrimming(c *commit, err error) {
	in.log.Error("inbox: the file is damaged; trimming stops until the next start, which saves whatever is readable", "error", err)
	in.mu.Lock()
	defer in.mu.Unlock()
	in.keep(c.trim)
	c.trim, in.trimOff = trim{}, true
	in.damage = append(in.damage, "the file is damaged, restart to repair it: "+err.Error())
}

// expireDead lets retention delete the oldest dead deliveries beyond the budget.
// Temporal refused them permanently, but an operator could still redeliver them,
// so it logs each one. Called with mu held.
func (in *Inbox) expireDead() {
	x := &in.index
	if !(level{x.deads, x.deadBytes}).over(in.opts.Dead) {
		return
	}
	var oldest []*entry
	for e := range x.dead {
		if e.state == stateDead {
			oldest = append(oldest, e)
		}
	}
	slices.SortFunc(oldest, func(a, b *entry) int { return a.id.Compare(b.id) })
	for _, e := range oldest {
		if !(level{x.deads, x.deadBytes}).over(in.opts.Dead.low()) {
			break
		}
		x.set(e, stateExpired, x.dead[e])
		in.metrics.deadExpired.Inc()
		in.log.Error("inbox: more dead deliveries than the budget; this one will be deleted unless it is redelivered", "delivery", e.id.String())
	}
}
