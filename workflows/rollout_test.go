package workflows_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/simulator"
	"github.com/gantryhq/gantry/workflows"
)

// chainRig tells a story to Rollout: stacks of a simulated account that follow
// each other, and a run of net-prod that has finished.
type chainRig struct {
	*accountRig
	env     *testsuite.TestWorkflowEnvironment
	root    spacelift.RunRef
	managed []workflows.ManageRunInput
	begun   time.Time
}

// newChainRig makes an account of stacks, each written "app<net,dns", which
// follow net, whose run is finished.
func newChainRig(t *testing.T, followers ...string) *chainRig {
	t.Helper()
	r := &chainRig{accountRig: newAccountRig(t, simulator.Stack{ID: "net", Labels: []string{"gantry:managed"}})}
	for _, f := range followers {
		stack, parents, _ := strings.Cut(f, "<")
		labels := []string{"gantry:managed"}
		for p := range strings.SplitSeq(parents, ",") {
			labels = append(labels, "gantry:after="+p)
		}
		r.must(r.sim.AddStack(simulator.Stack{ID: spacelift.StackID(stack), Labels: labels}))
	}
	r.root = r.push("net")
	r.must(r.sim.Confirm("jane", "net", r.root.Run, ""))
	r.clock.Advance(time.Minute)
	r.environment()
	return r
}

// environment is one for the next execution in the same account.
func (r *chainRig) environment() {
	r.Helper()
	r.env, r.begun = newEnvironment(), r.clock.Now()
	r.env.SetStartTime(r.begun)
	r.env.SetTestTimeout(time.Minute)
	r.env.RegisterWorkflow(workflows.Rollout)
	r.env.RegisterActivity(&activities.Activities{
		Accounts: map[spacelift.Account]activities.Spacelift{"acme": r.client}, Rules: configured, Temporal: r, Now: r.clock.Now,
	})
	r.env.RegisterWorkflowWithOptions(func(_ workflow.Context, in workflows.ManageRunInput) (workflows.RunStatus, error) {
		r.managed = append(r.managed, in)
		return workflows.RunStatus{}, nil
	}, workflow.RegisterOptions{Name: workflows.ManageRunType})
}

// at does something when the story has gone on for so long, in the account too.
func (r *chainRig) at(d time.Duration, do func()) {
	r.env.RegisterDelayedCallback(func() {
		r.clock.Advance(r.begun.Add(d).Sub(r.clock.Now()))
		do()
	}, d)
}

// newest is a stack's newest tracked run.
func (r *chainRig) newest(stack spacelift.StackID) spacelift.RunRef {
	r.Helper()
	runs, err := r.sim.Runs(stack)
	r.must(err)
	if len(runs) == 0 {
		r.Fatalf("%s has no run", stack)
	}
	return runs[len(runs)-1].Ref
}

// ends lets the newest run of a stack end, and its execution tell the chain.
func (r *chainRig) ends(stack spacelift.StackID, how func(spacelift.RunRef) error) {
	r.Helper()
	ref := r.newest(stack)
	if how != nil {
		r.must(how(ref))
	}
	r.clock.Advance(time.Minute)
	run, err := r.sim.Run(ref.Stack, ref.Run)
	r.must(err)
	if !run.State.Terminal() {
		r.Fatalf("run %s is %s", ref, run.State)
	}
	r.env.SignalWorkflow(workflows.ChainNewsSignal, workflows.ChainNews{Run: ref, State: run.State})
}

func (r *chainRig) discards(ref spacelift.RunRef) error {
	return r.sim.Discard("jane", ref.Stack, ref.Run, "not today")
}
func (r *chainRig) confirms(ref spacelift.RunRef) error {
	return r.sim.Confirm("jane", ref.Stack, ref.Run, "")
}

// changes makes the next run of each stack have something to apply, so that it
// waits for somebody.
func (r *chainRig) changes(stacks ...spacelift.StackID) {
	r.Helper()
	for _, s := range stacks {
		r.must(r.sim.SetNextPlan(s, simulator.Plan{Delta: spacelift.Delta{Added: 1}}))
	}
}

func (r *chainRig) rollout() workflows.ChainStatus {
	r.Helper()
	return r.rolloutFrom(workflows.RolloutInput{Root: r.root})
}

func (r *chainRig) rolloutFrom(in workflows.RolloutInput) workflows.ChainStatus {
	r.Helper()
	r.env.ExecuteWorkflow(workflows.Rollout, in)
	if !r.env.IsWorkflowCompleted() {
		r.Fatal("the chain has not ended")
	}
	var s workflows.ChainStatus
	if err := r.env.GetWorkflowResult(&s); err != nil {
		r.Fatalf("the chain failed: %v", err)
	}
	return s
}

