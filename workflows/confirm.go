package workflows

import (
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/spacelift"
)

// confirm carries out the decision to confirm a plan and records what came of
// it. It returns an error only when the execution is canceled.
func (m *manager) confirm(ctx workflow.Context, n next) error {
	var a *activities.Activities
	s := m.situation(ctx)
	in := confirmation(s, n)
	m.known.claim(s.key(), n)
	var result activities.ConfirmResult
	err := m.call(ctx, n, a.ConfirmRun, in, &result)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	m.known.release(s.key())
	m.known.answered(workflow.Now(ctx).UTC(), in, result, err)
	return nil
}

// confirmation is what to ask Spacelift, given these facts.
func confirmation(s situation, n next) activities.ConfirmRunInput {
	return activities.ConfirmRunInput{
		Run: s.Run,
		Expect: activities.Expect{
			Type: s.Type, State: s.State, StateVersion: s.StateVersion, CommitHash: s.Commit.Hash, Delta: s.Delta,
		},
		Policy: s.rules.Policy, Approved: !s.alone(), PlanSince: s.ask.Since, Note: n.Note,
	}
}

// answered records what came of the wish to confirm, and what the API showed.
func (r *record) answered(now time.Time, in activities.ConfirmRunInput, result activities.ConfirmResult, err error) {
	plan := in.Expect.StateVersion
	switch {
	case temporal.IsCanceledError(err):
		r.note(now, KindNote, "Gantry no longer asks Spacelift to confirm the plan of state version %d", plan)
		return
	case err != nil:
		r.settle(now, plan, PlanRefused, because(err))
		r.refused(now, "Gantry could not confirm the plan: "+because(err))
		return
	}
	r.learn(now, result.Run)
	r.takeFollowers(now, followersOf(result.Followers))
	ask := r.asking(stateKey{plan, in.Expect.State})
	if ask == nil {
		ask = new(asking) // there were more than maxAskings since
	}
	switch result.Outcome {
	case activities.Confirmed:
		r.settle(now, plan, PlanConfirmed, "")
		r.note(now, KindAction, "Gantry confirmed the plan (%s)", describePlan(r.facts()))
		ask.Done = doConfirm
	case activities.AlreadyConfirmed:
		r.settle(now, plan, confirmedBy(result), result.Reason)
		r.note(now, KindAction, "Gantry did not confirm the plan again: %s", result.Reason)
		ask.Sought = true
		if result.ByUs {
			ask.Done = doConfirm
		}
	case activities.ConfirmedUnseen:
		r.settle(now, result.Unseen.Confirmed, PlanConfirmed, result.Reason)
		r.note(now, KindAction, "%s", result.Reason)
	case activities.PlanChanged:
		r.settle(now, plan, PlanChanged, result.Reason)
		r.note(now, KindAction, "Gantry did not confirm: %s", result.Reason)
		if behind := result.Run.StateVersion < plan && !result.Run.State.Terminal(); behind {
			r.doubtAfter(now, result.Run)
		}
		ask.Note = ""
	case activities.RulesChanged, activities.GateClosed:
		r.settle(now, plan, PlanPostponed, result.Reason)
		r.note(now, KindAction, "Gantry did not confirm: %s", result.Reason)
		r.reconsider(now, plan, in, result)
		ask.Note = ""
	default:
		r.settle(now, plan, PlanRefused, result.Reason)
		r.refused(now, "Spacelift refused to confirm: "+result.Reason)
		ask.Note = ""
	}
}

// refused lets Gantry ask again later: what keeps Spacelift from confirming, a
// lock, a policy, the rights of a key, may pass.
func (r *record) refused(at time.Time, reason string) {
	if r.fails(at, doConfirm, refusedFirst, refusedLongest, reason) {
		r.note(at, KindAction, "%s", reason)
	}
}

// reconsider takes the rules that whoever was to confirm found, so that the
// plan is judged anew by them. Rules that change at every look are left alone
// for a while.
func (r *record) reconsider(at time.Time, plan int, in activities.ConfirmRunInput, result activities.ConfirmResult) {
	now, _ := r.current()
	here := now.StateVersion == plan && now.State == in.Expect.State
	if result.Rules == nil || !here {
		r.RulesStale = true
		return
	}
	rules := termsOf(*result.Rules)
	rules.Labels = trimLabels(result.Run.StackLabels)
	r.takeRules(at, rules, true)
	if result.Outcome == activities.RulesChanged {
		first := time.Duration(0)
		if r.tries(doConfirm) > 0 {
			first = behindFirst
		}
		r.fails(at, doConfirm, first, behindLongest, "the rules for this plan keep changing: "+result.Reason)
	}
}

func confirmedBy(result activities.ConfirmResult) PlanResult {
	if result.ByUs {
		return PlanConfirmed
	}
	return PlanAlready
}

// stop takes a person's wish to end the run. A run that waits to be tried again
// has ended: then the retry is what is stopped, at once, and the answer is nil.
func (r *record) stop(at time.Time, wish StopRequest) *stopping {
	by, note := fit(wish.By.Name, maxName), fit(wish.Note, maxText)
	r.journal(at, KindPerson, by, "%s wants the run stopped%s", by, afterColon(note))
	if s := r.facts(); s.State == spacelift.RunStateFailed && s.Retry != nil {
		r.Retry.Ended, r.Retry.Reason = true, by+" stopped it"+afterColon(note)
		return nil
	}
	r.Stopping = &stopping{By: by, Note: note, At: at}
	return r.Stopping
}

// hearRest takes what a batch says besides events.
func (r *record) hearRest(at time.Time, batch RunEvents) {
	if batch.RetryOf != nil {
		r.triesAgain(at, *batch.RetryOf)
	}
	if batch.Retried != nil {
		r.retried(at, batch.Retried.By, batch.Retried.As)
	}
	r.join(batch.Chains)
	if batch.RulesChanged {
		r.RulesStale = r.Rules != nil && r.RulesFor != nil
	}
}

// final reports whether trying again cannot help.
func final(err error) bool {
	app, ok := errors.AsType[*temporal.ApplicationError](err)
	return ok && app.NonRetryable()
}

// because is the part of an activity's error that people want to read.
func because(err error) string {
	if app, ok := errors.AsType[*temporal.ApplicationError](err); ok {
		return app.Message()
	}
	if _, ok := errors.AsType[*temporal.TimeoutError](err); ok {
		return "no answer in time"
	}
	if wrapper, ok := errors.AsType[*temporal.ActivityError](err); ok {
		return wrapper.Unwrap().Error()
	}
	return err.Error()
}

// followersOf are what an activity knew, as the record keeps them.
func followersOf(f *activities.Followers) *followers {
	if f == nil {
		return nil
	}
	return &followers{Stacks: f.Stacks, More: f.More, At: f.At}
}

// termsOf are what an activity read, as the record keeps them.
func termsOf(r activities.Rules) terms {
	return terms{Labels: r.Labels, Policy: r.Policy, Gate: r.Gate, Dues: r.Dues}
}
