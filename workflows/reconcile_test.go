package workflows_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/decide/reconcile"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/workflows"
)

const (
	done        = reconcile.OutcomeDone
	partial     = reconcile.OutcomePartial
	rateLimited = reconcile.OutcomeRateLimited
	backingOff  = reconcile.OutcomeBackingOff
	failed      = reconcile.OutcomeFailed
)

var (
	networkProd = simulator.Stack{ID: "network-prod", Labels: auto}
	sandbox     = simulator.Stack{ID: "sandbox", Labels: []string{"env:dev"}}
)

func TestReconcileAdoptsRunsWithoutNotifications(t *testing.T) {
	r := newAccountRig(t, networkProd, sandbox)
	ref := r.push("network-prod")
	r.push("sandbox")

	report := r.ticks(did{done, 1, 0, 0, 2})
	if len(r.adopted) != 1 || r.adopted[0].Run != ref || len(r.adopted[0].Events) != 6 {
		t.Fatalf("adopted %+v, want %s with its six states", r.adopted, ref)
	}
	newest := r.adopted[0].Events[5]
	if newest.State != unconfirmed || newest.StateVersion != 5 || newest.Delta == nil || newest.Source != managed.SourceReconcile || !spacelift.Managed(newest.Labels) {
		t.Errorf("the newest event is %+v", newest)
	}
	// Lists find it immediately, as they find those that a notification began.
	for key, want := range map[string]string{
		managed.AttrAccount: "acme", managed.AttrStack: "network-prod", managed.AttrRunState: "UNCONFIRMED", managed.AttrRunType: "TRACKED",
	} {
		if got, _ := r.listed[0].GetKeyword(temporal.NewSearchAttributeKeyKeyword(key)); got != want {
			t.Errorf("it begins with %s=%q, want %q", key, got, want)
		}
	}
	if report.InProgress != 1 || report.Webhook == nil || !report.Webhook.Enabled {
		t.Errorf("report is %+v", report)
	}
	// From here on there is nothing to do, and it costs two calls to know that.
	report = r.ticks(did{done, 0, 0, 0, 1})
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
	r.ticks(did{done, 0, 0, 0, 1})
	r.ticks(did{done, 1, 0, 0, 2})
}

func TestReconcileSignalsWhatAnExecutionMissed(t *testing.T) {
	r := newAccountRig(t, networkProd)
	ref := r.push("network-prod")
	r.follows(ref, planning, unconfirmed)
	r.ticks(did{done, 0, 1, 0, 2})
	if sent := r.signaledStates(ref); sent != "PLANNING UNCONFIRMED" {
		t.Errorf("signaled of %s", sent)
	}
	r.ticks(did{done, 0, 0, 0, 1})
}

// A state entered a moment ago is left to its notification.
func TestReconcileLeavesNewStatesToNotifications(t *testing.T) {
	r := newAccountRig(t, networkProd)
	ref := r.push("network-prod")
	r.follows(ref)
	r.must(r.sim.Discard("jane", ref.Stack, ref.Run, ""))
	r.clock.Advance(10 * time.Second)
	r.ticks(did{done, 0, 0, 0, 2})
	r.ticks(did{done, 0, 0, 1, 2})
}

// Lists of executions lag. That costs a question to the execution, no call to
// Spacelift and nothing in the run's history.
func TestReconcileAsksTheExecutionFirst(t *testing.T) {
	r := newAccountRig(t, networkProd)
	ref := r.push("network-prod")
	r.follows(ref)
	r.lists[managed.ManageRunID(ref)] = queued
	r.ticks(did{done, 0, 0, 0, 1})
	if r.asked != 1 {
		t.Errorf("%d executions were asked, want one", r.asked)
	}
}

