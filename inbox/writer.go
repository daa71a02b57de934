package inbox

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"time"

	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/inbox/queue"
	"github.com/gantryhq/gantry/inbox/repeats"
	"github.com/gantryhq/gantry/inbox/wal"
)

// item is an event on its way to the disk.
type item struct {
	queue.Event
	key repeats.Key
}

// batch is a set of events with one flush, and what is written with them.
type batch struct {
	items []item
	recs  []byte // of the items
	marks []archive.Result
	done  chan struct{}
	err   error
	ended time.Time
}

const (
	markDelay = 200 * time.Millisecond // of marks, if no events come
	boarding  = 4                      // yields, and naps at most, before a batch is sealed
	crowd     = 12                     // events that are worth a flush, however many more are about to come
	maxReused = 1 << 20                // bytes of memory that a batch leaves to the next but one
)

// enqueue adds an event to the open batch. It returns its number, and the batch to
// wait for. If the event is a repeat it is not ours: the number and the batch are
// those of the first one, and the batch is nil if that is stored.
func (in *Inbox) enqueue(d *archive.Delivery, body []byte, kind byte) (n int64, ours bool, b *batch, err error) {
	k := repeats.KeyOf(d.Run, d.State, d.StateVersion)
	in.mu.Lock()
	defer in.mu.Unlock()
	if err := in.unavailable(); err != nil {
		return 0, false, nil, err
	}
	if n, ok := in.window.Number(k); ok {
		for _, b := range []*batch{in.committing, in.open} {
			if b != nil && slices.ContainsFunc(b.items, func(other item) bool { return other.Number == n }) {
				return n, false, b, nil
			}
		}
		return n, false, nil, nil
	}
	n = in.ids.next(time.Now())
	in.window.Add(k, n)
	return n, true, in.board(d, body, kind, n, k), nil
}

// board puts an event into the open batch. Called with mu held.
func (in *Inbox) board(d *archive.Delivery, body []byte, kind byte, n int64, k repeats.Key) *batch {
	b := in.open
	start := len(b.recs)
	b.recs = appendEvent(b.recs, d, body, kind, makeID(n, in.ids.tag))
	p := newPending(0, n, b.recs[start:len(b.recs):len(b.recs)])
	b.items = append(b.items, item{queue.Event{Run: d.Run, State: d.State, Version: d.StateVersion, Pending: p}, k})
	kick(in.kick)
	return b
}

// newBatch returns an empty batch with the memory of one that is done, or of nil.
func newBatch(old *batch) *batch {
	b := &batch{done: make(chan struct{})}
	if old != nil && cap(old.recs) <= maxReused {
		clear(old.items) // they name runs
		b.items, b.recs = old.items[:0], old.recs[:0]
	}
	return b
}

// wait waits until a batch is on disk.
func (b *batch) wait(ctx context.Context) error {
	select {
	case <-b.done:
		if b.err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, b.err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
	}
}

// unavailable returns why no event can be stored. Called with mu held.
func (in *Inbox) unavailable() error {
	switch {
	case in.closed:
		return fmt.Errorf("%w: it is closing", ErrUnavailable)
	case in.problem != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, in.problem)
	}
	if err := in.records.Full(); err != nil { // what is left is for marks
		return fmt.Errorf("%w: the disk is full: %w", ErrUnavailable, err)
	}
	return nil
}

// writer commits batches and marks until the inbox closes.
func (in *Inbox) writer() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		stopping := false
		select {
		case <-in.kick:
		case <-timer.C:
		case <-in.stop:
			stopping = true
		}
		wait := in.commit(stopping)
		if stopping {
			in.records.Seal()
			return
		}
		timer.Reset(wait)
	}
}

// commit writes the open batch and the marks with one flush, and again while there
// is more. It returns when it has to be called without a kick.
func (in *Inbox) commit(all bool) time.Duration {
	for {
		in.letBoard()
		b, wait := in.take(all)
		if b == nil {
			return wait
		}
		began := time.Now()
		first, err := in.records.Append(b.records())
		b.ended = time.Now()
		in.metrics.commit(b.ended.Sub(began), len(b.items), err)
		in.answer(b, first, err)
		all = all && err == nil
	}
}

// letBoard lets events board that are about to: as long as few have boarded, compared
// with those that came lately. A flush costs as much as several events, whatever it
// writes.
func (in *Inbox) letBoard() {
	for range boarding {
		runtime.Gosched()
	}
	for range boarding {
		in.mu.Lock()
		n := len(in.open.items)
		in.mu.Unlock()
		if n == 0 || n >= min(crowd, in.usual*3/4) {
			return
		}
		nap()
	}
}

