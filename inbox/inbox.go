package inbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
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
	usual      int              // events of a batch lately: the most, which fades
	wanted     bool             // the open batch is to be written even if it is empty
	marks      []archive.Result // of forwarding, not in the log yet
	marksDue   time.Time
	notes      []archive.Row // deliveries that were not accepted, and are not in the archive yet
	noteBytes  int           // of bodies
	arrivals   *rate.Limiter // of accepted events, to measure them
	failing    time.Time     // of the forwarder: the first failure after the last success
	lastError  string
	closed     bool
	problem    error     // why no event can be stored; nil if it can
	since      time.Time // of the problem
	damage     []Damage  // reported until somebody deletes the file

	kick chan struct{} // there is work for the writer
	stop chan struct{}
	wg   sync.WaitGroup
}

// ErrUnavailable: the event could not be stored: the disk is full, read-only
// or broken, or the inbox is closing. The sender should repeat it.
var ErrUnavailable = errors.New("inbox unavailable")

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
	return in.accept(ctx, d, body, kindEvent)
}

// AcceptAgain accepts a delivery that LogUnreadable kept, now that it can be read, like
// Accept: as a new one that arrived when the old one did. It answers no sender, so it has
// no latency. The old one is unreadable no more.
func (in *Inbox) AcceptAgain(ctx context.Context, d archive.Delivery, body []byte) (archive.Delivery, error) {
	stored, err := in.accept(ctx, d, body, kindAgain)
	if err != nil {
		return stored, err
	}
	uid, err := ulid.ParseStrict(d.ID)
	if err == nil {
		n, _ := splitID(uid)
		err = in.archive.SetRead(ctx, n)
	}
	if err != nil {
		in.log.Warn("inbox: cannot note that an unreadable delivery was read; redeliver it once more", "delivery", d.ID, "error", err)
	}
	return stored, nil
}

func (in *Inbox) accept(ctx context.Context, d archive.Delivery, body []byte, kind byte) (archive.Delivery, error) {
	arrived(&d, body)
	d.Outcome, d.Forwarding, d.HasBody = archive.OutcomeAccepted, archive.ForwardingPending, len(body) > 0
	d.Attempts, d.ForwardedAt, d.ForwardError, d.DuplicateOf, d.Latency = 0, time.Time{}, "", "", 0
	for {
		n, ours, b, err := in.enqueue(&d, body, kind)
		if err != nil {
			return d, fmt.Errorf("accept %s: %w", d.Run, err)
		}
		if b == nil { // stored before
			return in.duplicate(d, n, kind), nil
		}
		err = b.wait(ctx)
		if ours {
			d.ID = in.ids.id(n)
		}
		switch {
		case err == nil && ours:
			d.Latency = latency(kind, &d, b.ended)
			return d, nil
		case err == nil:
			return in.duplicate(d, n, kind), nil
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

// latency returns the time until the answer at a time. An older event has no sender who
// waits for one.
func latency(kind byte, d *archive.Delivery, at time.Time) time.Duration {
	if kind == kindAgain {
		return 0
	}
	return max(0, at.Sub(d.ReceivedAt))
}

func (in *Inbox) duplicate(d archive.Delivery, of int64, kind byte) archive.Delivery {
	d.Outcome, d.DuplicateOf = archive.OutcomeDuplicate, in.ids.id(of)
	d.Reason, d.Detail = archive.ReasonSeenBefore, "the same state of this run arrived as delivery "+d.DuplicateOf
	d.Forwarding, d.HasBody, d.ID = "", false, ""
	d.Latency = latency(kind, &d, time.Now())
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
