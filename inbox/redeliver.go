package inbox

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
)

// Redeliver puts an accepted delivery at the end of its run's queue again,
// whatever its forwarding; a pending one keeps its place. It returns once that is
// on disk. After an error that wraps [ErrUnavailable], the delivery may still be
// sent.
func (in *Inbox) Redeliver(ctx context.Context, id string) (Delivery, error) {
	d, _, err := in.Get(ctx, id)
	if err != nil {
		return Delivery{}, fmt.Errorf("redeliver: %w", err)
	}
	if d.Outcome != OutcomeAccepted {
		return d, fmt.Errorf("redeliver %s (%s): %w", id, d.Outcome, ErrNotRedeliverable)
	}
	if d.Forwarding != ForwardingPending {
		uid := ulid.MustParseStrict(d.ID)
		if _, err := in.requeue(ctx, nil, func() []*entry { return []*entry{in.index.find(uid)} }); err != nil {
			return d, fmt.Errorf("redeliver %s: %w", id, err)
		}
	}
	d, _, err = in.Get(ctx, id)
	return d, err
}

// RedeliverDead puts dead deliveries into their queues again, in the order
// accepted, and returns how many: those for which only reports true, or all if it
// is nil.
func (in *Inbox) RedeliverDead(ctx context.Context, only func(Delivery) bool) (int, error) {
	n, err := in.requeue(ctx, only, func() []*entry {
		dead := slices.Collect(maps.Keys(in.index.dead))
		slices.SortFunc(dead, func(a, b *entry) int { return a.id.Compare(b.id) })
		return dead
	})
	if err != nil {
		return n, fmt.Errorf("redeliver dead: %w", err)
	}
	return n, nil
}

// requeue makes the entries that choose returns pending again, in that order. If
// only isn't nil, it limits them to those for which it reports true. choose is
// called with mu held.
func (in *Inbox) requeue(ctx context.Context, only func(Delivery) bool, choose func() []*entry) (int, error) {
	in.mu.Lock()
	chosen := slices.DeleteFunc(choose(), func(e *entry) bool { return e == nil })
	refs := make([]ref, len(chosen))
	for i, e := range chosen {
		refs[i] = in.ref(e)
	}
	in.mu.Unlock()
	runs := make(map[*entry]uint64, len(chosen))
	for i := range refs {
		f, err := in.record(&refs[i])
		if err != nil {
			return 0, err
		}
		if only != nil {
			d, _, err := decodeRecord(f)
			if err != nil {
				return 0, err
			}
			if !only(d) {
				continue
			}
		}
		runs[chosen[i]] = readHead(f).run
	}

	in.mu.Lock()
	if err := in.unavailable(); err != nil {
		in.mu.Unlock()
		return 0, err
	}
	chosen = slices.DeleteFunc(chosen, func(e *entry) bool {
		_, wanted := runs[e]
		return !wanted || e.state == statePending || e.row.leaving
	})
	if len(chosen) == 0 {
		in.mu.Unlock()
		return 0, nil
	}
	now := time.Now()
	b := in.openBatch(0)
	for _, e := range chosen {
		in.index.set(e, statePending, "")
		e.forwarded = 0
		in.queue.push(e, runs[e], false, now)
		b.rows = append(b.rows, e.row)
	}
	b.rows = slices.Compact(b.rows)
	in.mu.Unlock()
	kick(in.kickWrite)
	select {
	case <-b.done:
		if b.err != nil {
			return 0, fmt.Errorf("%w: %w", ErrUnavailable, b.err)
		}
		return len(chosen), nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}
