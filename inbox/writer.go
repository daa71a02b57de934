package inbox

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/gantryhq/gantry/decide/managed"
)

// item is an event on its way to disk.
type item struct {
	key      key
	run      uint64
	linger   bool
	received time.Time
	body     []byte
	record   []byte // without its place yet

	// Set by enqueue and by the commit.
	batch   *batch
	id      ulid.ULID
	latency time.Duration
}

// batch holds the items of one commit. Their requests wait on done; err is valid
// once that is closed.
type batch struct {
	items []*item
	rows  []*row // whose marks must be in this commit
	bytes int
	done  chan struct{}
	err   error
}

const (
	maxBatchBytes = 512 << 10
	maxBatchMarks = 512 // rows

	// markDelay limits how long a mark waits for a commit to join. A crash before
	// that sends a signal again, which the receiver recognises.
	markDelay = 50 * time.Millisecond
	// logDelay limits how long a logged delivery is only in memory.
	logDelay = 250 * time.Millisecond
	// probeEvery is the interval of a failed inbox's attempts to write.
	probeEvery = time.Second
)

var recordBuffers = sync.Pool{New: func() any { return new([]byte) }}

// newItem encodes an event for the store. Requests do this in parallel; the single
// writer only copies.
func newItem(d Delivery, event managed.RunEvent, body []byte) (*item, error) {
	it := &item{
		key: keyOf(event.Run, event.StateVersion, event.State), run: runKeyOf(event.Run),
		linger: mayLinger(event.State, event.StateVersion), received: d.ReceivedAt, body: body,
	}
	buf := recordBuffers.Get().(*[]byte)
	h := head{key: it.key, run: it.run, body: uint32(len(body)), bodySum: checksum(body), outcome: outcomeCode(OutcomeAccepted)}
	var err error
	it.record, err = appendRecord((*buf)[:0], h, payload{
		Event: &event, ReceivedAt: d.ReceivedAt, Source: d.Source, Reason: d.Reason, Detail: d.Detail, Size: d.Size, Secret: d.Secret,
	})
	if n := len(it.record) + len(body); err == nil && n > maxStored {
		err = fmt.Errorf("event of %d bytes exceeds the limit of %d", n, maxStored)
	}
	return it, err
}

// release returns the item's buffer to the pool; its record can't be used any more.
func (it *item) release() {
	if cap(it.record) <= 64<<10 {
		recordBuffers.Put(new(it.record[:0]))
	}
	it.record, it.body = nil, nil
}

// enqueue queues the item. It returns the batch to wait for and the id of the
// delivery in it: the item's own, or that of a twin in flight. Without a batch,
// first is the id of a twin on disk.
func (in *Inbox) enqueue(it *item) (first ulid.ULID, b *batch, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if e := in.index.byKey[it.key]; e != nil && !in.closed {
		return e.id, nil, nil
	}
	if err := in.unavailable(); err != nil {
		return ulid.ULID{}, nil, err
	}
	if twin := in.flight[it.key]; twin != nil {
		return twin.id, twin.batch, nil
	}
	it.id = in.ids.next(time.Now())
	b = in.openBatch(len(it.record) + len(it.body))
	it.batch = b
	b.items = append(b.items, it)
	in.flight[it.key] = it
	kick(in.kickWrite)
	return it.id, b, nil
}

// unavailable returns why nothing can be stored now, or nil. Called with mu held.
func (in *Inbox) unavailable() error {
	switch {
	case in.closed:
		return fmt.Errorf("%w: it is closing", ErrUnavailable)
	case in.problem != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, in.problem)
	}
	return nil
}

// openBatch returns a batch with room for n more bytes. Called with mu held.
func (in *Inbox) openBatch(n int) *batch {
	if k := len(in.batches); k > 0 {
		if b := in.batches[k-1]; b.bytes+n <= maxBatchBytes {
			b.bytes += n
			return b
		}
	}
	b := &batch{done: make(chan struct{}), bytes: n}
	in.batches = append(in.batches, b)
	return b
}

