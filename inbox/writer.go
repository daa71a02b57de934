package inbox

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"
)

// item is an event on its way to the disk.
type item struct {
	n        int64
	key      key
	run      uint64
	rec      []byte
	size     int
	lingers  bool
	flags    byte
	received time.Time
	moves    uint64 // index of the record that this one replaces
}

// batch is a set of events with one flush.
type batch struct {
	items []*item
	bytes int
	done  chan struct{}
	err   error
	ended time.Time
}

type batchEnd struct {
	last uint64 // index
	at   time.Time
}

const (
	maxBatchBytes = 256 << 10
	maxBatchMarks = 4096
	markDelay     = 200 * time.Millisecond // of marks, if no events come
	boarding      = 4                      // yields before a batch is sealed
	reserved      = 512 << 10              // bytes of the last segment that only marks may use
)

func newItem(d *Delivery, body []byte) *item {
	return &item{
		key: keyOf(d.Run, d.State, d.StateVersion), run: runKey(d.Run), rec: newEvent(d, body, 0), size: len(body) + 512,
		lingers: mayLinger(d.State, d.StateVersion), received: d.ReceivedAt,
	}
}

// enqueue adds an event to a batch. It returns the event that has its place: this
// one, or its earlier twin, without a batch if that one is stored.
func (in *Inbox) enqueue(it *item) (int64, *batch, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if err := in.unavailable(); err != nil {
		return 0, nil, err
	}
	if s, ok := in.window.seen[it.key]; ok {
		return s, nil, nil
	}
	if twin := in.flight[it.key]; twin != nil {
		return twin.n, in.batchOf(twin), nil
	}
	it.n = in.ids.next(time.Now())
	in.flight[it.key] = it
	return it.n, in.board(it), nil
}

// board puts an item into the last batch, or a new one. Called with mu held.
func (in *Inbox) board(it *item) *batch {
	it.rec = stamp(it.rec, makeID(it.n, in.ids.tag))
	b := in.lastBatch(len(it.rec))
	b.items = append(b.items, it)
	b.bytes += len(it.rec)
	return b
}

// lastBatch returns a batch with room. Called with mu held.
func (in *Inbox) lastBatch(bytes int) *batch {
	if n := len(in.batches); n > 0 && in.batches[n-1].bytes+bytes <= maxBatchBytes {
		return in.batches[n-1]
	}
	b := &batch{done: make(chan struct{})}
	in.batches = append(in.batches, b)
	kick(in.kickWrite)
	return b
}

// batchOf returns the batch of an item in flight. Called with mu held.
func (in *Inbox) batchOf(it *item) *batch {
	for _, b := range in.batches {
		if slices.Contains(b.items, it) {
			return b
		}
	}
	return in.committing
}

// unavailable returns why no event can be stored. Called with mu held.
func (in *Inbox) unavailable() error {
	switch {
	case in.closed:
		return fmt.Errorf("%w: it is closing", ErrUnavailable)
	case in.problem != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, in.problem)
	case in.noSpare != nil && in.records.room() < min(reserved, in.volume.size/4):
		return fmt.Errorf("%w: the disk is full: %w", ErrUnavailable, in.noSpare)
	}
	return nil
}

// start starts the writer, the preparation of segments and the housekeeper.
func (in *Inbox) start() {
	in.wg.Go(in.writer)
	in.wg.Go(in.preparer)
	in.wg.Go(in.housekeeper)
	kick(in.kickWrite)
	kick(in.kickPrepare)
}

// writer commits batches and marks until the inbox closes.
func (in *Inbox) writer() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for stopping := false; ; {
		for {
			for range boarding {
				runtime.Gosched() // let those board that are about to
			}
			b, marks := in.take(stopping)
			if b == nil && len(marks) == 0 {
				break
			}
			in.commit(b, marks)
		}
		if stopping {
			return
		}
		timer.Reset(in.nextTurn())
		select {
		case <-in.kickWrite:
		case <-timer.C:
			in.recover()
		case <-in.stop:
			stopping = true
		}
	}
}

// nextTurn returns the time until the writer has something to do.
func (in *Inbox) nextTurn() time.Duration {
	in.mu.Lock()
	defer in.mu.Unlock()
	wait := time.Hour
	if in.problem != nil {
		wait = retryDelay
	}
	if len(in.marks) > 0 && in.records.w != nil {
		wait = min(wait, max(0, time.Until(in.marksAt.Add(markDelay))))
	}
	return wait
}

// take takes the first batch and the marks that go with it.
func (in *Inbox) take(all bool) (b *batch, marks []mark) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.batches) > 0 {
		b = in.batches[0]
		in.batches = slices.Delete(in.batches, 0, 1)
	}
	in.committing = b
	if in.records.w == nil {
		return b, nil
	}
	if b != nil || all || len(in.marks) >= maxBatchMarks || len(in.marks) > 0 && time.Since(in.marksAt) >= markDelay {
		marks = in.takeMarks()
	}
	return b, marks
}