func TestReconcileSignalsTheEnd(t *testing.T) {
	r := newAccountRig(t, networkProd)
	ref := r.push("network-prod")
	r.follows(ref)
	r.discard(ref)
	r.ticks(did{done, 0, 0, 1, 2})
	if sent := r.signaledStates(ref); sent != "DISCARDED" {
		t.Errorf("signaled of %s", sent)
	}
	r.ticks(did{done, 0, 0, 0, 1})
}

// An execution that ended though its run continues, by what the API shows, took a
// forgery for the end, or the run was taken up again: another one follows it. One
// whose run has ended, or is no longer managed, is left alone.
func TestReconcileFollowsAgainWhatGoesOn(t *testing.T) {
	r := newAccountRig(t, networkProd, sandbox)
	goesOn, unmanaged := r.push("network-prod"), r.push("sandbox")
	for _, ref := range []spacelift.RunRef{goesOn, unmanaged} {
		r.known[managed.ManageRunID(ref)] = managed.RunStatus{State: finished, Phase: managed.PhaseDone}
	}
	r.ticks(did{done, 1, 0, 0, 2})
	if len(r.adopted) != 1 || r.adopted[0].Run != goesOn || len(r.adopted[0].Events) != 6 || !r.adopted[0].Reopened {
		t.Errorf("adopted %+v, want %s with its six states and what was known of it", r.adopted, goesOn)
	}
	r.ticks(did{done, 0, 0, 0, 1})

	r.discard(goesOn)
	r.known[managed.ManageRunID(goesOn)] = managed.RunStatus{State: discarded, Phase: managed.PhaseDone}
	r.ticks(did{done, 0, 0, 0, 1})
}

// What Spacelift never showed and does not know is a forgery, or was deleted
// right away. It is given up after five intervals, however many such runs there
// are, with a few calls each.
func TestReconcileEndsExecutionsOfRunsThatNeverWere(t *testing.T) {
	r := newAccountRig(t, networkProd)
	const forged = 120
	for i := range forged {
		ref := spacelift.RunRef{Account: "acme", Stack: spacelift.StackID(fmt.Sprintf("gone-%03d", i)), Run: "01KDXFORGED000000000000000"}
		r.known[managed.ManageRunID(ref)] = inState(managed.RunStatus{Run: ref}, unconfirmed, 5, managed.SourceWebhook)
	}
	finished, calls, ticks := 0, 0, 0
	for finished < forged && ticks < 30 {
		report := r.tick()
		finished, calls, ticks = finished+report.Finished, calls+report.APICalls, ticks+1
		r.finds(report)
		if report.APICalls > 50+3 || ticks <= 5 && finished > 0 {
			t.Errorf("tick %d made %d calls, and %d runs are given up", ticks, report.APICalls, finished)
		}
	}
	if finished < forged || calls > 4*forged+3*ticks {
		t.Errorf("%d of %d runs were given up by %d ticks with %d calls", finished, forged, ticks, calls)
	}
	for id, sent := range r.sent {
		if len(sent) != 1 || sent[0].GiveUp == "" {
			t.Errorf("%s was signaled %+v, want to give up and why", id, sent)
		}
	}
	r.ticks(did{done, 0, 0, 0, 1})
}