// writer is the only goroutine that commits. While it waits for the disk, the next
// batch fills, so each flush carries more under load. Commits include marks, logs
// and trimming.
func (in *Inbox) writer() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		closing := false
		select {
		case <-in.kickWrite:
		case <-timer.C:
		case <-in.stop:
			closing = true
		}
		for in.step(closing) {
		}
		if closing {
			return
		}
		in.mu.Lock()
		wait := time.Hour
		switch now := time.Now(); {
		case in.problem != nil:
			wait = max(0, in.probeAt.Sub(now))
		case len(in.index.dirty) > 0:
			wait = max(0, in.dirtySince.Add(markDelay).Sub(now))
		}
		if !in.logSince.IsZero() && in.problem == nil {
			wait = min(wait, max(0, time.Until(in.logSince.Add(logDelay))))
		}
		in.mu.Unlock()
		timer.Reset(wait)
	}
}

// commit holds the writes of one transaction.
type commit struct {
	batch *batch
	fresh *row // the batch's entries
	marks []*row
	blobs [][]byte // of marks
	logs  []loggedRow
	trim  trim
}

func (c *commit) empty() bool {
	return len(c.batch.items) == 0 && len(c.marks) == 0 && len(c.logs) == 0 && c.trim.empty()
}

// step commits once if there is something to commit, and reports whether there may
// be more. While the disk fails, it only probes it every probeEvery.
func (in *Inbox) step(closing bool) bool {
	start := time.Now()
	in.mu.Lock()
	if in.problem != nil && !closing {
		due := !start.Before(in.probeAt)
		in.probeAt = start.Add(probeEvery)
		next, nextLog := in.nextSeq, in.nextLog
		in.mu.Unlock()
		if due {
			in.probed(in.store.probe(next, nextLog))
		}
		return false
	}
	c := in.gather(start, closing)
	in.mu.Unlock()
	if c.empty() {
		close(c.batch.done)
		return false
	}
	records, err := in.write(c)
	if errors.Is(err, errDamaged) && !c.trim.empty() {
		in.stopTrimming(c, err)
		records, err = in.write(c)
	}
	now := time.Now()
	in.metrics.commit(now.Sub(start), len(c.batch.items), err)

	in.mu.Lock()
	if err != nil {
		in.failed(c, err, now)
	} else {
		in.stored(c, now)
	}
	in.mu.Unlock()
	if err == nil && records != nil {
		in.store.remember(c.fresh.seq, records)
	}
	c.batch.err = err
	close(c.batch.done)
	for _, it := range c.batch.items {
		it.release()
	}
	return err == nil
}

// gather builds the next commit. Called with mu held.
func (in *Inbox) gather(now time.Time, closing bool) *commit {
	c := &commit{batch: &batch{done: make(chan struct{})}}
	if len(in.batches) > 0 {
		c.batch = in.batches[0]
		in.batches[0] = nil
		in.batches = in.batches[1:]
	}
	if len(c.batch.items) > 0 {
		c.fresh = &row{seq: in.nextSeq, entries: make([]entry, len(c.batch.items))}
	}
	c.marks = c.batch.rows
	if n := len(in.index.dirty); n > 0 {
		if in.dirtySince.IsZero() {
			in.dirtySince = now
		}
		if closing || n >= maxBatchMarks || now.Sub(in.dirtySince) >= markDelay {
			n = min(n, maxBatchMarks)
			c.marks = append(c.marks, in.index.dirty[:n]...)
			in.index.dirty = in.index.dirty[n:]
			in.dirtySince = now
		}
	}
	if len(in.index.dirty) == 0 {
		in.index.dirty, in.dirtySince = nil, time.Time{}
	}
	c.trim = in.planTrim()
	c.marks = slices.DeleteFunc(c.marks, func(r *row) bool { return r.leaving })
	for _, r := range c.marks {
		r.dirty = false
		c.blobs = append(c.blobs, in.index.marks(r))
	}
	if !in.logSince.IsZero() && (closing || in.logsFull || now.Sub(in.logSince) >= logDelay) {
		c.logs = in.gatherLogs()
	}
	return c
}

