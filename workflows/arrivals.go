package workflows

import (
	"go.temporal.io/sdk/workflow"
)

// arrivals are signals that were taken from Temporal and not folded yet: an
// execution in the middle of something folds them when that is over.
type arrivals struct {
	batches []RunEvents
	garbled int // signals that could not be read
}

// receive takes from Temporal what has come in.
func (m *manager) receive() {
	for waiting := m.events.Len(); waiting > 0; waiting = m.events.Len() {
		var batch RunEvents // fresh each time: decoding leaves absent fields alone
		ok := m.events.ReceiveAsync(&batch)
		m.arrived.garbled += waiting - m.events.Len()
		if ok {
			m.arrived.garbled--
			m.arrived.batches = append(m.arrived.batches, batch)
		}
	}
}

func (m *manager) eventsWait() bool {
	return m.events.Len() > 0 || len(m.arrived.batches) > 0 || m.arrived.garbled > 0
}

// takeEvents folds all events that wait, before anything is decided on less
// than what is known.
func (m *manager) takeEvents(ctx workflow.Context) {
	m.receive()
	now, told := workflow.Now(ctx).UTC(), m.arrived
	m.arrived = arrivals{}
	if told.garbled > 0 {
		m.known.note(now, KindNote, "%d signals could not be read and were dropped", told.garbled)
		m.quiet.since = now
	}
	for _, batch := range told.batches {
		m.known.take(now, batch.Events)
		m.known.deny(now, batch.Denied)
		m.known.hearRest(now, batch)
		if batch.GiveUp != "" {
			m.known.giveUp(now, batch.GiveUp)
		}
		m.quiet.since = now
	}
	m.known.arrive(now)
}

// told is the state of the run by all that has come in, folded or not: what
// somebody who asks now can mean. It is zero if nothing is known.
func (m *manager) told() stateKey {
	m.receive()
	all := m.known
	for _, batch := range m.arrived.batches {
		own, _, _ := all.own(batch.Events)
		all = fold(all, own...)
	}
	now, ok := all.current()
	if !ok {
		return stateKey{}
	}
	return keyOfState(now)
}
