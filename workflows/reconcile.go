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

// watch looks at the webhook, and switches it on if it must be and may be. It
// comes first, so that what happens from here on is told again.
func (t *tick) watch(ctx workflow.Context) {
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
		return
	}
	s, complete, ok := t.survey(ctx)
	if !ok {
		return
	}
	t.compared = true
	c := &t.report.Carried
	c.Owed = s.owed(c.Owed, t.gap)
	now, waiting := s.candidates(*c, maxRunsPerTick)
	looked := t.lookAt(ctx, now)
	c.Seen = s.seen(c.Seen, looked.knowing)
	c.Waiting = slices.Concat(looked.rest, waiting, looked.failed)
	t.report.Postponed = len(c.Waiting)
	switch {
	case t.report.Outcome != ReconcileDone:
	case len(c.Waiting) > 0:
		t.report.Outcome = ReconcilePartial
		t.report.Reason = fmt.Sprintf("%d runs wait for the next tick: one looks at %d", len(c.Waiting), maxRunsPerTick)
	case !complete:
		t.report.Outcome = ReconcilePartial
		t.report.Reason = fmt.Sprintf("more is in progress than one tick lists: %d runs, %d executions", maxRunPages*50, maxExecutions)
	}
}

// survey makes the two lists. Executions come first: what ends between the two
// is then open in one and gone from the other, and is looked at.
func (t *tick) survey(ctx workflow.Context) (s survey, complete, ok bool) {
	var a *activities.Activities
	var open activities.Executions
	err := t.call(ctx, a.ListExecutions, activities.ExecutionsInput{
		Query: fmt.Sprintf("WorkflowType = '%s' AND %s = '%s' AND ExecutionStatus = 'Running'", ManageRunType, AttrAccount.GetName(), t.in.Account),
		// An account's name holds no quote: see spacelift.ValidateAccount.
		Attribute: AttrRunState.GetName(), Second: AttrPhase.GetName(), Limit: maxExecutions,
	}, &open)
	if err != nil {
		t.failed("list open executions", err)
		return s, false, false
	}
	var runs activities.RunsInProgress
	err = t.call(ctx, a.RunsInProgress, activities.RunsInProgressInput{Account: t.in.Account, Pages: maxRunPages}, &runs)
	t.report.APICalls += max(1, runs.Calls)
	if t.limited(ctx, err) {
		return s, false, false
	}
	if err != nil {
		t.failed("list runs in progress", err)
		return s, false, false
	}
	s = survey{at: workflow.Now(ctx).UTC(), interval: t.in.Interval, lines: runs.Runs}
	for _, e := range open.List {
		if ref, ok := runOf(e.ID); ok {
			s.open = append(s.open, openRun{ref, spacelift.RunState(e.Value), Phase(e.Second)})
		}
	}
	t.report.InProgress, t.report.Open = s.managed(), len(s.open)
	return s, open.Complete && runs.Complete, true
}

// runOf reads the run from the id of its execution.
func runOf(workflowID string) (ref spacelift.RunRef, ok bool) {
	parts := strings.Split(workflowID, "/")
	if len(parts) != 4 {
		return ref, false
	}
	ref = spacelift.RunRef{Account: spacelift.Account(parts[1]), Stack: spacelift.StackID(parts[2]), Run: spacelift.RunID(parts[3])}
	return ref, ManageRunID(ref) == workflowID && ref.Validate() == nil
}

// looks is how the looks at runs went.
type looks struct {
	rest, failed []runKey                  // that could not be looked at
	knowing      map[spacelift.RunRef]bool // whose executions know all that the list shows
}

// lookAt looks at runs one by one and collects what to mend. What fails goes to
// the end of the queue, so that one bad run can't keep the others waiting.
func (t *tick) lookAt(ctx workflow.Context, now []candidate) (l looks) {
	c := &t.report.Carried
	l.knowing = map[spacelift.RunRef]bool{}
	var unknown []runKey
	for _, next := range now {
		if t.report.Outcome == ReconcileRateLimited || len(l.failed) >= maxFailures || ctx.Err() != nil {
			l.rest = append(l.rest, keyOf(next.Run))
			continue
		}
		key := keyOf(next.Run)
		r, isUnknown, err := t.look(ctx, next)
		if t.limited(ctx, err) {
			l.rest = append(l.rest, key)
			continue
		}
		if err != nil {
			t.failed("look at run "+next.Run.String(), err)
			l.failed = append(l.failed, key)
			continue
		}
		c.Owed = slices.DeleteFunc(c.Owed, func(o runKey) bool { return o == key })
		if isUnknown {
			unknown = append(unknown, key)
		}
		l.knowing[next.Run] = r.Knows
		if r.Do != mendNothing {
			t.repairs = append(t.repairs, r)
		}
	}
	left := slices.Concat(l.rest, l.failed)
	c.Unknown = slices.Concat(unknown, slices.DeleteFunc(slices.Clone(c.Unknown), func(k runKey) bool { return !slices.Contains(left, k) }))
	return l
}

// look compares one run with what its execution knows.
func (t *tick) look(ctx workflow.Context, c candidate) (r repair, unknown bool, err error) {
	var a *activities.Activities
	var told activities.Known
	if err := t.call(ctx, a.AskExecution, activities.QueryInput{ID: ManageRunID(c.Run), Query: StatusQuery}, &told); err != nil {
		return r, false, err
	}
	k := knowledge{
		exists: told.Exists, ended: told.Phase == string(PhaseDone), state: told.State, needsApproval: told.NeedsApproval, labels: told.Labels, block: blockReason(told.Block),
	}
	for _, s := range told.States {
		k.states = append(k.states, stateKey{s.StateVersion, s.State})
	}
	if !worthReading(c, k) {
		return repair{Run: c.Run, Knows: true}, false, nil
	}
	var run spacelift.Run
	err = t.call(ctx, a.ReadRun, c.Run, &run)
	t.report.APICalls++
	if app, _ := errors.AsType[*temporal.ApplicationError](err); app != nil && app.Type() == activities.ErrTypeNotFound {
		r, unknown = mendUnknown(c.Run, k, t.last.Carried)
		return r, unknown, nil
	}
	if err != nil {
		return r, false, err
	}
	return mend(k, run, workflow.Now(ctx).UTC(), t.in.Interval, t.last.At), false, nil
}

// carryOut starts and tells executions, all at once, and counts what took
// effect. An execution that has ended in the meantime needs nothing.
func (t *tick) carryOut(ctx workflow.Context) {
	// Once begun it is brought to its end, whoever cancels.
	ctx, stop := workflow.NewDisconnectedContext(ctx)
	defer stop()
	tell := func(r repair) workflow.Future {
		return workflow.SignalExternalWorkflow(ctx, ManageRunID(r.Run), "", RunEventsSignal, RunEvents{Events: r.Events, GiveUp: r.Reason})
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
			WorkflowID:            ManageRunID(r.Run),
			ParentClosePolicy:     enums.PARENT_CLOSE_POLICY_ABANDON,
			WorkflowIDReusePolicy: reuse,
			TypedSearchAttributes: StartAttributes(r.Run, r.Events),
		}), ManageRunType, ManageRunInput{Run: r.Run, Events: r.Events})
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
