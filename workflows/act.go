package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/spacelift"
)

// act discards, reviews or stops the run.
func (m *manager) act(ctx workflow.Context, n next) error {
	var a *activities.Activities
	var result activities.ActResult
	var err error
	run, key := m.known.Run, m.situation(ctx).key()
	m.known.claim(key, n)
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
	m.known.release(key)
	switch {
	case temporal.IsCanceledError(err):
		m.known.note(now, KindNote, "Gantry no longer asks Spacelift to %s the run", n.Do)
	case err != nil:
		m.known.couldNot(now, n, because(err))
	default:
		m.known.acted(now, key, n, result)
	}
	return nil
}

// acted records what came of discarding, reviewing or stopping.
func (r *record) acted(at time.Time, key stateKey, n next, result activities.ActResult) {
	r.learn(at, result.Run)
	ask := r.asking(key)
	switch result.Outcome {
	case activities.ActDone:
		r.works(n.Do)
		r.note(at, KindAction, "%s: %s", didWhat(n, result.Verb), n.Reason)
		switch {
		case n.Do == doStop:
			r.Stopping.Done, r.Stopping.Did, r.Stopping.Key = true, result.Verb, key
			if ask != nil {
				ask.Done = doStop
			}
		case ask == nil:
		case n.Do == doReview && key.State == spacelift.RunStateUnconfirmed:
			ask.Reviewed = n.Review
		default:
			ask.Done, ask.Reviewed = n.Do, n.Review
		}
		if n.Do == doDiscard {
			r.settle(at, key.StateVersion, PlanDiscarded, n.Reason)
		}
	case activities.ActMoot:
		if r.fails(at, n.Do, behindFirst, refusedLongest, "Gantry wants to "+string(n.Do)+" the run, and it is not where it was: "+result.Reason) {
			r.note(at, KindNote, "Gantry did not %s the run: %s", n.Do, result.Reason)
		}
		r.stopped(n, result.Reason)
	default:
		if r.fails(at, n.Do, refusedFirst, refusedLongest, "Spacelift refuses to "+string(n.Do)+" the run: "+result.Reason) {
			r.note(at, KindAction, "Spacelift refused to %s the run: %s", n.Do, result.Reason)
		}
		r.stopped(n, result.Reason)
	}
}

// couldNot records that Spacelift gave no answer to what Gantry wanted.
func (r *record) couldNot(at time.Time, n next, why string) {
	if r.fails(at, n.Do, refusedFirst, refusedLongest, "Gantry could not "+string(n.Do)+" the run: "+why) {
		r.note(at, KindAction, "Gantry could not %s the run: %s", n.Do, why)
	}
	r.stopped(n, why)
}

// stopped ends the wish to stop a run that came to nothing: who wanted it is
// told why and may want it again.
func (r *record) stopped(n next, why string) {
	if n.Do == doStop {
		r.Stopping.Done, r.Stopping.Not = true, fit(why, maxText)
		r.works(doStop)
	}
}

func didWhat(n next, verb string) string {
	switch {
	case n.Do == doDiscard:
		return "Gantry discarded the plan"
	case n.Do == doReview && n.Review == spacelift.ReviewApprove:
		return "Gantry passed the approval on to Spacelift"
	case n.Do == doReview:
		return "Gantry passed the rejection on to Spacelift"
	}
	return "Gantry asked Spacelift to " + verb + " the run"
}
