package workflows

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// Reconcile compares what Gantry follows with what Spacelift shows, once, and
// mends the difference: notifications get lost, and Spacelift switches webhooks
// off. A schedule per account starts it; executions of one account never
// overlap, and each begins with the report of the one before.
//
// Whatever fails ends this tick and is for the next; the report says so. It
// returns an error only when it is canceled.
func Reconcile(ctx workflow.Context, in ReconcileInput) (ReconcileReport, error) {
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
		return ReconcileReport{}, err
	}
	t.conclude()
	t.tell(ctx)
	return t.report, nil
}

// tick is an execution of Reconcile at work.
type tick struct {
	in       ReconcileInput
	last     ReconcileReport // of the tick before; empty at first
	report   ReconcileReport
	found    found
	gap      bool     // the webhook was off, so any run may have gone on untold
	compared bool     // with Spacelift's list of runs
	repairs  []repair // to carry out
	size     int      // bytes of what was read of runs and is to be sent
	mute     []string // executions that can't say what they know
	fresh    bool     // one that took effect should have been a notification's
	final    bool     // waiting does not mend the failure
	log      log.Logger
}

func newTick(ctx workflow.Context, in ReconcileInput) *tick {
	t := &tick{in: in, log: log.With(workflow.GetLogger(ctx), "account", in.Account)}
	if workflow.HasLastCompletionResult(ctx) {
		if err := workflow.GetLastCompletionResult(ctx, &t.last); err != nil {
			t.log.Warn("the last report can't be read; Reconcile begins anew", "error", err)
			t.last = ReconcileReport{}
		}
	}
	t.found.before = t.last.Findings
	t.report = ReconcileReport{
		Account: in.Account, At: workflow.Now(ctx).UTC(), Interval: in.Interval, Outcome: ReconcileDone,
		Webhook: t.last.Webhook, Carried: t.last.Carried,
	}
	return t
}

// skip leaves Spacelift alone. What was found stays found.
func (t *tick) skip() {
	r := &t.report
	r.Outcome = ReconcileBackingOff
	r.Reason = "Spacelift wants fewer calls; it is left alone until " + t.last.Carried.NotBefore.Format(time.RFC3339)
	r.InProgress, r.Open, r.Postponed = t.last.InProgress, t.last.Open, t.last.Postponed
	t.found.now = t.last.Findings
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
	c.NotBefore = backOff(workflow.Now(ctx).UTC(), t.in.Interval, c.Limits, app.NextRetryDelay())
	t.report.Outcome = ReconcileRateLimited
	t.report.Reason = "Spacelift wants fewer calls; it is left alone until " + c.NotBefore.Format(time.RFC3339)
	return true
}

// failed notes that a call did not work out.
func (t *tick) failed(what string, err error) {
	t.report.Outcome, t.report.Reason = ReconcileFailed, what+": "+because(err)
	t.final = t.final || final(err)
}

// watchEvery is how many intervals pass before the webhook is read again, as
// long as nothing suggests that it is switched off.
const watchEvery = 5

// watchDue reports whether it is time to read the webhook.
func (t *tick) watchDue() bool {
	c := t.last.Carried
	calm := t.last.Webhook != nil && t.last.Webhook.Enabled && t.last.Webhook.ID == t.in.Webhook && c.Unheard == 0 &&
		!slices.ContainsFunc(t.last.Findings, func(f Finding) bool { return slices.Contains(webhookFindings, f.Kind) })
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
	g := guard{saw: sightNone}
	if in.ID != "" {
		err := t.call(ctx, a.ReadWebhook, in, &hook)
		t.report.APICalls++
		if t.limited(ctx, err) {
			t.found.keep(webhookFindings...)
			return
		}
		g = see(hook, err)
	}
	if t.gap = g.saw == sightDisabled; t.gap && t.in.Reenable {
		err := t.call(ctx, a.EnableWebhook, in, &hook)
		t.report.APICalls += max(1, hook.Calls)
		if err != nil {
			t.limited(ctx, err) // the finding below must not wait for the next tick
			g.problem = because(err)
		}
		g.switched = err == nil && hook.Enabled
	}
	switch g.saw {
	case sightEnabled, sightDisabled:
		t.report.Webhook = &WebhookStatus{ID: in.ID, Enabled: hook.Enabled}
	case sightNone, sightMissing:
		t.report.Webhook = nil
	}
	if g.switched {
		t.log.Error("Spacelift had switched the webhook off; Gantry switched it on again", "webhook", in.ID)
	}
	judgeWebhook(&t.found, &t.report.Carried, t.in, g, t.report.At)
}

func see(hook activities.Webhook, err error) guard {
	app, _ := errors.AsType[*temporal.ApplicationError](err)
	switch {
	case app != nil && app.Type() == activities.ErrTypeNotFound:
		return guard{saw: sightMissing}
	case err != nil && final(err):
		return guard{saw: sightRefused, problem: because(err)}
	case err != nil:
		return guard{saw: sightUnclear}
	case hook.Enabled:
		return guard{saw: sightEnabled}
	}
	return guard{saw: sightDisabled}
}

