package inbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/gantryhq/gantry/folder"
	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/inbox/queue"
	"github.com/gantryhq/gantry/inbox/repeats"
	"github.com/gantryhq/gantry/inbox/wal"
	"github.com/gantryhq/gantry/spacelift"
)

// DefaultLinger is the usual value of Options.Linger.
const DefaultLinger = 2 * time.Second

// Options configure an inbox. Only Dir is required; zero fields of a budget mean
// its default.
type Options struct {
	// Dir is the folder of this inbox alone. It is created if necessary.
	Dir string

	// Archive limits the deliveries that people list, by kind. Its Entries.Count is the
	// window in which a repeat is recognised. Each loss beyond Dead is logged.
	Archive archive.Budgets
	// Bodies limits the forwarded deliveries in the log: they have their bodies
	// and can be redelivered. Default 20,000 and 64 MiB.
	Bodies archive.Budget

	// Linger is the time that an event without need for a decision may wait for
	// the next one of its run (see mayLinger); 0 means none.
	Linger time.Duration

	// LockWait is the time that Open waits for a process that uses the folder, such
	// as the one that a rolling update replaces.
	LockWait time.Duration

	Metrics prometheus.Registerer // nil: no metrics
	Logger  *slog.Logger          // nil: no logs

	segment  int64                                          // bytes
	openFile func(path string, flags int) (wal.File, error) // nil outside tests
}

func (o Options) withDefaults() Options {
	o.Archive = o.Archive.OrDefaults()
	o.Bodies = o.Bodies.Or(archive.Budget{Count: 20_000, Bytes: 64 << 20})
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
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
	records    *wal.Log
	archive    *archive.DB
	turns      *rate.Limiter // of people who list
	hold       uint64        // until the archive has this record, with the body of a dead event, the log keeps all

	following sync.Mutex // held by follow
	allowed   int        // rows that may be added to the archive; with following

	mu         sync.Mutex
	next       uint64 // index behind the last record that is on disk
	ids        ids
	window     repeats.Window
	queue      queue.Queue
	pending    int              // accepted, but not forwarded yet
	open       *batch           // that events board
	committing *batch           // that is being written, or nil
	finished   *batch           // the last one that was written; the next but one takes its memory
	wanted     bool             // the open batch is to be written even if it is empty
	marks      []archive.Result // of forwarding, not in the log yet
	marksDue   time.Time
	notes      []archive.Row // deliveries that were not accepted, and are not in the archive yet
	noteBytes  int           // of bodies
	arrivals   *rate.Limiter // of accepted events, to measure them
	failing    time.Time     // of the forwarder: the first failure after the last success
	lastError  string
	closed     bool
	problem    error        // why no event can be stored; nil if it can
	since      time.Time    // of the problem
	damage     []wal.Damage // reported until somebody deletes the file

	kick chan struct{} // there is work for the writer
	stop chan struct{}
	wg   sync.WaitGroup
}

// ErrUnavailable: the event could not be stored: the disk is full, read-only
// or broken, or the inbox is closing. The sender should repeat it.
var ErrUnavailable = errors.New("inbox unavailable")

const archiveName = "archive.db"

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
		ids: newIDs(), window: repeats.New(opts.Archive.Entries.Count), open: newBatch(nil),
		queue: queue.New(opts.Linger), arrivals: rate.NewLimiter(busyRate, busyRate), turns: rate.NewLimiter(busyRead, 1),
		kick: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, in.closeFiles())
		}
	}()
	if err := in.openFiles(ctx); err != nil {
		if errors.Is(err, folder.ErrInUse) {
			return nil, fmt.Errorf("open inbox: another process uses %s; stop it, or give each process its own directory", opts.Dir)
		}
		return nil, fmt.Errorf("open inbox: %w", err)
	}
	if in.metrics, err = newMetrics(in, opts.Metrics); err != nil {
		return nil, fmt.Errorf("open inbox: register metrics: %w", err)
	}
	in.wg.Go(in.writer)
	in.wg.Go(in.housekeeper)
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
	if in.lock, err = folder.Lock(ctx, dir, in.opts.LockWait); err != nil {
		return err
	}
	in.records = wal.New(wal.Options{Dir: dir, Pending: isEvent, Segment: in.opts.segment, OpenFile: in.opts.openFile})
	if err := in.openArchive(ctx); err != nil {
		return err
	}
	return in.replay(ctx)
}

