package inbox

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
)

// Bounds of a segment's size. Big ones make retention coarse, small ones make
// many files; each change of segment costs a few flushes.
const (
	minSegment = 64 << 10
	maxSegment = 4 << 20
)

// limits sets how big segments get, so that a budget has at least eight.
func (st *stream) limits(budgets ...Budget) {
	st.limit, st.count = maxSegment, maxSegment
	for _, b := range budgets {
		st.limit = min(st.limit, b.Bytes/8)
		st.count = min(st.count, b.Count/8)
	}
	st.count = max(st.count, 1)
	st.limit = max(min(st.limit, int64(st.count)*(16<<10)), minSegment)
}

// load opens the streams and builds the index and the queue from them.
func (in *Inbox) load(ctx context.Context) error {
	start := time.Now()
	suffix := start.UTC().Format("20060102T150405.000Z")

	if err := in.loadAccepted(suffix); err != nil {
		return err
	}
	for class, name := range []string{classIgnored: "ignored", classRefused: "refused"} {
		if err := ctx.Err(); err != nil {
			return err
		}
		c := &logClass{budget: in.opts.Ignored, max: 4096}
		if class == classRefused {
			c.budget, c.max = in.opts.Refused, 512
		}
		in.logs[class] = c
		st, found, err := loadStream(filepath.Join(in.opts.Dir, name), false, suffix, func(s *segment, f frame) {
			in.ids.seen(f.id)
			if f.kind != frameLogged {
				return
			}
			r, err := decodeRecord(f.id, f.payload)
			if err != nil {
				return
			}
			c.entries = append(c.entries, logEntry{id: f.id, seg: s.num, off: uint32(f.off), size: uint32(f.size), outcome: r.Outcome})
			c.bytes += f.size
		})
		c.stream = st
		if err != nil {
			return err
		}
		slices.SortStableFunc(c.entries, func(a, b logEntry) int { return a.id.Compare(b.id) })
		st.limits(c.budget)
		in.report(found)
	}
	if n := len(in.index.order); n > 0 {
		in.log.Info("inbox opened", "accepted", n, "pending", in.index.pending, "dead", in.index.dead, "took", time.Since(start))
	}
	return nil
}

// report tells of damage. What only the end of the last segment suffered is
// the trace of a crash in the middle of a write, which nobody was told about;
// anything else stays in Health until the next start.
func (in *Inbox) report(found []damage) {
	for _, d := range found {
		if d.tail {
			in.log.Warn("inbox: the last write was cut short", "segment", d.segment, "problem", d.problem, "kept", d.kept, "aside", d.aside)
			continue
		}
		in.log.Error("inbox: a file is damaged", "segment", d.segment, "problem", d.problem, "kept", d.kept, "aside", d.aside)
		in.salvage = append(in.salvage, d.String())
	}
}

// loadedMark is a mark as found on disk.
type loadedMark struct {
	id       ulid.ULID
	revision int
	state    state
	latency  uint32
	seg, off uint32
}

func (in *Inbox) loadAccepted(suffix string) error {
	type queued struct {
		e   *entry
		run uint64
	}
	var order []queued
	var marks []loadedMark
	var malformed []string
	st, found, err := loadStream(filepath.Join(in.opts.Dir, "accepted"), true, suffix, func(s *segment, f frame) {
		in.ids.seen(f.id)
		if f.kind != frameAccepted && f.kind != frameMark {
			return
		}
		r, err := decodeRecord(f.id, f.payload)
		if err != nil {
			malformed = append(malformed, fmt.Sprintf("%s at byte %d: %v", s.path, f.off, err))
			return
		}
		if f.kind == frameMark {
			marks = append(marks, loadedMark{f.id, r.revision, stateOf(r.Forwarding), microseconds(r.Latency), s.num, uint32(f.off)})
			return
		}
		order = append(order, queued{run: runHash(r.Run), e: &entry{
			id: f.id, key: r.identity().hash(), seg: s.num, off: uint32(f.off), size: uint32(f.size), body: uint32(len(r.body)),
			latency: microseconds(r.Latency), rev: uint16(r.revision), state: stateOf(r.Forwarding),
		}})
	})
	in.acc = st
	if err != nil {
		return err
	}
	in.report(found)
	in.salvage = append(in.salvage, malformed...)
	for _, m := range malformed {
		in.log.Error("inbox: a record is malformed", "where", m)
	}
	st.limits(in.opts.Entries, in.opts.Bodies)

	// An entry that retention copied forward is there twice if a crash came
	// before the old copy was removed: the later one counts.
	slices.SortStableFunc(order, func(a, b queued) int { return a.e.id.Compare(b.e.id) })
	kept := order[:0]
	for _, q := range order {
		if n := len(kept); n > 0 && kept[n-1].e.id == q.e.id {
			kept[n-1] = q
			continue
		}
		kept = append(kept, q)
	}
	for _, q := range kept {
		in.index.order = append(in.index.order, q.e)
	}

	// Marks come in the order written, so that the last one of a revision wins.
	slices.SortStableFunc(marks, func(a, b loadedMark) int { return cmp.Compare(a.revision, b.revision) })
	for _, m := range marks {
		if e := in.index.find(m.id); e != nil && m.revision > int(e.rev) {
			e.rev, e.state, e.latency = uint16(m.revision), m.state, m.latency
			e.markSeg, e.markOff = m.seg, m.off
		}
	}

	now := time.Now()
	for _, q := range kept {
		e := q.e
		in.index.account(e, st.segment(e.seg), 1)
		if in.index.byKey[e.key] == nil {
			in.index.byKey[e.key] = e
		}
		if e.state == statePending {
			in.queue.push(e, q.run, false, now)
		}
	}
	return nil
}

func microseconds(d time.Duration) uint32 {
	return uint32(min(max(d.Microseconds(), 0), 1<<32-1))
}

// removeFile removes a file that is no longer needed. One that is gone already
// is fine.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) { //nolint:gosec // in the operator's own directory
		return err
	}
	return nil
}
