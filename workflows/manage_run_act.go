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

// confirm carries out the decision to confirm a plan and records what came of
// it. It returns an error only when the execution is canceled.
func (m *manager) confirm(ctx workflow.Context, n managed.Next) error {
	var a *activities.Activities
	s := m.situation(ctx)
	in := managed.Confirmation(s, n)
	m.known.Send(s.Key(), n)
	var result managed.ConfirmResult
	err := m.call(ctx, n, a.ConfirmRun, in, &result)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	switch now := workflow.Now(ctx).UTC(); {
	case temporal.IsCanceledError(err):
		m.known.CalledOff(now, s.Key(), n)
	case err != nil:
		m.known.NotConfirmed(now, s.Key(), because(err))
	default:
		m.known.Confirmed(now, in, result)
	}
	return nil
}

// call does one thing at Spacelift. Mostly it answers at once. When it does
// not, the wish is kept for as long as it makes sense: every event that comes
// in is heard, and if it changes the decision, Gantry stops asking. Then the
// error is a canceled one.
func (m *manager) call(ctx workflow.Context, n managed.Next, activity, in, out any) error {
	err := m.quickly(ctx, n, activity, in, out)
	if err == nil || final(err) || ctx.Err() != nil {
		return err
	}
	if m.objecting > 0 {
		return temporal.NewCanceledError()
	}
	m.known.Note(workflow.Now(ctx).UTC(), managed.KindNote, "Spacelift did not %s at once (%s); Gantry keeps asking", n.Do, because(err))
	return m.keepAsking(ctx, n, activity, in, out)
}

// quickly calls with little patience.
//
// What nobody decided is done within the workflow task: if that is lost, the mark
// of the act tells whose it was. What follows from somebody's decision is not: the
// task that accepted the decision must be in the history before Spacelift changes
// anything, or the person may be refused what took effect.
func (m *manager) quickly(ctx workflow.Context, n managed.Next, activity, in, out any) error {
	if !n.ForPeople {
		return workflow.ExecuteLocalActivity(withQuickCall(ctx), activity, in).Get(ctx, out)
	}
	asking, stopAsking := workflow.WithCancel(ctx)
	defer stopAsking()
	answer := workflow.ExecuteActivity(withQuickAct(asking), activity, in)
	if err := workflow.Await(ctx, func() bool { return answer.IsReady() || m.objecting > 0 }); err != nil {
		return err
	}
	calledOff := !answer.IsReady()
	if calledOff {
		stopAsking()
	}
	return calledOffOr(answer.Get(ctx, out), calledOff)
}

// keepAsking calls with an activity that is retried for long, and hears events
// meanwhile. Once Gantry has called it off, nothing but success is an answer: an
// attempt that was under way ends with whatever error it met.
func (m *manager) keepAsking(ctx workflow.Context, n managed.Next, activity, in, out any) error {
	asking, stopAsking := workflow.WithCancel(withCall(ctx, n))
	defer stopAsking()
	answer := workflow.ExecuteActivity(asking, activity, in)
	calledOff := false
	for !answer.IsReady() {
		m.post()
		if err := index(ctx, m.status(ctx), false); err != nil {
			return err
		}
		m.answered = m.asked
		err := m.atRest(func() error {
			return workflow.Await(ctx, func() bool { return answer.IsReady() || m.disturbed() || m.objecting > 0 })
		})
		if err != nil {
			return err
		}
		if m.objecting > 0 {
			stopAsking()
			calledOff = true
			break
		}
		m.takeEvents(ctx)
		// Another plan than the one asked for needs no care here: the activity
		// would find that it changed.
		if managed.Decide(m.situation(ctx)).Do != n.Do || workflow.GetInfo(ctx).GetContinueAsNewSuggested() {
			stopAsking()
			calledOff = true
		}
	}
	return calledOffOr(answer.Get(ctx, out), calledOff)
}

// calledOffOr returns the error of an activity that Gantry may have called off. Then
// it is a canceled one, whatever the attempt that was under way met: an error says
// nothing about what was asked for.
func calledOffOr(err error, calledOff bool) error {
	if err == nil || temporal.IsCanceledError(err) || !calledOff && !activities.CalledOff(err) {
		return err
	}
	return temporal.NewCanceledError()
}

// withCall is how long to keep asking for something.
func withCall(ctx workflow.Context, n managed.Next) workflow.Context {
	if n.Do == managed.DoDiagnose {
		return withPatientRead(ctx)
	}
	return withSpaceliftCall(ctx)
}