// openArchive opens the archive, and loads from it which events are repeats and which runs
// have started.
func (in *Inbox) openArchive(ctx context.Context) error {
	open := func() (err error) {
		in.archive, err = archive.Open(ctx, archive.Options{Path: filepath.Join(in.opts.Dir, archiveName), Keep: in.opts.Archive, Turn: in.turn,
			Damaged: func(file, what string) { in.report(wal.Damage{File: file, What: what}) }})
		return err
	}
	err := open()
	for err != nil && (in.records.DropBallast() || in.records.DropSpare()) { // on a full disk
		_ = in.archive.Close()
		err = open()
	}
	if err != nil {
		return err
	}
	type event struct {
		n   int64
		key repeats.Key
	}
	var known []event
	more := true
	for before := int64(math.MaxInt64); more && len(known) < in.opts.Archive.Entries.Count; {
		var rows []archive.Row
		if rows, more, err = in.archive.List(ctx, archive.Filter{Outcome: archive.OutcomeAccepted}, before, MaxPageSize); err != nil {
			return err
		}
		for _, r := range rows {
			before = r.Number
			if r.Forwarding == archive.ForwardingForwarded {
				in.queue.Started(queue.HashOf(r.Run))
			}
			if r.Forwarding != archive.ForwardingDead {
				known = append(known, event{r.Number, repeats.KeyOf(r.Run, r.State, r.StateVersion)})
			}
		}
	}
	for _, e := range slices.Backward(known) {
		in.window.Add(e.key, e.n)
	}
	newest, _, err := in.archive.List(ctx, archive.Filter{}, math.MaxInt64, 1)
	for _, r := range newest {
		in.ids.seen(splitID(ulid.MustParseStrict(r.ID)))
	}
	return err
}

// replay reads the log, and queues the pending events.
func (in *Inbox) replay(ctx context.Context) error {
	began := time.Now()
	found, err := in.records.Load(in.archive.Through()+1, (&replayer{Inbox: in}).read)
	if err != nil {
		return err
	}
	for _, d := range found {
		in.report(d)
	}
	st := in.records.Stats()
	in.archive.Rewind(st.Next - 1)
	in.next, in.pending = st.Next, st.Pending
	if in.pending > 0 {
		in.queue.Resume(st.First)
	}
	in.allow(archivePace)
	if err := in.follow(ctx); err != nil {
		in.log.Warn("inbox: cannot write the archive", "error", err)
	}
	in.log.Info("inbox opened", "segments", st.Segments, "pending", in.pending, "dead", in.archive.Dead(), "took", time.Since(began))
	return nil
}

// replayer reads records in order.
type replayer struct {
	*Inbox
	last [1 << 16]struct { // of the events read last, by index
		idx uint64
		run queue.Hash
	}
}

// read makes an event known, or closes those of marks. A dead event is no reason to drop
// its repeat.
func (r *replayer) read(idx uint64, rec []byte) {
	if e, err := readEvent(rec); err == nil {
		r.ids.seen(splitID(ulid.MustParseStrict(e.ID)))
		r.window.Add(repeats.KeyOf(e.Run, e.State, e.StateVersion), e.Number)
		last := &r.last[idx%uint64(len(r.last))]
		last.idx, last.run = idx, queue.HashOf(e.Run)
	}
	for _, m := range readMarks(rec) {
		r.records.Done(m.Index)
		switch last := r.last[m.Index%uint64(len(r.last))]; {
		case m.Forwarding == archive.ForwardingDead:
			r.hold = idx
			dead, _ := r.records.Read(m.Index)
			if e, err := readEvent(dead); err == nil {
				r.window.Forget(repeats.KeyOf(e.Run, e.State, e.StateVersion), m.Number)
			}
		case m.Forwarding == archive.ForwardingForwarded && last.idx == m.Index:
			r.queue.Started(last.run)
		}
	}
}

// report notes damage.
func (in *Inbox) report(d wal.Damage) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.damage = append(in.damage, d)
	in.log.Error("inbox: damage was found", "damage", d.What)
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
	if in.opts.Metrics != nil {
		in.opts.Metrics.Unregister(in.metrics.all)
	}
	in.allow(archivePace)
	if err := in.follow(in.background); err != nil {
		in.log.Warn("inbox: the archive lacks the last deliveries until the next start", "error", err)
	}
	if err := in.closeFiles(); err != nil {
		return fmt.Errorf("close inbox: %w", err)
	}
	return nil
}

func (in *Inbox) closeFiles() (err error) {
	if in.archive != nil {
		err = in.archive.Close()
	}
	if in.records != nil {
		err = errors.Join(err, in.records.Close())
	}
	if in.lock != nil {
		err = errors.Join(err, folder.Unlock(in.lock))
	}
	return err
}

