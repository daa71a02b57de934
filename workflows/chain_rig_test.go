package workflows_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/workflows"
)

// chainRig plays a story to Chain: stacks of a simulated account that follow
// each other, and a run of net-prod that has finished.
type chainRig struct {
	*accountRig
	env     *testsuite.TestWorkflowEnvironment
	root    spacelift.RunRef
	managed []managed.ManageRunInput
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
	r.env.RegisterWorkflow(workflows.Chain)
	r.env.RegisterActivity(&activities.Activities{
		Accounts: map[spacelift.Account]activities.Spacelift{"acme": r.client}, Definitions: theConfiguration, Temporal: r, Now: r.clock.Now,
	})
	r.env.RegisterWorkflowWithOptions(func(_ workflow.Context, in managed.ManageRunInput) (managed.RunStatus, error) {
		r.managed = append(r.managed, in)
		return managed.RunStatus{}, nil
	}, workflow.RegisterOptions{Name: managed.ManageRunType})
}

// at does something at a time of the story, in the account too.
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

// ends lets the newest run of a stack end, and its execution signal the chain.
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
	r.env.SignalWorkflow(chain.NewsSignal, chain.News{Run: ref, State: run.State})
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

func (r *chainRig) play() chain.Status {
	r.Helper()
	return r.playFrom(chain.Input{Root: r.root})
}

func (r *chainRig) playFrom(in chain.Input) chain.Status {
	r.Helper()
	r.env.ExecuteWorkflow(workflows.Chain, in)
	if !r.env.IsWorkflowCompleted() {
		r.Fatal("the chain has not ended")
	}
	var s chain.Status
	if err := r.env.GetWorkflowResult(&s); err != nil {
		r.Fatalf("the chain failed: %v", err)
	}
	return s
}

func (r *chainRig) status() chain.Status {
	r.Helper()
	var s chain.Status
	answer, err := r.env.QueryWorkflow(chain.Query)
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

func nodes(s chain.Status) string {
	var all []string
	for _, n := range s.Nodes {
		all = append(all, string(n.Stack)+" "+string(n.State))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func (r *chainRig) wants(s chain.Status, phase chain.Phase, summary, list string) {
	r.Helper()
	if s.Phase != phase || !strings.Contains(s.Summary, summary) || nodes(s) != list {
		r.Errorf("the chain is %s: %s\n\t%s\nwant %s with %q\n\t%s", s.Phase, s.Summary, nodes(s), phase, summary, list)
		for _, e := range s.Timeline {
			r.Logf("%s %s %s %s", e.At.Format("02 15:04:05"), e.Kind, e.Stack, e.Summary)
		}
	}
}

// runs counts the tracked runs of a stack.
func (r *chainRig) runs(stack spacelift.StackID) int {
	r.Helper()
	all, err := r.sim.Runs(stack)
	r.must(err)
	return len(all)
}
