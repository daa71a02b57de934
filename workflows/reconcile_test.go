package workflows_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/simulator"
	"github.com/gantryhq/gantry/workflows"
)

const (
	done        = workflows.ReconcileDone
	partial     = workflows.ReconcilePartial
	rateLimited = workflows.ReconcileRateLimited
	backingOff  = workflows.ReconcileBackingOff
	failed      = workflows.ReconcileFailed
)

var (
	networkProd = simulator.Stack{ID: "network-prod", Labels: auto}
	sandbox     = simulator.Stack{ID: "sandbox", Labels: []string{"env:dev"}}
)

func TestReconcileAdoptsRunsNobodyToldOf(t *testing.T) {
	r := newAccountRig(t, networkProd, sandbox)
	ref := r.push("network-prod")
	r.push("sandbox")

	report := r.ticks(did{done, 1, 0, 0, 3})
	if len(r.adopted) != 1 || r.adopted[0].Run != ref || len(r.adopted[0].Events) != 6 {
		t.Fatalf("adopted %+v, want %s with its six states", r.adopted, ref)
	}
	newest := r.adopted[0].Events[5]
	if newest.State != unconfirmed || newest.StateVersion != 5 || newest.Delta == nil || newest.Source != workflows.SourceReconcile || !spacelift.Managed(newest.Labels) {
		t.Errorf("the newest event is %+v", newest)
	}
	// Lists find it at once, as they find those that a notification began.
	for key, want := range map[temporal.SearchAttributeKeyKeyword]string{
		workflows.AttrAccount: "acme", workflows.AttrStack: "network-prod", workflows.AttrRunState: "UNCONFIRMED", workflows.AttrRunType: "TRACKED",
	} {
		if got, _ := r.listed[0].GetKeyword(key); got != want {
			t.Errorf("it begins with %s=%q, want %q", key.GetName(), got, want)
		}
	}
	if report.InProgress != 1 || report.Webhook == nil || !report.Webhook.Enabled {
		t.Errorf("report is %+v", report)
	}
	// From here on there is nothing to do, and it costs two calls to know that.
	report = r.ticks(did{done, 0, 0, 0, 2})
	r.finds(report)
	if report.Open != 1 {
		t.Errorf("%d executions are open, want one", report.Open)
	}
}

// What has just begun is probably on its way as a notification.
func TestReconcileLeavesNewRunsToNotifications(t *testing.T) {
	r := newAccountRig(t, networkProd)
	_, err := r.sim.Push("network-prod", simulator.Commit{}, simulator.Plan{Delta: spacelift.Delta{Added: 1}})
	r.must(err)
	r.clock.Advance(20 * time.Second)
	r.ticks(did{done, 0, 0, 0, 2})
	r.ticks(did{done, 1, 0, 0, 3})
}

func TestReconcileTellsWhatAnExecutionMissed(t *testing.T) {
	r := newAccountRig(t, networkProd)
	ref := r.push("network-prod")
	r.follows(ref, planning, unconfirmed)
	r.ticks(did{done, 0, 1, 0, 3})
	if told := r.toldStates(ref); told != "PLANNING UNCONFIRMED" {
		t.Errorf("told of %s", told)
	}
	r.ticks(did{done, 0, 0, 0, 2})
}

// A state entered a moment ago is left to its notification.
func TestReconcileLeavesNewStatesToNotifications(t *testing.T) {
	r := newAccountRig(t, networkProd)
	ref := r.push("network-prod")
	r.follows(ref)
	r.must(r.sim.Discard("jane", ref.Stack, ref.Run, ""))
	r.clock.Advance(10 * time.Second)
	r.ticks(did{done, 0, 0, 0, 3})
	r.ticks(did{done, 0, 0, 1, 3})
}

// Lists of executions lag. That costs a question to the execution, no call to
// Spacelift and nothing in the run's history.
func TestReconcileAsksTheExecutionFirst(t *testing.T) {
	r := newAccountRig(t, networkProd)
	ref := r.push("network-prod")
	r.follows(ref)
	r.lists[workflows.ManageRunID(ref)] = queued
	r.ticks(did{done, 0, 0, 0, 2})
	if r.asked != 1 {
		t.Errorf("%d executions were asked, want one", r.asked)
	}
}

