package workflows

import (
	"encoding/json"

	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
)

// arrivals are signals that were taken from Temporal and not folded yet: a busy
// execution folds them when it is done.
type arrivals struct {
	batches []managed.RunEvents
	garbled int // signals that could not be read
}

// receive takes from Temporal what has come in.
func (m *manager) receive() {
	for waiting := m.events.Len(); waiting > 0; waiting = m.events.Len() {
		var batch managed.RunEvents // fresh each time: decoding leaves absent fields alone
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

// takeEvents folds all events that wait, so Gantry decides on everything that is
// known.
func (m *manager) takeEvents(ctx workflow.Context) {
	m.receive()
	now := workflow.Now(ctx).UTC()
	if m.arrived.garbled > 0 {
		m.known.Note(now, managed.KindNote, "%d signals could not be read and were dropped", m.arrived.garbled)
		m.silence.reset(now)
		m.arrived.garbled = 0
	}
	batches := m.arrived.batches
	m.arrived.batches = nil // the execution waits for days, and would keep them
	for _, batch := range batches {
		// Events that Gantry's code fails on are lost; it reads the run instead.
		_ = m.guard(ctx, func() error { m.known.Take(now, batch.Events); return nil })
		_ = m.guard(ctx, func() error { m.known.Deny(now, batch.Denied); m.known.TakeNews(now, batch); return nil })
		if batch.GiveUp != "" {
			m.known.Lost(now, batch.GiveUp)
			continue
		}
		m.known.Trust.Arrived(now)
		m.silence.reset(now)
	}
	_ = m.guard(ctx, func() error {
		m.known.Calm(now)
		m.known.Arrive(now)
		return nil
	})
}

// newest returns the state of the run by everything that has come in, folded or
// not: the state that a person can mean now. It is zero if nothing is known.
func (m *manager) newest() managed.StateKey {
	m.receive()
	return m.known.Newest(m.arrived.batches)
}

// readEarlier takes what an earlier execution of the run knew when it closed:
// people's decisions, whose retry the run is, and the chains that it is part of.
// It returns an error only when the execution is canceled.
func (m *manager) readEarlier(ctx workflow.Context) error {
	var a *activities.Activities
	var earlier activities.Earlier
	err := workflow.ExecuteLocalActivity(withGlance(ctx), a.ReadEarlier, activities.ReadEarlierInput{
		ID: managed.ManageRunID(m.known.Run), Query: managed.RecordQuery,
	}).Get(ctx, &earlier)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	now := workflow.Now(ctx).UTC()
	var was managed.Record
	if err == nil && earlier.Found {
		err = json.Unmarshal(earlier.Answer, &was) //workflowcheck:ignore it reads recorded bytes
	}
	switch {
	case err != nil:
		m.known.Note(now, managed.KindNote, "Gantry follows the run again, and could not read what an earlier execution knew of it: %s", because(err))
	case !earlier.Found || was.Run != m.known.Run:
		m.known.Note(now, managed.KindNote, "Gantry follows the run again, and Temporal no longer keeps what an earlier execution knew of it")
	default:
		m.known.Follow(now, was)
	}
	return nil
}
