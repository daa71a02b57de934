package inbox

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/gantryhq/gantry/workflows"
)

// item is an event on its way to disk.
type item struct {
	identity identity
	key      uint64
	run      uint64
	linger   bool
	received time.Time
	body     int
	frame    []byte // complete but for id and checksum

	// Set by enqueue and by the commit.
	batch   *batch
	id      ulid.ULID
	latency time.Duration
}

// mark is a change of an entry's forwarding on its way to disk.
type mark struct {
	entry *entry
	rec   record

	requeue bool // once it is on disk, the entry joins the queue of run
	run     uint64
	size    int // of its frame
}

// batch is what goes to disk together. Its requests wait on done; err holds
// once that is closed.
type batch struct {
	items  []*item
	marks  []*mark
	copies []*moved
	bytes  int
	done   chan struct{}
	err    error
}

const (
	maxBatchBytes = 1 << 20
	maxBatchMarks = 8192

	// markDelay is how long a mark may wait for a commit to join. A crash
	// before that sends a signal again, which the receiver recognises.
	markDelay = 50 * time.Millisecond
	// probeEvery is how often a broken inbox tries whether writing works again.
	probeEvery = time.Second
	// probeRoom is the space a probe asks for, so that the inbox does not call
	// itself well and fail with the next event.
	probeRoom = 64 << 10
)

var frames = sync.Pool{New: func() any { return new([]byte) }}

// newItem encodes what is stored. That is done by the request, side by side
// with others; the writer, of which there is one, only copies.
func newItem(d Delivery, event workflows.RunEvent, body []byte) (*item, error) {
	ev, err := json.Marshal(event)
	if err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	r := record{Delivery: d, event: ev, body: body}
	r.Latency, r.Forwarding = 0, "" // as long as there is no mark
	if n := len(ev) + len(body); n > maxPayload/2 {
		return nil, fmt.Errorf("%d bytes are more than the inbox can store", n)
	}
	buf := frames.Get().(*[]byte)
	return &item{
		identity: r.identity(),
		key:      r.identity().hash(),
		run:      runHash(d.Run),
		linger:   mayLinger(d.State, d.StateVersion),
		received: d.ReceivedAt,
		body:     len(body),
		frame:    r.appendTo(beginFrame((*buf)[:0])),
	}, nil
}

// enqueue puts the item in line. It returns the batch to wait for and the id of
// the delivery in it: the item's own, or that of a twin under way. Without a
// batch, first is the id of a twin on disk.
func (in *Inbox) enqueue(it *item) (first ulid.ULID, b *batch, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return ulid.ULID{}, nil, fmt.Errorf("%w: it is closing", ErrUnavailable)
	}
	if twin := in.flight[it.key]; twin != nil && twin.identity == it.identity {
		return twin.id, twin.batch, nil
	}
	if e := in.index.byKey[it.key]; e != nil && in.same(e, it.identity) {
		return e.id, nil, nil
	}
	it.id = in.ids.next(time.Now())
	b = in.openBatch(len(it.frame))
	it.batch = b
	b.items = append(b.items, it)
	b.bytes += len(it.frame)
	if in.flight[it.key] == nil {
		in.flight[it.key] = it
	}
	kick(in.kickWrite)
	return it.id, b, nil
}

// same reads the entry to see whether it really is this event: keys are hashes.
// Called with mu held; repeats are rare, and the page is in memory.
func (in *Inbox) same(e *entry, i identity) bool {
	f, err := in.acc.segment(e.seg).read(int64(e.off), int(e.size))
	if err != nil {
		return false
	}
	r, err := decodeRecord(f.id, f.payload)
	return err == nil && r.identity() == i
}

// openBatch returns the batch that takes n more bytes.
func (in *Inbox) openBatch(n int) *batch {
	if k := len(in.batches); k > 0 && in.batches[k-1].bytes+n <= maxBatchBytes {
		return in.batches[k-1]
	}
	b := &batch{done: make(chan struct{})}
	in.batches = append(in.batches, b)
	return b
}

// addMark changes an entry's state in memory at once, and on disk soon. Called
// with mu held.
func (in *Inbox) addMark(e *entry, d Delivery) {
	e.rev++
	d.Latency = latencyOf(e.latency)
	m := &mark{entry: e, rec: record{Delivery: d, revision: int(e.rev)}}
	in.setState(e, stateOf(d.Forwarding))
	in.overlay[e] = m
	in.marks = append(in.marks, m)
	if len(in.marks) == 1 || len(in.marks) == maxBatchMarks {
		kick(in.kickWrite)
	}
}

func (in *Inbox) setState(e *entry, s state) {
	seg := in.acc.segment(e.seg)
	in.index.account(e, seg, -1)
	e.state = s
	in.index.account(e, seg, 1)
}

// writer is the one goroutine that appends to the accepted stream. While it
// waits for the disk the next batch gathers, so the more there is to do, the
// more each flush carries.
func (in *Inbox) writer() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-in.kickWrite:
		case <-timer.C:
			in.mu.Lock()
			broken := in.problem != nil
			in.mu.Unlock()
			in.commit(true, broken)
		case <-in.stop:
			for in.commit(true, false) {
			}
			return
		}
		for in.commit(false, false) {
		}
		in.mu.Lock()
		switch {
		case in.problem != nil:
			timer.Reset(probeEvery)
		case len(in.marks) > 0:
			timer.Reset(markDelay)
		}
		in.mu.Unlock()
	}
}