func TestReconcileTellsTheEnd(t *testing.T) {
	r := newAccountRig(t, networkProd)
	ref := r.push("network-prod")
	r.follows(ref)
	r.discard(ref)
	r.ticks(did{done, 0, 0, 1, 3})
	if told := r.toldStates(ref); told != "DISCARDED" {
		t.Errorf("told of %s", told)
	}
	r.ticks(did{done, 0, 0, 0, 2})
}

// An execution that ended though its run goes on, by what the API shows, took a
// forgery for the end, or the run was taken up again: another one follows it. One
// whose run has ended, or is no longer managed, is left alone.
func TestReconcileFollowsAgainWhatGoesOn(t *testing.T) {
	r := newAccountRig(t, networkProd, sandbox)
	goesOn, unmanaged := r.push("network-prod"), r.push("sandbox")
	for _, ref := range []spacelift.RunRef{goesOn, unmanaged} {
		r.known[workflows.ManageRunID(ref)] = workflows.RunStatus{State: finished, Phase: workflows.PhaseDone}
	}
	r.ticks(did{done, 1, 0, 0, 3})
	if len(r.adopted) != 1 || r.adopted[0].Run != goesOn || len(r.adopted[0].Events) != 6 {
		t.Errorf("adopted %+v, want %s with its six states", r.adopted, goesOn)
	}
	r.ticks(did{done, 0, 0, 0, 2})

	r.discard(goesOn)
	r.known[workflows.ManageRunID(goesOn)] = workflows.RunStatus{State: discarded, Phase: workflows.PhaseDone}
	r.ticks(did{done, 0, 0, 0, 2})
}

// A run that Spacelift does not know is a forgery, or gone. One answer may be
// wrong; two end the execution.
func TestReconcileEndsExecutionsOfRunsThatAreGone(t *testing.T) {
	r := newAccountRig(t, networkProd)
	gone := spacelift.RunRef{Account: "acme", Stack: "network-prod", Run: "01KDXFORGED000000000000000"}
	r.known[workflows.ManageRunID(gone)] = heard(workflows.RunStatus{Run: gone}, unconfirmed, 5)
	r.ticks(did{done, 0, 0, 0, 3})
	r.ticks(did{done, 0, 0, 1, 3})
	if told := r.told[workflows.ManageRunID(gone)]; len(told) != 1 || told[0].GiveUp == "" {
		t.Errorf("told %+v, want to give up and why", told)
	}
	r.ticks(did{done, 0, 0, 0, 2})
}

// Notifications of a stack that lost its label are ignored at the door, so
// Reconcile brings its runs to their end. It adopts none.
func TestReconcileFollowsRunsWhoseStackLostItsLabel(t *testing.T) {
	r := newAccountRig(t, networkProd)
	ref := r.push("network-prod")
	r.follows(ref)
	r.must(r.sim.SetLabels("network-prod", "env:prod"))
	r.must(r.sim.Replan("jane", ref.Stack, ref.Run))
	r.clock.Advance(time.Minute)
	r.must(r.sim.Discard("jane", ref.Stack, ref.Run, ""))
	r.clock.Advance(time.Minute)
	next := r.push("network-prod")
	r.ticks(did{done, 0, 0, 1, 3})
	for _, e := range r.told[workflows.ManageRunID(ref)][0].Events {
		if spacelift.Managed(e.Labels) {
			t.Errorf("%s still carries %v", e.State, e.Labels)
		}
	}
	if _, followed := r.known[workflows.ManageRunID(next)]; followed {
		t.Error("a run of an unmanaged stack was adopted")
	}
}

