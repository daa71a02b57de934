package workflows

import (
	"encoding/json"
	"slices"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
)

// recall takes what an earlier execution of the run knew when it closed: what
// people decided, whose retry the run is, and which chains it is part of. It
// returns an error only when the execution is canceled.
func (m *manager) recall(ctx workflow.Context) error {
	var a *activities.Activities
	var earlier activities.Earlier
	err := workflow.ExecuteLocalActivity(withGlance(ctx), a.ReadEarlier, activities.ReadEarlierInput{
		ID: ManageRunID(m.known.Run), Query: RecordQuery,
	}).Get(ctx, &earlier)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	now := workflow.Now(ctx).UTC()
	var was record
	if err == nil && earlier.Found {
		err = json.Unmarshal(earlier.Answer, &was) //workflowcheck:ignore it reads recorded bytes
	}
	switch {
	case err != nil:
		m.known.note(now, KindNote, "Gantry follows the run again, and could not read what an earlier execution knew of it: %s", because(err))
	case !earlier.Found || was.Run != m.known.Run:
		m.known.note(now, KindNote, "Gantry follows the run again, and Temporal no longer keeps what an earlier execution knew of it")
	default:
		m.known.follow(now, was)
	}
	return nil
}

// follow makes the record go on from that of an earlier execution. Under a new
// attempt of the run, what people decided about the one before counts no longer.
func (r *record) follow(at time.Time, was record) {
	if r.after() > was.after() {
		r.Keys = was.Keys
		return
	}
	begun := *r
	*r = was
	r.GivenUp, r.Decided, r.Again = "", "", nil
	r.Diagnosed, r.Failure, r.Retry = false, nil, nil
	r.Released, r.ChainsTold, r.Trouble = nil, nil, nil
	r.Outbox, r.Farewell = nil, false
	r.Trust, r.RulesStale = trust{}, true
	r.Events = slices.DeleteFunc(slices.Clone(was.Events), func(e RunEvent) bool { return e.State.Terminal() })
	*r = fold(*r, begun.Events...)
	r.ReadAt, r.Shown = begun.ReadAt, begun.Shown
	r.join(begun.Chains)
	if begun.RetryOf != nil {
		r.triesAgain(at, *begun.RetryOf)
	}
	r.Journal = append(r.Journal, begun.Journal...)
	r.note(at, KindNote, "Gantry follows the run again: it goes on in Spacelift, and an earlier execution had ended")
}
