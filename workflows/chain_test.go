package workflows_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/workflows"
)

func TestChainOfALine(t *testing.T) {
	r := newChainRig(t, "app<net", "web<app")
	r.changes("app")
	r.at(time.Minute, func() {
		r.wants(r.status(), chain.PhaseMoving, "1 of 3 runs finished; now: app", "app running, net finished, web waiting")
		r.ends("app", r.confirms)
	})
	r.at(2*time.Minute, func() { r.ends("web", nil) })
	s := r.play()
	r.wants(s, chain.PhaseDone, "3 runs finished", "app finished, net finished, web finished")
	for _, e := range s.Edges() {
		if e.Decision != chain.EdgeReleases || e.Reason == "" || e.At.IsZero() {
			t.Errorf("edge %+v", e)
		}
	}
	var sent []managed.ChainRef
	for _, in := range r.managed {
		if len(in.Events) == 0 {
			t.Errorf("the run is managed with %+v", in)
		}
		sent = append(sent, in.Chains...)
	}
	want := []managed.ChainRef{{Root: r.root, After: []spacelift.StackID{"net"}}, {Root: r.root, After: []spacelift.StackID{"app"}}}
	if diff := cmp.Diff(want, sent); diff != "" {
		t.Errorf("the runs are signaled (-want +got):\n%s", diff)
	}
}

func TestChainFansOutAndIn(t *testing.T) {
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
	r.wants(r.play(), chain.PhaseDone, "4 runs finished", "app finished, dns finished, net finished, web finished")
}

func TestChainStopsBehindAFailureAndARetryResumesIt(t *testing.T) {
	r := newChainRig(t, "app<net", "web<app")
	r.must(r.sim.SetNextPlan("app", simulator.Plan{FailIn: spacelift.RunStatePlanning}))
	r.at(time.Minute, func() {
		r.ends("app", nil)
	})
	r.at(2*time.Minute, func() {
		r.wants(r.status(), chain.PhaseHeld, "ended in FAILED", "app failed, net finished, web waiting")
		failed := r.newest("app")
		again, err := r.client.RetryRun(t.Context(), failed)
		r.must(err)
		r.env.SignalWorkflow(chain.NewsSignal, chain.News{Run: again.Ref})
	})
	r.at(3*time.Minute, func() { r.ends("app", nil) })
	r.at(4*time.Minute, func() { r.ends("web", nil) })
	s := r.play()
	r.wants(s, chain.PhaseDone, "3 runs finished", "app finished, net finished, web finished")
	if len(s.Nodes[1].Runs) != 2 || r.runs("web") != 1 {
		t.Errorf("app had the runs %v, and web %d", s.Nodes[1].Runs, r.runs("web"))
	}
}

func TestChainSkips(t *testing.T) {
	r := newChainRig(t, "app<net", "web<app")
	r.changes("app")
	r.at(time.Minute, func() {
		r.update(chain.SkipUpdate, chain.Skip{Stack: "app", By: "joe"}, chain.ErrTypeNotSkippable)
		r.ends("app", r.discards)
	})
	r.at(2*time.Minute, func() {
		wish := chain.Skip{Stack: "app", By: "joe", Note: "done by hand", Key: "k"}
		for range 2 {
			r.update(chain.SkipUpdate, wish, "")
		}
	})
	r.at(3*time.Minute, func() { r.ends("web", nil) })
	s := r.play()
	r.wants(s, chain.PhaseDone, "app was skipped", "app skipped, net finished, web finished")
	people := slices.DeleteFunc(s.Timeline, func(e chain.Entry) bool { return e.Kind != managed.KindPerson })
	if len(people) != 1 || people[0].Actor != "joe" || !strings.Contains(people[0].Summary, "done by hand") {
		t.Errorf("people did %+v", people)
	}
}

func TestChainIsStopped(t *testing.T) {
	r := newChainRig(t, "app<net", "web<app")
	r.changes("app")
	r.at(time.Minute, func() {
		r.update(chain.StopUpdate, chain.Stop{By: "joe", Note: "wrong day"}, "")
	})
	r.wants(r.play(), chain.PhaseDone, "joe stopped the chain: wrong day", "app running, net finished, web waiting")
}

