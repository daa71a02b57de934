package workflows

import (
	"errors"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// step returns what carries an action out; nil for those that only wait or end.
// A step returns an error only when the execution is canceled.
func (m *manager) step(do action) func(workflow.Context, next) error {
	switch do {
	case doRules:
		return m.readRules
	case doRead:
		return m.seek
	case doVerify:
		return m.verify
	case doAsk:
		return m.ask
	case doClock:
		return m.clock
	case doConfirm:
		return m.confirm
	case doDiscard, doReview, doStop:
		return m.act
	case doDiagnose:
		return m.diagnose
	case doRetry:
		return m.retry
	case doRelease:
		return m.release
	case doTellChains:
		return m.tellChains
	case doParents:
		return m.readParents
	case doReplace:
		return m.replace
	}
	return nil
}

// ask makes a state ask people.
func (m *manager) ask(ctx workflow.Context, n next) error {
	m.known.announce(workflow.Now(ctx).UTC(), n)
	return nil
}

// clock does what the clocks say.
func (m *manager) clock(ctx workflow.Context, _ next) error {
	m.known.strike(workflow.Now(ctx).UTC())
	return nil
}

// readRules reads what holds for the run, with gate and clocks where it asks
// for a decision.
func (m *manager) readRules(ctx workflow.Context, _ next) error {
	var a *activities.Activities
	s := m.situation(ctx)
	in := activities.ReadRulesInput{Run: s.Run, Labels: s.Labels}
	if s.ask != nil {
		in.PlanSince = s.ask.Since
	}
	var rules managed.Rules
	err := workflow.ExecuteLocalActivity(withQuickCall(ctx), a.ReadRules, in).Get(ctx, &rules)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	now := workflow.Now(ctx).UTC()
	if err != nil {
		if m.known.tries(doRules) == 0 {
			m.known.note(now, KindNote, "Gantry could not read what holds for the run: %s", because(err))
		}
		m.known.fails(now, doRules, failedFirst, failedLongest, "Gantry could not read what holds for the run: "+because(err))
		return nil
	}
	m.known.works(doRules)
	rules.Labels = s.Labels
	m.known.takeRules(now, rules, s.ask != nil)
	m.known.takeFollowers(now, rules.Followers)
	return nil
}

// seek reads the run to see what is so and who did it.
func (m *manager) seek(ctx workflow.Context, _ next) error {
	var a *activities.Activities
	var run spacelift.Run
	err := workflow.ExecuteLocalActivity(withQuickCall(ctx), a.ReadRun, m.known.Run).Get(ctx, &run)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	switch at := workflow.Now(ctx).UTC(); {
	case err == nil:
		m.known.compare(at, run)
	case notFound(err):
		m.known.missing(at)
	default:
		m.known.unanswered(at, because(err), final(err))
	}
	return nil
}

// call does one thing at Spacelift. Mostly it answers at once. When it does
// not, the wish is kept for as long as it makes sense: every event that comes
// in is heard, and if it changes the decision, Gantry stops asking. Then the
// error is a canceled one.
func (m *manager) call(ctx workflow.Context, n next, activity, in, out any) error {
	err := m.quickly(ctx, n, activity, in, out)
	if err == nil || final(err) || ctx.Err() != nil {
		return err
	}
	if m.objecting > 0 {
		return temporal.NewCanceledError()
	}
	m.known.note(workflow.Now(ctx).UTC(), KindNote, "Spacelift did not %s at once (%s); Gantry keeps asking", n.Do, because(err))
	return m.keepAsking(ctx, n, activity, in, out)
}

// quickly calls with little patience.
//
// What nobody decided is done within the workflow task: if that is lost, the mark
// of the act tells whose it was. What follows from somebody's decision is not: the
// task that accepted the decision must be in the history before Spacelift changes
// anything, or the person may be refused what took effect.
func (m *manager) quickly(ctx workflow.Context, n next, activity, in, out any) error {
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
func (m *manager) keepAsking(ctx workflow.Context, n next, activity, in, out any) error {
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
		if decide(m.situation(ctx)).Do != n.Do || workflow.GetInfo(ctx).GetContinueAsNewSuggested() {
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
func withCall(ctx workflow.Context, n next) workflow.Context {
	if n.Do == doDiagnose {
		return withPatientRead(ctx)
	}
	return withSpaceliftCall(ctx)
}

// diagnose finds out why the run failed.
func (m *manager) diagnose(ctx workflow.Context, n next) error {
	var a *activities.Activities
	var diagnosis activities.Diagnosis
	s := m.situation(ctx)
	err := m.call(ctx, n, a.DiagnoseFailure, activities.DiagnoseFailureInput{Run: s.Run, StateVersion: s.StateVersion, ReadLogs: s.Policy.ReadLogs.Value}, &diagnosis)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	now := workflow.Now(ctx).UTC()
	switch {
	case temporal.IsCanceledError(err):
	case err != nil:
		m.known.note(now, KindNote, "Gantry could not find out why the run failed: %s", because(err))
		m.known.failed(now, Failure{Cause: policy.CauseUnknown, ApplyBegan: true})
	case diagnosis.Run.State == spacelift.RunStateFailed:
		m.known.learn(now, diagnosis.Run)
		m.known.failed(now, Failure{
			Cause: diagnosis.Cause, Phase: diagnosis.Phase, ApplyBegan: diagnosis.ApplyBegan, Evidence: diagnosis.Evidence, Source: diagnosis.Source,
		})
	default: // the API is behind what it showed before, or the run was taken up again
		m.known.learn(now, diagnosis.Run)
		m.known.fails(now, doDiagnose, behindFirst, behindLongest, "the API shows the run in "+string(diagnosis.Run.State))
	}
	return nil
}

// retryWait is how long an execution waits for the run that tries again, to
// name it in its status. RetryRun goes on without it.
const retryWait = time.Minute

// retry starts RetryRun, which outlives this execution.
func (m *manager) retry(ctx workflow.Context, _ next) error {
	retry, s := m.known.Retry, m.known.facts()
	child := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID: RetryRunID(m.known.Run),
		// One that has ended made no run, or this execution had been told.
		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		ParentClosePolicy:     enums.PARENT_CLOSE_POLICY_ABANDON,
	}), RetryRunType, RetryRunInput{
		Run: s.Run, By: SourceGantry, Reason: retry.Reason, Attempt: retry.Attempt, TriggeredBy: s.Triggerers(), Chains: s.Released(),
	})
	err := child.GetChildWorkflowExecution().Get(ctx, nil)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	now := workflow.Now(ctx).UTC()
	if temporal.IsWorkflowExecutionAlreadyStartedError(err) {
		why := "somebody asked for a retry before, and Spacelift has not answered yet"
		if m.known.fails(now, doRetry, failedFirst, failedLongest, why) {
			m.known.note(now, KindNote, "Gantry does not retry the run yet: %s", why)
		}
		retry.At = m.known.Trouble.Until
		return nil
	}
	m.known.works(doRetry)
	if err != nil {
		retry.callOff("the retry could not be started: " + because(err))
		m.known.note(now, KindNote, "%s", retry.Reason)
		return nil
	}
	retry.start()
	m.known.note(now, KindAction, "Gantry retries the run: %s", retry.Reason)
	var answered bool
	err = m.atRest(func() (err error) {
		answered, err = workflow.AwaitWithTimeout(ctx, retryWait, child.IsReady)
		return errors.Join(err, ctx.Err())
	})
	if err != nil {
		return ctx.Err()
	}
	if !answered {
		return nil
	}
	var outcome RetryRunOutcome
	if err := child.Get(ctx, &outcome); err != nil {
		outcome.Reason = because(err)
	}
	now = workflow.Now(ctx).UTC()
	switch {
	case outcome.Reason == "":
		retry.made(outcome.New)
	case outcome.Block != nil && m.known.heldRetry(now, outcome.Reason):
	case retry.callOff(outcome.Reason):
		m.known.note(now, KindNote, "the run was not retried: %s", outcome.Reason)
	}
	return nil
}
