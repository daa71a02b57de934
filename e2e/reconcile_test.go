package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/reconcile"
	"github.com/gantryhq/gantry/e2e/program"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/workflows"
)

// serveReconciling starts Gantry with a Reconcile every second.
func (w *world) serveReconciling(more ...string) *process {
	w.t.Helper()
	return w.serveWith("reconcile: {interval: 1s}\ntokens:\n  - {name: e2e, role: admin, hash: " + authority.TokenHash(apiToken) + "}\n" + strings.Join(more, "\n"))
}

// account waits until Gantry shows the account as wanted.
func (w *world) account(what string, wanted func(api.Account) bool) api.Account {
	w.t.Helper()
	var account api.Account
	w.eventually(what, func(ctx context.Context) error {
		r, err := w.client.ListAccountsWithResponse(ctx)
		if err != nil {
			return err
		}
		if r.JSON200 == nil || len(r.JSON200.Accounts) != 1 {
			return fmt.Errorf("%d %s", r.StatusCode(), r.Body)
		}
		if account = r.JSON200.Accounts[0]; !wanted(account) {
			return fmt.Errorf("%s", r.Body)
		}
		return nil
	})
	return account
}

func finding(a api.Account, kind reconcile.FindingKind) bool {
	return slices.ContainsFunc(a.Findings, func(f api.Finding) bool { return f.Kind == string(kind) })
}

func outcome(o reconcile.Outcome) func(api.Account) bool {
	return func(a api.Account) bool { return a.LastReconcile != nil && a.LastReconcile.Outcome == string(o) }
}

// Not one notification arrives. The run is found, confirmed once and followed
// to its end all the same, and Gantry reports the silence.
func TestReconcileWithoutAnyNotification(t *testing.T) {
	w := newWorld(t, autoStack, foreign)
	w.silence()
	w.serveReconciling()
	other := w.push("sandbox", 1)
	run := w.phase("network-prod", w.push("network-prod", 2), api.PhaseDone)

	if run.State != "FINISHED" || len(run.States) != 10 {
		t.Errorf("ended as %s after %d states", run.State, len(run.States))
	}
	if !slices.ContainsFunc(run.Timeline, func(e api.TimelineEntry) bool { return e.Kind == "repair" }) {
		t.Errorf("the timeline has no repair: %+v", run.Timeline)
	}
	if n := len(w.spacelift.Mutations("runConfirm")); n != 1 {
		t.Errorf("confirmed %d times, want once", n)
	}
	if r, err := w.client.GetRunWithResponse(t.Context(), "acme", "sandbox", string(other)); err != nil || r.StatusCode() != http.StatusNotFound {
		t.Errorf("a run of a stack nobody labelled: %v %s", err, r.Body)
	}
	// Runs continue, without any notification.
	w.account("the silence is noticed", func(a api.Account) bool {
		if finding(a, reconcile.FindingSilence) {
			return true
		}
		if st, err := w.spacelift.Stack("network-prod"); err == nil && st.Blocker == "" {
			w.push("network-prod", 1)
		}
		return false
	})
}

// Half of the notifications get lost, at random.
func TestReconcileFillsGaps(t *testing.T) {
	w := newWorld(t, autoStack, manualStack)
	_, err := w.spacelift.InjectDelivery(simulator.DeliveryFault{Kind: simulator.Drop, Probability: 0.5})
	w.must(err)
	w.serveReconciling()
	for range 3 {
		auto, manual := w.push("network-prod", 1), w.push("app-prod", 1)
		w.phase("app-prod", manual, api.PhaseWaiting)
		w.must(w.spacelift.Confirm("jane", "app-prod", manual, "go"))
		for stack, id := range map[spacelift.StackID]runID{"network-prod": auto, "app-prod": manual} {
			if run := w.phase(stack, id, api.PhaseDone); run.State != "FINISHED" {
				t.Errorf("%s ended as %s", stack, run.State)
			}
		}
	}
	if n := len(w.spacelift.Mutations("runConfirm")); n != 3 {
		t.Errorf("Gantry confirmed %d times, want 3", n)
	}
}

