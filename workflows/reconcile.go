package workflows

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/freeze"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/reconcile"
	"github.com/gantryhq/gantry/spacelift"
)

// Reconcile compares what Gantry follows with what Spacelift shows, once, and
// mends the difference: notifications get lost, and Spacelift switches webhooks
// off. A schedule per account starts it; executions of one account never
// overlap, and each begins with the report of the one before.
//
// Whatever fails ends this tick and is for the next; the report says so. It
// returns an error only when it is canceled.
func Reconcile(ctx workflow.Context, in reconcile.Input) (reconcile.Report, error) {
	t := newTick(ctx, in)
	if !t.report.At.Before(t.last.Carried.NotBefore) {
		t.watch(ctx)
		t.compare(ctx)
		t.carryOut(ctx)
		t.checkParents(ctx)
	} else {
		t.skip()
	}
	if err := ctx.Err(); err != nil {
		return reconcile.Report{}, err
	}
	t.conclude()
	t.tell(ctx)
	return t.report, nil
}

// tick is an execution of Reconcile at work.
type tick struct {
	in       reconcile.Input
	last     reconcile.Report // of the tick before; empty at first
	report   reconcile.Report
	found    reconcile.Found
	gap      bool               // the webhook was off, so any run may have gone on untold
	compared bool               // with Spacelift's list of runs
	repairs  []reconcile.Repair // to carry out
	size     int                // bytes of what was read of runs and is to be sent
	mute     []string           // executions that can't say what they know
	fresh    bool               // one that took effect should have been a notification's
	final    bool               // waiting does not mend the failure
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

// skip leaves Spacelift alone. What was found stays found.
func (t *tick) skip() {
	r := &t.report
	r.Outcome = reconcile.OutcomeBackingOff
	r.Reason = "Spacelift wants fewer calls; it is left alone until " + t.last.Carried.NotBefore.Format(time.RFC3339)
	r.InProgress, r.Open, r.Postponed = t.last.InProgress, t.last.Open, t.last.Postponed
	t.found.Now = t.last.Findings
}

// call makes one call outside, once: the next tick is the retry. It runs inside
// the workflow task, which costs one event instead of six.
func (t *tick) call(ctx workflow.Context, activity, in, out any) error {
	return workflow.ExecuteLocalActivity(withOneTry(ctx), activity, in).Get(ctx, out)
}

// limited notes that Spacelift wants fewer calls, if that is what the error
// says: then this tick makes no more.
func (t *tick) limited(ctx workflow.Context, err error) bool {
	app, ok := errors.AsType[*temporal.ApplicationError](err)
	if !ok || app.Type() != activities.ErrTypeRateLimited {
		return false
	}
	c := &t.report.Carried
	c.Limits++
	c.NotBefore = reconcile.BackOff(workflow.Now(ctx).UTC(), t.in.Interval, c.Limits, app.NextRetryDelay())
	t.report.Outcome = reconcile.OutcomeRateLimited
	t.report.Reason = "Spacelift wants fewer calls; it is left alone until " + c.NotBefore.Format(time.RFC3339)
	return true
}

// failed notes that a call did not work out.
func (t *tick) failed(what string, err error) {
	t.report.Outcome, t.report.Reason = reconcile.OutcomeFailed, what+": "+because(err)
	t.final = t.final || final(err)
}

// watchEvery is how many intervals pass before the webhook is read again, as
// long as nothing suggests that it is switched off.
const watchEvery = 5

// watchDue reports whether it is time to read the webhook.
func (t *tick) watchDue() bool {
	c := t.last.Carried
	calm := t.last.Webhook != nil && t.last.Webhook.Enabled && t.last.Webhook.ID == t.in.Webhook && c.Unheard == 0 &&
		!slices.ContainsFunc(t.last.Findings, func(f reconcile.Finding) bool { return slices.Contains(reconcile.WebhookFindings, f.Kind) })
	return !calm || !t.report.At.Before(c.Watched.Add(watchEvery*t.in.Interval-t.in.Interval/2))
}

// watch looks at the webhook, and switches it on if it must be and may be. It
// comes first, so that what happens from here on is told again.
func (t *tick) watch(ctx workflow.Context) {
	if !t.watchDue() {
		return
	}
	t.report.Carried.Watched = t.report.At
	var a *activities.Activities
	var hook activities.Webhook
	in := activities.WebhookInput{Account: t.in.Account, ID: t.in.Webhook}
	g := reconcile.Guard{Saw: reconcile.SightNone}
	if in.ID != "" {
		err := t.call(ctx, a.ReadWebhook, in, &hook)
		t.report.APICalls++
		if t.limited(ctx, err) {
			t.found.Keep(reconcile.WebhookFindings...)
			return
		}
		g = see(hook, err)
	}
	if t.gap = g.Saw == reconcile.SightDisabled; t.gap && t.in.Reenable {
		err := t.call(ctx, a.EnableWebhook, in, &hook)
		t.report.APICalls += max(1, hook.Calls)
		if err != nil {
			t.limited(ctx, err) // the finding below must not wait for the next tick
			g.Problem = because(err)
		}
		g.Switched = err == nil && hook.Enabled
	}
	switch g.Saw {
	case reconcile.SightEnabled, reconcile.SightDisabled:
		t.report.Webhook = &reconcile.WebhookStatus{ID: in.ID, Enabled: hook.Enabled}
	case reconcile.SightNone, reconcile.SightMissing:
		t.report.Webhook = nil
	}
	if g.Switched {
		t.log.Error("Spacelift had switched the webhook off; Gantry switched it on again", "webhook", in.ID)
	}
	reconcile.JudgeWebhook(&t.found, &t.report.Carried, t.in, g, t.report.At)
}

func see(hook activities.Webhook, err error) reconcile.Guard {
	app, _ := errors.AsType[*temporal.ApplicationError](err)
	switch {
	case app != nil && app.Type() == activities.ErrTypeNotFound:
		return reconcile.Guard{Saw: reconcile.SightMissing}
	case err != nil && final(err):
		return reconcile.Guard{Saw: reconcile.SightRefused, Problem: because(err)}
	case err != nil:
		return reconcile.Guard{Saw: reconcile.SightUnclear}
	case hook.Enabled:
		return reconcile.Guard{Saw: reconcile.SightEnabled}
	}
	return reconcile.Guard{Saw: reconcile.SightDisabled}
}

// compare finds what to mend.
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
	c.Missing = slices.DeleteFunc(c.Missing, func(m reconcile.MissingRun) bool { return !slices.Contains(s.Missing, string(m.Run)) })
	looked := t.lookAt(ctx, s.Candidates)
	c.Sweep = c.Sweep.Advance(s.SweptTo, s.SweptAll, s.OwedStill, looked)
	t.report.Postponed = s.Postponed + len(looked.Rest) + len(looked.Failed)
	t.notifyBehind(ctx, s.Behind)
	reconcile.JudgeStuck(&t.found, s.Stuck.Count, s.Stuck.First, t.mute, t.report.At)
	reconcile.JudgeVanished(&t.found, c.Missing)
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

// survey compares the lists.
func (t *tick) survey(ctx workflow.Context) (s activities.Survey, ok bool) {
	var a *activities.Activities
	c := t.report.Carried
	in := activities.SurveyInput{
		Account: t.in.Account, At: t.report.At, Grace: reconcile.Grace(t.in.Interval),
		// An account's name holds no quote: see spacelift.ValidateAccount.
		Open:  fmt.Sprintf("WorkflowType = '%s' AND %s = '%s' AND ExecutionStatus = 'Running'", managed.ManageRunType, managed.AttrAccount, t.in.Account),
		Stuck: stuckQuery(t.in.Account), Index: indexed,
		Pages: reconcile.MaxRunPages, Executions: reconcile.MaxExecutions, Candidates: reconcile.MaxRunsPerTick, Unknown: reconcile.MaxRunsPerTick,
	}
	for _, m := range c.Missing {
		in.Missing = append(in.Missing, activities.MissingRun{Key: string(m.Run), Due: m.Due(t.report.At)})
	}
	if !c.RoomForMissing() {
		in.Unknown = 0
	}
	if c.Sweep != nil {
		in.Sweep = &activities.Sweep{After: string(c.Sweep.After)}
		for _, k := range c.Sweep.Owed {
			in.Sweep.Owed = append(in.Sweep.Owed, string(k))
		}
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

// notifyBehind makes executions look at their gate that wait by other freezes
// than those in effect: nobody reached them when that changed.
func (t *tick) notifyBehind(ctx workflow.Context, behind int) {
	if behind == 0 {
		return
	}
	var a *activities.Activities
	var told activities.Told
	in := notifyOfRules(t.in.Account)
	in.Behind = &activities.BehindInput{Account: t.in.Account, At: t.report.At, Fingerprint: managed.AttrFingerprint}
	if err := workflow.ExecuteActivity(withTellingOnce(ctx), a.TellOfRules, in).Get(ctx, &told); err != nil {
		t.log.Warn("runs that wait by freezes of before were not all notified; the next tick goes on", "behind", behind, "error", because(err))
		return
	}
	t.report.Refreshed = told.Executions
}

// firstCheck is how many intervals after the first tick labels are compared with
// the stacks there are, and checkEvery how often.
const (
	firstCheck = 5
	checkEvery = 30 * time.Minute
)

// checkParents finds labels that name a stack which nobody manages: what follows
// it is never triggered.
func (t *tick) checkParents(ctx workflow.Context) {
	c := &t.report.Carried
	if c.CheckNext.IsZero() {
		c.CheckNext = t.report.At.Add(firstCheck * t.in.Interval)
	}
	done := t.report.Outcome == reconcile.OutcomeDone || t.report.Outcome == reconcile.OutcomePartial
	if !done || t.report.At.Before(c.CheckNext) {
		t.found.Keep(reconcile.FindingUnknownParent)
		return
	}
	var a *activities.Activities
	var unknown activities.UnknownParents
	err := t.call(ctx, a.FindUnknownParents, activities.ParentsInput{Account: t.in.Account}, &unknown)
	t.report.APICalls++
	c.CheckNext = t.report.At.Add(checkEvery)
	if t.limited(ctx, err) || err != nil {
		t.found.Keep(reconcile.FindingUnknownParent)
		return
	}
	if unknown.Count > 0 {
		t.found.Add(reconcile.FindingUnknownParent, t.report.At, reconcile.Counted(unknown.Count, unknown.First), unknown.Fix)
	}
}

// indexed says where Reconcile finds what an execution is indexed with.
var indexed = activities.Indexed{
	State: managed.AttrRunState, Phase: managed.AttrPhase, Fingerprint: managed.AttrFingerprint,
	Waiting: []string{string(managed.PhaseWaiting), string(managed.PhaseHolding)},
}

// stuckQuery finds the executions of an account whose workflow tasks keep
// failing: Temporal marks them after five failures in a row, and takes the mark
// away after the next success. Freezes and retries are not indexed by account.
func stuckQuery(account spacelift.Account) string {
	return fmt.Sprintf("(%s = '%s' OR WorkflowId = '%s' OR WorkflowId STARTS_WITH 'retry/%s/') AND ExecutionStatus = 'Running' AND TemporalReportedProblems IS NOT NULL",
		managed.AttrAccount, account, freeze.ID(account), account)
}

// lookAt looks at runs one by one and collects what to mend. What fails is a
// candidate of the next tick as well; after some failures in a row this tick
// looks no further.
func (t *tick) lookAt(ctx workflow.Context, now []activities.Candidate) (l reconcile.Looks) {
	failures := 0
	for _, next := range now {
		key := reconcile.KeyOf(next.Run)
		if t.report.Outcome == reconcile.OutcomeRateLimited || failures >= reconcile.MaxFailures || t.size >= reconcile.MaxRepairs || ctx.Err() != nil {
			l.Rest = append(l.Rest, key)
			continue
		}
		r, err := t.look(ctx, reconcile.Candidate(next))
		if t.limited(ctx, err) {
			l.Rest = append(l.Rest, key)
			continue
		}
		if err != nil {
			failures++
			t.failed("look at run "+next.Run.String(), err)
			l.Failed = append(l.Failed, key)
			continue
		}
		failures = 0
		if next.Swept {
			l.Swept = append(l.Swept, key)
		}
		if r.Do != reconcile.Nothing {
			t.size += managed.SizeOf(r.Events)
			t.repairs = append(t.repairs, r)
		}
	}
	return l
}

// look compares one run with what its execution knows.
func (t *tick) look(ctx workflow.Context, c reconcile.Candidate) (r reconcile.Repair, err error) {
	var a *activities.Activities
	var told reconcile.Known
	id := managed.ManageRunID(c.Run)
	if err := t.call(ctx, a.AskExecution, activities.QueryInput{ID: id, Query: managed.StatusQuery}, &told); err != nil {
		return r, err
	}
	if told.Mute != "" {
		t.log.Warn("an execution can't say what it knows", "run", c.Run.String(), "error", told.Mute)
		t.mute = append(t.mute, id)
		return reconcile.Repair{Run: c.Run}, nil
	}
	k := reconcile.KnowledgeOf(told)
	if !reconcile.WorthReading(c, k) {
		return reconcile.Repair{Run: c.Run}, nil
	}
	var run spacelift.Run
	err = t.call(ctx, a.ReadRun, c.Run, &run)
	t.report.APICalls++
	if app, _ := errors.AsType[*temporal.ApplicationError](err); app != nil && app.Type() == activities.ErrTypeNotFound {
		return t.missing(c.Run, k), nil
	}
	if err != nil {
		return r, err
	}
	t.size += managed.SizeOf(run)
	t.report.Carried.Forget(c.Run)
	return reconcile.RepairOf(k, run, workflow.Now(ctx).UTC(), t.in.Interval, t.last.At), nil
}

// missing notes that Spacelift does not know a run.
func (t *tick) missing(run spacelift.RunRef, k reconcile.Knowledge) reconcile.Repair {
	if !k.Exists || k.Ended {
		return reconcile.Repair{Run: run}
	}
	m := t.report.Carried.TakeMissing(run, k.Shown())
	if m == nil || !m.Missed(t.report.At, t.in.Interval) {
		return reconcile.Repair{Run: run}
	}
	t.report.Carried.Forget(run)
	return reconcile.Repair{Run: run, Do: reconcile.GiveUp, Reason: managed.ReasonUnknown, Ends: true}
}

// carryOut starts and tells executions, all at once, and counts what took
// effect. An execution that has ended in the meantime needs nothing.
func (t *tick) carryOut(ctx workflow.Context) {
	// Once begun it is brought to its end, whoever cancels.
	ctx, stop := workflow.NewDisconnectedContext(ctx)
	defer stop()
	tell := func(r reconcile.Repair) workflow.Future {
		return workflow.SignalExternalWorkflow(ctx, managed.ManageRunID(r.Run), "", managed.RunEventsSignal, managed.RunEvents{Events: r.Events, Denied: r.Denied, GiveUp: r.Reason})
	}
	results := make([]workflow.Future, len(t.repairs))
	for i, r := range t.repairs {
		reuse := enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
		switch r.Do {
		case reconcile.Adopt:
		case reconcile.Reopen:
			reuse = enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE
		default:
			results[i] = tell(r)
			continue
		}
		child := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
			WorkflowID:            managed.ManageRunID(r.Run),
			ParentClosePolicy:     enums.PARENT_CLOSE_POLICY_ABANDON,
			WorkflowIDReusePolicy: reuse,
			TypedSearchAttributes: Typed(managed.StartAttributes(r.Run, r.Events)),
		}), managed.ManageRunType, managed.ManageRunInput{Run: r.Run, Events: r.Events, Reopened: r.Do == reconcile.Reopen})
		results[i] = child.GetChildWorkflowExecution()
	}
	for i, r := range t.repairs {
		err := results[i].Get(ctx, nil)
		if r.Do != reconcile.Notify && temporal.IsWorkflowExecutionAlreadyStartedError(err) {
			err = tell(r).Get(ctx, nil) // its first notification was faster
			r.Do = reconcile.Notify
		}
		if err != nil {
			t.log.Info("the execution needs nothing any more", "run", r.Run.String(), "repair", r.Do, "error", err)
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

// conclude says what was found and done.
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
		reconcile.JudgeSilence(&t.found, c, t.fresh, r.InProgress, r.At)
	} else {
		t.found.Keep(reconcile.FindingSilence)
	}
	reconcile.JudgeFailure(&t.found, c, r, t.final)
	r.Findings = t.found.Now
	for _, f := range t.found.Fresh() {
		t.log.Error("guardian: "+f.Summary, "kind", f.Kind, "fix", f.Fix)
	}
	if r.Outcome == reconcile.OutcomeFailed || r.Outcome == reconcile.OutcomeRateLimited {
		t.log.Warn("reconcile did not get through", "outcome", r.Outcome, "reason", r.Reason)
	}
	if r.Adopted+r.Repaired+r.Finished > 0 {
		t.log.Info("reconciled", "adopted", r.Adopted, "repaired", r.Repaired, "finished", r.Finished, "postponed", r.Postponed, "apiCalls", r.APICalls)
	}
}
