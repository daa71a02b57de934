package simulator

import (
	"cmp"
	"slices"
	"time"
)

// happening is the action of a timer.
type happening string

// The actions of timers. The names are in snapshots: add, never rename.
const (
	phaseEnds   happening = "phase-ends"   // a run leaves the state it is in
	slotFrees   happening = "slot-frees"   // the slot of an ended run's stack is free
	workerStops happening = "worker-stops" // a worker obeys runStop
	laneGoesOn  happening = "lane-goes-on" // a delivery that had to wait is sent
)

// timer is a change that is due later. It is data and not a
// closure, so that a snapshot can hold it.
type timer struct {
	What    happening `json:"what"`
	At      time.Time `json:"at"`
	Version int       `json:"version,omitempty"` // of the state a phase ends in: the length of the run's history
	By      string    `json:"by,omitempty"`      // the person who asked for the stop,
	Note    string    `json:"note,omitempty"`    // and the reason
	Lane    laneKey   `json:"lane,omitzero"`     // the lane whose turn it is

	run  *run // nil for a lane
	seq  int  // timers of the same instant fire in the order they were set
	stop func()
}

// later makes t fire after d, under the lock, unless the simulator is closed by
// then.
func (s *Simulator) later(d time.Duration, t timer) *timer {
	s.timerCount++
	t.At, t.seq = s.clock.Now().Add(max(d, 0)), s.timerCount
	s.timers[&t] = struct{}{}
	if !s.restoring {
		s.arm(&t)
	}
	return &t
}

func (s *Simulator) arm(t *timer) {
	t.stop = s.clock.AfterFunc(t.At.Sub(s.clock.Now()), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, set := s.timers[t]; !set || s.closed {
			return
		}
		delete(s.timers, t)
		s.due(t)
		s.touch()
	})
}

// unset cancels a timer; nil is none.
func (s *Simulator) unset(t *timer) {
	if t == nil {
		return
	}
	delete(s.timers, t)
	if t.stop != nil {
		t.stop()
	}
}

func (s *Simulator) due(t *timer) {
	switch t.What {
	case phaseEnds:
		if len(t.run.History) == t.Version { // nothing moved it while the timer fired
			s.advance(t.run)
		}
	case slotFrees:
		if st := t.run.stack; st.blocker == t.run {
			st.blocker = nil
			s.schedule(st)
		}
	case workerStops:
		if legal(t.run.Type, t.run.state(), stopped) {
			s.enter(t.run, stopped, t.By, t.Note)
		}
	case laneGoesOn:
		s.pump(t.Lane)
	}
}

// sortedTimers returns the timers in the order they were set.
func (s *Simulator) sortedTimers() []*timer {
	all := make([]*timer, 0, len(s.timers))
	for t := range s.timers {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b *timer) int { return cmp.Compare(a.seq, b.seq) })
	return all
}