// A plan that is held because of a label continues within a tick after the label
// is fixed, without a notification.
func TestReconcileSeesFixedLabels(t *testing.T) {
	w := newWorld(t, simulator.Stack{ID: "app-prod", Labels: []string{"gantry:managed", "gantry:confrm=auto"}})
	w.serveReconciling()
	id := w.push("app-prod", 1)
	w.phase("app-prod", id, api.PhaseHolding)
	w.must(w.spacelift.SetLabels("app-prod", "gantry:managed", "gantry:confirm=auto"))
	if run := w.phase("app-prod", id, api.PhaseDone); run.State != "FINISHED" || w.confirmations() != 1 {
		t.Errorf("it ended as %s after %d confirmations", run.State, w.confirmations())
	}
}

// A run that an approval policy keeps in the queue is found within a tick, and an
// approval through Gantry releases it.
func TestReconcileSeesWhatNeedsApproval(t *testing.T) {
	w := newWorld(t, simulator.Stack{ID: "app-prod", Labels: []string{"gantry:managed", "gantry:confirm=manual"}, Approvals: 1, ApproveQueued: true})
	who, _ := w.servePeople("reconcile: {interval: 1s}\n")
	id := w.change("app-prod", 1)
	if run := w.phase("app-prod", id, api.PhaseWaiting); run.State != "QUEUED" {
		t.Fatalf("it waits in %s", run.State)
	}
	w.counts(who.bob, "app-prod", id, api.VerdictApprove)
	w.eventually("the plan is made", func(ctx context.Context) error {
		run, err := w.run(ctx, "app-prod", id)
		if err == nil && run.State != "UNCONFIRMED" {
			err = fmt.Errorf("it is %s", run.State)
		}
		return err
	})
}

// Reconcile ends a run without a notification of its end, even if its stack is no
// longer managed.
func TestReconcileEndsWhatHasEnded(t *testing.T) {
	w := newWorld(t, manualStack, simulator.Stack{ID: "db-prod", Labels: []string{"gantry:managed"}})
	w.serveReconciling()
	managed, unlabelled := w.push("app-prod", 1), w.push("db-prod", 1)
	w.phase("app-prod", managed, api.PhaseWaiting)
	w.phase("db-prod", unlabelled, api.PhaseWaiting)

	_, err := w.spacelift.InjectDelivery(simulator.DeliveryFault{Kind: simulator.Drop, Stack: "app-prod"})
	w.must(err)
	w.must(w.spacelift.SetLabels("db-prod", "env:prod"))
	w.must(w.spacelift.Discard("jane", "app-prod", managed, "no"))
	w.must(w.spacelift.Discard("jane", "db-prod", unlabelled, "no"))
	for stack, id := range map[spacelift.StackID]runID{"app-prod": managed, "db-prod": unlabelled} {
		if run := w.phase(stack, id, api.PhaseDone); run.State != "DISCARDED" || run.Outcome == nil || !strings.Contains(*run.Outcome, "by jane") {
			t.Errorf("%s ended as %s: %v", stack, run.State, run.Outcome)
		}
	}
}

// An execution of a run that does not exist does not stay open forever.
func TestReconcileGivesUpForgeries(t *testing.T) {
	w := newWorld(t, autoStack)
	w.serveReconciling()
	const forged = "01KDXFORGED000000000000000"
	if status, answer := w.deliver(w.notification("network-prod", forged, "UNCONFIRMED", 5)); status != http.StatusAccepted {
		t.Fatalf("%d %s", status, answer)
	}
	run := w.phase("network-prod", forged, api.PhaseDone)
	if run.Outcome == nil || !strings.Contains(*run.Outcome, "Spacelift does not know it") {
		t.Errorf("it ended as %s: %v", run.State, run.Outcome)
	}
	if n := len(w.spacelift.Mutations("runConfirm")); n != 0 {
		t.Errorf("Gantry asked to confirm %d times", n)
	}
}

