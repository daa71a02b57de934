package inbox

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/inbox/wal"
)

const (
	chunk = 500 // rows of one transaction, about

	// A row costs more processor time than accepting its event, so the archive has at most
	// so many a second. While more events arrive, it lags, and catches up later.
	archivePace = 2000

	// While more events than busyRate arrive a second, the archive has as many rows a second,
	// and people read so many times a second.
	busyRate = 1000
	busyRead = 50

	// Limits of the deliveries that wait for the archive.
	maxNotes     = 4096
	maxNoteBytes = 8 << 20
)

// addNote notes a delivery that was not accepted, for the archive.
func (in *Inbox) addNote(d archive.Delivery, body []byte) archive.Delivery {
	arrived(&d, body)
	in.mu.Lock()
	defer in.mu.Unlock()
	n := in.ids.next(time.Now())
	d.ID = in.ids.id(n)
	if len(in.notes) >= maxNotes || in.noteBytes+len(body) > maxNoteBytes {
		in.metrics.logDropped.Inc()
		return d
	}
	in.notes = append(in.notes, archive.Row{Delivery: d, Number: n, Body: body})
	in.noteBytes += len(body)
	return d
}

// allow lets the archive have so many more rows.
func (in *Inbox) allow(rows int) {
	in.following.Lock()
	defer in.following.Unlock()
	in.allowed = rows
}

// follow brings the archive up to date with the log and with the deliveries that
// were not accepted, for as many rows as are allowed. What is not written is kept
// for the next time.
func (in *Inbox) follow(ctx context.Context) error {
	in.following.Lock()
	defer in.following.Unlock()
	for in.allowed > 0 {
		in.mu.Lock()
		next, notes, few := in.next, in.notes, in.pending <= in.opts.Archive.Entries.Count
		in.mu.Unlock()
		b := archive.Batch{Through: in.archive.Through()}
		if next == b.Through+1 && len(notes) == 0 {
			return nil
		}
		dead, err := in.collect(&b, next, few)
		if err != nil {
			return err
		}
		for _, n := range notes {
			b.Add(n)
		}
		if err := in.archive.Write(ctx, &b); err != nil {
			if errors.Is(err, archive.ErrReplaced) {
				continue
			}
			return err
		}
		in.allowed -= b.Len()
		for _, idx := range dead {
			in.records.Done(idx)
		}
		in.mu.Lock()
		for _, note := range notes {
			in.noteBytes -= len(note.Body)
		}
		in.notes = slices.Clone(in.notes[len(notes):])
		in.mu.Unlock()
	}
	return nil
}

// collect adds what follows in the log to a batch, for as many rows as it may have, and
// returns the indexes of the dead events whose bodies it has. It leaves out what would be
// trimmed soon; pending events are, unless they are few.
func (in *Inbox) collect(b *archive.Batch, next uint64, few bool) (dead []uint64, err error) {
	var room []byte // no row keeps a part of it
	for b.Through+1 < next && b.Len() < min(chunk, in.allowed) {
		block, err := in.records.Block(b.Through+1, &room)
		if errors.Is(err, wal.ErrNotFound) || err == nil && block.First >= next {
			b.Through = next - 1
			break
		}
		if err != nil {
			return nil, err
		}
		for i, rec := range block.Recs {
			idx := block.First + uint64(i)
			dead = append(dead, in.finish(b, readMarks(rec))...)
			listed := idx+uint64(in.opts.Archive.Entries.Count) >= next || few && in.records.Pending(idx)
			if !listed {
				continue
			}
			if e, err := readEvent(rec); err == nil {
				e.Latency = latency(rec[0], &e.Delivery, block.At)
				e.Index, e.Body = idx, nil
				b.Add(e)
			}
		}
		b.Through = block.Next() - 1
	}
	return dead, nil
}

// finish adds the results of forwarding to a batch, and the bodies of dead events. It
// returns the indexes of these.
func (in *Inbox) finish(b *archive.Batch, marks []archive.Result) (dead []uint64) {
	for _, m := range marks {
		if m.Forwarding == archive.ForwardingDead {
			dead = append(dead, m.Index)
			rec, _ := in.records.Read(m.Index)
			if e, err := readEvent(rec); err == nil {
				b.Add(e)
			}
		}
		b.Finish(m)
	}
	return dead
}

// turn waits for a reader's turn, if many events arrive, so that people's lists don't slow
// them.
func (in *Inbox) turn(ctx context.Context) error {
	if !in.busy() {
		return nil
	}
	return in.turns.Wait(ctx)
}

// busy reports whether many events arrive: more than the limiter fills up again.
func (in *Inbox) busy() bool { return in.arrivals.Tokens() < busyRate/2 }
