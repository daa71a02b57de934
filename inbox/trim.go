package inbox

import (
	"fmt"
	"slices"
)

// Bounds of what one commit trims, so that no event waits long for it.
const (
	maxTrimRows  = 256
	maxTrimBytes = 1 << 20
)

// span is a range of rows.
type span struct{ first, last int64 }

// trim is what a commit takes out.
type trim struct {
	rows   []*row // go as a whole
	bodies []*row // lose their bodies
	shrink []shrink
	logs   [logClasses][]*row

	rowSpans, bodySpans []span
}

// shrink takes some entries out of a row, or only their bodies.
type shrink struct {
	row        *row
	bodiesOnly bool
	gone       map[uint16]bool
}

func (t *trim) empty() bool {
	return len(t.rows) == 0 && len(t.bodies) == 0 && len(t.shrink) == 0 && len(t.logs[classIgnored]) == 0 && len(t.logs[classRefused]) == 0
}

// level is how full a budget is.
type level struct {
	count  int
	bytes  int64
	budget Budget
}

func (l level) over() bool { return l.count > l.budget.Count || l.bytes > l.budget.Bytes }

// low is the level that trimming goes down to once it is over: a little less
// than the budget, so that it need not be done for each commit.
func (l level) low() level {
	l.budget.Count -= l.budget.Count / 64
	l.budget.Bytes -= l.budget.Bytes / 64
	return l
}

// done sums up what retention may take of a row.
func (r *row) done() (n int, size int64, bodies int, bodySize int64) {
	for i := range r.entries {
		if e := &r.entries[i]; e.state.done() {
			n++
			size += int64(e.size)
			if e.body > 0 && r.bodies {
				bodies++
				bodySize += int64(e.body)
			}
		}
	}
	return n, size, bodies, bodySize
}

// planTrim decides what the next commit trims: of the deliveries that are done,
// the oldest lose their bodies first, and then go. Of a row that also has
// others, the done ones go when they are at least half. Called with mu held.
func (in *Inbox) planTrim() (t trim) {
	if in.trimOff {
		return t
	}
	in.expireDead()
	x := &in.index
	work := int64(0)
	bodyLevel := level{x.bodies, x.bodyBytes, in.opts.Bodies}

	last := -1 // place of the row before, if it was taken
	if l := (level{x.done, x.doneBytes, in.opts.Entries}); l.over() {
		l = l.low()
		for i := x.from(x.doneFrom); i < len(x.rows) && l.over() && len(t.rows)+len(t.shrink) < maxTrimRows && work < maxTrimBytes; i++ {
			r := x.rows[i]
			x.doneFrom = r.seq + 1
			n, size, bodies, bodySize := r.done()
			switch {
			case n == 0 || r.live > n:
				continue
			case r.live > 0:
				t.shrink = append(t.shrink, r.shrink(false))
			default:
				t.rows, t.rowSpans = append(t.rows, r), extend(t.rowSpans, r, last == i-1)
				last = i
			}
			r.leaving = true
			l.count, l.bytes = l.count-n, l.bytes-size
			bodyLevel.count, bodyLevel.bytes = bodyLevel.count-bodies, bodyLevel.bytes-bodySize
			work += size + bodySize
		}
	}
	last = -1
	if l := bodyLevel; l.over() {
		l = l.low()
		for i := x.from(x.bodiesFrom); i < len(x.rows) && l.over() && len(t.bodies)+len(t.shrink) < maxTrimRows && work < maxTrimBytes; i++ {
			r := x.rows[i]
			x.bodiesFrom = r.seq + 1
			n, _, bodies, size := r.done()
			switch {
			case bodies == 0 || r.leaving || r.live > n:
				continue
			case r.live > 0:
				t.shrink = append(t.shrink, r.shrink(true))
			default:
				t.bodies, t.bodySpans = append(t.bodies, r), extend(t.bodySpans, r, last == i-1)
				last = i
			}
			l.count, l.bytes = l.count-bodies, l.bytes-size
			work += size
		}
	}
	for class, c := range in.logs {
		l := level{c.count, c.bytes, c.budget}
		for _, r := range c.rows {
			if !l.over() || r.unwritten != nil || len(t.logs[class]) == maxTrimRows {
				break
			}
			t.logs[class] = append(t.logs[class], r)
			l.count -= len(r.entries)
			for i := range r.entries {
				l.bytes -= int64(r.entries[i].size)
			}
		}
	}
	return t
}

// extend adds a row to the spans; adjacent says that nothing that stays lies
// between it and the last one.
func extend(spans []span, r *row, adjacent bool) []span {
	if adjacent && len(spans) > 0 {
		spans[len(spans)-1].last = r.seq
		return spans
	}
	return append(spans, span{r.seq, r.seq})
}

