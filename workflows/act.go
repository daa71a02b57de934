package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// act discards, reviews or stops the run.
func (m *manager) act(ctx workflow.Context, n next) error {
	var a *activities.Activities
	var result managed.ActResult
	var err error
	run, key := m.known.Run, m.situation(ctx).key()
	m.known.send(key, n)
	switch n.Do {
	case doDiscard:
		err = m.call(ctx, n, a.DiscardRun, activities.DiscardRunInput{Run: run, StateVersion: key.StateVersion, Note: n.Note}, &result)
	case doReview:
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
		m.known.calledOff(now, key, n)
	case err != nil:
		m.known.couldNot(now, key, n, because(err))
	default:
		m.known.acted(now, key, n, result)
		if n.Do == doReview && result.Outcome == managed.ActDone && key.State == spacelift.RunStateUnconfirmed {
			// Whether it is enough for Spacelift shows nowhere else.
			return m.verify(ctx, n)
		}
	}
	return nil
}

// acted records what came of discarding, reviewing or stopping.
func (r *record) acted(at time.Time, key stateKey, n next, result managed.ActResult) {
	r.learn(at, result.Run)
	switch result.Outcome {
	case managed.ActDone:
		r.works(n.Do)
		r.note(at, KindAction, "%s: %s", didWhat(n, result.Verb), n.Reason)
		if n.Do == doStop {
			r.Stopping.accept(at, shownKey(result.Run, key), result.Verb)
		} else {
			r.request(key, n.Do).accept(at)
		}
		if n.Do == doDiscard {
			r.settle(at, key.StateVersion, PlanDiscarded, n.Reason)
		}
	case managed.ActMoot:
		if r.refuses(at, n.Do, behindFirst, "Gantry wants to "+string(n.Do)+" the run, and it is not where it was: "+result.Reason) {
			r.note(at, KindNote, "Gantry did not %s the run: %s", n.Do, result.Reason)
		}
		r.undone(key, n, result.Reason)
	default:
		if r.refuses(at, n.Do, refusedFirst, "Spacelift refuses to "+string(n.Do)+" the run: "+result.Reason) {
			r.note(at, KindAction, "Spacelift refused to %s the run: %s", n.Do, result.Reason)
		}
		r.undone(key, n, result.Reason)
	}
}

// shownKey is the state that the API showed, or the one there is instead.
func shownKey(run spacelift.Run, otherwise stateKey) stateKey {
	if run.State == "" {
		return otherwise
	}
	return stateKey{run.StateVersion, run.State}
}

// calledOff records that Gantry no longer asks for something.
func (r *record) calledOff(at time.Time, key stateKey, n next) {
	r.request(key, n.Do).drop()
	what := "the run"
	if n.Do == doConfirm {
		what = fmt.Sprintf("the plan of state version %d", key.StateVersion)
	}
	r.note(at, KindNote, "Gantry no longer asks Spacelift to %s %s", n.Do, what)
}

// couldNot records that Spacelift gave no answer to what Gantry wanted.
func (r *record) couldNot(at time.Time, key stateKey, n next, why string) {
	if r.refuses(at, n.Do, refusedFirst, "Gantry could not "+string(n.Do)+" the run: "+why) {
		r.note(at, KindAction, "Gantry could not %s the run: %s", n.Do, why)
	}
	r.undone(key, n, why)
}

// undone takes that nothing came of a request.
func (r *record) undone(key stateKey, n next, why string) {
	if n.Do == doStop {
		r.unstopped(why)
		return
	}
	r.request(key, n.Do).drop()
}

// verify reads the run, and judges by it what Spacelift accepted and no
// notification showed.
func (m *manager) verify(ctx workflow.Context, _ next) error {
	var a *activities.Activities
	var run spacelift.Run
	s := m.situation(ctx)
	err := workflow.ExecuteLocalActivity(withQuickCall(ctx), a.ReadRun, s.Run).Get(ctx, &run)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	now := workflow.Now(ctx).UTC()
	if err != nil {
		m.known.fails(now, doVerify, failedFirst, failedLongest, "Gantry could not read whether the run shows what Spacelift accepted: "+because(err))
		return nil
	}
	m.known.works(doVerify)
	m.known.compare(now, run)
	m.known.unmet(now, s.key())
	return nil
}