// A run that Spacelift showed before may be back tomorrow: somebody repairs the
// access of Gantry's API key. It is given up after a day, and meanwhile Gantry
// says that it is missing, and looks seldom.
func TestReconcileIsPatientWithRunsThatVanish(t *testing.T) {
	vanish := func(t *testing.T) (*accountRig, spacelift.RunRef) {
		r := newAccountRig(t, networkProd)
		ref := spacelift.RunRef{Account: "acme", Stack: "secret-prod", Run: "01KDXVANISHED0000000000000"}
		r.known[managed.ManageRunID(ref)] = inState(managed.RunStatus{Run: ref}, unconfirmed, 5, managed.SourceReconcile)
		r.finds(r.ticks(did{done, 0, 0, 0, 2}))
		r.finds(r.ticks(did{done, 0, 0, 0, 2}), reconcile.FindingRunsVanished)
		return r, ref
	}
	t.Run("permanently", func(t *testing.T) {
		r, ref := vanish(t)
		calls, hours := 0, 0
		for r.known[managed.ManageRunID(ref)].Phase != managed.PhaseDone && hours < 48 {
			r.clock.Advance(time.Hour - interval)
			calls += r.tick().APICalls
			hours++
		}
		if hours < 23 || hours > 26 || calls > 4*hours {
			t.Errorf("it was given up after %d hours and %d calls, want a day and four an hour", hours, calls)
		}
		r.finds(r.tick())
	})
	t.Run("for an hour", func(t *testing.T) {
		r, ref := vanish(t)
		r.clock.Advance(time.Hour)
		r.must(r.sim.AddStack(simulator.Stack{ID: "secret-prod", Labels: auto}))
		found := r.push("secret-prod")
		r.follows(found)
		r.known[managed.ManageRunID(found)], r.known[managed.ManageRunID(ref)] = r.known[managed.ManageRunID(ref)], r.known[managed.ManageRunID(found)]
		delete(r.known, managed.ManageRunID(ref)) // the same execution, of a run that is there again
		r.finds(r.tick())
		if sent := r.sent[managed.ManageRunID(found)]; len(sent) > 0 && sent[0].GiveUp != "" {
			t.Errorf("it was signaled %+v", sent)
		}
	})
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
	r.ticks(did{done, 0, 0, 1, 2})
	for _, e := range r.sent[managed.ManageRunID(ref)][0].Events {
		if spacelift.Managed(e.Labels) {
			t.Errorf("%s still carries %v", e.State, e.Labels)
		}
	}
	if _, followed := r.known[managed.ManageRunID(next)]; followed {
		t.Error("a run of an unmanaged stack was adopted")
	}
}

// A tick looks at 50 runs. However many there are, each has its turn.
func TestReconcileIsFair(t *testing.T) {
	r := newAccountRig(t)
	refs := r.pushes(120, auto...)
	report := r.ticks(did{partial, 50, 0, 0, 3 + 50})
	if report.Postponed != 70 || report.Reason == "" {
		t.Errorf("%d runs are postponed (%s), want 70", report.Postponed, report.Reason)
	}
	r.ticks(did{partial, 50, 0, 0, 3 + 50})
	r.ticks(did{done, 20, 0, 0, 3 + 20})
	r.ticks(did{done, 0, 0, 0, 3})
	if len(r.known) != len(refs) {
		t.Errorf("%d runs are followed, want %d", len(r.known), len(refs))
	}
}

// Executions that can't say what they know, because every attempt at their next
// step fails, keep nobody else waiting, and are named.
func TestReconcileNamesStuckExecutions(t *testing.T) {
	r := newAccountRig(t)
	refs := r.pushes(8, auto...)
	for i, ref := range refs {
		r.follows(ref, unconfirmed)
		if i < 4 {
			r.mute[managed.ManageRunID(ref)] = true
		}
	}
	report := r.ticks(did{done, 0, 4, 0, 5})
	r.finds(report, reconcile.FindingExecutionStuck)

	// Once Temporal marks them, they are not even asked.
	for id := range r.mute {
		r.stuck[id] = true
	}
	asked := r.asked
	report = r.ticks(did{done, 0, 0, 0, 1})
	r.finds(report, reconcile.FindingExecutionStuck)
	if says := report.Findings[0].Summary; r.asked != asked || !strings.Contains(says, "4 executions") || !strings.Contains(says, managed.ManageRunID(refs[0])) {
		t.Errorf("%d were asked; it says: %s", r.asked-asked, says)
	}
	r.mute, r.stuck = map[string]bool{}, map[string]bool{}
	report = r.ticks(did{done, 0, 4, 0, 5})
	r.finds(report)
}