// An execution whose every workflow task fails is reported until a worker gets past
// the step.
func TestReconcileNoticesExecutionsThatAreStuck(t *testing.T) {
	t.Parallel()
	w := newWorld(t, autoStack)
	w.serveReconciling()
	c := w.dialTemporal()
	var fixed atomic.Bool
	own := worker.New(c, "stuck", worker.Options{})
	own.RegisterWorkflowWithOptions(func(workflow.Context, managed.ManageRunInput) error {
		if !fixed.Load() {
			panic("nil pointer") // the task fails, and is tried again
		}
		return nil
	}, workflow.RegisterOptions{Name: managed.ManageRunType})
	w.must(own.Start())
	defer own.Stop()
	ref := spacelift.RunRef{Account: "acme", Stack: "network-prod", Run: "01KDXSTUCK0000000000000000"}
	_, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
		ID: managed.ManageRunID(ref), TaskQueue: "stuck", TypedSearchAttributes: workflows.Typed(managed.StartAttributes(ref, nil)),
	}, managed.ManageRunType, managed.ManageRunInput{Run: ref})
	w.must(err)
	named := func(a api.Account) bool {
		return slices.ContainsFunc(a.Findings, func(f api.Finding) bool {
			return f.Kind == string(reconcile.FindingExecutionStuck) && strings.Contains(f.Summary, managed.ManageRunID(ref))
		})
	}
	w.account("the stuck execution is named", named)
	fixed.Store(true)
	w.account("it is no longer stuck", func(a api.Account) bool { return !finding(a, reconcile.FindingExecutionStuck) })
}

// A forged notification of a run's end arrives before all others. Gantry reads the
// run, manages it in its real state, and confirms it once.
func TestAForgedEndMakesGantryReadTheRun(t *testing.T) {
	w := newWorld(t, autoStack)
	w.silence()
	p := w.serve()
	id := w.push("network-prod", 2)
	if status, answer := w.deliver(w.notification("network-prod", id, "FINISHED", 1)); status != http.StatusAccepted {
		t.Fatalf("%d %s", status, answer)
	}
	w.phase("network-prod", id, api.PhaseApplying)
	p.interrupt()
	w.serveReconciling()
	w.eventually("the run is followed to its end", func(ctx context.Context) error {
		run, err := w.run(ctx, "network-prod", id)
		if err == nil && (run.Phase != api.PhaseDone || len(run.States) != 10) {
			err = fmt.Errorf("it is %s after %d states", run.Phase, len(run.States))
		}
		return err
	})
	if n := len(w.spacelift.Mutations("runConfirm")); n != 1 {
		t.Errorf("confirmed %d times, want once", n)
	}
	list, err := w.client.ListRunsWithResponse(t.Context(), &api.ListRunsParams{})
	w.must(err)
	if list.JSON200 == nil || len(list.JSON200.Runs) != 1 {
		t.Errorf("listed %s", list.Body)
	}
}