// commit writes the next batch, with the marks that wait. With marksToo it also
// writes when there are only marks, and with probe when there is nothing at
// all. It reports whether there may be more to do at once.
func (in *Inbox) commit(marksToo, probe bool) bool {
	in.mu.Lock()
	b := &batch{done: make(chan struct{})}
	if len(in.batches) > 0 {
		b = in.batches[0]
		in.batches = in.batches[1:]
	}
	marks := in.marks
	if n := maxBatchMarks; len(marks) > n && len(b.marks) == 0 {
		marks = marks[:n] // never behind the batch's own, which may be newer
	}
	idle := len(b.items) == 0 && len(b.marks) == 0 && len(b.copies) == 0
	if idle && (len(marks) == 0 || !marksToo && len(marks) < maxBatchMarks) && !probe {
		in.mu.Unlock()
		return false
	}
	in.marks = in.marks[len(marks):]
	if len(in.marks) == 0 {
		in.marks = nil
	}
	in.mu.Unlock()

	start := time.Now()
	marks = append(slices.Clip(marks), b.marks...)
	w, err := in.write(b.items, marks, b.copies, probe && idle && len(marks) == 0)
	now := time.Now()
	in.metrics.commit(now.Sub(start), len(b.items), err)

	in.mu.Lock()
	if err != nil {
		in.failed(b, marks[:len(marks)-len(b.marks)], err, now)
	} else {
		in.stored(b, marks, w, now)
	}
	more := err == nil || len(in.batches) > 0
	in.mu.Unlock()
	b.err = err
	close(b.done)
	if w.rolled {
		kick(in.kickSpare)
		kick(in.kickKeep)
	}
	for _, it := range b.items {
		buf := it.frame[:0]
		it.frame = nil
		if cap(buf) <= 64<<10 {
			frames.Put(&buf)
		}
	}
	return more
}

// written says where a commit put its frames: in this segment, from there on.
type written struct {
	seg    *segment
	off    int64
	rolled bool // it is a new one
}

// write appends frames for items, marks and copies, in this order. It is called
// by the writer alone.
func (in *Inbox) write(items []*item, marks []*mark, copies []*moved, probe bool) (written, error) {
	buf := in.buf[:0]
	for _, it := range items {
		start := len(buf)
		buf = append(buf, it.frame...)
		endFrame(buf, start, frameAccepted, it.id)
	}
	for _, m := range marks {
		start := len(buf)
		buf = m.rec.appendForwarding(beginFrame(buf))
		endFrame(buf, start, frameMark, m.entry.id)
		m.size = len(buf) - start
	}
	for _, c := range copies {
		buf = append(buf, c.frame...)
	}
	n := len(items) + len(marks) + len(copies)
	need := len(buf)
	if probe {
		buf, n, need = appendFrame(buf, frameNothing, ulid.ULID{}, nil), 1, probeRoom
	}
	if in.buf = buf; cap(buf) > 2*maxBatchBytes {
		in.buf = nil
	}
	rolled := in.acc.full(need)
	if rolled {
		if err := in.roll(need); err != nil {
			return written{}, err
		}
	}
	s := in.acc.open
	w := written{s, s.end, rolled}
	return w, s.append(buf, n, true)
}

// roll seals the active segment and goes on with the next one. The next one is
// there before the seal is written: without space for it, the active one stays
// as it is.
func (in *Inbox) roll(need int) error {
	if err := in.acc.prepare(need); err != nil {
		return err
	}
	last := in.acc.open
	if last != nil {
		if err := last.seal(true); err != nil {
			return err
		}
		// Gives back what was reserved and not used. Nothing depends on it.
		if err := last.f.Truncate(last.end); err != nil {
			in.log.Warn("inbox: cannot give back reserved space", "segment", last.path, "error", err)
		}
	}
	next := in.acc.takeSpare()
	in.mu.Lock()
	defer in.mu.Unlock()
	if last != nil {
		last.size = last.end
	}
	in.acc.segs = append(in.acc.segs, next)
	in.acc.open = next
	return nil
}

// stored makes a commit visible: entries in the index and in the queue. Called
// with mu held.
func (in *Inbox) stored(b *batch, marks []*mark, w written, now time.Time) {
	if in.problem != nil {
		in.log.Info("inbox is writable again", "unavailable", now.Sub(in.since))
		in.problem = nil
	}
	off := w.off
	for _, it := range b.items {
		it.latency = now.Sub(it.received)
		e := &entry{
			id: it.id, key: it.key, seg: w.seg.num, off: uint32(off),
			size: uint32(len(it.frame)), body: uint32(it.body),
			latency: microseconds(it.latency),
		}
		off += int64(len(it.frame))
		in.index.order = append(in.index.order, e)
		in.index.account(e, w.seg, 1)
		if in.index.byKey[it.key] == nil {
			in.index.byKey[it.key] = e
		}
		if in.flight[it.key] == it {
			delete(in.flight, it.key)
		}
		in.queue.push(e, it.run, it.linger, now)
	}
	for _, m := range marks {
		e := m.entry
		if e.state != stateGone {
			e.markSeg, e.markOff = w.seg.num, uint32(off)
		}
		off += int64(m.size)
		if in.overlay[e] == m {
			delete(in.overlay, e)
		}
		if m.requeue && e.state != statePending && e.state != stateGone {
			in.setState(e, statePending)
			in.index.lookFrom()
			in.queue.push(e, m.run, false, now)
		}
	}
	for _, c := range b.copies {
		in.settle(c, w.seg, off)
		off += int64(len(c.frame))
	}
}

// failed takes a commit back: its events are unknown, its marks wait for the
// next. Called with mu held.
func (in *Inbox) failed(b *batch, marks []*mark, err error, now time.Time) {
	if in.problem == nil {
		in.since = now
		in.log.Error("inbox cannot write: events are answered 503 until it can", "error", err)
	}
	in.problem = err
	for _, it := range b.items {
		if in.flight[it.key] == it {
			delete(in.flight, it.key)
		}
	}
	in.marks = append(marks, in.marks...)
}
