package inbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gantryhq/gantry/decide/managed"
)

// Budget bounds a kind of entries by number and by bytes. Trimming leaves a
// little less, and whole commits, so that it is kept only about.
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
	// Default 50,000 and 128 MiB.
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
	o.Entries = o.Entries.or(Budget{50_000, 128 << 20})
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
	store   *store

	mu       sync.Mutex
	ids      ids
	index    index
	queue    queue
	gate     gate // of the forwarder
	logs     [logClasses]*logClass
	flight   map[key]*item // enqueued, and not on disk yet
	batches  []*batch      // to be committed, the first one next
	nextSeq  int64         // of batches
	nextLog  int64         // of the log's rows
	closed   bool
	problem  error     // of the last commit; nil when it worked
	since    time.Time // the problem
	probeAt  time.Time
	trimOff  bool
	logsFull bool     // a row of a log is full
	damage   []string // found at start, or later

	// Since when marks and log entries wait; zero if there are none.
	dirtySince, logSince time.Time

	kickWrite chan struct{} // the writer has something to do
	stop      chan struct{}
	wg        sync.WaitGroup
}

// Open opens the inbox in opts.Dir, or makes a new one. It resumes what was
// pending. A directory that another process uses is an error. Damage is not:
// what can be read is kept, damaged files are put aside, and the log, Health
// and the metrics say so. Nor is a full disk: what is pending is forwarded.
func Open(ctx context.Context, opts Options) (_ *Inbox, err error) {
	opts = opts.withDefaults()
	in := &Inbox{
		opts:      opts,
		log:       opts.Logger.With("room", "inbox"),
		queue:     queue{linger: opts.Linger, runs: make(map[uint64]*pendingRun), wake: make(chan struct{}, 1)},
		flight:    make(map[key]*item),
		kickWrite: make(chan struct{}, 1),
		stop:      make(chan struct{}),
	}
	defer func() {
		if err != nil && in.store != nil {
			err = errors.Join(err, in.store.close())
		}
	}()
	if err := in.openFile(ctx); err != nil {
		if errors.Is(err, errInUse) {
			return nil, fmt.Errorf("open inbox: another process uses %s: stop it, or give each process a directory of its own", opts.Dir)
		}
		return nil, fmt.Errorf("open inbox: %w", err)
	}
	if in.metrics, err = newMetrics(in, opts.Metrics); err != nil {
		return nil, fmt.Errorf("open inbox: %w", err)
	}
	if err := in.store.take(); err != nil {
		in.failed(&commit{batch: &batch{}}, err, time.Now())
	}
	in.wg.Go(in.writer)
	kick(in.kickWrite)
	return in, nil
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
	if err := in.store.close(); err != nil {
		return fmt.Errorf("close inbox: %w", err)
	}
	return nil
}

// Accept stores the event and its body, and returns when they are on disk. The
// delivery comes back with its id and an outcome: accepted, or duplicate when
// the same event is already stored, which is then logged as well. The caller
// fills in what it knows of the request; run, type and state are the event's.
// The body must not be changed afterwards.
//
// Errors wrap [ErrUnavailable]: nothing was stored then. Only if ctx ends
// first, which the error wraps too, it is open whether the event was stored; a
// repeat will find out.
func (in *Inbox) Accept(ctx context.Context, d Delivery, event managed.RunEvent, body []byte) (Delivery, error) {
	if d.ReceivedAt.IsZero() {
		d.ReceivedAt = time.Now()
	}
	if event.ReceivedAt.IsZero() {
		event.ReceivedAt = d.ReceivedAt
	}
	event.Delivery = "" // it is the record's id
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
	d.Reason, d.Detail = ReasonSeenBefore, "the same state of this run arrived as delivery "+d.DuplicateOf
	d.Forwarding, d.HasBody, d.ID = "", false, ""
	d.Latency = time.Since(d.ReceivedAt)
	return in.Log(d)
}

// Health is the state of the inbox and of its forwarder.
type Health struct {
	// Writable says that events can be accepted.
	Writable bool
	// Problem says why they can't, or which damage was found since the start;
	// empty when all is well.
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
		Dead:             in.index.deads,
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
	case len(in.damage) > 0:
		h.Problem = strings.Join(in.damage, "; ")
	}
	return h
}