// Gantry is down, ten notifications fail, and Spacelift switches the webhook
// off. Gantry comes back, switches it on, says so, and catches up.
func TestGuardianSwitchesTheWebhookOnAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, autoStack, manualStack)
	p := w.serveReconciling()
	before := w.push("app-prod", 1)
	w.phase("app-prod", before, api.PhaseWaiting)
	p.Kill()

	missed := w.push("network-prod", 1)
	w.must(w.spacelift.Discard("jane", "app-prod", before, ""))
	again := w.push("app-prod", 1)
	disabled := func() bool { return w.spacelift.NamedWebhooks()[0].Disabled }
	w.eventually("Spacelift switches the webhook off", func(context.Context) error {
		if !disabled() {
			return errors.New("it is still on")
		}
		return nil
	})

	p = w.serveReconciling()
	account := w.account("the webhook is on again", func(a api.Account) bool { return a.Webhook != nil && a.Webhook.Enabled })
	if !finding(account, reconcile.FindingWebhookDisabled) || disabled() {
		t.Errorf("findings %+v; switched off: %t", account.Findings, disabled())
	}
	if out := p.Out.String(); !strings.Contains(out, "switched it on again") || !strings.Contains(out, "level=ERROR") {
		t.Error("the log does not report it")
	}
	if status, body := w.fetch(w.ops() + "/metrics"); status != http.StatusOK || !strings.Contains(body, `gantry_guardian_findings{account="acme",kind="webhook-disabled"} 1`) {
		t.Errorf("the metrics do not report it: %d", status)
	}
	for id, want := range map[runID]struct {
		stack spacelift.StackID
		phase api.Phase
		state string
	}{
		missed: {"network-prod", api.PhaseDone, "FINISHED"},
		before: {"app-prod", api.PhaseDone, "DISCARDED"},
		again:  {"app-prod", api.PhaseWaiting, "UNCONFIRMED"},
	} {
		if run := w.phase(want.stack, id, want.phase); run.State != want.state {
			t.Errorf("run of %s is %s, want %s", want.stack, run.State, want.state)
		}
	}
	// Notifications come through again.
	next := w.push("network-prod", 1)
	w.eventually("a notification arrives", func(ctx context.Context) error {
		r, err := w.client.ListDeliveriesWithResponse(ctx, &api.ListDeliveriesParams{Run: new(string(next)), Outcome: new(api.OutcomeAccepted)})
		if err == nil && (r.JSON200 == nil || len(r.JSON200.Deliveries) == 0) {
			err = fmt.Errorf("%s", r.Body)
		}
		return err
	})
}

// While Spacelift wants fewer calls, Gantry makes none, and says so.
func TestReconcileBacksOffWhenRateLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t, manualStack)
	w.silence()
	_, err := w.spacelift.InjectAPI(simulator.APIFault{Kind: simulator.RateLimited, RetryAfter: simulator.Duration(8 * time.Second)})
	w.must(err)
	w.serveReconciling()
	w.account("it is rate-limited", outcome(reconcile.OutcomeRateLimited))
	calls := len(w.spacelift.Requests())
	id := w.push("app-prod", 1)
	w.account("it backs off", outcome(reconcile.OutcomeBackingOff))
	if n := len(w.spacelift.Requests()); n != calls {
		t.Errorf("%d calls while it should leave Spacelift alone", n-calls)
	}
	w.spacelift.ClearFaults()
	w.phase("app-prod", id, api.PhaseWaiting)
	w.account("all is well again", outcome(reconcile.OutcomeDone))
}

// Every replica sets the schedule when it starts. There is one all the same and
// its ticks never overlap; a paused schedule stays paused; switching Reconcile off
// removes it.
func TestReplicasShareOneSchedule(t *testing.T) {
	w := newWorld(t, manualStack)
	first := w.serveReconciling()
	second := &world{t: t, temporal: w.temporal, spacelift: w.spacelift, apiURL: w.apiURL, port: program.FreePort(t), dir: t.TempDir()}
	second.connect(apiToken)
	second.serveReconciling()
	ticks := map[time.Time]bool{}
	for _, replica := range []*world{w, second} {
		replica.account("ticks go by", func(a api.Account) bool {
			if a.LastReconcile != nil {
				ticks[a.LastReconcile.At] = true
			}
			return len(ticks) >= 3 && outcome(reconcile.OutcomeDone)(a)
		})
	}
	c, err := client.DialContext(t.Context(), client.Options{HostPort: w.temporal.HostPort()})
	w.must(err)
	defer c.Close()
	w.neverOverlap(c)

	schedule := c.ScheduleClient().GetHandle(t.Context(), reconcile.ID("acme"))
	w.must(schedule.Pause(t.Context(), client.SchedulePauseOptions{Note: "hands off"}))
	before, err := schedule.Describe(t.Context())
	w.must(err)
	first.interrupt()
	first = w.serveReconciling()
	w.eventually("the schedule is set again", func(ctx context.Context) error {
		now, err := schedule.Describe(ctx)
		if err == nil && !now.Info.LastUpdateAt.After(before.Info.LastUpdateAt) {
			err = errors.New("not yet")
		}
		if err == nil && !now.Schedule.State.Paused {
			t.Error("the operator's pause was lifted")
		}
		return err
	})

	first.interrupt()
	w.serve()
	w.eventually("the schedule is gone", func(ctx context.Context) error {
		_, err := schedule.Describe(ctx)
		if _, gone := errors.AsType[*serviceerror.NotFound](err); gone {
			return nil
		}
		return errors.Join(errors.New("it is there"), err)
	})
}