func (r *row) shrink(bodiesOnly bool) shrink {
	s := shrink{row: r, bodiesOnly: bodiesOnly, gone: make(map[uint16]bool)}
	for i := range r.entries {
		if e := &r.entries[i]; e.state.done() || e.state == stateGone {
			s.gone[e.slot] = true
		}
	}
	return s
}

// write deletes. It runs within a transaction.
func (t *trim) write(s *store) error {
	for _, sp := range t.rowSpans {
		if err := s.exec(stDropBatches, sp.first, sp.last); err != nil {
			return err
		}
		if err := s.exec(stDropMarks, sp.first, sp.last); err != nil {
			return err
		}
	}
	for _, sp := range t.bodySpans {
		if err := s.exec(stDropBodies, sp.first, sp.last); err != nil {
			return err
		}
	}
	for _, sh := range t.shrink {
		if err := sh.write(s); err != nil {
			return err
		}
	}
	for class, rows := range t.logs {
		if len(rows) > 0 {
			if err := s.exec(stDropLog, rows[0].seq, rows[len(rows)-1].seq, class); err != nil {
				return err
			}
		}
	}
	return nil
}

func (sh *shrink) write(s *store) error {
	seq := sh.row.seq
	old, err := s.recordsLocked(tableBatches, seq)
	if err != nil {
		return err
	}
	oldBodies, err := s.blob(stBodies, seq)
	if err != nil {
		return err
	}
	var kept []byte
	for f := range records(old) {
		if f == nil {
			return fmt.Errorf("%w: a record of row %d", errDamaged, seq)
		}
		h, start := readHead(f), len(kept)
		if !sh.gone[h.slot] {
			kept = append(kept, f...)
		} else if sh.bodiesOnly {
			kept = append(kept, f...)
			loseBody(kept[start:])
		}
	}
	var left []byte
	for slot, body := range bodies(oldBodies) {
		if !sh.gone[slot] {
			left = appendBody(left, slot, body)
		}
	}
	s.cache.drop(tableBatches, seq)
	if left == nil {
		return s.exec(stReplace, seq, kept, nil)
	}
	return s.exec(stReplace, seq, kept, left)
}

// trimmed takes what a commit deleted out of the index. Called with mu held.
func (in *Inbox) trimmed(t trim) {
	x := &in.index
	for _, r := range t.rows {
		for i := range r.entries {
			if e := &r.entries[i]; e.state != stateGone {
				x.forget(e)
			}
		}
		r.gone = true
	}
	x.remove(t.rows)
	for _, r := range t.bodies {
		x.loseBodies(r, func(*entry) bool { return true })
		r.bodies = false
	}
	for _, sh := range t.shrink {
		r := sh.row
		x.loseBodies(r, func(e *entry) bool { return sh.gone[e.slot] })
		for i := range r.entries {
			if e := &r.entries[i]; !sh.bodiesOnly && e.state != stateGone && sh.gone[e.slot] {
				x.forget(e)
			}
		}
		r.leaving = false
	}
	for class, rows := range t.logs {
		c := in.logs[class]
		for _, r := range rows {
			c.account(r, -1)
			r.gone = true
		}
		c.remove(rows)
	}
	if len(t.rows) > 0 {
		in.store.forget(t.rows)
	}
}

func (x *index) loseBodies(r *row, which func(*entry) bool) {
	for i := range r.entries {
		if e := &r.entries[i]; e.state != stateGone && which(e) {
			x.account(e, -1)
			e.body = 0
			x.account(e, 1)
		}
	}
}

// keep takes a plan back, because its commit failed. Called with mu held.
func (in *Inbox) keep(t trim) {
	for _, r := range t.rows {
		r.leaving = false
	}
	for _, sh := range t.shrink {
		sh.row.leaving = false
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
	if !(level{x.deads, x.deadBytes, in.opts.Dead}).over() {
		return
	}
	var oldest []*entry
	for e := range x.dead {
		if e.state == stateDead {
			oldest = append(oldest, e)
		}
	}
	slices.SortFunc(oldest, func(a, b *entry) int { return a.id.Compare(b.id) })
	low := level{budget: in.opts.Dead}.low().budget
	for _, e := range oldest {
		if !(level{x.deads, x.deadBytes, low}).over() {
			break
		}
		x.set(e, stateExpired, x.dead[e])
		in.metrics.deadExpired.Inc()
		in.log.Error("inbox: more dead deliveries than the budget: this one will be forgotten unless it is redelivered", "delivery", e.id.String())
	}
}
