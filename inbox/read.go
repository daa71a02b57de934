package inbox

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/oklog/ulid/v2"
)

// spot is where an entry's record is, and what memory knows about it. It keeps
// the files open until leave.
type spot struct {
	id      ulid.ULID
	seg     *segment
	off     int64
	size    int
	markSeg *segment
	markOff int64
	mark    *record // when the newest mark is not on disk yet
	state   state
	latency uint32
}

// spot is called with mu held.
func (in *Inbox) spot(e *entry) spot {
	sp := spot{id: e.id, seg: in.acc.segment(e.seg), off: int64(e.off), size: int(e.size), state: e.state, latency: e.latency}
	sp.seg.refs++
	if m := in.overlay[e]; m != nil {
		r := m.rec
		sp.mark = &r
	} else if e.markSeg != 0 {
		sp.markSeg, sp.markOff = in.acc.segment(e.markSeg), int64(e.markOff)
		sp.markSeg.refs++
	}
	return sp
}

// leave gives spots up.
func (in *Inbox) leave(spots ...spot) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, sp := range spots {
		in.release(sp.seg)
		in.release(sp.markSeg)
	}
}

// release is called with mu held.
func (in *Inbox) release(s *segment) {
	if s == nil {
		return
	}
	s.refs--
	in.closeRetired(s)
}

// closeRetired is called with mu held.
func (in *Inbox) closeRetired(s *segment) {
	if s.retired && s.refs == 0 {
		if err := s.f.Close(); err != nil {
			in.log.Warn("close segment", "segment", s.path, "error", err)
		}
	}
}

// record reads the entry's record, with its mark applied.
func (sp *spot) record() (record, error) {
	f, err := sp.seg.read(sp.off, sp.size)
	if err != nil {
		return record{}, err
	}
	r, err := decodeRecord(f.id, f.payload)
	if err != nil {
		return record{}, err
	}
	if f.kind != frameAccepted {
		return r, nil
	}
	switch {
	case sp.mark != nil:
		r.setForwarding(sp.mark)
	case sp.markSeg != nil:
		m, err := sp.markSeg.readMark(sp.markOff)
		if err != nil {
			return record{}, err
		}
		r.setForwarding(&m)
	}
	r.Forwarding = sp.state.forwarding()
	if r.Latency == 0 {
		r.Latency = latencyOf(sp.latency)
	}
	return r, nil
}

func (s *segment) readMark(off int64) (record, error) {
	var head [frameHeader]byte
	if _, err := s.f.ReadAt(head[:], off); err != nil {
		return record{}, fmt.Errorf("read %s at %d: %w", s.path, off, err)
	}
	n := binary.LittleEndian.Uint32(head[8:])
	if n > maxPayload {
		return record{}, fmt.Errorf("read %s at %d: %w: length", s.path, off, errRecord)
	}
	f, err := s.read(off, frameHeader+int(n))
	if err != nil {
		return record{}, err
	}
	return decodeRecord(f.id, f.payload)
}

// Get returns a delivery and its body, which is nil if it is not kept. It
// returns [ErrNotFound] for ids it does not know, or knows no more.
func (in *Inbox) Get(_ context.Context, id string) (Delivery, []byte, error) {
	uid, err := ulid.ParseStrict(id)
	if err != nil {
		return Delivery{}, nil, fmt.Errorf("delivery %q: %w", clip(id), ErrNotFound)
	}
	in.mu.Lock()
	if in.closed {
		in.mu.Unlock()
		return Delivery{}, nil, fmt.Errorf("delivery %s: %w: it is closing", id, ErrUnavailable)
	}
	sp, ok := in.find(uid)
	in.mu.Unlock()
	if !ok {
		return Delivery{}, nil, fmt.Errorf("delivery %s: %w", id, ErrNotFound)
	}
	if sp.seg == nil {
		return sp.mark.Delivery, nil, nil
	}
	defer in.leave(sp)
	r, err := sp.record()
	if err != nil {
		return Delivery{}, nil, fmt.Errorf("delivery %s: %w", id, err)
	}
	in.overlayRun(&r)
	return r.Delivery, slices.Clone(r.body), nil
}

// find is called with mu held. A delivery that is only in memory yet comes
// back as a spot without a segment.
func (in *Inbox) find(id ulid.ULID) (spot, bool) {
	if e := in.index.find(id); e != nil {
		return in.spot(e), true
	}
	for _, c := range in.logs {
		if sp, ok := c.find(id); ok {
			return sp, true
		}
	}
	return spot{}, false
}

// overlayRun adds what only the queue knows: the attempts of a pending
// delivery, and why the last one failed.
func (in *Inbox) overlayRun(r *record) {
	if r.Outcome != OutcomeAccepted || r.Forwarding != ForwardingPending {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if run := in.queue.runs[runHash(r.Run)]; run != nil {
		r.Attempts += run.attempts
		if run.lastError != "" {
			r.ForwardError = run.lastError
		}
	}
}