func TestChainRefusesACircle(t *testing.T) {
	r := newChainRig(t, "app<net,web", "web<app")
	s := r.play()
	r.wants(s, chain.PhaseDone, "circle: app → web → app", "net finished")
	if n := len(r.sim.Mutations("runTrigger")); n != 0 {
		t.Errorf("%d runs were triggered", n)
	}
}

// A notification that the run finished may be forged: nothing is released
// before the API shows it.
func TestChainTakesNobodysWord(t *testing.T) {
	r := newChainRig(t, "app<net")
	r.root = r.push("net")
	r.at(time.Hour, func() {
		r.wants(r.status(), chain.PhaseMoving, "nothing is released before it has finished", "net running")
		if n := r.runs("app"); n != 0 {
			t.Errorf("app has %d runs", n)
		}
		r.must(r.sim.Discard("jane", "net", r.root.Run, ""))
		r.clock.Advance(time.Minute)
	})
	r.wants(r.play(), chain.PhaseDone, "nothing is released: run "+string(r.root.Run)+" of net ended in DISCARDED by jane", "net failed")
}

// A chain finds the end of a run without a signal.
func TestChainFindsOutForItself(t *testing.T) {
	r := newChainRig(t, "app<net")
	r.changes("app")
	r.at(time.Minute, func() {
		r.must(r.confirms(r.newest("app")))
		r.clock.Advance(time.Minute)
	})
	r.wants(r.play(), chain.PhaseDone, "2 runs finished", "app finished, net finished")
}

// A stack whose labels can't be read is held and says so; repaired, it continues.
func TestChainHoldsWhatCannotBeRead(t *testing.T) {
	r := newChainRig(t, "app<net")
	r.must(r.sim.SetLabels("app", "gantry:managed", "gantry:after=net", "gantry:aprovals=2"))
	r.at(time.Minute, func() {
		r.wants(r.status(), chain.PhaseHeld, "gantry:aprovals=2", "app held, net finished")
		if at := r.status().GivesUpAt; at.Before(r.begun.Add(29 * 24 * time.Hour)) {
			t.Errorf("gives up at %s", at)
		}
		r.must(r.sim.SetLabels("app", "gantry:managed", "gantry:after=net"))
	})
	r.at(time.Hour, func() { r.ends("app", nil) })
	r.wants(r.play(), chain.PhaseDone, "2 runs finished", "app finished, net finished")
}

// The execution of a follower's run may have begun with a notification, and have
// missed those of its end: the chain signals what it saw.
func TestChainSignalsWhatItSaw(t *testing.T) {
	r := &chainRig{accountRig: newAccountRig(t, simulator.Stack{ID: "net", Labels: []string{"gantry:managed"}})}
	r.must(r.sim.AddStack(simulator.Stack{ID: "app", Labels: []string{"gantry:managed", "gantry:after=net"}}))
	r.must(r.sim.AddDependency("app", "net")) // so Spacelift triggers it as well
	r.must(r.sim.SetNextPlan("app", simulator.Plan{FailIn: planning}))
	r.root = r.push("net")
	r.must(r.sim.Confirm("jane", "net", r.root.Run, ""))
	r.clock.Advance(time.Minute)
	r.environment()

	var sent managed.RunEvents
	follows := func(ctx workflow.Context) error {
		workflow.GetSignalChannel(ctx, managed.RunEventsSignal).Receive(ctx, &sent)
		return nil
	}
	r.env.RegisterWorkflowWithOptions(follows, workflow.RegisterOptions{Name: "follows"})
	app := r.newest("app")
	r.env.ExecuteWorkflow(func(ctx workflow.Context) error {
		there := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{WorkflowID: managed.ManageRunID(app)}), "follows")
		if err := there.GetChildWorkflowExecution().Get(ctx, nil); err != nil {
			return err
		}
		workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{WorkflowID: managed.ChainID(r.root)}), workflows.Chain, chain.Input{Root: r.root})
		return there.Get(ctx, nil)
	})
	r.must(r.env.GetWorkflowError())
	if n := len(sent.Events); len(sent.Chains) != 1 || n == 0 || sent.Events[n-1].State != spacelift.RunStateFailed {
		t.Errorf("the run was signaled %+v", sent)
	}
}