// takeMarks takes the marks of one record. Called with mu held.
func (in *Inbox) takeMarks() []mark {
	n := min(len(in.marks), maxBatchMarks)
	marks := in.marks[:n:n]
	if in.marks = in.marks[n:]; len(in.marks) == 0 {
		in.marks = nil
	}
	return marks
}

// commit writes a batch and marks with one flush.
func (in *Inbox) commit(b *batch, marks []mark) {
	if b == nil {
		b = &batch{done: make(chan struct{})}
	}
	recs := make([][]byte, 0, len(b.items)+1)
	for _, it := range b.items {
		recs = append(recs, it.rec)
	}
	for _, it := range b.items {
		if it.moves > 0 {
			marks = append(marks, mark{idx: it.moves, n: it.n, status: statusMoved})
		}
	}
	if len(marks) > 0 {
		recs = append(recs, newMarks(marks))
	}
	if len(recs) == 0 {
		close(b.done)
		return
	}
	began := time.Now()
	err := errNoSegment
	var first uint64
	var full bool
	if in.records.w != nil {
		first, full, err = in.records.append(recs)
	}
	b.ended = time.Now()
	in.metrics.commit(b.ended.Sub(began), len(b.items), err)
	if err != nil {
		in.failed(b, marks, err)
		return
	}
	in.committed(b, first, recs)
	if full {
		in.rotate()
	}
}

var errNoSegment = errors.New("there is no segment to write to")

// committed makes a batch's events known and answers their senders.
func (in *Inbox) committed(b *batch, first uint64, recs [][]byte) {
	in.mu.Lock()
	s := in.records.segs[len(in.records.segs)-1]
	for i, it := range b.items {
		idx := first + uint64(i)
		s.events++
		s.set(idx, true)
		if it.moves > 0 {
			in.records.close(it.moves)
			in.queue.moved(it.run, it.moves, idx)
		} else {
			in.stored(it, idx, b.ended)
		}
	}
	in.accepted += len(b.items)
	for _, rec := range recs {
		s.bytes += int64(len(rec))
	}
	in.next = first + uint64(len(recs))
	s.last = in.next - 1
	if len(in.ends) < maxNews {
		in.ends = append(in.ends, batchEnd{s.last, b.ended})
	}
	in.mu.Unlock()
	close(b.done)
}

// stored makes an event known that is on disk. Called with mu held.
func (in *Inbox) stored(it *item, idx uint64, now time.Time) {
	in.pending++
	if in.flight[it.key] == it {
		delete(in.flight, it.key)
	}
	if in.window.seen[it.key] != it.n {
		in.window.add(it.key, it.n)
	}
	if it.flags != 0 {
		delete(in.news.marks, it.n)
	}
	if in.queue.spilled > 0 {
		return
	}
	in.queue.keep(idx, it.rec)
	in.queue.push(pending{idx, it.n, uint32(it.size)}, it.run, it.lingers && it.flags == 0, false, now)
	if in.queue.bytes > maxQueueBytes {
		in.queue.spilled = idx + 1
	}
}

// failed takes a batch back: its senders get the error. The segment is not
// written again.
func (in *Inbox) failed(b *batch, marks []mark, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, it := range b.items {
		if in.flight[it.key] == it {
			delete(in.flight, it.key)
		}
		if it.moves > 0 {
			in.queue.moved(it.run, it.moves, it.moves)
		}
	}
	marks = slices.DeleteFunc(marks, func(m mark) bool { return m.status == statusMoved })
	in.marks = append(marks, in.marks...)
	b.err = err
	in.records.w = nil
	in.setProblem(err)
	close(b.done)
}

// setProblem notes why nothing can be written. Called with mu held.
func (in *Inbox) setProblem(err error) {
	if in.problem == nil {
		in.since = time.Now()
		in.log.Error("inbox: cannot write; events are refused until it can", "error", err)
	}
	in.problem = err
}

// rotate begins the next segment.
func (in *Inbox) rotate() {
	l := in.records
	old := l.segs[len(l.segs)-1]
	_, start, _ := l.w.Sealed()
	w := l.w
	r, err := l.reader(old, start)
	if err == nil {
		in.mu.Lock()
		old.r = r
		in.mu.Unlock()
		err = w.Close()
	}
	s, next, beginErr := l.begin()
	in.mu.Lock()
	defer in.mu.Unlock()
	if err != nil {
		in.log.Warn("inbox: cannot open a full segment for reading", "error", err)
	}
	if l.w = next; beginErr != nil {
		in.setProblem(beginErr)
		return
	}
	l.segs = append(l.segs, s)
	kick(in.kickPrepare)
}

// retryDelay is the pause between attempts to write again.
const retryDelay = time.Second