// Accept stores the event and its body, and returns once they are on disk. It
// returns the delivery with its id and its outcome: accepted, or duplicate if the
// same event is already stored; it logs duplicates. The caller sets the fields of
// the request, and the event's run, type, state and version, and may use the body's
// memory again.
//
// Errors wrap [ErrUnavailable]: the event is not stored. If ctx ends first, which
// the error wraps too, the event may have been stored; a repeat will show it.
func (in *Inbox) Accept(ctx context.Context, d archive.Delivery, body []byte) (archive.Delivery, error) {
	arrived(&d, body)
	d.Outcome, d.Forwarding, d.HasBody = archive.OutcomeAccepted, archive.ForwardingPending, len(body) > 0
	d.Attempts, d.ForwardedAt, d.ForwardError, d.DuplicateOf = 0, time.Time{}, "", ""
	for {
		n, ours, b, err := in.enqueue(&d, body)
		if err != nil {
			return d, fmt.Errorf("accept %s: %w", d.Run, err)
		}
		if b == nil { // stored before
			return in.duplicate(d, n), nil
		}
		err = b.wait(ctx)
		if ours {
			d.ID = in.ids.id(n)
		}
		switch {
		case err == nil && ours:
			d.Latency = b.ended.Sub(d.ReceivedAt)
			return d, nil
		case err == nil:
			return in.duplicate(d, n), nil
		case ours || ctx.Err() != nil:
			return d, fmt.Errorf("accept %s: %w", d.Run, err)
		}
		// The earlier twin could not be stored: try again with this one.
	}
}

// arrived sets what each delivery has.
func arrived(d *archive.Delivery, body []byte) {
	if d.ReceivedAt.IsZero() {
		d.ReceivedAt = time.Now()
	}
	if d.Size == 0 {
		d.Size = len(body)
	}
	d.Clip()
}

func (in *Inbox) duplicate(d archive.Delivery, of int64) archive.Delivery {
	d.Outcome, d.DuplicateOf = archive.OutcomeDuplicate, in.ids.id(of)
	d.Reason, d.Detail = archive.ReasonSeenBefore, "the same state of this run arrived as delivery "+d.DuplicateOf
	d.Forwarding, d.HasBody, d.ID = "", false, ""
	d.Latency = time.Since(d.ReceivedAt)
	return in.Log(d)
}

// Log notes a delivery that was not accepted, and returns it with its id. It
// doesn't wait for the disk, and never fails: if too many arrive within a moment,
// some are not noted.
func (in *Inbox) Log(d archive.Delivery) archive.Delivery { return in.addNote(d, nil) }

// LogUnreadable notes an ignored delivery like Log, and keeps its body, so that
// it can be read again.
func (in *Inbox) LogUnreadable(d archive.Delivery, body []byte) archive.Delivery {
	d.HasBody = len(body) > 0
	return in.addNote(d, slices.Clone(body))
}

// Health is the state of the inbox and of its forwarder.
type Health struct {
	// Writable is true while events can be accepted.
	Writable bool
	// Problem is the reason why they can't, or the damage found since the start whose
	// files still exist; empty without either.
	Problem string

	Pending       int // accepted, but not forwarded yet
	OldestPending time.Time
	Dead          int
	Unreadable    int // ignored deliveries that LogUnreadable keeps
	Damage        int // damaged files

	// Delayed has the accounts with so many new runs that these wait, and since when. Their
	// other runs, and those of other accounts, don't wait.
	Delayed map[spacelift.Account]time.Time

	ForwarderDown    bool // no signal succeeded for a while, although some were tried
	ForwarderSince   time.Time
	LastForwardError string // the last one, even after Temporal has recovered
}

// Health returns the inbox's health.
func (in *Inbox) Health() Health {
	at := in.oldestPending()
	in.mu.Lock()
	defer in.mu.Unlock()
	in.damage = slices.DeleteFunc(in.damage, func(d wal.Damage) bool {
		_, err := os.Stat(d.File)
		return errors.Is(err, fs.ErrNotExist)
	})
	down := in.down(time.Now())
	h := Health{
		Writable: in.unavailable() == nil, Pending: in.pending, OldestPending: at,
		Dead: in.archive.Dead(), Unreadable: in.archive.Unreadable(), Damage: len(in.damage),
		ForwarderDown: down, LastForwardError: in.lastError, Delayed: in.queue.Delayed(),
	}
	if down {
		h.ForwarderSince = in.failing
	}
	switch {
	case in.closed:
		h.Problem = "the inbox is closing"
	case in.problem != nil:
		h.Problem = fmt.Sprintf("cannot write since %s: %v", in.since.UTC().Format(time.RFC3339), in.problem)
	case !h.Writable:
		h.Problem = fmt.Sprintf("the disk is full: %v", in.records.NoSpare())
	case len(in.damage) > 0:
		for _, d := range in.damage {
			h.Problem = strings.TrimPrefix(h.Problem+"; "+d.What, "; ")
		}
	}
	return h
}

// oldestPending returns when the oldest pending event arrived.
func (in *Inbox) oldestPending() time.Time {
	idx, ok := in.records.NextPending(0)
	if !ok {
		return time.Time{}
	}
	rec, _ := in.records.Read(idx)
	e, _ := readEvent(rec) // an unreadable one has no time
	return e.ReceivedAt
}