// Spacelift is away when it is a follower's turn: it is triggered once all the
// same, whatever answers get lost.
func TestChainTriggersOnce(t *testing.T) {
	r := newChainRig(t, "app<net")
	_, err := r.sim.InjectAPI(simulator.APIFault{Kind: simulator.LostResponse, Field: "runTrigger", Times: 1})
	r.must(err)
	r.at(10*time.Minute, func() { r.ends("app", nil) })
	r.wants(r.play(), chain.PhaseDone, "2 runs finished", "app finished, net finished")
	if n := r.runs("app"); n != 1 {
		t.Errorf("app had %d runs", n)
	}
}

func TestChainIsGivenUp(t *testing.T) {
	r := newChainRig(t, "app<net", "web<app")
	r.changes("app")
	r.at(time.Minute, func() { r.ends("app", r.discards) })
	s := r.play()
	r.wants(s, chain.PhaseDone, "nothing moved for 30 days", "app failed, net finished, web waiting")
	if d := s.EndedAt.Sub(r.begun); d < 30*24*time.Hour || d > 31*24*time.Hour {
		t.Errorf("given up after %s", d)
	}
}

func TestNobodyFollows(t *testing.T) {
	r := newChainRig(t)
	r.wants(r.play(), chain.PhaseDone, "no stack follows net", "net finished")
}

// A chain that has a long history continues in another execution with all that it
// knows, and with what came in at the last moment.
func TestChainContinuesAsNew(t *testing.T) {
	r := newChainRig(t, "app<net", "dns<net", "web<app,dns")
	r.changes("app", "dns")
	r.at(time.Minute, func() { r.ends("app", r.discards) })
	r.at(2*time.Minute, func() {
		// A signal waits when the execution takes its last step.
		r.env.SetContinueAsNewSuggested(true)
		dns := r.newest("dns")
		r.must(r.confirms(dns))
		r.clock.Advance(time.Minute)
		r.env.SignalWorkflowSkippingWorkflowTask(chain.NewsSignal, chain.News{Run: dns, State: finished})
		r.update(chain.SkipUpdate, chain.Skip{Stack: "app", By: "joe", Key: "k"}, "")
	})
	r.env.ExecuteWorkflow(workflows.Chain, chain.Input{Root: r.root})
	again, ok := errors.AsType[*workflow.ContinueAsNewError](r.env.GetWorkflowError())
	if !ok || again.WorkflowType.Name != chain.Type {
		t.Fatalf("the execution ended with %v, want it to continue as new", r.env.GetWorkflowError())
	}
	var in chain.Input
	r.must(converter.GetDefaultDataConverter().FromPayloads(again.Input, &in))

	r.environment()
	r.at(time.Minute, func() {
		r.update(chain.SkipUpdate, chain.Skip{Stack: "app", By: "joe", Note: "another", Key: "k"}, decide.ErrTypeKeyReused)
		r.ends("web", nil)
	})
	r.wants(r.playFrom(in), chain.PhaseDone, "app was skipped", "app skipped, dns finished, net finished, web finished")
	for _, stack := range []spacelift.StackID{"app", "dns", "web"} {
		if n := r.runs(stack); n != 1 {
			t.Errorf("%s had %d runs", stack, n)
		}
	}
}

// A person who stops a chain does not have to wait for a Spacelift that is away.
func TestChainIsStoppedWhileSpaceliftIsAway(t *testing.T) {
	r := newChainRig(t, "app<net")
	_, err := r.sim.InjectAPI(simulator.APIFault{Kind: simulator.ServerError, Field: "runTrigger"})
	r.must(err)
	r.at(time.Hour, func() {
		r.wants(r.status(), chain.PhaseMoving, "app (being triggered)", "app releasing, net finished")
		r.update(chain.SkipUpdate, chain.Skip{Stack: "app", By: "joe"}, managed.ErrTypeTooLate)
		r.update(chain.StopUpdate, chain.Stop{By: "joe"}, "")
	})
	s := r.play()
	r.wants(s, chain.PhaseDone, "joe stopped the chain", "app held, net finished")
	if after := s.EndedAt.Sub(r.begun); after > 2*time.Hour {
		t.Errorf("ended %s after it began", after)
	}
}
