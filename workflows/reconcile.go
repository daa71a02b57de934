package workflows

import (
	"fmt"
	"slices"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/freeze"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/reconcile"
	"github.com/gantryhq/gantry/spacelift"
)

// Reconcile compares what Gantry follows with what Spacelift shows, once, and
// repairs the difference: notifications get lost, and Spacelift switches webhooks
// off. A schedule per account starts it; executions of one account never
// overlap, and each begins with the report of the one before.
//
// A failure ends this tick and shows in its report; the next tick is the retry.
// Reconcile returns an error only when it is canceled.
func Reconcile(ctx workflow.Context, in reconcile.Input) (reconcile.Report, error) {
	t := newTick(ctx, in)
	if !t.report.At.Before(t.last.Carried.NotBefore) {
		t.checkWebhook(ctx)
		t.compare(ctx)
		t.repair(ctx)
		t.checkParents(ctx)
	} else {
		t.skip()
	}
	if err := ctx.Err(); err != nil {
		return reconcile.Report{}, err
	}
	t.conclude()
	t.sendFindings(ctx)
	workflow.SetCurrentDetails(ctx, t.report.Details(pagesOf(ctx)))
	return t.report, nil
}

// tick is an execution of Reconcile at work.
type tick struct {
	in       reconcile.Input
	last     reconcile.Report // of the tick before; empty at first
	report   reconcile.Report
	found    reconcile.Findings
	gap      bool               // the webhook was off, so notifications of any run may be missing
	compared bool               // with Spacelift's list of runs
	repairs  []reconcile.Repair // to carry out
	size     int                // bytes of what was read of runs and is to be sent
	mute     []string           // executions that can't answer
	fresh    bool               // a repair took effect that a notification should have made
	final    bool               // waiting does not fix the failure
	log      log.Logger
}

func newTick(ctx workflow.Context, in reconcile.Input) *tick {
	t := &tick{in: in, log: log.With(workflow.GetLogger(ctx), "account", in.Account)}
	if workflow.HasLastCompletionResult(ctx) {
		if err := workflow.GetLastCompletionResult(ctx, &t.last); err != nil {
			t.log.Warn("the last report can't be read; Reconcile begins anew", "error", err)
			t.last = reconcile.Report{}
		}
	}
	t.found.Before = t.last.Findings
	t.report = reconcile.Report{
		Account: in.Account, At: workflow.Now(ctx).UTC(), Interval: in.Interval, Outcome: reconcile.OutcomeDone,
		Webhook: t.last.Webhook, Carried: t.last.Carried,
	}
	return t
}

// skip makes no calls to Spacelift, and keeps the findings.
func (t *tick) skip() {
	r := &t.report
	r.Outcome = reconcile.OutcomeBackingOff
	r.Reason = "Spacelift wants fewer calls; Gantry makes none until " + t.last.Carried.NotBefore.Format(time.RFC3339)
	r.InProgress, r.Open, r.Postponed = t.last.InProgress, t.last.Open, t.last.Postponed
	t.found.Now = t.last.Findings
}

// call makes one call, with one attempt: the next tick is the retry. It runs
// inside the workflow task, which costs one event instead of six.
func (t *tick) call(ctx workflow.Context, activity, in, out any) error {
	return workflow.ExecuteLocalActivity(withOneTry(ctx), activity, in).Get(ctx, out)
}

// limited reports whether Spacelift answered that it wants fewer calls. Then this
// tick makes no more.
func (t *tick) limited(ctx workflow.Context, err error) bool {
	app := appError(err)
	if app == nil || app.Type() != activities.ErrTypeRateLimited {
		return false
	}
	c := &t.report.Carried
	c.Limits++
	c.NotBefore = reconcile.BackOff(workflow.Now(ctx).UTC(), t.in.Interval, c.Limits, app.NextRetryDelay())
	t.report.Outcome = reconcile.OutcomeRateLimited
	t.report.Reason = "Spacelift wants fewer calls; Gantry makes none until " + c.NotBefore.Format(time.RFC3339)
	return true
}

// failed records that a call failed.
func (t *tick) failed(what string, err error) {
	t.report.Outcome, t.report.Reason = reconcile.OutcomeFailed, what+": "+because(err)
	t.final = t.final || final(err)
}

