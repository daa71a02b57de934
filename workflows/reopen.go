package workflows

import (
	"encoding/json"

	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
)

// recall takes what an earlier execution of the run knew when it closed: what
// people decided, whose retry the run is, and which chains it is part of. It
// returns an error only when the execution is canceled.
func (m *manager) recall(ctx workflow.Context) error {
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
