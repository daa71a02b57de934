package inbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft-wal/types"
	"github.com/prometheus/client_golang/prometheus"
)

// Budget limits a kind of deliveries by number and by bytes, approximately.
type Budget struct {
	Count int
	Bytes int64
}

func (b Budget) or(def Budget) Budget {
	if b.Count <= 0 {
		b.Count = def.Count
	}
	if b.Bytes <= 0 {
		b.Bytes = def.Bytes
	}
	return b
}

// DefaultLinger is the usual value of Options.Linger.
const DefaultLinger = 2 * time.Second

// Options configure an inbox. Only Dir is required; zero fields of a budget mean
// its default.
type Options struct {
	// Dir is the folder of this inbox alone. It is created if necessary.
	Dir string

	// Entries limits the accepted deliveries in the archive that are forwarded or
	// late, and its Count is the window in which a repeat is recognised. Default
	// 50,000 and 128 MiB.
	Entries Budget
	// Bodies limits the forwarded deliveries in the log: they have their bodies
	// and can be redelivered. Default 20,000 and 64 MiB.
	Bodies Budget
	// Dead limits deliveries that Temporal refused permanently. Each loss beyond
	// it is logged. Default 10,000 and 64 MiB.
	Dead Budget
	// Ignored limits the ignored, duplicate and unavailable deliveries, each.
	// Default 20,000 and 16 MiB.
	Ignored Budget
	// Refused limits the refused deliveries. Default 5,000 and 4 MiB.
	Refused Budget
	// Unreadable limits the ignored deliveries that LogUnreadable keeps with their
	// bodies. Default 1,000 and 8 MiB.
	Unreadable Budget

	// Linger is the time that an event without need for a decision may wait for
	// the next one of its run (see mayLinger); 0 means none.
	Linger time.Duration

	// LockWait is the time that Open waits for a process that uses the folder, such
	// as the one that a rolling update replaces.
	LockWait time.Duration

	Metrics prometheus.Registerer // nil: no metrics
	Logger  *slog.Logger          // nil: no logs

	segment int64   // bytes
	faults  *faults // nil outside tests
}

func (o Options) withDefaults() Options {
	o.Entries = o.Entries.or(Budget{50_000, 128 << 20})
	o.Bodies = o.Bodies.or(Budget{20_000, 64 << 20})
	o.Dead = o.Dead.or(Budget{10_000, 64 << 20})
	o.Ignored = o.Ignored.or(Budget{20_000, 16 << 20})
	o.Refused = o.Refused.or(Budget{5_000, 4 << 20})
	o.Unreadable = o.Unreadable.or(Budget{1_000, 8 << 20})
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.segment == 0 {
		o.segment = 4 << 20
	}
	return o
}

// Inbox is an open inbox. Its methods may be called concurrently.
type Inbox struct {
	opts       Options
	log        *slog.Logger
	background context.Context // outlives Open
	metrics    *metrics
	lock       *os.File
	volume     *volume
	archive    *archive

	mu         sync.Mutex
	records    *log
	next       uint64 // index behind the last record that is on disk
	ids        ids
	window     window
	queue      queue
	health     temporalHealth
	pending    int // accepted, but not forwarded yet
	dead       int
	kept       int           // unreadable deliveries with a body
	flight     map[key]*item // enqueued, but not on disk yet
	batches    []*batch      // to be committed, the first one next
	committing *batch
	marks      []mark     // not in the log yet
	marksAt    time.Time  // when the first of them was made
	news       news       // for the archive
	ends       []batchEnd // for the latency that the archive shows
	catchUp    uint64     // up to this index the archive reads marks from the log
	unsettled  bool       // some deliveries are pending in the archive only
	paced      time.Time  // when the archive's pace was computed
	allowed    float64    // records
	accepted   int        // since the housekeeper's last turn
	oldest     oldest     // pending event
	closed     bool
	problem    error     // why no event can be stored; nil if it can
	since      time.Time // of the problem
	noSpare    error     // why there is no next segment
	damage     []string  // found at the start or later

	kickWrite   chan struct{} // there is work for the writer
	kickPrepare chan struct{} // … for the preparation of segments
	stop        chan struct{}
	wg          sync.WaitGroup
}

type oldest struct {
	idx uint64
	at  time.Time
}

// oldStore is the file of the store that no release contained.
const oldStore = "inbox.db"

