package inbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gantryhq/gantry/workflows"
)

// Budget bounds a kind of entries by number and by bytes on disk. It is kept
// in steps of a segment, at most an eighth of the budget.
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

// DefaultLinger is a good value for Options.Linger.
const DefaultLinger = 2 * time.Second

// Options configure an inbox. Only Dir is required; a budget's zero fields
// take their default.
type Options struct {
	// Dir belongs to this inbox alone. It is created if need be.
	Dir string

	// Entries bounds the accepted deliveries that Temporal has, or had when
	// they came late. It is also the window in which a repeat is recognised.
	// Default 100,000 and 256 MiB.
	Entries Budget
	// Bodies bounds the bodies of those; the oldest go first, the entries and
	// their events stay. Default 20,000 and 64 MiB.
	Bodies Budget
	// Dead bounds deliveries that Temporal refused for good. Those beyond it,
	// oldest first, are trimmed like delivered ones, and each loss is logged.
	// Default 10,000 and 64 MiB.
	Dead Budget
	// Ignored bounds the log of ignored, duplicate and unavailable deliveries.
	// Default 20,000 and 16 MiB.
	Ignored Budget
	// Refused bounds the log of refused deliveries. Default 5,000 and 4 MiB.
	Refused Budget

	// Linger is how long an event that needs no decision may wait for the next
	// one of its run (see mayLinger); 0 means not at all.
	Linger time.Duration

	Metrics prometheus.Registerer // nil: none are published
	Logger  *slog.Logger          // nil: silence
}

func (o Options) withDefaults() Options {
	o.Entries = o.Entries.or(Budget{100_000, 256 << 20})
	o.Bodies = o.Bodies.or(Budget{20_000, 64 << 20})
	o.Dead = o.Dead.or(Budget{10_000, 64 << 20})
	o.Ignored = o.Ignored.or(Budget{20_000, 16 << 20})
	o.Refused = o.Refused.or(Budget{5_000, 4 << 20})
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Inbox is open from Open to Close. Its methods may be called concurrently.
type Inbox struct {
	opts    Options
	log     *slog.Logger
	metrics *metrics
	lock    *os.File
	acc     *stream // accepted deliveries and marks

	mu      sync.Mutex
	ids     ids
	index   index
	queue   queue
	flight  map[uint64]*item // by key: enqueued, and not on disk yet
	batches []*batch         // to be committed, the first one next
	marks   []*mark          // to be committed with whatever comes next
	overlay map[*entry]*mark // the newest mark of an entry, until it is on disk
	logs    [logClasses]*logClass
	closed  bool
	problem error     // of the last commit; nil when it worked
	since   time.Time // the problem
	salvage []string  // damage found at start
	gate    gate      // of the forwarder

	buf []byte // the writer's

	kickWrite chan struct{} // the writer has something to do
	kickKeep  chan struct{} // the housekeeper has
	kickSpare chan struct{} // a spare segment is wanted
	stop      chan struct{}
	wg        sync.WaitGroup
}

// Open opens the inbox in opts.Dir, or makes a new one. It resumes what was
// pending. A directory that another process uses is an error; damage is not:
// what can be read is kept, damaged files are put aside, and the log, Health
// and the metrics say so.
func Open(ctx context.Context, opts Options) (_ *Inbox, err error) {
	opts = opts.withDefaults()
	in := &Inbox{
		opts:      opts,
		log:       opts.Logger.With("room", "inbox"),
		index:     index{byKey: make(map[uint64]*entry)},
		queue:     queue{linger: opts.Linger, runs: make(map[uint64]*pendingRun), wake: make(chan struct{}, 1)},
		flight:    make(map[uint64]*item),
		overlay:   make(map[*entry]*mark),
		kickWrite: make(chan struct{}, 1),
		kickKeep:  make(chan struct{}, 1),
		kickSpare: make(chan struct{}, 1),
		stop:      make(chan struct{}),
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open inbox: %w", err), in.closeFiles())
		}
	}()
	if opts.Dir == "" {
		return nil, errors.New("no directory is given")
	}
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, err
	}
	if err := in.takeLock(); err != nil {
		return nil, err
	}
	if err := in.load(ctx); err != nil {
		return nil, err
	}
	if in.metrics, err = newMetrics(in, opts.Metrics); err != nil {
		return nil, err
	}
	for _, work := range []func(){in.writer, in.keeper, in.preparer} {
		in.wg.Go(work)
	}
	kick(in.kickSpare)
	kick(in.kickKeep)
	return in, nil
}

