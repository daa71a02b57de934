package inbox

import (
	"slices"
)

// Bounds of what one commit trims, so that no event waits long for it.
const (
	maxTrimRows  = 256
	maxTrimBytes = 1 << 20
)

// level is how full a budget is.
type level struct {
	count int
	bytes int64
}

func (l level) over(b Budget) bool { return l.count > b.Count || l.bytes > b.Bytes }

// low is what trimming goes down to once a budget is exceeded, so that it need
// not be done for each commit.
func (b Budget) low() Budget { return Budget{b.Count - b.Count/64, b.Bytes - b.Bytes/64} }

// trim is what a commit takes out: rows of events, the bodies of rows, and the
// oldest rows of the logs.
type trim struct {
	rows, bodies []*row
	logs         [logClasses][]*row
}

func (t *trim) empty() bool {
	return len(t.rows)+len(t.bodies)+len(t.logs[classIgnored])+len(t.logs[classRefused]) == 0
}

// done sums up the entries that retention may take, and their bodies.
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

// planTrim decides what the next commit trims: the oldest rows whose entries
// are all done lose their bodies first, and then go. A row with a pending or a
// dead entry stays as it is: what was committed together goes together. Called
// with mu held.
func (in *Inbox) planTrim() (t trim) {
	if in.trimOff {
		return t
	}
	in.expireDead()
	x := &in.index
	work := int64(0)
	entries, bodies := level{x.done, x.doneBytes}, level{x.bodies, x.bodyBytes}
	if budget := in.opts.Entries; entries.over(budget) {
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
	}
	if budget := in.opts.Bodies; bodies.over(budget) {
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
	for class, c := range in.logs {
		l := c.level
		for _, r := range c.rows {
			if !l.over(c.budget) || r.unwritten != nil || len(t.logs[class]) == maxTrimRows {
				break
			}
			t.logs[class] = append(t.logs[class], r)
			l.account(r, -1)
		}
	}
	return t
}

// write deletes. It runs within a transaction.
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

// trimmed takes what a commit deleted out of the index. Called with mu held.
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

// keep takes a plan back, because its commit failed. Called with mu held.
func (in *Inbox) keep(t trim) {
	for _, r := range t.rows {
		r.leaving, r.dirty = false, false
		in.index.touch(r)
	}
	in.index.doneFrom, in.index.bodiesFrom = 0, 0
}

// stopTrimming gives trimming up until the next start, which repairs damage: a
// damaged old row must not keep new events out.
func (in *Inbox) stopTrimming(c *commit, err error) {
	in.log.Error("inbox: its file is damaged; nothing is trimmed until the next start, which saves what is readable", "error", err)
	in.mu.Lock()
	defer in.mu.Unlock()
	in.keep(c.trim)
	c.trim, in.trimOff = trim{}, true
	in.damage = append(in.damage, "the file is damaged, restart to repair it: "+err.Error())
}

// expireDead lets retention take the oldest dead deliveries beyond the budget.
// Temporal refused them for good, but an operator could still redeliver them:
// so each one is told. Called with mu held.
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
		in.log.Error("inbox: more dead deliveries than the budget: this one will be forgotten unless it is redelivered", "delivery", e.id.String())
	}
}
