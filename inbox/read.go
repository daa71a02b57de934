package inbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/gantryhq/gantry/decide/managed"
)

// ref is a delivery to be read: its place on disk, and its fields in memory.
type ref struct {
	seq      int64
	at       uint32
	logged   bool     // it was not accepted
	whole    bool     // delivery is complete: it isn't on disk yet
	delivery Delivery // if not whole, the forwarding only
}

// ref returns an entry's ref. Called with mu held.
func (in *Inbox) ref(e *entry) ref {
	r := ref{seq: e.row.seq, at: e.at, logged: e.state == stateLogged}
	switch {
	case !r.logged:
		r.delivery = Delivery{
			Forwarding: e.state.forwarding(), Attempts: int(e.attempts), Latency: latencyOf(e.latency),
			ForwardError: in.index.dead[e], HasBody: e.body > 0 && e.row.bodies,
		}
		if e.forwarded != 0 {
			r.delivery.ForwardedAt = time.UnixMilli(e.forwarded).UTC()
		}
	case e.row.unwritten != nil:
		r.delivery, r.whole = e.row.unwritten[e.at], true
	}
	return r
}

// record reads the record, with its head.
func (in *Inbox) record(r *ref) (f []byte, err error) {
	var row []byte
	if r.logged {
		row, err = in.store.blob("SELECT entries FROM log WHERE seq = ?", r.seq)
	} else {
		row, err = in.store.records(r.seq)
	}
	if err != nil {
		return nil, err
	}
	f = cut(row, int(r.at))
	return f, intact(f)
}

// read returns the delivery, and the event of an accepted one.
func (in *Inbox) read(r *ref) (Delivery, *managed.RunEvent, error) {
	if r.whole {
		return r.delivery, nil, nil
	}
	f, err := in.record(r)
	if err != nil {
		return Delivery{}, nil, err
	}
	d, event, err := decodeRecord(f)
	if err != nil || r.logged {
		return d, event, err
	}
	k := &r.delivery
	d.Forwarding, d.Attempts, d.ForwardedAt, d.ForwardError = k.Forwarding, k.Attempts, k.ForwardedAt, k.ForwardError
	d.Latency, d.HasBody = k.Latency, k.HasBody
	if d.Forwarding == ForwardingPending {
		// Only the queue knows the attempts of a pending delivery.
		in.mu.Lock()
		defer in.mu.Unlock()
		if run := in.queue.runs[readHead(f).run]; run != nil {
			d.Attempts += run.attempts
			d.ForwardError = run.lastError
		}
	}
	return d, event, nil
}

// find returns the entry with this id, or nil. Called with mu held.
func (in *Inbox) find(id ulid.ULID) *entry {
	if e := in.index.find(id); e != nil {
		return e
	}
	for _, c := range in.logs {
		if e := c.find(id); e != nil {
			return e
		}
	}
	return nil
}

// lookup returns the delivery with this id.
func (in *Inbox) lookup(id string) (ref, error) {
	uid, err := ulid.ParseStrict(id)
	if err != nil {
		return ref{}, fmt.Errorf("delivery %q: %w", clip(id), ErrNotFound)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return ref{}, fmt.Errorf("delivery %s: %w: it is closing", id, ErrUnavailable)
	}
	e := in.find(uid)
	if e == nil {
		return ref{}, fmt.Errorf("delivery %s: %w", id, ErrNotFound)
	}
	return in.ref(e), nil
}

// Get returns a delivery and its body, which is nil if it was trimmed. It returns
// [ErrNotFound] for ids that it doesn't know, or no longer knows.
func (in *Inbox) Get(_ context.Context, id string) (d Delivery, body []byte, err error) {
	r, err := in.lookup(id)
	if err != nil {
		return Delivery{}, nil, err
	}
	if d, _, err = in.read(&r); err != nil {
		return Delivery{}, nil, fmt.Errorf("delivery %s: %w", id, err)
	}
	if !d.HasBody {
		return d, nil, nil
	}
	f, err := in.record(&r)
	if err == nil {
		var bodies []byte
		bodies, err = in.store.blob("SELECT bodies FROM batches WHERE seq = ?", r.seq)
		body = slices.Clone(bodyOf(readHead(f), bodies))
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Delivery{}, nil, fmt.Errorf("body of delivery %s: %w", id, err)
	}
	d.HasBody = body != nil // nil: trimmed in the meantime, or damaged
	return d, body, nil
}