func (in *Inbox) takeLock() error {
	f, err := os.OpenFile(filepath.Join(in.opts.Dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	held, err := lockFile(f)
	if err != nil || !held {
		if err == nil {
			err = fmt.Errorf("another process uses %s: stop it, or give each process a directory of its own", in.opts.Dir)
		}
		return errors.Join(err, f.Close())
	}
	in.lock = f
	return nil
}

func kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Close stores what is under way and closes the files. Accept fails from then
// on. The forwarder must have stopped before.
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
	return in.closeFiles()
}

func (in *Inbox) closeFiles() error {
	var errs []error
	if in.acc != nil {
		errs = append(errs, in.acc.close())
	}
	for _, c := range in.logs {
		if c != nil && c.stream != nil {
			errs = append(errs, c.stream.close())
		}
	}
	if in.lock != nil {
		errs = append(errs, unlockFile(in.lock), in.lock.Close())
	}
	return errors.Join(errs...)
}

// Accept stores the event and its body, and returns when they are on disk. The
// delivery comes back with its id and an outcome: accepted, or duplicate when
// the same event is already stored, which is then logged as well. The caller
// fills in what it knows of the request; run, type and state are the event's.
//
// Errors wrap [ErrUnavailable]: nothing was stored then. Only if ctx ends
// first, which the error wraps too, it is open whether the event was stored; a
// repeat will find out.
func (in *Inbox) Accept(ctx context.Context, d Delivery, event workflows.RunEvent, body []byte) (Delivery, error) {
	if d.ReceivedAt.IsZero() {
		d.ReceivedAt = time.Now()
	}
	if event.ReceivedAt.IsZero() {
		event.ReceivedAt = d.ReceivedAt
	}
	event.Delivery = "" // it is the frame's id
	d.Run, d.Type, d.State, d.StateVersion = event.Run, event.Type, event.State, event.StateVersion
	d.Outcome, d.Forwarding, d.HasBody = OutcomeAccepted, ForwardingPending, len(body) > 0
	d.Attempts, d.ForwardedAt, d.ForwardError, d.DuplicateOf = 0, time.Time{}, "", ""
	if d.Size == 0 {
		d.Size = len(body)
	}
	d.clip()
	it, err := newItem(d, event, body)
	if err != nil {
		return d, fmt.Errorf("accept %s: %w: %w", event.Run, ErrUnavailable, err)
	}

	for {
		first, b, err := in.enqueue(it)
		switch {
		case err != nil:
			return d, fmt.Errorf("accept %s: %w", event.Run, err)
		case b == nil: // stored before
			return in.duplicate(d, first), nil
		}
		select {
		case <-b.done:
		case <-ctx.Done():
			return d, fmt.Errorf("accept %s: %w: %w", event.Run, ErrUnavailable, context.Cause(ctx))
		}
		if first == it.id {
			d.ID, d.Latency = it.id.String(), it.latency
			if b.err != nil {
				return d, fmt.Errorf("accept %s: %w: %w", event.Run, ErrUnavailable, b.err)
			}
			return d, nil
		}
		if b.err == nil {
			return in.duplicate(d, first), nil
		}
		// The twin that came first could not be stored: try with this one.
	}
}

func (in *Inbox) duplicate(d Delivery, of ulid.ULID) Delivery {
	d.Outcome, d.DuplicateOf = OutcomeDuplicate, of.String()
	d.Forwarding, d.HasBody, d.ID = "", false, ""
	d.Latency = time.Since(d.ReceivedAt)
	return in.Log(d)
}

// Health is the state of the inbox and of its forwarder.
type Health struct {
	// Writable says that events can be accepted.
	Writable bool
	// Problem says why they can't, or which damage was found at start; empty
	// when all is well.
	Problem string

	Pending       int // accepted and not forwarded
	OldestPending time.Time
	Dead          int

	ForwarderDown    bool // Temporal does not take signals now
	ForwarderSince   time.Time
	LastForwardError string // why; the last one also after it came back
}

// Health answers at once.
func (in *Inbox) Health() Health {
	in.mu.Lock()
	defer in.mu.Unlock()
	h := Health{
		Writable:         in.problem == nil && !in.closed,
		Pending:          in.index.pending,
		Dead:             in.index.dead,
		ForwarderDown:    in.gate.down,
		ForwarderSince:   in.gate.since,
		LastForwardError: in.gate.lastError,
	}
	if e := in.index.oldestPending(); e != nil {
		h.OldestPending = ulid.Time(e.id.Time()).UTC()
	}
	switch {
	case in.closed:
		h.Problem = "the inbox is closing"
	case in.problem != nil:
		h.Problem = fmt.Sprintf("cannot write since %s: %v", in.since.UTC().Format(time.RFC3339), in.problem)
	case len(in.salvage) > 0:
		h.Problem = "damage was found at start: " + strings.Join(in.salvage, "; ")
	}
	return h
}