// compare finds what to mend.
func (t *tick) compare(ctx workflow.Context) {
	if t.report.Outcome != ReconcileDone {
		t.found.keep(surveyFindings...)
		return
	}
	c := &t.report.Carried
	if t.gap {
		c.Sweep = &sweep{}
	}
	s, ok := t.survey(ctx)
	if !ok {
		t.found.keep(surveyFindings...)
		return
	}
	t.compared = true
	c.Missing = slices.DeleteFunc(c.Missing, func(m missingRun) bool { return !slices.Contains(s.Missing, string(m.Run)) })
	looked := t.lookAt(ctx, s.Candidates)
	c.Sweep = c.Sweep.advance(s.SweptTo, s.SweptAll, s.OwedStill, looked)
	t.report.Postponed = s.Postponed + len(looked.rest) + len(looked.failed)
	t.notifyBehind(ctx, s.Behind)
	judgeStuck(&t.found, s.Stuck.Count, s.Stuck.First, t.mute, t.report.At)
	judgeVanished(&t.found, c.Missing)
	switch {
	case t.report.Outcome != ReconcileDone:
	case t.report.Postponed > 0:
		t.report.Outcome = ReconcilePartial
		t.report.Reason = fmt.Sprintf("%d runs wait for the next tick: one compares %d", t.report.Postponed, maxRunsPerTick)
	case s.Partial:
		t.report.Outcome = ReconcilePartial
		t.report.Reason = fmt.Sprintf("more is in progress than one tick lists: %d runs, %d executions", maxRunPages*50, maxExecutions)
	}
}

// survey compares the lists.
func (t *tick) survey(ctx workflow.Context) (s activities.Survey, ok bool) {
	var a *activities.Activities
	c := t.report.Carried
	in := activities.SurveyInput{
		Account: t.in.Account, At: t.report.At, Grace: grace(t.in.Interval),
		// An account's name holds no quote: see spacelift.ValidateAccount.
		Open:  fmt.Sprintf("WorkflowType = '%s' AND %s = '%s' AND ExecutionStatus = 'Running'", managed.ManageRunType, managed.AttrAccount, t.in.Account),
		Stuck: stuckQuery(t.in.Account), Index: indexed,
		Pages: maxRunPages, Executions: maxExecutions, Candidates: maxRunsPerTick, Unknown: maxRunsPerTick,
	}
	for _, m := range c.Missing {
		in.Missing = append(in.Missing, activities.MissingRun{Key: string(m.Run), Due: m.due(t.report.At)})
	}
	if !c.roomForMissing() {
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
	done := t.report.Outcome == ReconcileDone || t.report.Outcome == ReconcilePartial
	if !done || t.report.At.Before(c.CheckNext) {
		t.found.keep(FindingUnknownParent)
		return
	}
	var a *activities.Activities
	var unknown activities.UnknownParents
	err := t.call(ctx, a.FindUnknownParents, activities.ParentsInput{Account: t.in.Account}, &unknown)
	t.report.APICalls++
	c.CheckNext = t.report.At.Add(checkEvery)
	if t.limited(ctx, err) || err != nil {
		t.found.keep(FindingUnknownParent)
		return
	}
	if unknown.Count > 0 {
		t.found.add(FindingUnknownParent, t.report.At, counted(unknown.Count, unknown.First), unknown.Fix)
	}
}

// counted is some sentences, and how many more there are.
func counted(count int, first []string) string {
	text := strings.Join(first, "; ")
	if more := count - len(first); more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
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
		managed.AttrAccount, account, activities.FreezesID(account), account)
}

// looks is how the looks at runs went.
type looks struct {
	rest, failed []runKey // that could not be looked at
	swept        []runKey // whose turn it was in the sweep, and that were looked at
}

// lookAt looks at runs one by one and collects what to mend. What fails is a
// candidate of the next tick as well; after some failures in a row this tick
// looks no further.
func (t *tick) lookAt(ctx workflow.Context, now []activities.Candidate) (l looks) {
	failures := 0
	for _, next := range now {
		key := keyOf(next.Run)
		if t.report.Outcome == ReconcileRateLimited || failures >= maxFailures || t.size >= maxRepairs || ctx.Err() != nil {
			l.rest = append(l.rest, key)
			continue
		}
		r, err := t.look(ctx, candidate(next))
		if t.limited(ctx, err) {
			l.rest = append(l.rest, key)
			continue
		}
		if err != nil {
			failures++
			t.failed("look at run "+next.Run.String(), err)
			l.failed = append(l.failed, key)
			continue
		}
		failures = 0
		if next.Swept {
			l.swept = append(l.swept, key)
		}
		if r.Do != mendNothing {
			t.size += sizeOf(r.Events)
			t.repairs = append(t.repairs, r)
		}
	}
	return l
}

