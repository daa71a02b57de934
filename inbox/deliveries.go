package inbox

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/gantryhq/gantry/spacelift"
)

// Filter selects deliveries; zero fields select all.
type Filter struct {
	Outcome    Outcome
	Forwarding Forwarding // of accepted ones
	Account    spacelift.Account
	Stack      spacelift.StackID
	Run        spacelift.RunID
	Reason     string
	// Since and Until limit the time of arrival: from Since on, before Until.
	Since, Until time.Time
	// Only, unless it is nil, reports whether to list a delivery that the other
	// fields select.
	Only func(Delivery) bool
}

// Page sizes of List.
const (
	DefaultPageSize = 50
	MaxPageSize     = 500
)

// List returns deliveries, newest first, and a token for the next page, which is
// empty on the last page. The pages contain each delivery once, and all that
// existed at the first call and have not been trimmed since; new ones don't
// shift the pages. A page size of 0 means [DefaultPageSize].
//
// The token is the id of a page's last delivery. One of another inbox is good too:
// the ids of all inboxes have one order, that of time. A token that is no id is an
// [ErrBadPageToken].
func (in *Inbox) List(ctx context.Context, f Filter, pageSize int, pageToken string) ([]Delivery, string, error) {
	before, err := in.before(pageToken)
	if err != nil {
		return nil, "", err
	}
	if pageSize <= 0 {
		pageSize = DefaultPageSize
	}
	pageSize = min(pageSize, MaxPageSize)
	if err := in.refresh(ctx); err != nil {
		return nil, "", fmt.Errorf("list deliveries: %w", err)
	}
	var page []Delivery
	for {
		where, args := f.where(before)
		found, err := in.archive.page(ctx, where, pageSize+1, args...)
		if err != nil {
			return nil, "", fmt.Errorf("list deliveries: %w", err)
		}
		for _, r := range found {
			d := r.Delivery
			if f.Only != nil && !f.Only(d) {
				continue
			}
			if len(page) == pageSize {
				return page, page[pageSize-1].ID, nil
			}
			in.addAttempts(&d)
			page = append(page, d)
		}
		if len(found) <= pageSize {
			return page, "", nil
		}
		before = found[len(found)-1].n
	}
}

// refresh brings the archive up to date for a reader: what was forwarded is written
// to the log first. While many events arrive, people see what the archive has, at
// most a second later than it could; they see an older state as well if the log or
// the archive can't be written.
func (in *Inbox) refresh(ctx context.Context) error {
	in.mu.Lock()
	if in.closed {
		in.mu.Unlock()
		return fmt.Errorf("%w: it is closing", ErrUnavailable)
	}
	if in.busy() {
		in.mu.Unlock()
		return nil
	}
	b := in.open
	if in.wanted = in.problem == nil && (len(in.marks) > 0 || in.committing != nil); !in.wanted {
		b = nil
	}
	kick(in.kick)
	in.mu.Unlock()
	if b != nil {
		if err := b.wait(ctx); ctx.Err() != nil {
			return err
		}
	}
	if err := in.archive.follow(ctx); err != nil {
		in.log.Warn("inbox: cannot write the archive; deliveries are shown as of before", "error", err)
	}
	return ctx.Err()
}