// Open opens the inbox in opts.Dir, or creates one, and resumes pending events. A
// folder that another process uses is an error. Damage isn't: Open keeps
// whatever is readable, moves damaged files aside, and reports it in the log, in
// Health and in the metrics. A full disk isn't an error either: pending events
// are forwarded.
func Open(ctx context.Context, opts Options) (_ *Inbox, err error) {
	opts = opts.withDefaults()
	in := &Inbox{
		opts: opts, log: opts.Logger.With("room", "inbox"), background: context.WithoutCancel(ctx),
		ids: newIDs(), window: newWindow(opts.Entries.Count), flight: make(map[key]*item),
		queue:     queue{linger: opts.Linger, runs: make(map[uint64]*run), cache: make(map[uint64][]byte), wake: make(chan struct{}, 1)},
		kickWrite: make(chan struct{}, 1), kickPrepare: make(chan struct{}, 1),
		stop: make(chan struct{}),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, in.closeFiles())
		}
	}()
	if err := in.openFiles(ctx); err != nil {
		if errors.Is(err, errInUse) {
			return nil, fmt.Errorf("open inbox: another process uses %s; stop it, or give each process its own directory", opts.Dir)
		}
		return nil, fmt.Errorf("open inbox: %w", err)
	}
	if in.metrics, err = newMetrics(in, opts.Metrics); err != nil {
		return nil, fmt.Errorf("open inbox: %w", err)
	}
	for _, d := range in.damage {
		in.log.Error("inbox: damage was found", "damage", d)
	}
	in.start()
	return in, nil
}

// openFiles locks the folder, reads the log and opens the archive.
func (in *Inbox) openFiles(ctx context.Context) error {
	if in.opts.Dir == "" {
		return errors.New("no directory configured")
	}
	dir, err := filepath.Abs(in.opts.Dir)
	if err != nil {
		return err
	}
	in.opts.Dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, oldStore)); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s holds the store of an earlier build (%s); start that build until gantry_inbox_pending is 0, then delete the file", dir, oldStore)
	}
	in.volume = &volume{dir: dir, size: in.opts.segment, faults: in.opts.faults}
	if in.lock, err = in.volume.lock(ctx, in.opts.LockWait); err != nil {
		return err
	}
	if err := in.openArchive(ctx); err != nil {
		return err
	}
	return in.replay(ctx)
}

// openArchive opens the archive, or starts a new one beside a damaged one. It
// loads the window of repeats from it.
func (in *Inbox) openArchive(ctx context.Context) (err error) {
	if in.archive, err = openArchive(ctx, in.opts); damaged(err) {
		to, moved := in.archive.moveAside()
		if moved != nil {
			return moved
		}
		in.damage = append(in.damage, fmt.Sprintf("the archive is damaged (%v); a new one was started, and the damaged file is %s", err, to))
		in.archive, err = openArchive(ctx, in.opts)
	}
	if err != nil {
		return err
	}
	n, tag, err := in.archive.newest(ctx)
	if err != nil {
		return err
	}
	in.ids.seen(n, tag)
	var repeats []func()
	err = in.archive.repeats(ctx, in.opts.Entries.Count, func(n int64, k key) {
		repeats = append(repeats, func() { in.window.add(k, n) })
	})
	for _, add := range slices.Backward(repeats) {
		add()
	}
	return err
}

// replay reads the log, and queues the pending events.
func (in *Inbox) replay(ctx context.Context) error {
	began := time.Now()
	in.records = newLog(in.volume)
	var moved []uint64
	damage, err := in.records.open(func(s *seg, idx uint64, rec []byte) {
		for _, m := range readMarks(rec) {
			in.replayMark(m)
		}
		e, err := readEvent(rec)
		if err != nil {
			return
		}
		s.events++
		s.set(idx, true)
		in.ids.seen(e.n, e.tag)
		if k := keyOf(e.Run, e.State, e.StateVersion); in.window.seen[k] != e.n {
			in.window.add(k, e.n)
		}
		if e.flags&flagMoved != 0 {
			moved = append(moved, idx)
		}
	})
	if err != nil {
		return err
	}
	in.damage = append(in.damage, damage...)
	l := in.records
	in.archive.through = min(in.archive.through, l.next-1)
	in.next, in.catchUp = l.next, l.next-1
	for _, s := range l.segs {
		in.pending += s.pending
	}
	for _, idx := range moved {
		if in.isPending(idx) {
			in.load(idx)
		}
	}
	if in.pending > 0 {
		in.queue.spilled = l.first()
		in.refill()
	}
	if s, w, err := l.begin(); err != nil {
		in.setProblem(err)
	} else {
		l.segs, l.w = append(l.segs, s), w
	}
	in.news.marks = make(map[int64]mark)
	if err := in.syncArchive(ctx, everything); err != nil {
		in.log.Warn("inbox: cannot write the archive", "error", err)
	}
	if err := in.countArchive(ctx); err != nil {
		return err
	}
	in.log.Info("inbox opened", "records", l.next-l.first(), "pending", in.pending, "dead", in.dead, "took", time.Since(began))
	return nil
}