// webhookEvery counts the intervals between two reads of the webhook, as long as
// nothing suggests that it is switched off.
const webhookEvery = 5

// webhookDue reports whether it is time to read the webhook.
func (t *tick) webhookDue() bool {
	c := t.last.Carried
	calm := t.last.Webhook != nil && t.last.Webhook.Enabled && t.last.Webhook.ID == t.in.Webhook && c.Silent == 0 &&
		!slices.ContainsFunc(t.last.Findings, func(f reconcile.Finding) bool { return slices.Contains(reconcile.WebhookFindings, f.Kind) })
	return !calm || !t.report.At.Before(c.Watched.Add(webhookEvery*t.in.Interval-t.in.Interval/2))
}

// checkWebhook reads the webhook, and switches it on if it is off and Gantry may.
// It comes first, so that notifications arrive again from here on.
func (t *tick) checkWebhook(ctx workflow.Context) {
	if !t.webhookDue() {
		return
	}
	t.report.Carried.Watched = t.report.At
	var a *activities.Activities
	var hook activities.Webhook
	in := activities.WebhookInput{Account: t.in.Account, ID: t.in.Webhook}
	g := reconcile.WebhookCheck{State: reconcile.WebhookUnset}
	if in.ID != "" {
		err := t.call(ctx, a.ReadWebhook, in, &hook)
		t.report.APICalls++
		if t.limited(ctx, err) {
			t.found.Keep(reconcile.WebhookFindings...)
			return
		}
		g = checkOf(hook, err)
	}
	if t.gap = g.State == reconcile.WebhookDisabled; t.gap && t.in.Reenable {
		err := t.call(ctx, a.EnableWebhook, in, &hook)
		t.report.APICalls += max(1, hook.Calls)
		if err != nil {
			t.limited(ctx, err) // the finding below must not wait for the next tick
			g.Problem = because(err)
		}
		g.Switched = err == nil && hook.Enabled
	}
	switch g.State {
	case reconcile.WebhookEnabled, reconcile.WebhookDisabled:
		t.report.Webhook = &reconcile.WebhookStatus{ID: in.ID, Enabled: hook.Enabled}
	case reconcile.WebhookUnset, reconcile.WebhookMissing:
		t.report.Webhook = nil
	}
	if g.Switched {
		t.log.Error("Spacelift had switched the webhook off; Gantry switched it on again", "webhook", in.ID)
	}
	t.found.AddWebhook(&t.report.Carried, t.in, g, t.report.At)
}

// checkOf returns what a read of the webhook showed.
func checkOf(hook activities.Webhook, err error) reconcile.WebhookCheck {
	switch {
	case notFound(err):
		return reconcile.WebhookCheck{State: reconcile.WebhookMissing}
	case err != nil && final(err):
		return reconcile.WebhookCheck{State: reconcile.WebhookUnreadable, Problem: because(err)}
	case err != nil:
		return reconcile.WebhookCheck{State: reconcile.WebhookUnclear}
	case hook.Enabled:
		return reconcile.WebhookCheck{State: reconcile.WebhookEnabled}
	}
	return reconcile.WebhookCheck{State: reconcile.WebhookDisabled}
}

// compare finds the runs to repair.
func (t *tick) compare(ctx workflow.Context) {
	if t.report.Outcome != reconcile.OutcomeDone {
		t.found.Keep(reconcile.SurveyFindings...)
		return
	}
	c := &t.report.Carried
	if t.gap {
		c.Sweep = &reconcile.Sweep{}
	}
	s, ok := t.survey(ctx)
	if !ok {
		t.found.Keep(reconcile.SurveyFindings...)
		return
	}
	t.compared = true
	c.Missing = slices.DeleteFunc(c.Missing, func(m reconcile.MissingRun) bool { return !slices.Contains(s.Missing, m.Run) })
	checked := t.check(ctx, s.Candidates)
	c.Sweep = c.Sweep.Advance(s.SweptTo, s.SweptAll, s.OwedStill, checked)
	t.report.Postponed = s.Postponed + len(checked.Left) + len(checked.Failed)
	t.notifyBehind(ctx, s.Behind)
	t.found.AddStuck(s.Stuck.Count, s.Stuck.First, t.mute, t.report.At)
	t.found.AddVanished(c.Missing)
	switch {
	case t.report.Outcome != reconcile.OutcomeDone:
	case t.report.Postponed > 0:
		t.report.Outcome = reconcile.OutcomePartial
		t.report.Reason = fmt.Sprintf("%d runs wait for the next tick: one compares %d", t.report.Postponed, reconcile.MaxRunsPerTick)
	case s.Partial:
		t.report.Outcome = reconcile.OutcomePartial
		t.report.Reason = fmt.Sprintf("more is in progress than one tick lists: %d runs, %d executions", reconcile.MaxRunPages*50, reconcile.MaxExecutions)
	}
}