// A tick looks at 50 runs. However many there are, each has its turn.
func TestReconcileIsFair(t *testing.T) {
	r := newAccountRig(t)
	refs := r.pushes(120, auto...)
	report := r.ticks(did{partial, 50, 0, 0, 1 + 3 + 50})
	if report.Postponed != 70 || report.Reason == "" {
		t.Errorf("%d runs are postponed (%s), want 70", report.Postponed, report.Reason)
	}
	r.ticks(did{partial, 50, 0, 0, 1 + 3 + 50})
	r.ticks(did{done, 20, 0, 0, 1 + 3 + 20})
	r.ticks(did{done, 0, 0, 0, 1 + 3})
	if len(r.known) != len(refs) {
		t.Errorf("%d runs are followed, want %d", len(r.known), len(refs))
	}
}

// Runs that can't be looked at go to the end of the queue.
func TestReconcileIsNotHeldUpByStuckExecutions(t *testing.T) {
	r := newAccountRig(t)
	refs := r.pushes(8, auto...)
	for i, ref := range refs {
		r.follows(ref, unconfirmed)
		if i < 4 {
			r.mute[workflows.ManageRunID(ref)] = true
		}
	}
	r.ticks(did{failed, 0, 0, 0, 2}) // three did not answer: enough for one tick
	report := r.ticks(did{failed, 0, 4, 0, 6})
	r.finds(report, workflows.FindingSpaceliftFails)
	r.mute = map[string]bool{}
	report = r.ticks(did{done, 0, 4, 0, 6})
	r.finds(report)
}

func TestReconcileBacksOff(t *testing.T) {
	r := newAccountRig(t, networkProd)
	ref := r.push("network-prod")
	_, err := r.sim.InjectAPI(simulator.APIFault{Kind: simulator.RateLimited, RetryAfter: simulator.Duration(7 * time.Minute)})
	r.must(err)
	before := r.calls()
	report := r.tick()
	if report.Outcome != rateLimited || report.Reason == "" {
		t.Errorf("outcome is %s: %s", report.Outcome, report.Reason)
	}
	if n := r.calls() - before; n != 1 {
		t.Errorf("%d calls after Spacelift asked for fewer, want the one that was refused", n)
	}
	for range 3 { // two, four and six minutes after it
		r.ticks(did{backingOff, 0, 0, 0, 0})
	}
	r.sim.ClearFaults()
	r.ticks(did{done, 1, 0, 0, 3})
	r.follows(ref)
}

// Without a time to come back, each refusal doubles the wait.
func TestReconcileBacksOffLonger(t *testing.T) {
	r := newAccountRig(t)
	_, err := r.sim.InjectAPI(simulator.APIFault{Kind: simulator.RateLimited})
	r.must(err)
	var story strings.Builder
	for range 16 {
		story.WriteString(map[workflows.ReconcileOutcome]string{rateLimited: "!", backingOff: "."}[r.tick().Outcome])
	}
	if want := "!!.!...!.......!"; story.String() != want { // after 2, 4, 8 and 15 minutes
		t.Errorf("it went %s, want %s", story.String(), want)
	}
}

// What one tick found out before the limit struck is carried out, and the rest
// goes first next time.
func TestReconcileGoesOnWhereTheLimitStruck(t *testing.T) {
	r := newAccountRig(t)
	r.pushes(5, auto...)
	_, err := r.sim.InjectAPI(simulator.APIFault{Kind: simulator.RateLimited, Field: "stack", Probability: 0.4})
	r.must(err)
	adopted := 0
	for range 40 {
		report := r.tick()
		if adopted += report.Adopted; report.Outcome == rateLimited && adopted+report.Postponed != 5 {
			t.Errorf("%d adopted and %d postponed, want 5 together", adopted, report.Postponed)
		}
	}
	if adopted != 5 {
		t.Errorf("%d runs were adopted, want 5", adopted)
	}
}

func TestReconcileSaysWhenItDoesNotGetThrough(t *testing.T) {
	for name, breakIt := range map[string]func(r *accountRig){
		"Spacelift is away": func(r *accountRig) {
			_, err := r.sim.InjectAPI(simulator.APIFault{Kind: simulator.NotExecutable, Field: "searchRuns", Message: "internal error"})
			r.must(err)
		},
		"Temporal is away": func(r *accountRig) { r.away = true },
	} {
		t.Run(name, func(t *testing.T) {
			r := newAccountRig(t, networkProd)
			r.push("network-prod")
			breakIt(r)
			report := r.tick()
			r.finds(report) // once may happen
			if report.Outcome != failed || report.Reason == "" {
				t.Errorf("outcome is %s: %s", report.Outcome, report.Reason)
			}
			r.finds(r.tick(), workflows.FindingSpaceliftFails)
			r.sim.ClearFaults()
			r.away = false
			r.finds(r.ticks(did{done, 1, 0, 0, 3}))
		})
	}
}

