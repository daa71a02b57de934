package inbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/gantryhq/gantry/workflows"
)

// ref is a delivery to be read: where it is, and what memory knows about it.
type ref struct {
	table    table
	seq      int64
	slot     uint16
	hasBody  bool
	delivery Delivery // all of it if it is not on disk yet; else what became of it
	logged   bool     // it is not on disk yet
}

// ref is called with mu held.
func (in *Inbox) ref(e *entry) ref {
	r := ref{seq: e.row.seq, slot: e.slot}
	if e.state == stateLogged {
		r.table = tableLog
		if e.row.unwritten != nil {
			r.delivery, r.logged = e.row.unwritten[e.slot], true
		}
		return r
	}
	r.hasBody = e.body > 0 && e.row.bodies
	r.delivery = Delivery{
		Forwarding: e.state.forwarding(), Attempts: int(e.attempts), Latency: latencyOf(e.latency),
		ForwardError: in.index.dead[e], HasBody: r.hasBody,
	}
	if e.forwarded != 0 {
		r.delivery.ForwardedAt = time.UnixMilli(e.forwarded).UTC()
	}
	return r
}

// read returns the delivery, and the event of an accepted one.
func (in *Inbox) read(r *ref) (Delivery, *workflows.RunEvent, error) {
	if r.logged {
		return r.delivery, nil, nil
	}
	b, err := in.store.records(r.table, r.seq)
	if err != nil {
		return Delivery{}, nil, err
	}
	f, err := findRecord(b, r.slot)
	if err != nil {
		return Delivery{}, nil, err
	}
	d, event, err := decodeRecord(f)
	if err != nil || r.table == tableLog {
		return d, event, err
	}
	k := &r.delivery
	d.Forwarding, d.Attempts, d.ForwardedAt, d.ForwardError = k.Forwarding, k.Attempts, k.ForwardedAt, k.ForwardError
	d.Latency, d.HasBody = k.Latency, k.HasBody
	if d.Forwarding == ForwardingPending {
		// Only the queue knows the attempts of what still waits.
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

// Get returns a delivery and its body, which is nil if it is not kept. It
// returns [ErrNotFound] for ids it does not know, or knows no more.
func (in *Inbox) Get(_ context.Context, id string) (Delivery, []byte, error) {
	r, err := in.lookup(id)
	if err != nil {
		return Delivery{}, nil, err
	}
	d, _, err := in.read(&r)
	if err != nil {
		return Delivery{}, nil, fmt.Errorf("delivery %s: %w", id, err)
	}
	var body []byte
	if r.hasBody {
		b, err := in.store.bodies(r.seq)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return Delivery{}, nil, fmt.Errorf("body of delivery %s: %w", id, err)
		}
		if body = slices.Clone(findBody(b, r.slot)); body == nil {
			d.HasBody = false // trimmed meanwhile, or damaged
		}
	}
	return d, body, nil
}