func (r *chainRig) status() workflows.ChainStatus {
	r.Helper()
	var s workflows.ChainStatus
	answer, err := r.env.QueryWorkflow(workflows.ChainQuery)
	r.must(err)
	r.must(answer.Get(&s))
	return s
}

// update sends a wish, which is to be refused with an error of that type, or to
// be taken.
func (r *chainRig) update(name string, wish any, refused string) {
	r.Helper()
	answered := false
	r.Cleanup(func() {
		if !answered {
			r.Errorf("%s %+v was not answered", name, wish)
		}
	})
	r.env.UpdateWorkflow(name, "", &testsuite.TestUpdateCallback{
		OnAccept: func() {},
		OnReject: func(err error) {
			answered = true
			if app, ok := errors.AsType[*temporal.ApplicationError](err); !ok || app.Type() != refused {
				r.Errorf("%s %+v is refused with %v, want %q", name, wish, err, refused)
			}
		},
		OnComplete: func(_ any, err error) {
			answered = true
			if err != nil || refused != "" {
				r.Errorf("%s %+v is taken, with the error %v, want %q", name, wish, err, refused)
			}
		},
	}, wish)
}

func nodes(s workflows.ChainStatus) string {
	var all []string
	for _, n := range s.Nodes {
		all = append(all, string(n.Stack)+" "+string(n.State))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func (r *chainRig) wants(s workflows.ChainStatus, phase workflows.ChainPhase, summary, list string) {
	r.Helper()
	if s.Phase != phase || !strings.Contains(s.Summary, summary) || nodes(s) != list {
		r.Errorf("the chain is %s: %s\n\t%s\nwant %s with %q\n\t%s", s.Phase, s.Summary, nodes(s), phase, summary, list)
		for _, e := range s.Timeline {
			r.Logf("%s %s %s %s", e.At.Format("02 15:04:05"), e.Kind, e.Stack, e.Summary)
		}
	}
}

// runs is how many tracked runs a stack has had.
func (r *chainRig) runs(stack spacelift.StackID) int {
	r.Helper()
	all, err := r.sim.Runs(stack)
	r.must(err)
	return len(all)
}

func TestRolloutOfALine(t *testing.T) {
	r := newChainRig(t, "app<net", "web<app")
	r.changes("app")
	r.at(time.Minute, func() {
		r.wants(r.status(), workflows.ChainMoving, "1 of 3 runs finished; now: app", "app running, net finished, web waiting")
		r.ends("app", r.confirms)
	})
	r.at(2*time.Minute, func() { r.ends("web", nil) })
	s := r.rollout()
	r.wants(s, workflows.ChainDone, "3 runs finished", "app finished, net finished, web finished")
	for _, e := range s.Edges {
		if e.Decision != workflows.EdgeReleases || e.Reason == "" || e.At.IsZero() {
			t.Errorf("edge %+v", e)
		}
	}
	var told []workflows.ChainRef
	for _, in := range r.managed {
		if in.Generation != workflows.CurrentGeneration || len(in.Events) == 0 {
			t.Errorf("the run is managed with %+v", in)
		}
		told = append(told, in.Chains...)
	}
	want := []workflows.ChainRef{{Root: r.root, After: []spacelift.StackID{"net"}}, {Root: r.root, After: []spacelift.StackID{"app"}}}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("the runs are told (-want +got):\n%s", diff)
	}
}

func TestRolloutFansOutAndIn(t *testing.T) {
	r := newChainRig(t, "app<net", "dns<net", "web<app,dns")
	r.changes("app", "dns")
	r.at(time.Minute, func() { r.ends("app", r.confirms) })
	r.at(2*time.Minute, func() {
		if n := r.runs("web"); n != 0 {
			t.Errorf("web has %d runs before dns finished", n)
		}
		r.ends("dns", r.confirms)
	})
	r.at(3*time.Minute, func() { r.ends("web", nil) })
	r.wants(r.rollout(), workflows.ChainDone, "4 runs finished", "app finished, dns finished, net finished, web finished")
}

func TestRolloutStopsBehindAFailureAndARetryResumesIt(t *testing.T) {
	r := newChainRig(t, "app<net", "web<app")
	r.must(r.sim.SetNextPlan("app", simulator.Plan{FailIn: spacelift.RunStatePlanning}))
	r.at(time.Minute, func() {
		r.ends("app", nil)
	})
	r.at(2*time.Minute, func() {
		r.wants(r.status(), workflows.ChainHeld, "ended in FAILED", "app failed, net finished, web waiting")
		failed := r.newest("app")
		again, err := r.client.RetryRun(t.Context(), failed)
		r.must(err)
		r.env.SignalWorkflow(workflows.ChainNewsSignal, workflows.ChainNews{Run: again.Ref})
	})
	r.at(3*time.Minute, func() { r.ends("app", nil) })
	r.at(4*time.Minute, func() { r.ends("web", nil) })
	s := r.rollout()
	r.wants(s, workflows.ChainDone, "3 runs finished", "app finished, net finished, web finished")
	if len(s.Nodes[1].Runs) != 2 || r.runs("web") != 1 {
		t.Errorf("app had the runs %v, and web %d", s.Nodes[1].Runs, r.runs("web"))
	}
}

func TestRolloutSkips(t *testing.T) {
	r := newChainRig(t, "app<net", "web<app")
	r.changes("app")
	r.at(time.Minute, func() {
		r.update(workflows.SkipUpdate, workflows.SkipStack{Stack: "app", By: "joe"}, workflows.ErrTypeNotSkippable)
		r.ends("app", r.discards)
	})
	r.at(2*time.Minute, func() {
		wish := workflows.SkipStack{Stack: "app", By: "joe", Note: "done by hand", Key: "k"}
		for range 2 {
			r.update(workflows.SkipUpdate, wish, "")
		}
	})
	r.at(3*time.Minute, func() { r.ends("web", nil) })
	s := r.rollout()
	r.wants(s, workflows.ChainDone, "app was skipped", "app skipped, net finished, web finished")
	people := slices.DeleteFunc(s.Timeline, func(e workflows.ChainEntry) bool { return e.Kind != workflows.KindPerson })
	if len(people) != 1 || people[0].Actor != "joe" || !strings.Contains(people[0].Summary, "done by hand") {
		t.Errorf("people did %+v", people)
	}
}

func TestRolloutIsStopped(t *testing.T) {
	r := newChainRig(t, "app<net", "web<app")
	r.changes("app")
	r.at(time.Minute, func() {
		r.update(workflows.StopChainUpdate, workflows.StopChain{By: "joe", Note: "wrong day"}, "")
	})
	r.wants(r.rollout(), workflows.ChainDone, "joe stopped the chain: wrong day", "app running, net finished, web waiting")
}

func TestRolloutRefusesACircle(t *testing.T) {
	r := newChainRig(t, "app<net,web", "web<app")
	s := r.rollout()
	r.wants(s, workflows.ChainDone, "circle: app → web → app", "net finished")
	if n := len(r.sim.Mutations("runTrigger")); n != 0 {
		t.Errorf("%d runs were triggered", n)
	}
}

// A notification that the run finished may be forged: nothing is released
// before the API shows it.
func TestRolloutTakesNobodysWord(t *testing.T) {
	r := newChainRig(t, "app<net")
	r.root = r.push("net")
	r.at(time.Hour, func() {
		r.wants(r.status(), workflows.ChainMoving, "nothing is released before it has finished", "net running")
		if n := r.runs("app"); n != 0 {
			t.Errorf("app has %d runs", n)
		}
		r.must(r.sim.Discard("jane", "net", r.root.Run, ""))
		r.clock.Advance(time.Minute)
	})
	r.wants(r.rollout(), workflows.ChainDone, "nothing is released: run "+string(r.root.Run)+" of net ended in DISCARDED by jane", "net failed")
}

// The end of a run that nobody tells of is found.
func TestRolloutFindsOutForItself(t *testing.T) {
	r := newChainRig(t, "app<net")
	r.changes("app")
	r.at(time.Minute, func() {
		r.must(r.confirms(r.newest("app")))
		r.clock.Advance(time.Minute)
	})
	r.wants(r.rollout(), workflows.ChainDone, "2 runs finished", "app finished, net finished")
}

// A stack whose labels can't be read is held and says so; mended, it goes on.
func TestRolloutHoldsWhatCannotBeRead(t *testing.T) {
	r := newChainRig(t, "app<net")
	r.must(r.sim.SetLabels("app", "gantry:managed", "gantry:after=net", "gantry:aprovals=2"))
	r.at(time.Minute, func() {
		r.wants(r.status(), workflows.ChainHeld, "gantry:aprovals=2", "app held, net finished")
		if at := r.status().GivesUpAt; at.Before(r.begun.Add(29 * 24 * time.Hour)) {
			t.Errorf("gives up at %s", at)
		}
		r.must(r.sim.SetLabels("app", "gantry:managed", "gantry:after=net"))
	})
	r.at(time.Hour, func() { r.ends("app", nil) })
	r.wants(r.rollout(), workflows.ChainDone, "2 runs finished", "app finished, net finished")
}

// Spacelift is away when it is a follower's turn: it is triggered once all the
// same, whatever answers get lost.
func TestRolloutTriggersOnce(t *testing.T) {
	r := newChainRig(t, "app<net")
	_, err := r.sim.InjectAPI(simulator.APIFault{Kind: simulator.LostResponse, Field: "runTrigger", Times: 1})
	r.must(err)
	r.at(10*time.Minute, func() { r.ends("app", nil) })
	r.wants(r.rollout(), workflows.ChainDone, "2 runs finished", "app finished, net finished")
	if n := r.runs("app"); n != 1 {
		t.Errorf("app had %d runs", n)
	}
}

func TestRolloutIsGivenUp(t *testing.T) {
	r := newChainRig(t, "app<net", "web<app")
	r.changes("app")
	r.at(time.Minute, func() { r.ends("app", r.discards) })
	s := r.rollout()
	r.wants(s, workflows.ChainDone, "nothing moved for 30 days", "app failed, net finished, web waiting")
	if d := s.EndedAt.Sub(r.begun); d < 30*24*time.Hour || d > 31*24*time.Hour {
		t.Errorf("given up after %s", d)
	}
}

func TestNobodyFollows(t *testing.T) {
	r := newChainRig(t)
	r.wants(r.rollout(), workflows.ChainDone, "no stack follows net", "net finished")
}

// A chain that has a long history goes on in another execution with all that it
// knows, and with what came in at the last moment.
func TestRolloutContinuesAsNew(t *testing.T) {
	r := newChainRig(t, "app<net", "dns<net", "web<app,dns")
	r.changes("app", "dns")
	r.at(time.Minute, func() { r.ends("app", r.discards) })
	r.at(2*time.Minute, func() {
		// A signal waits when the execution takes its last step.
		r.env.SetContinueAsNewSuggested(true)
		dns := r.newest("dns")
		r.must(r.confirms(dns))
		r.clock.Advance(time.Minute)
		r.env.SignalWorkflowSkippingWorkflowTask(workflows.ChainNewsSignal, workflows.ChainNews{Run: dns, State: finished})
		r.update(workflows.SkipUpdate, workflows.SkipStack{Stack: "app", By: "joe", Key: "k"}, "")
	})
	r.env.ExecuteWorkflow(workflows.Rollout, workflows.RolloutInput{Root: r.root})
	again, ok := errors.AsType[*workflow.ContinueAsNewError](r.env.GetWorkflowError())
	if !ok || again.WorkflowType.Name != workflows.RolloutType {
		t.Fatalf("the execution ended with %v, want it to continue as new", r.env.GetWorkflowError())
	}
	var in workflows.RolloutInput
	r.must(converter.GetDefaultDataConverter().FromPayloads(again.Input, &in))

	r.environment()
	r.at(time.Minute, func() {
		r.update(workflows.SkipUpdate, workflows.SkipStack{Stack: "app", By: "joe", Note: "another", Key: "k"}, workflows.ErrTypeKeyReused)
		r.ends("web", nil)
	})
	r.wants(r.rolloutFrom(in), workflows.ChainDone, "app was skipped", "app skipped, dns finished, net finished, web finished")
	for _, stack := range []spacelift.StackID{"app", "dns", "web"} {
		if n := r.runs(stack); n != 1 {
			t.Errorf("%s had %d runs", stack, n)
		}
	}
}

// Whoever stops a chain does not have to wait for a Spacelift that is away.
func TestRolloutIsStoppedWhileSpaceliftIsAway(t *testing.T) {
	r := newChainRig(t, "app<net")
	_, err := r.sim.InjectAPI(simulator.APIFault{Kind: simulator.ServerError, Field: "runTrigger"})
	r.must(err)
	r.at(time.Hour, func() {
		r.wants(r.status(), workflows.ChainMoving, "app (being triggered)", "app releasing, net finished")
		r.update(workflows.SkipUpdate, workflows.SkipStack{Stack: "app", By: "joe"}, workflows.ErrTypeTooLate)
		r.update(workflows.StopChainUpdate, workflows.StopChain{By: "joe"}, "")
	})
	s := r.rollout()
	r.wants(s, workflows.ChainDone, "joe stopped the chain", "app held, net finished")
	if after := s.EndedAt.Sub(r.begun); after > 2*time.Hour {
		t.Errorf("ended %s after it began", after)
	}
}