// Runs that can't be read keep nobody waiting either: after three in a row the
// tick ends, and the next one begins with others.
func TestReconcileGetsPastRunsThatCannotBeRead(t *testing.T) {
	inBubble(t, func(t *testing.T, r *accountRig) {
		for _, ref := range r.pushes(60, auto...) {
			r.follows(ref, unconfirmed)
		}
		_, err := r.sim.InjectAPI(simulator.APIFault{Kind: simulator.NotExecutable, Field: "stack", Message: "internal error", Probability: 0.5})
		r.must(err)
		repaired := 0
		for range 60 {
			repaired += r.tick().Repaired
		}
		if repaired != 60 {
			t.Errorf("%d executions learned what they had missed, want 60", repaired)
		}
	})
}

// A notification that is beyond what the API shows hides what is so: the plan
// that waits, behind a state of version 500. So does an end that is none.
func TestReconcileDeniesWhatIsBeyondTheAPI(t *testing.T) {
	for name, forge := range map[string]func(managed.RunStatus) managed.RunStatus{
		"a version far ahead": func(s managed.RunStatus) managed.RunStatus {
			return inState(s, planning, 500, managed.SourceWebhook)
		},
		"an end that is none": func(s managed.RunStatus) managed.RunStatus {
			s = inState(s, "FAILED", 5, managed.SourceWebhook)
			s.Phase = managed.PhaseRetrying
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newAccountRig(t, networkProd)
			ref := r.push("network-prod")
			r.follows(ref)
			id := managed.ManageRunID(ref)
			r.set(ref, func(s *managed.RunStatus) { *s = forge(*s) })
			r.lingers[id] = true
			r.ticks(did{done, 0, 1, 0, 2})
			if sent := r.sent[id]; len(sent) != 1 || len(sent[0].Denied) != 1 || sent[0].Events[0].State != unconfirmed {
				t.Fatalf("signaled %+v, want what is so, and what is denied", sent)
			}
			if s := r.known[id]; s.State != unconfirmed || s.StateVersion != 5 {
				t.Errorf("the execution takes it for %s (%d)", s.State, s.StateVersion)
			}
			r.ticks(did{done, 0, 0, 0, 1})
		})
	}
}

// An execution that nobody reached when a freeze was lifted learns of it within a
// tick, which costs no call to Spacelift. Others are left alone, and so are all
// while Freezes itself notifies them.
func TestReconcileNotifiesOfFreezes(t *testing.T) {
	r := newAccountRig(t)
	audit := policy.Freeze{ID: "audit", Stacks: []string{"stack-000", "stack-001"}, From: opened}
	r.freezes = []policy.Freeze{audit}
	refs := r.pushes(4, manual...)
	for _, ref := range refs {
		r.follows(ref)
		gate := (*policy.Definitions)(nil).Gate(policy.Policy{}, string(ref.Stack), r.freezes, r.clock.Now())
		r.set(ref, func(s *managed.RunStatus) { s.Phase, s.Gate = managed.PhaseWaiting, &gate })
	}
	r.ticks(did{done, 0, 0, 0, 1})
	r.freezes, r.busy = nil, true
	r.ticks(did{done, 0, 0, 0, 1})
	if len(r.refresh) > 0 {
		t.Errorf("notified %v while Freezes did it", r.refresh)
	}
	r.busy = false
	report := r.ticks(did{done, 0, 0, 0, 1})
	want := map[string]int{managed.ManageRunID(refs[0]): 1, managed.ManageRunID(refs[1]): 1}
	if !maps.Equal(r.refresh, want) || report.Refreshed != 2 {
		t.Errorf("notified %v, and the report says %d; want %v", r.refresh, report.Refreshed, want)
	}
	r.ticks(did{done, 0, 0, 0, 1})
	if len(r.refresh) != 2 || r.refresh[managed.ManageRunID(refs[0])] != 1 {
		t.Errorf("notified again: %v", r.refresh)
	}
}

