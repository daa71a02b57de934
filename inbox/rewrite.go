package inbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// moved is a frame that was written anew, to another place.
type moved struct {
	entry *entry
	frame []byte
	body  int  // bytes of the body in it
	mark  bool // the frame is the entry's newest mark; else it is the entry
	// Where the mark was: of a mark, its old place; of an entry, the mark whose
	// contents went into the frame.
	markSeg, markOff uint32
}

// renew returns what has to be kept of a segment's frame, or nil. An entry
// takes its newest mark into the frame, and loses its body if it is done and
// bodies go. A mark stays as long as it is an entry's newest, unless the entry
// is in the same segment, and so takes it over.
func (in *Inbox) renew(s *segment, f frame) (*moved, error) {
	in.mu.Lock()
	e := in.index.find(f.id)
	if e == nil {
		in.mu.Unlock()
		return nil, nil
	}
	here := func(seg, off uint32) bool { return seg == s.num && int64(off) == f.off }
	m := &moved{entry: e, markSeg: e.markSeg, markOff: e.markOff}
	switch {
	case f.kind == frameMark && here(e.markSeg, e.markOff) && e.seg != s.num:
		in.mu.Unlock()
		m.mark = true
		m.frame = appendFrame(nil, f.kind, f.id, f.payload)
		return m, nil
	case f.kind != frameAccepted || !here(e.seg, e.off):
		in.mu.Unlock()
		return nil, nil
	}
	sp := in.spot(e)
	in.mu.Unlock()
	defer in.leave(sp)

	r, err := sp.record()
	if err != nil {
		return nil, err
	}
	if sp.state.done() {
		r.body = nil
	}
	m.body = len(r.body)
	m.frame = r.appendTo(beginFrame(nil))
	endFrame(m.frame, 0, frameAccepted, f.id)
	return m, nil
}

// settle takes over where a frame was written to. Called with mu held.
func (in *Inbox) settle(m *moved, to *segment, off int64) {
	e := m.entry
	if e.state == stateGone {
		return
	}
	sameMark := e.markSeg == m.markSeg && e.markOff == m.markOff
	if m.mark {
		if sameMark {
			e.markSeg, e.markOff = to.num, uint32(off)
		}
		return
	}
	in.index.account(e, in.acc.segment(e.seg), -1)
	e.seg, e.off, e.size, e.body = to.num, uint32(off), uint32(len(m.frame)), uint32(m.body)
	in.index.account(e, to, 1)
	if sameMark {
		e.markSeg, e.markOff = 0, 0
	}
}

var errClosing = errors.New("the inbox is closing")

// eachFrame visits the frames of a complete segment. Damage that came since the
// start is an error: the next start will salvage what it can.
func (s *segment) eachFrame(visit func(frame) error) error {
	contents, err := s.contents(nil)
	if err != nil {
		return err
	}
	var errs []error
	_, damaged := scanFrames(contents, func(f frame) { errs = append(errs, visit(f)) })
	if len(damaged) > 0 {
		errs = append(errs, fmt.Errorf("%s is unreadable from byte %d to %d: %w", s.path, damaged[0].from, damaged[0].to, errRecord))
	}
	return errors.Join(errs...)
}

// condense replaces a complete segment by one without marks that are out of date
// and without the bodies of deliveries that are done.
func (in *Inbox) condense(s *segment) error {
	var keep []*moved
	var raw [][]byte
	err := s.eachFrame(func(f frame) error {
		m, err := in.renew(s, f)
		if m != nil {
			keep, raw = append(keep, m), append(raw, m.frame)
		}
		return err
	})
	if err != nil {
		return err
	}
	dir := filepath.Dir(s.path)
	fresh, offsets, err := writeSealed(dir, s.num, raw)
	if err != nil {
		return err
	}
	if err := os.Rename(s.path+".tmp", s.path); err != nil {
		return errors.Join(err, fresh.f.Close(), removeFile(s.path+".tmp"))
	}

	in.mu.Lock()
	// The new segment has the number of the old one, and takes over its totals
	// before entries move within it.
	fresh.pending, fresh.bodies, fresh.bodyLen = s.pending, s.bodies, s.bodyLen
	segs := slices.Clone(in.acc.segs)
	segs[slices.Index(segs, s)] = fresh
	in.acc.segs = segs
	for i, m := range keep {
		in.settle(m, fresh, offsets[i])
	}
	s.retired = true
	in.closeRetired(s)
	in.mu.Unlock()
	return syncDir(dir)
}

// drop removes the first segment and forgets what is done in it. What is
// pending or dead, and marks that are still needed, go to the end of the
// stream first.
func (in *Inbox) drop(s *segment) error {
	var entries []*entry
	var batches []*batch
	err := s.eachFrame(func(f frame) error {
		in.mu.Lock()
		e := in.index.find(f.id)
		leave := e == nil || f.kind == frameAccepted && e.state.done()
		if e != nil && f.kind == frameAccepted {
			entries = append(entries, e)
		}
		in.mu.Unlock()
		if leave {
			return nil
		}
		m, err := in.renew(s, f)
		if m == nil {
			return err
		}
		in.mu.Lock()
		defer in.mu.Unlock()
		b := in.openBatch(len(m.frame))
		b.copies = append(b.copies, m)
		b.bytes += len(m.frame)
		if len(batches) == 0 || batches[len(batches)-1] != b {
			batches = append(batches, b)
		}
		return nil
	})
	kick(in.kickWrite)
	for _, b := range batches {
		select {
		case <-b.done:
			err = errors.Join(err, b.err)
		case <-in.stop:
			return errClosing
		}
	}
	if err != nil {
		return err
	}

	in.mu.Lock()
	for _, e := range entries {
		if e.seg == s.num && e.state != stateGone && !e.state.done() {
			in.mu.Unlock() // redelivered just now: it has to be copied, too
			return nil
		}
	}
	for _, e := range entries {
		if e.seg == s.num && e.state != stateGone {
			in.index.account(e, s, -1)
			in.index.remove(e)
		}
	}
	in.retireFirst(in.acc)
	in.mu.Unlock()
	return removeFile(s.path)
}