// replayMark closes an event. A dead one is no reason to drop its repeat.
func (in *Inbox) replayMark(m mark) {
	s := in.records.find(m.idx)
	if s == nil {
		return
	}
	s.set(m.idx, false)
	if m.status != statusDead {
		return
	}
	if rec, err := s.read(m.idx); err == nil {
		if e, err := readEvent(rec); err == nil {
			in.window.forget(keyOf(e.Run, e.State, e.StateVersion), m.n)
		}
	}
}

func (in *Inbox) countArchive(ctx context.Context) (err error) {
	if in.dead, err = in.archive.count(ctx, statusDead); err != nil {
		return err
	}
	if in.kept, err = in.archive.count(ctx, statusUnreadable); err != nil {
		return err
	}
	n, err := in.archive.count(ctx, statusPending)
	in.unsettled = n != in.pending
	return err
}

func kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Close stores the events in flight and closes the files. Accept fails from then
// on. Stop the forwarder before.
func (in *Inbox) Close() error {
	in.mu.Lock()
	if in.closed {
		in.mu.Unlock()
		return nil
	}
	in.closed = true
	in.mu.Unlock()
	close(in.stop)
	in.wg.Wait()
	in.metrics.unregister()
	if err := in.syncArchive(in.background, chunk); err != nil {
		in.log.Warn("inbox: the archive lacks the last deliveries until the next start", "error", err)
	}
	if err := in.closeFiles(); err != nil {
		return fmt.Errorf("close inbox: %w", err)
	}
	return nil
}

func (in *Inbox) closeFiles() (err error) {
	if in.archive != nil {
		err = in.archive.close()
	}
	if in.records != nil {
		for _, s := range in.records.segs {
			err = errors.Join(err, s.r.Close())
		}
	}
	if in.lock != nil {
		err = errors.Join(err, unlock(in.lock))
	}
	return err
}

// Accept stores the event and its body, and returns once they are on disk. It
// returns the delivery with its id and its outcome: accepted, or duplicate if the
// same event is already stored; it logs duplicates. The caller sets the fields of
// the request, and the event's run, type, state and version.
//
// Errors wrap [ErrUnavailable]: the event is not stored. If ctx ends first, which
// the error wraps too, the event may have been stored; a repeat will show it.
func (in *Inbox) Accept(ctx context.Context, d Delivery, body []byte) (Delivery, error) {
	if d.ReceivedAt.IsZero() {
		d.ReceivedAt = time.Now()
	}
	d.Outcome, d.Forwarding, d.HasBody = OutcomeAccepted, ForwardingPending, len(body) > 0
	d.Attempts, d.ForwardedAt, d.ForwardError, d.DuplicateOf = 0, time.Time{}, "", ""
	if d.Size == 0 {
		d.Size = len(body)
	}
	d.clip()
	it := newItem(&d, body)
	for {
		first, b, err := in.enqueue(it)
		switch {
		case err != nil:
			return d, fmt.Errorf("accept %s: %w", d.Run, err)
		case b == nil: // stored before
			return in.duplicate(d, first), nil
		}
		select {
		case <-b.done:
		case <-ctx.Done():
			return d, fmt.Errorf("accept %s: %w: %w", d.Run, ErrUnavailable, context.Cause(ctx))
		}
		if first == it.n {
			d.ID, d.Latency = in.ids.id(first), b.ended.Sub(d.ReceivedAt)
			if b.err != nil {
				return d, fmt.Errorf("accept %s: %w: %w", d.Run, ErrUnavailable, b.err)
			}
			return d, nil
		}
		if b.err == nil {
			return in.duplicate(d, first), nil
		}
		// The earlier twin could not be stored: try again with this one.
	}
}

func (in *Inbox) duplicate(d Delivery, of int64) Delivery {
	d.Outcome, d.DuplicateOf = OutcomeDuplicate, in.ids.id(of)
	d.Reason, d.Detail = ReasonSeenBefore, "the same state of this run arrived as delivery "+d.DuplicateOf
	d.Forwarding, d.HasBody, d.ID = "", false, ""
	d.Latency = time.Since(d.ReceivedAt)
	return in.Log(d)
}

