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

// Budget limits a kind of entries by number and by bytes. The limits are
// approximate: trimming leaves a little less, and deletes whole commits.
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

	// Entries limits the accepted deliveries that are forwarded or late. It is
	// also the window in which a repeat is recognised. Default 50,000 and 128 MiB.
	Entries Budget
	// Bodies limits the bodies of those. The oldest bodies are deleted first; their
	// entries and events remain. Default 20,000 and 64 MiB.
	Bodies Budget
	// Dead limits deliveries that Temporal refused permanently. Beyond it, the
	// oldest are trimmed like forwarded ones, and each loss is logged. Default
	// 10,000 and 64 MiB.
	Dead Budget
	// Ignored limits the log of ignored, duplicate and unavailable deliveries.
	// Default 20,000 and 16 MiB.
	Ignored Budget
	// Refused limits the log of refused deliveries. Default 5,000 and 4 MiB.
	Refused Budget

	// Linger is the time that an event without need for a decision may wait for
	// the next one of its run (see mayLinger); 0 means none.
	Linger time.Duration

	Metrics prometheus.Registerer // nil: no metrics
	Logger  *slog.Logger          // nil: no logs
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

// Inbox is an open inbox. Its methods may be called concurrently.
type Inbox struct {
	opts    Options
	log     *slog.Logger
	metrics *metrics
	store   *store

	mu       sync.Mutex
	ids      ids
	index    index
	queue    queue
	breaker  breaker // of the forwarder
	logs     [logClasses]*logClass
	flight   map[key]*item // enqueued, but not on disk yet
	batches  []*batch      // to be committed, the first one next
	nextSeq  int64         // of batches
	nextLog  int64         // of the log's rows
	closed   bool
	problem  error     // of the last commit; nil if it succeeded
	since    time.Time // of the problem
	probeAt  time.Time
	trimOff  bool
	logsFull bool     // a row of a log is full
	damage   []string // found at the start or later

	// The times since when marks and log entries wait; zero if there are none.
	dirtySince, logSince time.Time

	kickWrite chan struct{} // there is work for the writer
	stop      chan struct{}
	wg        sync.WaitGroup
}

// Open opens the inbox in opts.Dir, or creates one, and resumes pending events. A
// directory that another process uses is an error. Damage isn't: Open keeps
// whatever is readable, moves damaged files aside, and reports it in the log, in
// Health and in the metrics. A full disk isn't an error either: pending events
// are forwarded.
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
			return nil, fmt.Errorf("open inbox: another process uses %s; stop it, or give each process its own directory", opts.Dir)
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
	if err := in.store.close(); err != nil {
		return fmt.Errorf("close inbox: %w", err)
	}
	return nil
}

// Accept stores the event and its body, and returns once they are on disk. It
// returns the delivery with its id and its outcome: accepted, or duplicate if the
// same event is already stored; it logs duplicates. The caller sets the fields of
// the request; Accept sets run, type and state from the event. Don't change the
// body afterwards.
//
// Errors wrap [ErrUnavailable]: the event is not stored. If ctx ends first, which
// the error wraps too, the event may have been stored; a repeat will show it.
func (in *Inbox) Accept(ctx context.Context, d Delivery, event managed.RunEvent, body []byte) (Delivery, error) {
	if d.ReceivedAt.IsZero() {
		d.ReceivedAt = time.Now()
	}
	if event.ReceivedAt.IsZero() {
		event.ReceivedAt = d.ReceivedAt
	}
	event.Delivery = "" // the record's id
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
		// The earlier twin could not be stored: try again with this one.
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
	// Writable is true while events can be accepted.
	Writable bool
	// Problem is why they can't, or the damage found since the start; empty
	// without either.
	Problem string

	Pending       int // accepted, but not forwarded yet
	OldestPending time.Time
	Dead          int

	ForwarderDown    bool // Temporal doesn't accept signals now
	ForwarderSince   time.Time
	LastForwardError string // the last one, even after Temporal has recovered
}

// Health returns the inbox's health without waiting for the disk.
func (in *Inbox) Health() Health {
	in.mu.Lock()
	defer in.mu.Unlock()
	h := Health{
		Writable:         in.problem == nil && !in.closed,
		Pending:          in.index.pending,
		Dead:             in.index.deads,
		ForwarderDown:    in.breaker.down,
		ForwarderSince:   in.breaker.since,
		LastForwardError: in.breaker.lastError,
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