// addAttempts adds what the queue knows of a pending delivery.
func (in *Inbox) addAttempts(d *Delivery) {
	if d.Forwarding != ForwardingPending {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if r := in.queue.runs[d.Run]; r != nil {
		d.Attempts, d.ForwardError = r.attempts, r.lastError
	}
}

// Get returns a delivery, and its body if it is kept. [ErrNotFound]: no delivery
// has this id, or it was trimmed.
func (in *Inbox) Get(ctx context.Context, id string) (Delivery, []byte, error) {
	uid, err := ulid.ParseStrict(id)
	if err != nil {
		return Delivery{}, nil, fmt.Errorf("%.40q: %w", id, ErrNotFound)
	}
	if err := in.refresh(ctx); err != nil {
		return Delivery{}, nil, err
	}
	n, _ := splitID(uid)
	found, err := in.archive.page(ctx, "n = ?", 1, n)
	if err == nil && (len(found) == 0 || found[0].ID != uid.String()) {
		err = ErrNotFound
	}
	if err != nil {
		return Delivery{}, nil, fmt.Errorf("delivery %s: %w", id, err)
	}
	r := found[0]
	in.addAttempts(&r.Delivery)
	var body []byte
	if rec, err := in.records.Read(r.mark.idx); err == nil {
		if e, err := readEvent(rec); err == nil && e.n == r.n {
			body = e.body
		}
	}
	if body == nil && r.HasBody {
		body, err = in.archive.body(ctx, r.n)
	}
	r.HasBody = len(body) > 0
	return r.Delivery, body, err
}

// Redeliver puts an accepted delivery at the end of its run's queue again,
// whatever its forwarding; a pending one keeps its place. It returns once that is
// on disk. After an error that wraps [ErrUnavailable], the delivery may still be
// sent.
func (in *Inbox) Redeliver(ctx context.Context, id string) (Delivery, error) {
	d, body, err := in.Get(ctx, id)
	if err != nil {
		return Delivery{}, fmt.Errorf("redeliver: %w", err)
	}
	if d.Outcome != OutcomeAccepted {
		return d, fmt.Errorf("redeliver %s (%s): %w", id, d.Outcome, ErrNotRedeliverable)
	}
	if d.Forwarding == ForwardingPending {
		return d, nil
	}
	if len(body) == 0 && d.Size > 0 {
		return d, fmt.Errorf("redeliver %s: its body is no longer kept: %w", id, ErrNotRedeliverable)
	}
	if err := in.requeue(ctx, []Delivery{d}, map[string][]byte{id: body}); err != nil {
		return d, fmt.Errorf("redeliver %s: %w", id, err)
	}
	d.Forwarding, d.Attempts, d.ForwardError, d.ForwardedAt = ForwardingPending, 0, "", time.Time{}
	return d, nil
}

// RedeliverDead puts dead deliveries into their queues again, in the order
// accepted, and returns how many: those for which only reports true, or all if it
// is nil.
func (in *Inbox) RedeliverDead(ctx context.Context, only func(Delivery) bool) (n int, err error) {
	var dead []Delivery
	for token, more := "", true; more; more = token != "" {
		var page []Delivery
		if page, token, err = in.List(ctx, Filter{Forwarding: ForwardingDead, Only: only}, MaxPageSize, token); err != nil {
			return 0, fmt.Errorf("redeliver dead: %w", err)
		}
		dead = append(dead, page...)
	}
	slices.Reverse(dead)
	for some := range slices.Chunk(dead, 100) {
		bodies := make(map[string][]byte, len(some))
		for _, d := range some {
			number, _ := splitID(ulid.MustParseStrict(d.ID))
			if bodies[d.ID], err = in.archive.body(ctx, number); err != nil {
				return n, fmt.Errorf("redeliver dead: %w", err)
			}
		}
		if err := in.requeue(ctx, some, bodies); err != nil {
			return n, fmt.Errorf("redeliver dead: %w", err)
		}
		n += len(some)
	}
	return n, nil
}

// requeue writes deliveries to the log again, which makes them pending.
func (in *Inbox) requeue(ctx context.Context, deliveries []Delivery, bodies map[string][]byte) error {
	in.mu.Lock()
	if err := in.unavailable(); err != nil {
		in.mu.Unlock()
		return err
	}
	var b *batch
	for _, d := range deliveries {
		n, _ := splitID(ulid.MustParseStrict(d.ID))
		k := keyOf(d.Run, d.State, d.StateVersion)
		if _, known := in.window.number(k); !known {
			in.window.add(k, n)
		}
		b = in.board(&d, bodies[d.ID], kindAgain, n, k)
	}
	in.mu.Unlock()
	return b.wait(ctx)
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

// before returns the number below which deliveries come after the one with this id.
func (in *Inbox) before(id string) (int64, error) {
	if id == "" {
		return math.MaxInt64, nil
	}
	uid, err := ulid.ParseStrict(id)
	n, tag := splitID(uid)
	if err != nil || n < 0 || n == math.MaxInt64 {
		return 0, fmt.Errorf("%w: %.40q", ErrBadPageToken, id)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if uint64(in.ids.tag) < uint64(tag) {
		return n + 1, nil
	}
	return n, nil
}