// A key that Spacelift refuses is no accident: the first tick says so.
func TestReconcileSaysWhenItsKeyIsRefused(t *testing.T) {
	r := newAccountRig(t)
	r.sim.RemoveAPIKey(r.key)
	r.sim.RevokeTokens()
	r.finds(r.tick(), workflows.FindingWebhookUnreadable, workflows.FindingSpaceliftFails)
}

// What a tick costs Spacelift, for any account: the numbers are in
// docs/operations/reconcile.md.
func TestCostOfATick(t *testing.T) {
	for _, tc := range []struct{ runs, quiet, adopting int }{{0, 2, 2}, {10, 2, 12}, {100, 3, 53}} {
		t.Run(fmt.Sprintf("%d managed runs", tc.runs), func(t *testing.T) {
			r := newAccountRig(t)
			for i := range 2000 - tc.runs {
				r.must(r.sim.AddStack(simulator.Stack{ID: spacelift.StackID(fmt.Sprintf("other-%04d", i)), Labels: []string{"gantry:managed"}}))
			}
			r.pushes(tc.runs, auto...)
			before := r.calls()
			r.tick()
			if n := r.calls() - before; n != tc.adopting {
				t.Errorf("%d API calls to adopt them, want %d", n, tc.adopting)
			}
			for r.last.Postponed > 0 {
				r.tick()
			}
			before = r.calls()
			r.tick()
			if n := r.calls() - before; n != tc.quiet {
				t.Errorf("%d API calls with nothing to do, want %d", n, tc.quiet)
			}
			wantInTable(t, "../docs/operations/reconcile.md", tc.runs, tc.quiet, tc.adopting)
		})
	}
}

// wantInTable checks that a document has a row with these numbers.
func wantInTable(t *testing.T, file string, runs, quiet, adopting int) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	row := fmt.Sprintf("| %d | %d | %d |", runs, quiet, adopting)
	if !strings.Contains(string(content), row) {
		t.Errorf("%s has no row %q", file, row)
	}
}

// Between the question and the start of an execution its first notification may
// arrive. Then the execution is told instead.
func TestReconcileLosesARaceWithTheFirstNotification(t *testing.T) {
	r := newAccountRig(t, networkProd)
	ref := r.push("network-prod")
	var told workflows.RunEvents
	env := r.environment()
	env.RegisterWorkflowWithOptions(func(ctx workflow.Context, _ workflows.ManageRunInput) error {
		workflow.GetSignalChannel(ctx, workflows.RunEventsSignal).Receive(ctx, &told)
		return nil
	}, workflow.RegisterOptions{Name: workflows.ManageRunType})
	race := func(ctx workflow.Context, in workflows.ReconcileInput) (workflows.ReconcileReport, error) {
		first := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{WorkflowID: workflows.ManageRunID(ref)}),
			workflows.ManageRunType, workflows.ManageRunInput{Run: ref})
		if err := first.GetChildWorkflowExecution().Get(ctx, nil); err != nil {
			return workflows.ReconcileReport{}, err
		}
		report, err := workflows.Reconcile(ctx, in)
		return report, errors.Join(err, first.Get(ctx, nil))
	}
	env.RegisterWorkflow(race)
	env.ExecuteWorkflow(race, r.in)
	var report workflows.ReconcileReport
	r.must(env.GetWorkflowResult(&report))
	if got, want := whatItDid(report), (did{done, 0, 1, 0, 3}); got != want {
		t.Errorf("the tick did %+v, want %+v", got, want)
	}
	if len(told.Events) != 6 {
		t.Errorf("the execution was told %+v, want all six states", told)
	}
}
