package workflows

import (
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// act discards, reviews or stops the run.
func (m *manager) act(ctx workflow.Context, n managed.Next) error {
	var a *activities.Activities
	var result managed.ActResult
	var err error
	run, key := m.known.Run, m.situation(ctx).Key()
	m.known.Send(key, n)
	switch n.Do {
	case managed.DoDiscard:
		err = m.call(ctx, n, a.DiscardRun, activities.DiscardRunInput{Run: run, StateVersion: key.StateVersion, Note: n.Note}, &result)
	case managed.DoReview:
		err = m.call(ctx, n, a.ReviewRun, activities.ReviewRunInput{Run: run, StateVersion: key.StateVersion, Decision: n.Review, Note: n.Note}, &result)
	default:
		err = m.call(ctx, n, a.StopRun, activities.StopRunInput{Run: run, Note: n.Note}, &result)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	now := workflow.Now(ctx).UTC()
	switch {
	case temporal.IsCanceledError(err):
		m.known.CalledOff(now, key, n)
	case err != nil:
		m.known.CouldNot(now, key, n, because(err))
	default:
		m.known.Acted(now, key, n, result)
		if n.Do == managed.DoReview && result.Outcome == managed.ActDone && key.State == spacelift.RunStateUnconfirmed {
			// Whether it is enough for Spacelift shows nowhere else.
			return m.verify(ctx, n)
		}
	}
	return nil
}

// verify reads the run, and judges by it what Spacelift accepted and no
// notification showed.
func (m *manager) verify(ctx workflow.Context, _ managed.Next) error {
	var a *activities.Activities
	var run spacelift.Run
	s := m.situation(ctx)
	err := workflow.ExecuteLocalActivity(withQuickCall(ctx), a.ReadRun, s.Run).Get(ctx, &run)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	now := workflow.Now(ctx).UTC()
	if err != nil {
		m.known.RecordFailure(now, managed.DoVerify, managed.FailedFirst, managed.FailedLongest, "Gantry could not read whether the run shows what Spacelift accepted: "+because(err))
		return nil
	}
	m.known.ClearBackoff(managed.DoVerify)
	m.known.Compare(now, run)
	m.known.Unmet(now, s.Key())
	return nil
}