// look compares one run with what its execution knows.
func (t *tick) look(ctx workflow.Context, c candidate) (r repair, err error) {
	var a *activities.Activities
	var told activities.Known
	id := managed.ManageRunID(c.Run)
	if err := t.call(ctx, a.AskExecution, activities.QueryInput{ID: id, Query: managed.StatusQuery}, &told); err != nil {
		return r, err
	}
	if told.Mute != "" {
		t.log.Warn("an execution can't say what it knows", "run", c.Run.String(), "error", told.Mute)
		t.mute = append(t.mute, id)
		return repair{Run: c.Run}, nil
	}
	k := knowledgeOf(told)
	if !worthReading(c, k) {
		return repair{Run: c.Run}, nil
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
	t.size += sizeOf(run)
	t.report.Carried.forget(c.Run)
	return mend(k, run, workflow.Now(ctx).UTC(), t.in.Interval, t.last.At), nil
}

// missing notes that Spacelift does not know a run.
func (t *tick) missing(run spacelift.RunRef, k knowledge) repair {
	if !k.exists || k.ended {
		return repair{Run: run}
	}
	m := t.report.Carried.missing(run, k.shown())
	if m == nil || !m.missed(t.report.At, t.in.Interval) {
		return repair{Run: run}
	}
	t.report.Carried.forget(run)
	return repair{Run: run, Do: mendGiveUp, Reason: managed.ReasonUnknown, Ends: true}
}

func knowledgeOf(told activities.Known) knowledge {
	k := knowledge{
		exists: told.Exists, ended: told.Phase == string(managed.PhaseDone), state: told.State, version: told.StateVersion,
		fingerprint: policy.Facts{State: told.State, Labels: told.Labels, NeedsApproval: told.NeedsApproval, Block: told.Block}.Fingerprint(),
	}
	for _, s := range told.States {
		key := managed.StateKey{StateVersion: s.StateVersion, State: s.State}
		k.states = append(k.states, key)
		if s.Source != string(managed.SourceReconcile) {
			k.notified = append(k.notified, key)
		}
	}
	return k
}

// carryOut starts and tells executions, all at once, and counts what took
// effect. An execution that has ended in the meantime needs nothing.
func (t *tick) carryOut(ctx workflow.Context) {
	// Once begun it is brought to its end, whoever cancels.
	ctx, stop := workflow.NewDisconnectedContext(ctx)
	defer stop()
	tell := func(r repair) workflow.Future {
		return workflow.SignalExternalWorkflow(ctx, managed.ManageRunID(r.Run), "", managed.RunEventsSignal, managed.RunEvents{Events: r.Events, Denied: r.Denied, GiveUp: r.Reason})
	}
	results := make([]workflow.Future, len(t.repairs))
	for i, r := range t.repairs {
		reuse := enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
		switch r.Do {
		case mendAdopt:
		case mendReopen:
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
		}), managed.ManageRunType, managed.ManageRunInput{Run: r.Run, Events: r.Events, Reopened: r.Do == mendReopen})
		results[i] = child.GetChildWorkflowExecution()
	}
	for i, r := range t.repairs {
		err := results[i].Get(ctx, nil)
		if r.Do != mendTell && temporal.IsWorkflowExecutionAlreadyStartedError(err) {
			err = tell(r).Get(ctx, nil) // its first notification was faster
			r.Do = mendTell
		}
		if err != nil {
			t.log.Info("the execution needs nothing any more", "run", r.Run.String(), "repair", r.Do, "error", err)
			continue
		}
		t.count(r)
	}
}

func (t *tick) count(r repair) {
	t.fresh = t.fresh || r.Fresh
	switch {
	case r.Do == mendAdopt, r.Do == mendReopen:
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
	if r.Outcome == ReconcileBackingOff {
		r.Findings = t.found.now
		return
	}
	if r.Outcome != ReconcileRateLimited {
		c.Limits, c.NotBefore = 0, time.Time{}
	}
	if t.compared {
		judgeSilence(&t.found, c, t.fresh, r.InProgress, r.At)
	} else {
		t.found.keep(FindingSilence)
	}
	judgeFailure(&t.found, c, r, t.final)
	r.Findings = t.found.now
	for _, f := range t.found.fresh() {
		t.log.Error("guardian: "+f.Summary, "kind", f.Kind, "fix", f.Fix)
	}
	if r.Outcome == ReconcileFailed || r.Outcome == ReconcileRateLimited {
		t.log.Warn("reconcile did not get through", "outcome", r.Outcome, "reason", r.Reason)
	}
	if r.Adopted+r.Repaired+r.Finished > 0 {
		t.log.Info("reconciled", "adopted", r.Adopted, "repaired", r.Repaired, "finished", r.Finished, "postponed", r.Postponed, "apiCalls", r.APICalls)
	}
}