// Log notes a delivery that was not accepted, and returns it with its id. It
// doesn't wait for the disk, and never fails: if too many arrive within a moment,
// some are not noted.
func (in *Inbox) Log(d Delivery) Delivery { return in.note(d, nil) }

// LogUnreadable notes an ignored delivery like Log, and keeps its body, so that
// it can be read again.
func (in *Inbox) LogUnreadable(d Delivery, body []byte) Delivery {
	d.HasBody = len(body) > 0
	return in.note(d, slices.Clone(body))
}

// Limits of the deliveries that wait for the archive.
const (
	maxNotes     = 4096
	maxNoteBytes = 8 << 20
	maxNews      = 20_000 // marks
)

func (in *Inbox) note(d Delivery, body []byte) Delivery {
	if d.ReceivedAt.IsZero() {
		d.ReceivedAt = time.Now()
	}
	if d.Size == 0 {
		d.Size = len(body)
	}
	d.clip()
	in.mu.Lock()
	defer in.mu.Unlock()
	n := in.ids.next(time.Now())
	d.ID = in.ids.id(n)
	if len(in.news.entries) >= maxNotes || in.news.bytes+len(body) > maxNoteBytes {
		in.metrics.logDropped.Inc()
		return d
	}
	if len(body) > 0 {
		in.kept++
	}
	in.news.entries = append(in.news.entries, entry{d, n, body})
	in.news.bytes += len(body)
	return d
}

// Health is the state of the inbox and of its forwarder.
type Health struct {
	// Writable is true while events can be accepted.
	Writable bool
	// Problem is the reason why they can't, or the damage found since the start;
	// empty without either.
	Problem string

	Pending       int // accepted, but not forwarded yet
	OldestPending time.Time
	Dead          int
	Unreadable    int // ignored deliveries that LogUnreadable keeps

	ForwarderDown    bool // no signal succeeded for a while, although some were tried
	ForwarderSince   time.Time
	LastForwardError string // the last one, even after Temporal has recovered
}

// Health returns the inbox's health.
func (in *Inbox) Health() Health {
	at := in.oldestPending()
	in.mu.Lock()
	defer in.mu.Unlock()
	down := in.health.down(time.Now())
	h := Health{
		Writable: in.unavailable() == nil, Pending: in.pending, OldestPending: at, Dead: in.dead, Unreadable: in.kept,
		ForwarderDown: down, LastForwardError: in.health.lastError,
	}
	if down {
		h.ForwarderSince = in.health.failing
	}
	switch {
	case in.closed:
		h.Problem = "the inbox is closing"
	case in.problem != nil:
		h.Problem = fmt.Sprintf("cannot write since %s: %v", in.since.UTC().Format(time.RFC3339), in.problem)
	case !h.Writable:
		h.Problem = fmt.Sprintf("the disk is full: %v", in.noSpare)
	case len(in.damage) > 0:
		h.Problem = strings.Join(in.damage, "; ")
	}
	return h
}

// oldestPending returns when the oldest pending event arrived.
func (in *Inbox) oldestPending() time.Time {
	in.mu.Lock()
	idx, ok := in.records.nextOpen(in.records.first())
	known := in.oldest
	in.mu.Unlock()
	if !ok {
		return time.Time{}
	}
	if known.idx == idx {
		return known.at
	}
	rec, err := in.readRecord(idx)
	if err != nil {
		return time.Time{}
	}
	e, _ := readEvent(rec)
	in.mu.Lock()
	defer in.mu.Unlock()
	in.oldest = oldest{idx, e.ReceivedAt}
	return e.ReceivedAt
}

// isPending reports whether a record is a pending event.
func (in *Inbox) isPending(idx uint64) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	s := in.records.find(idx)
	return s != nil && s.isOpen(idx)
}

// readRecord returns a record of the log. [ErrNotFound]: its segment is gone.
func (in *Inbox) readRecord(idx uint64) (rec []byte, err error) {
	for range 2 { // the segment may be opened anew meanwhile
		var r types.SegmentReader
		in.mu.Lock()
		if s := in.records.find(idx); s != nil {
			r = s.r
		}
		in.mu.Unlock()
		if r == nil {
			return nil, ErrNotFound
		}
		if rec, err = readFrom(r, idx); !errors.Is(err, ErrNotFound) {
			return rec, err
		}
	}
	return nil, err
}
