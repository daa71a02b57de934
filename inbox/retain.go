package inbox

import (
	"errors"
	"fmt"
	"time"
)

// keeper does what no request waits for: it writes the logs and keeps the
// budgets.
func (in *Inbox) keeper() {
	for {
		select {
		case <-in.kickKeep:
		case <-in.stop:
			in.flushLogs()
			return
		}
		in.mu.Lock()
		soon := false
		for _, c := range in.logs {
			soon = soon || len(c.buf) >= logSoon
		}
		in.mu.Unlock()
		if !soon {
			// Let more gather: the first one of many woke us.
			t := time.NewTimer(logDelay)
			select {
			case <-t.C:
			case <-in.stop:
				t.Stop()
			}
		}
		in.flushLogs()
		if err := in.retain(); err != nil && !errors.Is(err, errClosing) {
			in.log.Warn("inbox: retention is held up", "error", err)
		}
	}
}

func (in *Inbox) flushLogs() {
	for _, c := range in.logs {
		err := in.flushLog(c)
		if err == nil {
			err = in.trimLog(c)
		}
		if err != nil {
			in.log.Warn("inbox: the log of deliveries is held up", "dir", c.stream.dir, "error", err)
		}
	}
}

// preparer makes the next segment of the accepted stream ready.
func (in *Inbox) preparer() {
	for {
		select {
		case <-in.kickSpare:
			if err := in.acc.prepare(0); err != nil {
				// The writer tries again when it needs it, and then says so.
				in.log.Warn("inbox: cannot make room ahead", "error", err)
			}
		case <-in.stop:
			return
		}
	}
}

// retain keeps the budgets: of the deliveries that are done, the oldest lose
// their bodies first, and then go.
func (in *Inbox) retain() error {
	in.expireDead()
	for {
		s := in.bodiesToDrop()
		if s == nil {
			break
		}
		if err := in.condense(s); err != nil {
			return fmt.Errorf("drop bodies of %s: %w", s.path, err)
		}
	}
	for {
		s := in.segmentToDrop()
		if s == nil {
			break
		}
		if err := in.drop(s); err != nil {
			return fmt.Errorf("drop %s: %w", s.path, err)
		}
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.index.sweep()
	return nil
}

// expireDead lets retention take the oldest dead deliveries beyond the budget.
// Temporal refused them for good, but an operator could still redeliver them:
// so each one is told.
func (in *Inbox) expireDead() {
	in.mu.Lock()
	var expired []*entry
	b := in.opts.Dead
	if in.index.dead > b.Count || in.index.deadBytes > b.Bytes {
		for _, e := range in.index.order {
			if in.index.dead <= b.Count && in.index.deadBytes <= b.Bytes {
				break
			}
			if e.state == stateDead {
				in.setState(e, stateExpired)
				expired = append(expired, e)
			}
		}
	}
	in.mu.Unlock()
	for _, e := range expired {
		in.metrics.deadExpired.Inc()
		in.log.Error("inbox: more dead deliveries than the budget: this one will be forgotten unless it is redelivered", "delivery", e.id.String())
	}
}

// bodiesToDrop returns the oldest complete segment whose bodies may go, if there
// are more than the budget. One that still has pending events is left alone
// unless little of it is pending: it would be rewritten again and again.
func (in *Inbox) bodiesToDrop() *segment {
	in.mu.Lock()
	defer in.mu.Unlock()
	b := in.opts.Bodies
	if in.index.bodies <= b.Count && in.index.bodyBytes <= b.Bytes {
		return nil
	}
	for _, s := range in.acc.segs[:max(0, len(in.acc.segs)-1)] {
		if s.bodies > 0 && s.pending <= s.size/4 {
			return s
		}
	}
	return nil
}

// segmentToDrop returns the first segment if there are more done deliveries
// than the budget, and little of it is still pending: that has to be copied.
func (in *Inbox) segmentToDrop() *segment {
	in.mu.Lock()
	defer in.mu.Unlock()
	b := in.opts.Entries
	if in.index.done <= b.Count && in.index.doneBytes <= b.Bytes {
		return nil
	}
	if len(in.acc.segs) < 2 {
		return nil
	}
	if s := in.acc.segs[0]; s.pending <= s.size/4 {
		return s
	}
	return nil
}
