package inbox

import (
	"context"
	"fmt"

	"github.com/oklog/ulid/v2"
)

// Redeliver sends an accepted delivery to Temporal again, at the end of its
// run's queue, whatever became of it before; a pending one stays where it is.
// It returns when that is on disk.
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
		if _, err := in.requeue(ctx, func() []*entry { return []*entry{in.index.find(uid)} }); err != nil {
			return d, fmt.Errorf("redeliver %s: %w", id, err)
		}
	}
	d, _, err = in.Get(ctx, id)
	return d, err
}

// RedeliverDead sends all dead deliveries again and returns how many there were.
func (in *Inbox) RedeliverDead(ctx context.Context) (int, error) {
	n, err := in.requeue(ctx, func() []*entry {
		var dead []*entry
		for _, e := range in.index.order {
			if e.state == stateDead || e.state == stateExpired {
				dead = append(dead, e)
			}
		}
		return dead
	})
	if err != nil {
		return n, fmt.Errorf("redeliver dead: %w", err)
	}
	return n, nil
}

// requeue makes entries pending again, in the order given; choose is called
// with mu held.
func (in *Inbox) requeue(ctx context.Context, choose func() []*entry) (int, error) {
	in.mu.Lock()
	var again []*mark
	var spots []spot
	for _, e := range choose() {
		if e == nil || e.state == statePending {
			continue
		}
		e.rev++
		again = append(again, &mark{entry: e, requeue: true, rec: record{
			Delivery: Delivery{Forwarding: ForwardingPending, Latency: latencyOf(e.latency)},
			revision: int(e.rev),
		}})
		spots = append(spots, in.spot(e))
	}
	in.mu.Unlock()
	defer in.leave(spots...)
	for i, m := range again {
		r, err := spots[i].record()
		if err != nil {
			return 0, err
		}
		m.run = runHash(r.Run)
	}
	if len(again) == 0 {
		return 0, nil
	}

	in.mu.Lock()
	if in.closed {
		in.mu.Unlock()
		return 0, fmt.Errorf("%w: it is closing", ErrUnavailable)
	}
	b := in.openBatch(0)
	b.marks = append(b.marks, again...)
	in.mu.Unlock()
	kick(in.kickWrite)
	select {
	case <-b.done:
		if b.err != nil {
			return 0, fmt.Errorf("%w: %w", ErrUnavailable, b.err)
		}
		return len(again), nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}