// write runs the transaction and returns the batch's records.
func (in *Inbox) write(c *commit) (records []byte, err error) {
	var bodies any // nil is NULL
	if c.fresh != nil {
		records, bodies = c.encode()
	}
	for i := range c.logs {
		if err := c.logs[i].encode(); err != nil {
			return nil, fmt.Errorf("encode the log: %w", err)
		}
	}
	return records, in.store.transact(func() error { return c.insert(in.store, records, bodies) })
}

// insert writes the commit's rows and trims within a transaction.
func (c *commit) insert(s *store, records []byte, bodies any) error {
	if c.fresh != nil {
		if err := s.exec("INSERT INTO batches (seq, entries, bodies) VALUES (?, ?, ?)", c.fresh.seq, records, bodies); err != nil {
			return fmt.Errorf("add events: %w", err)
		}
	}
	for i, r := range c.marks {
		if err := s.exec("REPLACE INTO marks (seq, marks) VALUES (?, ?)", r.seq, c.blobs[i]); err != nil {
			return fmt.Errorf("add marks: %w", err)
		}
	}
	for _, l := range c.logs {
		if err := s.exec("INSERT INTO log (seq, class, entries) VALUES (?, ?, ?)", l.row.seq, l.class, l.records); err != nil {
			return fmt.Errorf("add to the log: %w", err)
		}
	}
	if err := c.trim.write(s); err != nil {
		return fmt.Errorf("trim: %w", err)
	}
	return nil
}

// encode returns the batch's records and bodies, and fills its row.
func (c *commit) encode() (records []byte, bodies any) {
	size, bodySize := 0, 0
	for _, it := range c.batch.items {
		size, bodySize = size+len(it.record), bodySize+len(it.body)
	}
	records = make([]byte, 0, size)
	all := make([]byte, 0, bodySize)
	for i, it := range c.batch.items {
		at := len(records)
		records = append(records, it.record...)
		place(records[at:], it.id, len(all))
		all = append(all, it.body...)
		c.fresh.entries[i] = entry{
			id: it.id, key: it.key, row: c.fresh, at: uint32(at), size: uint32(len(it.record)), body: uint32(len(it.body)),
			outcome: outcomeCode(OutcomeAccepted),
		}
	}
	if c.fresh.bodies = bodySize > 0; !c.fresh.bodies {
		return records, nil
	}
	return records, all
}

// stored makes a commit visible: it adds its entries to the index and the queue.
// Called with mu held.
func (in *Inbox) stored(c *commit, now time.Time) {
	for i, it := range c.batch.items {
		it.latency = now.Sub(it.received)
		c.fresh.entries[i].latency = microseconds(it.latency)
		delete(in.flight, it.key)
	}
	if c.fresh != nil {
		in.nextSeq++
		in.index.add(c.fresh)
		for i, it := range c.batch.items {
			in.queue.push(&c.fresh.entries[i], it.run, it.linger, now)
		}
	}
	for _, l := range c.logs {
		in.logs[l.class].written(l)
	}
	in.trimmed(c.trim)
}

// failed reverts a commit: its events are dropped, and everything else waits for
// the next one. Called with mu held.
func (in *Inbox) failed(c *commit, err error, now time.Time) {
	if errors.Is(err, errDamaged) {
		err = fmt.Errorf("%w; restart to save whatever is readable", err)
	}
	in.log.Error("inbox cannot write; it answers events 503 until it can", "error", err)
	in.problem, in.since, in.probeAt = err, now, now.Add(probeEvery)
	for _, it := range c.batch.items {
		delete(in.flight, it.key)
	}
	for _, r := range c.marks {
		in.index.touch(r)
	}
	for _, l := range c.logs {
		l.row.closed = false
		in.nextLog = min(in.nextLog, l.row.seq)
		in.logSince = now
	}
	in.keep(c.trim)
	for _, b := range in.batches { // queued before the problem was known
		b.err = err
		for _, it := range b.items {
			delete(in.flight, it.key)
		}
		close(b.done)
	}
	in.batches = nil
}

// probed records the result of a probe.
func (in *Inbox) probed(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if err != nil {
		in.problem = err
		return
	}
	in.log.Info("inbox is writable again", "unavailable", time.Since(in.since))
	in.problem = nil
}