// A worker that starts with another configuration makes the runs that wait go by
// it, once.
func TestReconcileNotifiesOfTheConfiguration(t *testing.T) {
	r := newAccountRig(t)
	ref := r.pushes(1, manual...)[0]
	r.follows(ref)
	gate := func() *policy.Gate {
		return new(r.rules.Gate(policy.Policy{}, string(ref.Stack), nil, r.clock.Now()))
	}
	r.rules = configured
	r.set(ref, func(s *managed.RunStatus) { s.Phase, s.Gate = managed.PhaseWaiting, gate() })
	if r.ticks(did{done, 0, 0, 0, 1}); len(r.refresh) > 0 {
		t.Errorf("notified %v of the configuration they go by", r.refresh)
	}
	r.rules = compiled(policy.Config{Profiles: []policy.Profile{{Name: "production", Approvers: new("interns")}}})
	report := r.ticks(did{done, 0, 0, 0, 1})
	if want := map[string]int{managed.ManageRunID(ref): 1}; !maps.Equal(r.refresh, want) || report.Refreshed != 1 {
		t.Errorf("notified %v, and the report says %d; want %v", r.refresh, report.Refreshed, want)
	}
	r.set(ref, func(s *managed.RunStatus) { s.Gate = gate() })
	if r.ticks(did{done, 0, 0, 0, 1}); r.refresh[managed.ManageRunID(ref)] != 1 {
		t.Errorf("notified again: %v", r.refresh)
	}
}

func TestReconcileBacksOff(t *testing.T) {
	r := newAccountRig(t, networkProd)
	ref := r.push("network-prod")
	_, err := r.sim.InjectAPI(simulator.APIFault{Kind: simulator.RateLimited, RetryAfter: simulator.Duration(7 * time.Minute)})
	r.must(err)
	before, _ := r.calls()
	report := r.tick()
	if report.Outcome != rateLimited || report.Reason == "" {
		t.Errorf("outcome is %s: %s", report.Outcome, report.Reason)
	}
	if n, _ := r.calls(); n-before != 1 {
		t.Errorf("%d calls after Spacelift asked for fewer, want the one that was refused", n-before)
	}
	for range 3 { // two, four and six minutes after it
		r.ticks(did{backingOff, 0, 0, 0, 0})
	}
	r.sim.ClearFaults()
	r.ticks(did{done, 1, 0, 0, 2})
	r.follows(ref)
}

// Without a time to come back, each refusal doubles the wait.
func TestReconcileBacksOffLonger(t *testing.T) {
	inBubble(t, func(t *testing.T, r *accountRig) {
		_, err := r.sim.InjectAPI(simulator.APIFault{Kind: simulator.RateLimited})
		r.must(err)
		var story strings.Builder
		for range 16 {
			story.WriteString(map[reconcile.Outcome]string{rateLimited: "!", backingOff: "."}[r.tick().Outcome])
		}
		if want := "!!.!...!.......!"; story.String() != want { // after 2, 4, 8 and 15 minutes
			t.Errorf("it went %s, want %s", story.String(), want)
		}
	})
}

// What one tick found out before the limit struck is carried out, and the rest
// goes first next time.
func TestReconcileGoesOnWhereTheLimitStruck(t *testing.T) {
	inBubble(t, func(t *testing.T, r *accountRig) {
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
	})
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
			inBubble(t, func(t *testing.T, r *accountRig) {
				r.must(r.sim.AddStack(networkProd))
				r.push("network-prod")
				breakIt(r)
				report := r.tick()
				r.finds(report) // once may happen
				if report.Outcome != failed || report.Reason == "" {
					t.Errorf("outcome is %s: %s", report.Outcome, report.Reason)
				}
				r.finds(r.tick(), reconcile.FindingSpaceliftFails)
				r.sim.ClearFaults()
				r.away = false
				r.finds(r.ticks(did{done, 1, 0, 0, 2}))
			})
		})
	}
}

