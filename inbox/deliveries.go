package inbox

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/inbox/repeats"
	"github.com/gantryhq/gantry/spacelift"
)

// The errors of the delivery log.
var (
	// ErrNotFound: no delivery has this id, or it was trimmed.
	ErrNotFound = errors.New("no such delivery")

	// ErrNotRedeliverable: the delivery was never accepted, so it has no event to
	// send.
	ErrNotRedeliverable = errors.New("delivery was not accepted: there is nothing to redeliver")

	// ErrBadPageToken: the page token did not come from List.
	ErrBadPageToken = errors.New("bad page token")
)

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
func (in *Inbox) List(ctx context.Context, f archive.Filter, pageSize int, pageToken string) ([]archive.Delivery, string, error) {
	before, err := in.before(pageToken)
	if err != nil {
		return nil, "", err
	}
	if pageSize <= 0 {
		pageSize = DefaultPageSize
	}
	var rows []archive.Row
	var more bool
	if err = in.refresh(ctx); err == nil {
		rows, more, err = in.archive.List(ctx, f, before, min(pageSize, MaxPageSize))
	}
	if err != nil {
		return nil, "", fmt.Errorf("list deliveries: %w", err)
	}
	var page []archive.Delivery
	for _, r := range rows {
		in.complete(&r)
		page = append(page, r.Delivery)
	}
	if !more {
		return page, "", nil
	}
	return page, page[len(page)-1].ID, nil
}

// Traffic counts the deliveries since a time, as far as the delivery log reaches back, and
// of the newest [archive.MaxTraffic] at most.
func (in *Inbox) Traffic(ctx context.Context, since time.Time) (all []archive.Traffic, err error) {
	if err = in.refresh(ctx); err == nil {
		all, err = in.archive.Traffic(ctx, since)
	}
	if err != nil {
		return nil, fmt.Errorf("count deliveries: %w", err)
	}
	return all, nil
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
	if err := in.follow(ctx); err != nil {
		in.log.Warn("inbox: cannot write the archive; deliveries are shown as of before", "error", err)
	}
	return ctx.Err()
}

// complete adds what the log and the queue know of a delivery.
func (in *Inbox) complete(r *archive.Row) {
	r.HasBody = r.HasBody || r.Size > 0 && in.records.Has(r.Index)
	if r.Forwarding != archive.ForwardingPending {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	r.Attempts, r.ForwardError = in.queue.Pause(r.Run)
}

// Get returns a delivery, and its body if it is kept. [ErrNotFound]: no delivery
// has this id, or it was trimmed.
func (in *Inbox) Get(ctx context.Context, id string) (archive.Delivery, []byte, error) {
	r, err := in.get(ctx, id)
	return r.Delivery, r.Body, err
}

func (in *Inbox) get(ctx context.Context, id string) (archive.Row, error) {
	uid, err := ulid.ParseStrict(id)
	if err != nil {
		return archive.Row{}, fmt.Errorf("%.40q: %w", id, ErrNotFound)
	}
	if err := in.refresh(ctx); err != nil {
		return archive.Row{}, err
	}
	n, _ := splitID(uid)
	r, err := in.archive.Get(ctx, n)
	if err == nil && (r == nil || r.ID != uid.String()) {
		err = ErrNotFound
	}
	if err != nil {
		return archive.Row{}, fmt.Errorf("delivery %s: %w", id, err)
	}
	in.complete(r)
	if rec, err := in.records.Read(r.Index); err == nil {
		if e, err := readEvent(rec); err == nil && e.Number == n {
			r.Body = e.Body
		}
	}
	if r.Body == nil && r.HasBody {
		r.Body, err = in.archive.Body(ctx, n)
	}
	r.HasBody = len(r.Body) > 0
	return *r, err
}

// Redeliver puts an accepted delivery at the end of its run's queue again,
// whatever its forwarding; a pending one keeps its place. It returns once that is
// on disk. After an error that wraps [ErrUnavailable], the delivery may still be
// sent.
func (in *Inbox) Redeliver(ctx context.Context, id string) (archive.Delivery, error) {
	r, err := in.get(ctx, id)
	if err != nil {
		return archive.Delivery{}, fmt.Errorf("redeliver: %w", err)
	}
	d := r.Delivery
	if d.Outcome != archive.OutcomeAccepted {
		return d, fmt.Errorf("redeliver %s (%s): %w", id, d.Outcome, ErrNotRedeliverable)
	}
	if d.Forwarding == archive.ForwardingPending {
		return d, nil
	}
	if len(r.Body) == 0 && d.Size > 0 {
		return d, fmt.Errorf("redeliver %s: its body is no longer kept: %w", id, ErrNotRedeliverable)
	}
	if err := in.requeue(ctx, r); err != nil {
		return d, fmt.Errorf("redeliver %s: %w", id, err)
	}
	d.Forwarding, d.Attempts, d.ForwardError, d.ForwardedAt = archive.ForwardingPending, 0, "", time.Time{}
	return d, nil
}

// RedeliverDead puts dead deliveries into their queues again, in the order
// accepted, and returns how many: those for which only reports true, or all if it
// is nil.
func (in *Inbox) RedeliverDead(ctx context.Context, only func(run spacelift.RunRef, reason string) bool) (n int, err error) {
	var dead []archive.Row
	if err = in.refresh(ctx); err == nil {
		dead, _, err = in.archive.List(ctx, archive.Filter{Forwarding: archive.ForwardingDead, Only: only}, math.MaxInt64, math.MaxInt32)
	}
	slices.Reverse(dead)
	for some := range slices.Chunk(dead, 100) {
		for i := range some {
			body, bodyErr := in.archive.Body(ctx, some[i].Number)
			some[i].Body, err = body, errors.Join(err, bodyErr)
		}
		if err == nil {
			err = in.requeue(ctx, some...)
		}
		if err != nil {
			break
		}
		n += len(some)
		clear(some) // their bodies
	}
	if err != nil {
		return n, fmt.Errorf("redeliver dead: %w", err)
	}
	return n, nil
}

// requeue writes deliveries to the log again, which makes them pending.
func (in *Inbox) requeue(ctx context.Context, rows ...archive.Row) error {
	in.mu.Lock()
	if err := in.unavailable(); err != nil {
		in.mu.Unlock()
		return err
	}
	var b *batch
	for _, r := range rows {
		k := repeats.KeyOf(r.Run, r.State, r.StateVersion)
		if _, known := in.window.Number(k); !known {
			in.window.Add(k, r.Number)
		}
		b = in.board(&r.Delivery, r.Body, kindAgain, r.Number, k)
	}
	in.mu.Unlock()
	return b.wait(ctx)
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
