package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// act discards, reviews or stops the run. It returns an error only when the
// execution is canceled.
func (m *manager) act(ctx workflow.Context, n managed.Next) error {
	var a *activities.Activities
	var result managed.ActResult
	var err error
	s := m.situation(ctx)
	run, key := m.known.Run, s.Key()
	m.known.Send(key, n)
	switch n.Do {
	case managed.DoDiscard:
		in := activities.DiscardRunInput{Run: run, StateVersion: key.StateVersion, Note: n.Note}
		if n.Old {
			in.Judged = new(s.Judged())
		}
		err = m.call(ctx, n, a.DiscardRun, in, &result)
	case managed.DoReview:
		in := activities.ReviewRunInput{Run: run, StateVersion: key.StateVersion, Decision: n.Review, Releases: n.Releases, Note: n.Note}
		if n.Review == spacelift.ReviewApprove {
			in.Judged = new(s.Judged())
		}
		err = m.call(ctx, n, a.ReviewRun, in, &result)
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
			// Only the run shows whether the review is enough for Spacelift.
			return m.verify(ctx, n)
		}
	}
	return nil
}

// verify reads the run, to judge whether it shows what Spacelift accepted and no
// notification confirmed. It returns an error only when the execution is canceled.
func (m *manager) verify(ctx workflow.Context, n managed.Next) error {
	run, err := fetchRun(ctx, m.known.Run, n.Reason)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	now := workflow.Now(ctx).UTC()
	if err != nil {
		m.known.Failed(now, managed.DoVerify, "Gantry could not read whether the run shows what Spacelift accepted: "+because(err))
		return nil
	}
	m.known.Verify(now, run)
	return nil
}

// confirm confirms the plan and records the result. It returns an error only when the execution is canceled.
func (m *manager) confirm(ctx workflow.Context, n managed.Next) error {
	var a *activities.Activities
	s := m.situation(ctx)
	in := activities.ConfirmRunInput{ConfirmRunInput: managed.Confirmation(s, n)}
	if s.GoesBehind() {
		in.Behind = new(openWork(s.Run.Account))
	}
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
		m.known.CouldNot(now, s.Key(), n, because(err))
	default:
		m.known.Confirmed(now, in.ConfirmRunInput, result)
	}
	return nil
}

// call changes something at Spacelift, which mostly answers immediately. If it
// doesn't, Gantry keeps asking for as long as that makes sense: it takes every
// event that comes in, and stops asking if one changes the decision. Then the
// error is a canceled one.
func (m *manager) call(ctx workflow.Context, n managed.Next, activity, in, out any) error {
	err := m.callQuickly(ctx, n, activity, in, out)
	if err == nil || final(err) || ctx.Err() != nil {
		return err
	}
	if m.objections > 0 {
		return temporal.NewCanceledError()
	}
	m.known.Note(workflow.Now(ctx).UTC(), managed.KindNote, "Spacelift did not %s immediately (%s); Gantry keeps asking", n.Do, because(err))
	return m.keepAsking(ctx, n, retryDelay(n, err), activity, in, out)
}

// callQuickly calls with little patience.
//
// A call that no person decided happens within the workflow task: if the task is
// lost, the mark of the act shows that it was Gantry's. A call that follows from a
// person's decision doesn't: the task that accepted the decision must be in the
// history before Spacelift changes anything, or Gantry may refuse the person what
// took effect.
func (m *manager) callQuickly(ctx workflow.Context, n managed.Next, activity, in, out any) error {
	if !n.ForPeople {
		return workflow.ExecuteLocalActivity(summarized(withQuickCall(ctx), n.Reason), activity, in).Get(ctx, out)
	}
	asking, stopAsking := workflow.WithCancel(ctx)
	defer stopAsking()
	answer := workflow.ExecuteActivity(summarized(withQuickAct(asking), n.Reason), activity, in)
	if err := workflow.Await(ctx, func() bool { return answer.IsReady() || m.objections > 0 }); err != nil {
		return err
	}
	calledOff := !answer.IsReady()
	if calledOff {
		stopAsking()
	}
	return orCalledOff(answer.Get(ctx, out), calledOff)
}

// keepAsking calls with an activity that is retried for days, from a delay on, and takes
// events meanwhile.
func (m *manager) keepAsking(ctx workflow.Context, n managed.Next, delay time.Duration, activity, in, out any) error {
	options := withSpaceliftCall(ctx)
	if n.Do == managed.DoDiagnose {
		options = withPatientRead(ctx)
	}
	asking, stopAsking := workflow.WithCancel(summarized(options, n.Reason))
	defer stopAsking()
	answer := executeAfter(asking, delay, activity, in)
	calledOff := false
	for !answer.IsReady() {
		m.sendMessages()
		if err := m.publish(ctx, false); err != nil {
			return err
		}
		m.handled = m.requests
		if err := m.await(ctx, func() bool { return answer.IsReady() || m.hasNews() || m.objections > 0 }); err != nil {
			return err
		}
		if m.objections > 0 {
			stopAsking()
			calledOff = true
			break
		}
		m.takeEvents(ctx)
		// A new plan needs no care here: the activity would find that it changed.
		if m.situation(ctx).Next().Do != n.Do || m.fullHistory(ctx) {
			stopAsking()
			calledOff = true
		}
	}
	return orCalledOff(answer.Get(ctx, out), calledOff)
}

// executeAfter executes an activity after a delay.
func executeAfter(ctx workflow.Context, delay time.Duration, activity, in any) workflow.Future {
	if delay <= 0 {
		return workflow.ExecuteActivity(ctx, activity, in)
	}
	answer, set := workflow.NewFuture(ctx)
	workflow.Go(ctx, func(ctx workflow.Context) {
		if err := workflow.Sleep(ctx, delay); err != nil {
			set.SetError(err)
			return
		}
		set.Chain(workflow.ExecuteActivity(ctx, activity, in))
	})
	return answer
}

// orCalledOff returns the error of an activity that Gantry may have called off.
// Then only success is an answer: the attempt that was under way ends with
// whatever error it met, so the error is a canceled one.
func orCalledOff(err error, calledOff bool) error {
	if err == nil || temporal.IsCanceledError(err) || !calledOff && !activities.CalledOff(err) {
		return err
	}
	return temporal.NewCanceledError()
}