// A key that Spacelift refuses is no accident: the first tick says so.
func TestReconcileSaysWhenItsKeyIsRefused(t *testing.T) {
	r := newAccountRig(t)
	r.sim.RemoveAPIKey(r.key)
	r.sim.RevokeTokens()
	r.finds(r.tick(), reconcile.FindingWebhookUnreadable, reconcile.FindingSpaceliftFails)
}

// What a tick costs Spacelift and Temporal, for any account: the numbers are in
// docs/operations/reconcile.md.
func TestCostOfATick(t *testing.T) {
	for _, tc := range []struct{ runs, idle, adopting int }{{0, 1, 2}, {10, 1, 12}, {100, 2, 53}, {2000, 40, 91}} {
		t.Run(fmt.Sprintf("%d managed runs", tc.runs), func(t *testing.T) {
			r := newAccountRig(t)
			for i := range 2000 - tc.runs {
				r.must(r.sim.AddStack(simulator.Stack{ID: spacelift.StackID(fmt.Sprintf("other-%04d", i)), Labels: []string{"gantry:managed"}}))
			}
			refs := r.pushes(tc.runs, auto...)
			before := r.apiCalls()
			r.tick()
			if n := r.apiCalls() - before; n != tc.adopting {
				t.Errorf("%d API calls to adopt them, want %d", n, tc.adopting)
			}
			for _, ref := range refs {
				r.follows(ref)
			}
			before = r.apiCalls()
			report := r.tick()
			if n := r.apiCalls() - before; n != tc.idle || report.Outcome != done {
				t.Errorf("%d API calls with nothing to do (%s), want %d", n, report.Outcome, tc.idle)
			}
			wantInTable(t, "../docs/operations/reconcile.md", tc.runs, tc.idle, tc.adopting)
		})
	}
}

// What a day costs Spacelift with 2,000 stacks, a run a minute and 20 in
// progress: the numbers are in docs/operations/reconcile.md. One run of twenty is
// caught between a change and the notification of it.
func TestCostOfADay(t *testing.T) {
	r := newAccountRig(t)
	for i := range 2000 {
		r.must(r.sim.AddStack(simulator.Stack{ID: spacelift.StackID(fmt.Sprintf("stack-%04d", i)), Labels: manual}))
	}
	const ticks = 720
	var inProgress []spacelift.RunRef
	for tick := range ticks {
		for i := range 2 {
			stack := spacelift.StackID(fmt.Sprintf("stack-%04d", (2*tick+i)%2000))
			id, err := r.sim.Push(stack, simulator.Commit{}, simulator.Plan{Delta: spacelift.Delta{Added: 1}})
			r.must(err)
			ref := spacelift.RunRef{Account: "acme", Stack: stack, Run: id}
			r.clock.Advance(time.Second)
			r.follows(ref)
			if inProgress = append(inProgress, ref); len(inProgress) > 20 {
				ended := inProgress[0]
				inProgress = inProgress[1:]
				r.must(r.sim.Discard("jane", ended.Stack, ended.Run, ""))
				r.clock.Advance(time.Second)
				if tick%10 != 0 || i != 0 {
					r.follows(ended)
				}
			}
		}
		r.tick()
	}
	calls := map[string]int{}
	for _, q := range r.sim.Requests() {
		for _, f := range q.Fields {
			calls[f]++
		}
	}
	lists, webhook, runs, parents := calls["searchRuns"], calls["namedWebhooksIntegration"], calls["stack"], calls["stacks"]
	all := lists + webhook + runs + parents
	if all > 1_500 {
		t.Errorf("a day costs %d calls, more than 1,500", all)
	}
	content, err := os.ReadFile("../docs/operations/reconcile.md")
	r.must(err)
	for what, n := range map[string]int{"lists of runs in progress": lists, "the webhook": webhook, "runs": runs, "labels of all stacks": parents, "all together": all} {
		if row := fmt.Sprintf("| %s | %d |", what, n); !strings.Contains(string(content), row) {
			t.Errorf("the document has no row %q; calls were %v", row, calls)
		}
	}
}