// survey compares the list of runs with the list of executions.
func (t *tick) survey(ctx workflow.Context) (s activities.Survey, ok bool) {
	var a *activities.Activities
	c := t.report.Carried
	in := activities.SurveyInput{
		Account: t.in.Account, At: t.report.At, Grace: reconcile.Grace(t.in.Interval),
		// An account's name holds no quote: see spacelift.ValidateAccount.
		Open:  fmt.Sprintf("WorkflowType = '%s' AND %s = '%s' AND ExecutionStatus = 'Running'", managed.ManageRunType, managed.AttrAccount, t.in.Account),
		Stuck: stuckQuery(t.in.Account), Index: indexed,
		Pages: reconcile.MaxRunPages, Executions: reconcile.MaxExecutions, Candidates: reconcile.MaxRunsPerTick, Unknown: reconcile.MaxRunsPerTick,
		Sweep: c.Sweep,
	}
	for _, m := range c.Missing {
		in.Missing = append(in.Missing, activities.MissingRun{Key: m.Run, Due: m.Due(t.report.At)})
	}
	if !c.RoomForMissing() {
		in.Unknown = 0
	}
	err := workflow.ExecuteLocalActivity(withSurvey(ctx), a.Survey, in).Get(ctx, &s)
	t.report.APICalls += max(1, s.Calls)
	if t.limited(ctx, err) {
		return s, false
	}
	if err != nil {
		t.failed("list runs in progress and executions", err)
		return s, false
	}
	t.report.InProgress, t.report.Open = s.InProgress, s.Open
	return s, true
}

// notifyBehind signals executions that wait by other freezes than those in effect
// to check their gate: no signal reached them when the freezes changed.
func (t *tick) notifyBehind(ctx workflow.Context, behind int) {
	if behind == 0 {
		return
	}
	var a *activities.Activities
	var result activities.SignalResult
	in := rulesChanged(t.in.Account)
	in.Behind = &activities.BehindInput{Account: t.in.Account, At: t.report.At, Fingerprint: managed.AttrFingerprint}
	if err := workflow.ExecuteActivity(summarized(withOneBroadcast(ctx), "Signal waiting runs that missed a change of the freezes"), a.SignalExecutions, in).Get(ctx, &result); err != nil {
		t.log.Warn("not every run that waits by outdated freezes was notified; the next tick notifies the others", "behind", behind, "error", because(err))
		return
	}
	t.report.Refreshed = result.Executions
}

// Labels are compared with the stacks that exist parentsFirst intervals after the
// first tick, and every parentsEvery after that.
const (
	parentsFirst = 5
	parentsEvery = 30 * time.Minute
)