// take takes what is to be written now, or returns how long that can wait.
func (in *Inbox) take(all bool) (b *batch, wait time.Duration) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if wait = time.Until(in.marksDue); len(in.marks) == 0 {
		wait = time.Hour
	}
	if len(in.open.items) == 0 && !in.wanted && (len(in.marks) == 0 || !all && wait > 0) {
		return nil, wait
	}
	b = in.open
	in.usual = max(len(b.items), in.usual*7/8)
	b.marks = in.marks
	in.open, in.committing, in.marks, in.wanted = newBatch(in.finished), b, nil, false
	in.finished = nil
	return b, 0
}

// records returns the records of a batch, the marks last.
func (b *batch) records() (recs [][]byte) {
	recs = make([][]byte, 0, len(b.items)+1)
	for _, it := range b.items {
		recs = append(recs, it.Record)
	}
	if len(b.marks) > 0 {
		recs = append(recs, newMarks(b.marks))
	}
	return recs
}

// answer makes a batch's events known, or takes them back, and answers their
// senders.
func (in *Inbox) answer(b *batch, first uint64, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	defer close(b.done)
	in.committing, in.finished, b.err = nil, b, err
	if err != nil {
		for _, it := range b.items {
			in.window.Forget(it.key, it.Number)
		}
		in.marks, in.marksDue = append(b.marks, in.marks...), b.ended.Add(retryDelay)
		in.setProblem(err)
		return
	}
	for i, it := range b.items {
		it.Index, it.Ready = first+uint64(i), b.ended
		in.queue.Arrive(it.Event)
	}
	in.arrivals.AllowN(b.ended, min(len(b.items), busyRate/4))
	in.pending += len(b.items)
	if in.next = first + uint64(len(b.items)); len(b.marks) > 0 {
		in.next++
	}
	if in.problem != nil && in.records.NoSpare() == nil {
		in.log.Info("inbox: events are accepted again", "after", time.Since(in.since), "problem", in.problem)
		in.problem = nil
	}
}

// setProblem notes why nothing can be written. Called with mu held.
func (in *Inbox) setProblem(err error) {
	if in.problem == nil {
		in.since = time.Now()
		in.log.Error("inbox: cannot write; events are refused until it can", "error", err)
	}
	in.problem = err
}

const retryDelay = time.Second

// housekeeper keeps the archive up to date, deletes what is not needed, and makes
// room on a full disk.
func (in *Inbox) housekeeper() {
	tick := time.NewTicker(retryDelay)
	defer tick.Stop()
	for reported := ""; ; {
		err, full := in.records.Reserve(), in.records.NoSpare() != nil
		in.mu.Lock()
		if err != nil && err.Error() != reported && in.problem == nil {
			in.log.Warn("inbox: the disk is nearly full; events are accepted until no segment fits", "error", err)
		}
		reported = fmt.Sprint(err)
		tight := full || in.problem != nil
		in.mu.Unlock()
		select {
		case <-tick.C:
		case <-in.stop:
			return
		}
		in.tidy(in.background, tight)
		if tight {
			_ = in.records.Reserve() // NoSpare
			in.mu.Lock()
			in.wanted = in.problem != nil // try to write again
			in.mu.Unlock()
			kick(in.kick)
		}
	}
}

// tidy brings the archive up to date and deletes what the log need not keep. If the
// disk is tight, it deletes all that it can: without the archive, if that can't be
// written.
func (in *Inbox) tidy(ctx context.Context, tight bool) {
	keep := wal.Retention{Count: in.opts.Bodies.Count, Bytes: in.opts.Bodies.Bytes}
	switch {
	case tight:
		in.allow(math.MaxInt)
		keep = wal.Retention{}
	case in.busy():
		in.allow(busyRate)
	default:
		in.allow(archivePace)
	}
	err := in.follow(ctx)
	lost, trimErr := in.archive.Trim(ctx, in.records.Stats().First, tight)
	for _, n := range lost {
		in.metrics.deadExpired.Inc()
		in.log.Error("inbox: too many dead deliveries; the oldest was deleted", "delivery", in.ids.id(n))
	}
	err = errors.Join(err, trimErr)
	if keep.Through = in.archive.Through(); keep.Through >= in.hold {
		if err != nil && tight {
			keep.Through = math.MaxUint64
		}
		err = errors.Join(err, in.records.Trim(keep, func() error { // what the archive has of it is on disk before
			if err := in.archive.Flush(ctx); !tight {
				return err
			}
			return nil
		}))
	}
	if err != nil {
		in.log.Warn("inbox: cannot tidy up", "error", err)
	}
}