// A stack that follows one which isn't there is found, and no longer once its
// label is right.
func TestReconcileFindsUnknownParents(t *testing.T) {
	r := newAccountRig(t, networkProd, simulator.Stack{ID: "app-prod", Labels: []string{"gantry:managed", "gantry:after=netwok-prod"}})
	r.finds(r.tick()) // it is not urgent
	r.clock.Advance(10 * time.Minute)
	report := r.tick()
	r.finds(report, reconcile.FindingUnknownParent)
	if f := report.Findings[0]; !strings.Contains(f.Summary, "app-prod carries gantry:after=netwok-prod") || !strings.Contains(f.Fix, "(meant network-prod?)") {
		t.Errorf("found %+v", f)
	}
	r.must(r.sim.SetLabels("app-prod", "gantry:managed", "gantry:after=network-prod"))
	r.finds(r.tick(), reconcile.FindingUnknownParent) // nobody looked again
	r.clock.Advance(time.Hour)
	r.finds(r.tick())
}

// A label that was probably meant for Gantry is found, and changes nothing else.
func TestReconcileFindsMisspeltLabels(t *testing.T) {
	r := newAccountRig(t, networkProd, simulator.Stack{ID: "app-prod", Labels: []string{"ganrty:managed"}})
	r.finds(r.tick()) // it is not urgent
	r.clock.Advance(10 * time.Minute)
	report := r.tick()
	r.finds(report, reconcile.FindingMisspeltLabel)
	if f := report.Findings[0]; !strings.Contains(f.Summary, "app-prod carries ganrty:managed") || !strings.Contains(f.Fix, "write gantry:managed") {
		t.Errorf("found %+v", f)
	}
	r.must(r.sim.SetLabels("app-prod", "gantry:managed"))
	r.clock.Advance(time.Hour)
	r.finds(r.tick())
}

// wantInTable checks that a document has a row with these numbers.
func wantInTable(t *testing.T, file string, runs, idle, adopting int) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	row := fmt.Sprintf("| %d | %d | %d |", runs, idle, adopting)
	if !strings.Contains(string(content), row) {
		t.Errorf("%s has no row %q", file, row)
	}
}

// Between the question and the start of an execution its first notification may
// arrive. Then the execution is signaled instead.
func TestReconcileLosesARaceWithTheFirstNotification(t *testing.T) {
	r := newAccountRig(t, networkProd)
	ref := r.push("network-prod")
	var sent managed.RunEvents
	env := r.environment()
	env.RegisterWorkflowWithOptions(func(ctx workflow.Context, _ managed.ManageRunInput) error {
		workflow.GetSignalChannel(ctx, managed.RunEventsSignal).Receive(ctx, &sent)
		return nil
	}, workflow.RegisterOptions{Name: managed.ManageRunType})
	race := func(ctx workflow.Context, in reconcile.Input) (reconcile.Report, error) {
		first := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{WorkflowID: managed.ManageRunID(ref)}),
			managed.ManageRunType, managed.ManageRunInput{Run: ref})
		if err := first.GetChildWorkflowExecution().Get(ctx, nil); err != nil {
			return reconcile.Report{}, err
		}
		report, err := workflows.Reconcile(ctx, in)
		return report, errors.Join(err, first.Get(ctx, nil))
	}
	env.RegisterWorkflow(race)
	env.ExecuteWorkflow(race, r.in)
	var report reconcile.Report
	r.must(env.GetWorkflowResult(&report))
	if report.Outcome != done || report.Adopted != 0 || report.Repaired != 1 {
		t.Errorf("the tick did %+v, want one repair", report)
	}
	if len(sent.Events) != 6 {
		t.Errorf("the execution was signaled %+v, want all six states", sent)
	}
}
