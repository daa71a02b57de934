package workflows

import (
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// step returns the function that carries out an action; nil if there is nothing
// to do but wait or end, or no room in the history for more. A step returns an
// error only when the execution is canceled.
func (m *manager) step(ctx workflow.Context, n managed.Next) func(workflow.Context, managed.Next) error {
	if m.fullHistory(ctx) {
		return nil
	}
	switch n.Do {
	case managed.DoRules:
		return m.readRules
	case managed.DoRead:
		return m.readRun
	case managed.DoVerify:
		return m.verify
	case managed.DoAsk:
		return m.announce
	case managed.DoClock:
		return m.fireDeadlines
	case managed.DoConfirm:
		return m.confirm
	case managed.DoDiscard, managed.DoReview, managed.DoStop:
		return m.act
	case managed.DoDiagnose:
		return m.diagnose
	case managed.DoRetry:
		return m.retry
	case managed.DoRelease:
		return m.release
	case managed.DoNotifyChains:
		return m.notifyChains
	case managed.DoSignalWaiting:
		return m.signalWaiting
	case managed.DoParents:
		return m.readParents
	case managed.DoReplace:
		return m.replace
	}
	return nil
}

// announce asks people for a decision.
func (m *manager) announce(ctx workflow.Context, n managed.Next) error {
	m.known.Announce(workflow.Now(ctx).UTC(), n)
	return nil
}

// fireDeadlines does what is due: it reminds, escalates or gives up.
func (m *manager) fireDeadlines(ctx workflow.Context, _ managed.Next) error {
	m.known.FireDeadlines(workflow.Now(ctx).UTC())
	return nil
}

// readRules reads the rules in effect for the run, with gate and deadlines if the
// run asks for a decision.
func (m *manager) readRules(ctx workflow.Context, n managed.Next) error {
	var a *activities.Activities
	s := m.situation(ctx)
	in := activities.ReadRulesInput{Run: s.Run, Labels: s.Labels}
	if s.Ask != nil {
		in.PlanSince = s.Ask.Since
		in.Plan, in.Listed = s.Plan()
	} else {
		in.GateAt = s.Unjudged()
	}
	var rules managed.Rules
	err := workflow.ExecuteLocalActivity(summarized(withQuickCall(ctx), n.Reason), a.ReadRules, in).Get(ctx, &rules)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	now := workflow.Now(ctx).UTC()
	if err != nil {
		m.known.Failed(now, managed.DoRules, "Gantry could not read the rules in effect: "+because(err))
		return nil
	}
	rules.Labels = s.Labels
	before := m.known.Bypass
	m.known.TakeRules(now, rules, s.Ask != nil)
	if b := m.known.Bypass; b != nil && b != before {
		err = workflow.ExecuteLocalActivity(withQuickCall(ctx), a.ReportBypass, activities.ReportBypassInput{Run: s.Run, Bypass: *b}).Get(ctx, nil)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			m.log.Warn("a bypass was not counted", "error", because(err))
		}
	}
	return nil
}

// readRun reads the run to see what is true and who did it.
func (m *manager) readRun(ctx workflow.Context, n managed.Next) error {
	read := func() (spacelift.Run, error) { return fetchRun(ctx, m.known.Run, n.Reason) }
	if m.known.ClaimsEnd() {
		read = func() (spacelift.Run, error) { return m.readEnd(ctx, n.Reason) }
	}
	run, err := read()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	switch at := workflow.Now(ctx).UTC(); {
	case err == nil:
		m.known.Compare(at, run)
	case notFound(err):
		m.known.Missing(at)
	default:
		m.known.Unanswered(at, because(err), final(err))
	}
	return nil
}

// diagnose finds the cause of the run's failure.
func (m *manager) diagnose(ctx workflow.Context, n managed.Next) error {
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
		m.known.Note(now, managed.KindNote, "Gantry could not find out why the run failed: %s", because(err))
		m.known.TakeDiagnosis(now, managed.Failure{Cause: policy.CauseUnknown, ApplyBegan: true})
	case diagnosis.Run.State == spacelift.RunStateFailed:
		m.known.Learn(now, diagnosis.Run)
		m.known.TakeDiagnosis(now, diagnosis.Failure)
	default: // the API is behind what it showed before, or the run has resumed
		m.known.Learn(now, diagnosis.Run)
		m.known.Failed(now, managed.DoDiagnose, "the API shows the run in "+string(diagnosis.Run.State))
	}
	return nil
}

// retryWait bounds the wait for the new run, which the status names. RetryRun
// continues without it.
const retryWait = time.Minute

// retry starts RetryRun, which outlives this execution.
func (m *manager) retry(ctx workflow.Context, _ managed.Next) error {
	retry, s := m.known.Retry, m.known.Facts()
	in := managed.RetryRunInput{
		Run: s.Run, By: managed.SourceGantry, Reason: retry.Reason, Attempt: retry.Attempt, TriggeredBy: s.Triggerers(), Chains: s.Released(),
		Judged: new(m.situation(ctx).Judged()),
	}
	opening := in.Opening(pagesOf(ctx))
	child := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID: managed.RetryRunID(m.known.Run),
		// One that has ended made no run, or it signaled this execution.
		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		ParentClosePolicy:     enums.PARENT_CLOSE_POLICY_ABANDON,
		StaticSummary:         opening.Summary,
		StaticDetails:         opening.Details,
	}), managed.RetryRunType, in)
	err := child.GetChildWorkflowExecution().Get(ctx, nil)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	now := workflow.Now(ctx).UTC()
	if temporal.IsWorkflowExecutionAlreadyStartedError(err) {
		m.known.RetryWaits(now)
		return nil
	}
	if err != nil {
		m.known.RetryStarts(now, because(err))
		return nil
	}
	m.known.RetryStarts(now, "")
	if answered, err := m.awaitFor(ctx, retryWait, "Time for the retry to make a run", child.IsReady); err != nil || !answered {
		return err
	}
	var outcome managed.RetryRunOutcome
	if err := child.Get(ctx, &outcome); err != nil {
		outcome.Reason = because(err)
	}
	m.known.RetryEnds(workflow.Now(ctx).UTC(), outcome)
	return nil
}