// recover tries to write again after a failure: it makes room, begins a new
// segment and writes the marks. Events are accepted once there is room for the
// spare and the ballast as well.
func (in *Inbox) recover() {
	in.mu.Lock()
	problem := in.problem
	in.mu.Unlock()
	if problem == nil {
		return
	}
	in.volume.dropBallast()
	in.tidy(in.background, true)
	err := in.restart()
	if err == nil {
		err = in.volume.prepare()
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if err != nil {
		in.problem = err
		return
	}
	in.log.Info("inbox: events are accepted again", "after", time.Since(in.since), "problem", in.problem)
	in.problem, in.noSpare = nil, nil
}

// restart begins a segment if there is none, and writes the marks to it.
func (in *Inbox) restart() error {
	l := in.records
	if l.w != nil {
		return nil
	}
	s, w, err := l.begin()
	if err != nil {
		return err
	}
	in.mu.Lock()
	l.segs, l.w = append(l.segs, s), w
	marks := in.takeMarks()
	in.mu.Unlock()
	return in.probe(marks)
}

// probe checks a new segment by writing marks, if only an empty set of them.
func (in *Inbox) probe(marks []mark) error {
	rec := newMarks(marks)
	first, _, err := in.records.append([][]byte{rec})
	if err != nil {
		in.failed(&batch{done: make(chan struct{})}, marks, err)
		return err
	}
	in.committed(&batch{done: make(chan struct{}), ended: time.Now()}, first, [][]byte{rec})
	return nil
}

// preparer writes the next segment and the ballast in advance.
func (in *Inbox) preparer() {
	for {
		select {
		case <-in.kickPrepare:
		case <-in.stop:
			return
		}
		err := in.volume.prepare()
		in.mu.Lock()
		if in.problem == nil {
			if err != nil && in.noSpare == nil {
				in.log.Warn("inbox: the disk is nearly full; events are accepted until the present segment is", "error", err)
			}
			in.noSpare = err
		}
		in.mu.Unlock()
	}
}

// housekeeper keeps the archive up to date and deletes what is not needed.
func (in *Inbox) housekeeper() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-in.stop:
			return
		}
		in.mu.Lock()
		tight := in.noSpare != nil
		in.archive.busy.Store(in.accepted > busyRate)
		in.accepted = 0
		in.mu.Unlock()
		if tight {
			in.volume.dropBallast()
		}
		in.tidy(in.background, tight)
		if tight {
			kick(in.kickPrepare)
		}
	}
}

// tidy brings the archive up to date and deletes segments. If the disk is tight,
// it deletes all that it can: without the archive, if that can't be written.
func (in *Inbox) tidy(ctx context.Context, tight bool) {
	pace := in.pace()
	if tight {
		pace = everything
	}
	err := errors.Join(in.syncArchive(ctx, pace), in.settle(ctx))
	if err != nil {
		in.log.Warn("inbox: cannot write the archive", "error", err)
	} else {
		in.trimArchive(ctx, tight)
	}
	through := in.archive.position()
	if err != nil && tight {
		through = ^uint64(0)
	}
	for _, s := range in.droppable(through, tight) {
		if err == nil {
			err = in.archive.flush(ctx)
		}
		if err := errors.Join(s.r.Close(), in.records.filer.Delete(s.BaseIndex, s.ID)); err != nil {
			in.log.Warn("inbox: cannot delete a segment", "error", err)
		}
	}
	if !tight {
		in.compact()
	}
}

// droppable takes the oldest segments from the log that are not needed.
func (in *Inbox) droppable(through uint64, tight bool) (drop []*seg) {
	in.mu.Lock()
	defer in.mu.Unlock()
	l := in.records
	events, bytes := 0, int64(0)
	for _, s := range l.segs {
		events, bytes = events+s.events-s.pending, bytes+s.bytes
	}
	for len(l.segs) > 0 {
		s := l.segs[0]
		events, bytes = events-s.events, bytes-s.bytes
		within := events < in.opts.Bodies.Count && bytes < in.opts.Bodies.Bytes
		if s.pending > 0 || s.last > through || within && !tight || len(l.segs) == 1 && l.w != nil {
			break
		}
		l.segs = l.segs[1:]
		drop = append(drop, s)
	}
	return drop
}

// compact writes the pending events of the oldest segment again, if much that is
// done behind it waits for it. It moves events only of runs whose signals fail.
func (in *Inbox) compact() {
	in.mu.Lock()
	l := in.records
	var moving []uint64
	if len(l.segs) == 0 {
		in.mu.Unlock()
		return
	}
	if s, done := l.segs[0], int64(0); in.queue.spilled == 0 && in.unavailable() == nil && s.pending <= s.events/4 {
		for _, other := range l.segs[1:] {
			if other.pending == 0 {
				done += other.bytes
			}
		}
		for idx, ok := l.nextOpen(s.BaseIndex); ok && idx <= s.last && done > in.opts.Bodies.Bytes/2; idx, ok = l.nextOpen(idx + 1) {
			moving = append(moving, idx)
		}
	}
	in.mu.Unlock()
	for _, idx := range moving {
		rec, err := in.readRecord(idx)
		e, bad := readEvent(rec)
		if err != nil || bad != nil {
			continue
		}
		in.mu.Lock()
		if r := in.queue.runs[runKey(e.Run)]; r != nil && r.phase == phaseBackoff {
			r.moving++
			rec[1] |= flagMoved
			in.board(&item{n: e.n, run: r.key, rec: rec[:len(rec)-idLen-checksumLen], flags: rec[1], moves: idx})
		}
		in.mu.Unlock()
	}
}