// checkParents finds labels that name a stack which Gantry doesn't manage: the
// stacks that follow it are never triggered. It also finds labels that were probably
// meant for Gantry, and stacks whose labels promise more than Spacelift enforces.
func (t *tick) checkParents(ctx workflow.Context) {
	c := &t.report.Carried
	if c.CheckNext.IsZero() {
		c.CheckNext = t.report.At.Add(parentsFirst * t.in.Interval)
	}
	done := t.report.Outcome == reconcile.OutcomeDone || t.report.Outcome == reconcile.OutcomePartial
	if !done || t.report.At.Before(c.CheckNext) {
		t.found.Keep(reconcile.FindingUnknownParent, reconcile.FindingMisspeltLabel, reconcile.FindingNotEnforced)
		return
	}
	var a *activities.Activities
	var unknown activities.UnknownParents
	err := t.call(ctx, a.FindUnknownParents, activities.ParentsInput{Account: t.in.Account}, &unknown)
	t.report.APICalls++
	c.CheckNext = t.report.At.Add(parentsEvery)
	if t.limited(ctx, err) || err != nil {
		t.found.Keep(reconcile.FindingUnknownParent, reconcile.FindingMisspeltLabel, reconcile.FindingNotEnforced)
		return
	}
	if weak := unknown.Unenforced; weak.Count > 0 {
		t.found.Add(reconcile.FindingNotEnforced, t.report.At, reconcile.Counted(weak.Count, weak.First),
			"gantry setup --enforce makes Spacelift wait for Gantry's review; docs/how-to/enforcement.md says what else can be in the way")
	}
	if unknown.Count > 0 {
		t.found.Add(reconcile.FindingUnknownParent, t.report.At, reconcile.Counted(unknown.Count, unknown.First), unknown.Fix)
	}
	if wrong := unknown.Misspelt; wrong.Count > 0 {
		t.found.Add(reconcile.FindingMisspeltLabel, t.report.At, reconcile.Counted(wrong.Count, wrong.First), wrong.Fix)
	}
}

// indexed names the search attributes that Reconcile reads of executions.
var indexed = activities.Indexed{
	State: managed.AttrRunState, Phase: managed.AttrPhase, Fingerprint: managed.AttrFingerprint,
	Waiting: []string{string(managed.PhaseWaiting), string(managed.PhaseHolding)},
}

// stuckQuery finds the executions of an account whose workflow tasks keep
// failing: Temporal marks them after five failures in a row, and removes the mark
// after the next success. Freezes and retries are not indexed by account.
func stuckQuery(account spacelift.Account) string {
	return fmt.Sprintf("(%s = '%s' OR WorkflowId = '%s' OR WorkflowId STARTS_WITH 'retry/%s/') AND ExecutionStatus = 'Running' AND TemporalReportedProblems IS NOT NULL",
		managed.AttrAccount, account, freeze.ID(account), account)
}

// check checks runs one by one and collects repairs. A run that it fails on is a
// candidate of the next tick too; after some failures in a row this tick checks no
// more.
func (t *tick) check(ctx workflow.Context, now []reconcile.Candidate) (l reconcile.Progress) {
	failures := 0
	for _, next := range now {
		key := reconcile.KeyOf(next.Run)
		if t.report.Outcome == reconcile.OutcomeRateLimited || failures >= reconcile.MaxFailures || t.size >= reconcile.MaxRepairs || ctx.Err() != nil {
			l.Left = append(l.Left, key)
			continue
		}
		r, err := t.checkRun(ctx, next)
		if t.limited(ctx, err) {
			l.Left = append(l.Left, key)
			continue
		}
		if err != nil {
			failures++
			t.failed("check run "+next.Run.String(), err)
			l.Failed = append(l.Failed, key)
			continue
		}
		failures = 0
		if next.Swept {
			l.Swept = append(l.Swept, key)
		}
		if r.Do != reconcile.Nothing {
			t.size += decide.SizeOf(r.Events)
			t.repairs = append(t.repairs, r)
		}
	}
	return l
}

// checkRun compares one run with what its execution knows.
func (t *tick) checkRun(ctx workflow.Context, c reconcile.Candidate) (r reconcile.Repair, err error) {
	var a *activities.Activities
	var k reconcile.Knowledge
	id := managed.ManageRunID(c.Run)
	if err := t.call(ctx, a.AskExecution, activities.QueryInput{ID: id, Query: managed.StatusQuery}, &k); err != nil {
		return r, err
	}
	if k.Mute != "" {
		t.log.Warn("an execution can't answer", "run", c.Run.String(), "error", k.Mute)
		t.mute = append(t.mute, id)
		return reconcile.Repair{Run: c.Run}, nil
	}
	if !c.WorthReading(k) {
		return reconcile.Repair{Run: c.Run}, nil
	}
	var run spacelift.Run
	err = t.call(ctx, a.ReadRun, c.Run, &run)
	t.report.APICalls++
	if notFound(err) {
		return t.missing(c.Run, k), nil
	}
	if err != nil {
		return r, err
	}
	t.size += decide.SizeOf(run)
	t.report.Carried.Forget(c.Run)
	return reconcile.RepairOf(k, run, workflow.Now(ctx).UTC(), t.in.Interval, t.last.At), nil
}