// neverOverlap checks that each execution of Reconcile began after the one
// before had ended.
func (w *world) neverOverlap(c client.Client) {
	w.t.Helper()
	page, err := c.ListWorkflow(w.t.Context(), &workflowservice.ListWorkflowExecutionsRequest{Query: "WorkflowType = 'Reconcile' AND ExecutionStatus = 'Completed'"})
	w.must(err)
	ticks := page.GetExecutions()
	if len(ticks) < 3 {
		w.t.Fatalf("%d ticks, want some to compare", len(ticks))
	}
	slices.SortFunc(ticks, func(a, b *workflowpb.WorkflowExecutionInfo) int {
		return a.GetStartTime().AsTime().Compare(b.GetStartTime().AsTime())
	})
	for i := range ticks[1:] {
		if ended, began := ticks[i].GetCloseTime().AsTime(), ticks[i+1].GetStartTime().AsTime(); began.Before(ended) {
			w.t.Errorf("a tick began at %s, the one before ended at %s", began, ended)
		}
	}
}

// Events that damage of the inbox lost are made up for: Reconcile finds their run, and the
// damage is a finding until its file is deleted.
func TestReconcileFindsWhatDamageLost(t *testing.T) {
	w := newWorld(t, autoStack)
	p := w.serve()
	w.temporal.Stop()
	id := w.push("network-prod", 1)
	w.eventually("events of the run wait in the inbox", func(ctx context.Context) error {
		r, err := w.client.ListDeliveriesWithResponse(ctx, &api.ListDeliveriesParams{Run: new(string(id)), Forwarding: new(api.ForwardingPending)})
		if err == nil && (r.JSON200 == nil || !slices.ContainsFunc(r.JSON200.Deliveries, func(d api.Delivery) bool { return d.State != nil && *d.State == "UNCONFIRMED" })) {
			err = fmt.Errorf("%d %s", r.StatusCode(), r.Body)
		}
		return err
	})
	p.interrupt()
	w.silence()
	segments, err := filepath.Glob(filepath.Join(w.dir, "inbox", "*.wal"))
	w.must(err)
	for _, segment := range segments {
		content, err := os.ReadFile(segment)
		w.must(err)
		w.must(os.WriteFile(segment, bytes.ReplaceAll(content, []byte(id), []byte(strings.ToLower(string(id)))), 0o600))
	}

	w.startTemporal()
	w.serveReconciling()
	if run := w.phase("network-prod", id, api.PhaseDone); run.State != "FINISHED" || !slices.ContainsFunc(run.Timeline, func(e api.TimelineEntry) bool { return e.Kind == "repair" }) {
		t.Errorf("ended as %s: %+v", run.State, run.Timeline)
	}
	if n := w.confirmations(); n != 1 {
		t.Errorf("confirmed %d times, want once", n)
	}
	damaged := func(a api.Account) bool { return finding(a, reconcile.FindingInboxDamaged) }
	w.account("the damage is a finding", damaged)
	aside, err := filepath.Glob(filepath.Join(w.dir, "inbox", "*.damaged-*"))
	w.must(err)
	for _, file := range aside {
		w.must(os.Remove(file))
	}
	w.account("the finding is over", func(a api.Account) bool { return !damaged(a) })
}
