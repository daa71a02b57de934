package workflows

import (
	"errors"
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
)

// confirm carries out the decision to confirm a plan and records what came of
// it. It returns an error only when the execution is canceled.
func (m *manager) confirm(ctx workflow.Context, n next) error {
	var a *activities.Activities
	s := m.situation(ctx)
	in := confirmation(s, n)
	m.known.send(s.key(), n)
	var result managed.ConfirmResult
	err := m.call(ctx, n, a.ConfirmRun, in, &result)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	switch now := workflow.Now(ctx).UTC(); {
	case temporal.IsCanceledError(err):
		m.known.calledOff(now, s.key(), n)
	case err != nil:
		m.known.notConfirmed(now, s.key(), because(err))
	default:
		m.known.answered(now, in, result)
	}
	return nil
}

// confirmation is what to ask Spacelift, given these facts.
func confirmation(s situation, n next) managed.ConfirmRunInput {
	return managed.ConfirmRunInput{
		Run: s.Run,
		Expect: managed.Expect{
			Type: s.Type, State: s.State, StateVersion: s.StateVersion, CommitHash: s.Commit.Hash, Delta: s.Delta,
		},
		Policy: s.rules.Policy, Approved: !s.alone(), PlanSince: s.ask.Since, Note: n.Note,
	}
}

// answered records what came of the wish to confirm, and what the API showed.
func (r *record) answered(now time.Time, in managed.ConfirmRunInput, result managed.ConfirmResult) {
	plan := in.Expect.StateVersion
	request := r.request(stateKey{plan, in.Expect.State}, doConfirm)
	r.learn(now, result.Run)
	r.takeFollowers(now, result.Followers)
	switch result.Outcome {
	case managed.Confirmed:
		request.accept(now)
		r.settle(now, plan, PlanConfirmed, "")
		r.note(now, KindAction, "Gantry confirmed the plan (%s)", describePlan(r.facts()))
		return
	case managed.AlreadyConfirmed:
		r.settle(now, plan, confirmedBy(result), result.Reason)
		r.note(now, KindAction, "Gantry did not confirm the plan again: %s", result.Reason)
		if result.ByUs {
			request.accept(now)
		} else {
			request.drop()
		}
		return
	case managed.ConfirmedUnseen:
		request.accept(now) // nothing is left to confirm
		r.confirmedUnseen(now, result.Unseen.Judged, result.Unseen.Confirmed)
		return
	case managed.PlanChanged:
		r.settle(now, plan, PlanChanged, result.Reason)
		r.note(now, KindAction, "Gantry did not confirm: %s", result.Reason)
		if behind := result.Run.StateVersion < plan && !result.Run.State.Terminal(); behind {
			r.Trust.Disputed = true // read the run before the plan is judged anew
		}
	case managed.RulesChanged, managed.GateClosed:
		r.settle(now, plan, PlanPostponed, result.Reason)
		r.note(now, KindAction, "Gantry did not confirm: %s", result.Reason)
		r.reconsider(now, plan, in, result)
	case managed.StackBlocked:
		r.settle(now, plan, PlanPostponed, result.Reason)
		r.works(doConfirm)
		if r.facts().Block == nil { // the run went on meanwhile
			r.refused(now, result.Reason)
		}
	default:
		r.settle(now, plan, PlanRefused, result.Reason)
		r.refused(now, "Spacelift refused to confirm: "+result.Reason)
	}
	request.drop()
	request.Note = "" // Spacelift answered that no attempt worked
}

// notConfirmed records that Spacelift gave no answer to the wish to confirm.
func (r *record) notConfirmed(at time.Time, key stateKey, why string) {
	r.request(key, doConfirm).drop()
	r.settle(at, key.StateVersion, PlanRefused, why)
	r.refused(at, "Gantry could not confirm the plan: "+why)
}

// refused lets Gantry ask again later: what keeps Spacelift from confirming, a
// policy, the rights of a key, may pass. What shows in the run, such as a review
// that is missing, is waited for as that and not for a time.
func (r *record) refused(at time.Time, reason string) {
	if now, ok := r.current(); ok && r.needsApproval(keyOfState(now)) {
		r.note(at, KindAction, "%s", reason)
		r.works(doConfirm)
		return
	}
	if r.refuses(at, doConfirm, refusedFirst, reason) {
		r.note(at, KindAction, "%s", reason)
	}
}

// reconsider takes the rules that whoever was to confirm found, so that the
// plan is judged anew by them. Rules that change at every look are left alone
// for a while.
func (r *record) reconsider(at time.Time, plan int, in managed.ConfirmRunInput, result managed.ConfirmResult) {
	now, _ := r.current()
	here := now.StateVersion == plan && now.State == in.Expect.State
	if result.Rules == nil || !here {
		r.RulesStale = true
		return
	}
	rules := *result.Rules
	rules.Labels = policy.TrimLabels(result.Run.StackLabels)
	r.takeRules(at, rules, true)
	if result.Outcome == managed.RulesChanged {
		first := time.Duration(0)
		if r.tries(doConfirm) > 0 {
			first = behindFirst
		}
		r.fails(at, doConfirm, first, behindLongest, "the rules for this plan keep changing: "+result.Reason)
	}
}

func confirmedBy(result managed.ConfirmResult) PlanResult {
	if result.ByUs {
		return PlanConfirmed
	}
	return PlanAlready
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
	r.Behind = bounded(distinct(append(slices.Clone(r.Behind), batch.Behind...)))
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