// missing records that Spacelift does not know a run.
func (t *tick) missing(run spacelift.RunRef, k reconcile.Knowledge) reconcile.Repair {
	if !k.Exists || k.Ended() {
		return reconcile.Repair{Run: run}
	}
	m := t.report.Carried.TakeMissing(run, k.Shown())
	if m == nil || !m.Missed(t.report.At, t.in.Interval) {
		return reconcile.Repair{Run: run}
	}
	t.report.Carried.Forget(run)
	return reconcile.Repair{Run: run, Do: reconcile.GiveUp, Reason: managed.ReasonUnknown, Ends: true}
}

// repair starts and signals executions, all at the same time, and counts what took
// effect. An execution that has ended in the meantime needs nothing.
func (t *tick) repair(ctx workflow.Context) {
	// Repairs that have begun are finished, even when the tick is canceled.
	ctx, stop := workflow.NewDisconnectedContext(ctx)
	defer stop()
	signal := func(r reconcile.Repair) workflow.Future {
		return signalRun(ctx, r.Run, managed.RunEvents{Events: r.Events, Denied: r.Denied, GiveUp: r.Reason})
	}
	results := make([]workflow.Future, len(t.repairs))
	for i, r := range t.repairs {
		in := managed.ManageRunInput{Run: r.Run, Events: r.Events, Reopened: r.Do == reconcile.Reopen}
		switch r.Do {
		case reconcile.Adopt:
			results[i] = startRun(ctx, in, enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE)
		case reconcile.Reopen:
			results[i] = startRun(ctx, in, enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE)
		default:
			results[i] = signal(r)
		}
	}
	for i, r := range t.repairs {
		err := results[i].Get(ctx, nil)
		if r.Do != reconcile.Notify && temporal.IsWorkflowExecutionAlreadyStartedError(err) {
			err = signal(r).Get(ctx, nil) // its first notification was faster
			r.Do = reconcile.Notify
		}
		if err != nil {
			t.log.Info("the execution no longer needs the repair", "run", r.Run.String(), "repair", r.Do, "error", err)
			continue
		}
		t.count(r)
	}
}

func (t *tick) count(r reconcile.Repair) {
	t.fresh = t.fresh || r.Fresh
	switch {
	case r.Do == reconcile.Adopt, r.Do == reconcile.Reopen:
		t.report.Adopted++
	case r.Ends:
		t.report.Finished++
	default:
		t.report.Repaired++
	}
	t.log.Info("repaired", "run", r.Run.String(), "repair", r.Do, "events", len(r.Events), "ended", r.Ends)
}

// conclude reports the findings and the repairs.
func (t *tick) conclude() {
	r, c := &t.report, &t.report.Carried
	if r.Outcome == reconcile.OutcomeBackingOff {
		r.Findings = t.found.Now
		return
	}
	if r.Outcome != reconcile.OutcomeRateLimited {
		c.Limits, c.NotBefore = 0, time.Time{}
	}
	if t.compared {
		t.found.AddSilence(c, t.fresh, r.InProgress, r.At)
	} else {
		t.found.Keep(reconcile.FindingSilence)
	}
	t.found.AddFailure(c, r, t.final)
	r.Findings = t.found.Now
	for _, f := range t.found.Fresh() {
		t.log.Error("guardian: "+f.Summary, "kind", f.Kind, "fix", f.Fix)
	}
	if r.Outcome == reconcile.OutcomeFailed || r.Outcome == reconcile.OutcomeRateLimited {
		t.log.Warn("reconcile did not finish", "outcome", r.Outcome, "reason", r.Reason)
	}
	if r.Adopted+r.Repaired+r.Finished > 0 {
		t.log.Info("reconciled", "adopted", r.Adopted, "repaired", r.Repaired, "finished", r.Finished, "postponed", r.Postponed, "apiCalls", r.APICalls)
	}
}
