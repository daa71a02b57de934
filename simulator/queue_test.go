package simulator_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

func (r *rig) state(stack spacelift.StackID, id spacelift.RunID) spacelift.RunState {
	r.t.Helper()
	return r.get(stack, id).State
}

func (r *rig) is(stack spacelift.StackID, id spacelift.RunID, want spacelift.RunState) {
	r.t.Helper()
	if got := r.state(stack, id); got != want {
		r.t.Errorf("run of %s is %s, want %s", stack, got, want)
	}
}

func (r *rig) blocker(stack spacelift.StackID) spacelift.RunID {
	r.t.Helper()
	st, err := r.Stack(stack)
	r.ok(err)
	return st.Blocker
}

func TestOneBlockingRunAtATime(t *testing.T) {
	r := newRig(t, func(o *simulator.Options) { o.BlockerLag = 10 * time.Second })
	r.stack(simulator.Stack{ID: "net"})
	first, second := r.push("net", twoAdded), r.push("net", twoAdded)
	task, err := r.CreateTask("jane", "net", "ls", false)
	r.ok(err)
	preview, err := r.Push("net", simulator.Commit{Branch: "feature"}, twoAdded)
	r.ok(err)
	r.settle()
	r.is("net", first, "UNCONFIRMED")
	r.is("net", second, "QUEUED")
	r.is("net", task, "QUEUED")
	r.is("net", preview, "FINISHED") // does not block, is not blocked

	r.ok(r.Discard("jane", "net", first, ""))
	r.settle()
	if got := r.blocker("net"); got != first {
		t.Errorf("blocker %q right after the end, want it cleared late", got)
	}
	r.is("net", second, "QUEUED")
	r.advance(10 * time.Second)
	if got := r.blocker("net"); got != second {
		t.Errorf("blocker %q after the lag, want the second run", got)
	}
	r.is("net", second, "UNCONFIRMED")
	r.is("net", task, "QUEUED")
	r.ok(r.Confirm("jane", "net", second, ""))
	r.advance(10 * time.Second)
	r.is("net", second, "FINISHED")
	r.is("net", task, "FINISHED") // its turn came
	r.advance(10 * time.Second)
	if got := r.blocker("net"); got != "" {
		t.Errorf("blocker %q of an idle stack", got)
	}
}

func TestPrioritizedRunOvertakes(t *testing.T) {
	r := newRig(t)
	r.ok(r.AddWorkerPool(simulator.WorkerPool{ID: "pool"}))
	r.stack(simulator.Stack{ID: "net", WorkerPool: "pool"})
	first, second, third := r.push("net", twoAdded), r.push("net", twoAdded), r.push("net", twoAdded)
	a := r.graphql(`mutation ($run: ID!) { runPrioritizeSet(stack: "net", run: $run, prioritize: true) { id } }`, map[string]any{"run": third}, nil)
	if len(a.Errors) > 0 {
		t.Fatal(a.Errors)
	}
	r.ok(r.Discard("jane", "net", first, ""))
	r.settle()
	r.is("net", third, "UNCONFIRMED")
	r.is("net", second, "QUEUED")
}

func TestLocks(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net", Autodeploy: true})
	r.ok(r.Lock("jane", "net", "surgery"))
	if err := r.Lock("ann", "net", ""); err == nil {
		t.Error("ann locked jane's stack")
	}
	if _, err := r.Trigger("ann", simulator.Trigger{Stack: "net"}); err == nil {
		t.Error("ann triggered a run on jane's stack")
	}
	pushed := r.push("net", twoAdded)
	r.is("net", pushed, "QUEUED")
	r.ok(r.SetNextPlan("net", twoAdded))
	own, err := r.Trigger("jane", simulator.Trigger{Stack: "net"})
	r.ok(err)
	r.settle()
	r.is("net", own, "UNCONFIRMED") // autodeploy is off while locked
	r.ok(r.Discard("jane", "net", own, ""))
	r.settle()

	a := r.graphql(`mutation { stackUnlock(id: "net") { lockedBy } }`, nil, nil) // an admin key
	if string(a.Data) != `{"stackUnlock":{"lockedBy":null}}` {
		t.Fatalf("unlock: %s %v", a.Data, a.Errors)
	}
	r.settle()
	r.is("net", pushed, "FINISHED")
}

func TestWritersUnlockOnlyTheirOwnLocks(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net"})
	r.ok(r.Lock("jane", "net", ""))
	r.AddAPIKey(simulator.APIKey{ID: "01WRITER", Secret: "x", Role: simulator.Writer})
	r.token = r.exchange("01WRITER", "x")
	if a := r.graphql(`mutation { stackUnlock(id: "net") { id } }`, nil, nil); len(a.Errors) != 1 {
		t.Errorf("a writer unlocked somebody else's stack: %s", a.Data)
	}
	if a := r.graphql(`mutation { stackDelete(id: "net") { id } }`, nil, nil); len(a.Errors) != 1 || a.Errors[0].Message != "unauthorized" {
		t.Errorf("a writer deleted a stack: %+v", a)
	}
}

func TestApprovals(t *testing.T) {
	t.Run("hold a confirmation", func(t *testing.T) {
		r := newRig(t)
		r.stack(simulator.Stack{ID: "net", Approvals: 2})
		id := r.push("net", twoAdded)
		if run := r.get("net", id); !run.NeedsApproval || run.CanConfirm {
			t.Errorf("needsApproval %v, canConfirm %v", run.NeedsApproval, run.CanConfirm)
		}
		r.ok(r.Review("ann", "net", id, "APPROVE", ""))
		r.ok(r.Review("ann", "net", id, "APPROVE", "again")) // still one person
		if err := r.Confirm("jane", "net", id, ""); err == nil {
			t.Error("confirmed with one approval of two")
		}
		r.ok(r.Review("bob", "net", id, "APPROVE", ""))
		if run := r.get("net", id); run.NeedsApproval || !run.CanConfirm {
			t.Errorf("needsApproval %v, canConfirm %v", run.NeedsApproval, run.CanConfirm)
		}
		r.is("net", id, "UNCONFIRMED") // approval is not confirmation
		r.ok(r.Confirm("jane", "net", id, ""))
		r.settle()
		r.is("net", id, "FINISHED")
	})
	t.Run("end with a rejection", func(t *testing.T) {
		r := newRig(t)
		r.stack(simulator.Stack{ID: "net", Approvals: 2})
		id := r.push("net", twoAdded)
		a := r.graphql(`mutation ($run: ID!) { runReview(stack: "net", run: $run, decision: REJECT, note: "no") { author decision state } }`,
			map[string]any{"run": id}, nil)
		if string(a.Data) != `{"runReview":{"author":"api::01KEY","decision":"REJECT","state":"UNCONFIRMED"}}` {
			t.Errorf("review: %s %v", a.Data, a.Errors)
		}
		r.is("net", id, "FAILED")
	})
	t.Run("are asked for in the queue of an autodeploying stack", func(t *testing.T) {
		r := newRig(t)
		r.stack(simulator.Stack{ID: "net", Approvals: 1, Autodeploy: true})
		id := r.push("net", twoAdded)
		r.is("net", id, "QUEUED")
		if !r.get("net", id).NeedsApproval {
			t.Error("needsApproval is false")
		}
		r.ok(r.Review("ann", "net", id, "APPROVE", ""))
		r.settle()
		r.is("net", id, "FINISHED")
	})
	t.Run("count in the state they were given in", func(t *testing.T) {
		r := newRig(t)
		r.stack(simulator.Stack{ID: "net", Approvals: 1, ApproveQueued: true})
		id := r.push("net", twoAdded)
		r.ok(r.Review("ann", "net", id, "APPROVE", ""))
		r.settle()
		if run := r.get("net", id); run.State != "UNCONFIRMED" || !run.NeedsApproval {
			t.Errorf("%s, needsApproval %v; the plan was approved before it was made", run.State, run.NeedsApproval)
		}
	})
	t.Run("don't hold the runs behind", func(t *testing.T) {
		r := newRig(t)
		r.stack(simulator.Stack{ID: "net", Approvals: 1, ApproveQueued: true})
		waiting, next := r.push("net", twoAdded), r.push("net", simulator.Plan{})
		r.ok(r.Review("ann", "net", next, "APPROVE", ""))
		r.settle()
		r.is("net", waiting, "QUEUED")
		r.is("net", next, "FINISHED")
	})
}

func TestStopAndKill(t *testing.T) {
	slow := func(p simulator.Plan) simulator.Plan {
		p.Phases = simulator.Phases{"PLANNING": time.Minute, "APPLYING": time.Minute}
		return p
	}
	t.Run("stop is not instant", func(t *testing.T) {
		r := newRig(t, func(o *simulator.Options) { o.StopLag = 5 * time.Second })
		r.stack(simulator.Stack{ID: "net"})
		id := r.push("net", slow(twoAdded))
		r.ok(r.Stop("jane", "net", id, "enough"))
		r.is("net", id, "PLANNING")
		r.advance(5 * time.Second)
		r.is("net", id, "STOPPED")
	})
	t.Run("a worker may ignore it", func(t *testing.T) {
		r := newRig(t)
		r.stack(simulator.Stack{ID: "net"})
		p := slow(twoAdded)
		p.IgnoreStop = true
		id := r.push("net", p)
		r.ok(r.Stop("jane", "net", id, ""))
		r.advance(time.Minute)
		r.is("net", id, "UNCONFIRMED")
	})
	t.Run("kill ends an apply", func(t *testing.T) {
		r := newRig(t)
		r.stack(simulator.Stack{ID: "net", Autodeploy: true})
		id := r.push("net", slow(twoAdded))
		r.advance(time.Minute)
		r.is("net", id, "APPLYING")
		r.ok(r.Kill("jane", "net", id, ""))
		r.is("net", id, "FAILED")
	})
}

func TestNewerPushStopsOlderPreviews(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net"})
	p := simulator.Plan{Phases: simulator.Phases{"PLANNING": time.Minute}}
	older, err := r.Push("net", simulator.Commit{Branch: "feature"}, p)
	r.ok(err)
	other, err := r.Push("net", simulator.Commit{Branch: "another"}, p)
	r.ok(err)
	r.settle()
	_, err = r.Push("net", simulator.Commit{Branch: "feature"}, p)
	r.ok(err)
	r.is("net", older, "STOPPED")
	r.is("net", other, "PLANNING")
}

func TestPromotion(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net"})
	r.push("net", simulator.Plan{})
	r.advance(time.Minute)
	preview, err := r.Push("net", simulator.Commit{Branch: "feature", Message: "newer"}, twoAdded)
	r.ok(err)
	r.settle()
	id, err := r.Promote("jane", "net", preview)
	r.ok(err)
	if run := r.get("net", id); id == preview || run.Type != "TRACKED" || run.Commit.Message != "newer" || run.TriggeredBy != "jane" {
		t.Errorf("promoted %+v", run.Run)
	}
	r.settle()
	if _, err := r.Promote("jane", "net", preview); err == nil {
		t.Error("promoted a commit that is not newer than the tracked one")
	}
	r.ok(r.AddStack(simulator.Stack{ID: "strict", NoPromotion: true}))
	preview, err = r.Push("strict", simulator.Commit{Branch: "feature"}, twoAdded)
	r.ok(err)
	r.settle()
	if _, err := r.Promote("jane", "strict", preview); err == nil {
		t.Error("promoted on a stack that does not allow it")
	}
}

func TestDestroyRunDeletesTheStack(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net"})
	r.push("net", simulator.Plan{})
	r.routeAll()
	a := r.graphql(`mutation { stackDelete(id: "net", destroyResources: true) { deleting } }`, nil, nil)
	if string(a.Data) != `{"stackDelete":{"deleting":true}}` {
		t.Fatalf("%s %v", a.Data, a.Errors)
	}
	if _, err := r.Push("net", simulator.Commit{}, twoAdded); err == nil {
		t.Error("pushed to a stack that is being deleted")
	}
	r.settle()
	want := []spacelift.RunState{"QUEUED", "READY", "PREPARING", "INITIALIZING", "DESTROYING", "FINISHED"}
	if diff := cmp.Diff(want, r.hook.states()); diff != "" {
		t.Errorf("states (-want +got)\n%s", diff)
	}
	if a := r.graphql(`{ stack(id: "net") { id } }`, nil, nil); string(a.Data) != `{"stack":null}` {
		t.Errorf("stack is still there: %s", a.Data)
	}
}

func TestDisabledStackCreatesNoRuns(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net"})
	r.graphql(`mutation { stackDisable(id: "net") { isDisabled } }`, nil, nil)
	if a := r.graphql(`mutation { runTrigger(stack: "net") { id } }`, nil, nil); len(a.Errors) != 1 {
		t.Errorf("triggered: %s", a.Data)
	}
	r.graphql(`mutation { stackEnable(id: "net") { isDisabled } }`, nil, nil)
	if a := r.graphql(`mutation { runTrigger(stack: "net") { id } }`, nil, nil); len(a.Errors) != 0 {
		t.Errorf("refused: %v", a.Errors)
	}
}

func TestPhasesTakeTheirTime(t *testing.T) {
	r := newRig(t, func(o *simulator.Options) { o.Phases = simulator.RealisticPhases() })
	r.stack(simulator.Stack{ID: "net"})
	id := r.push("net", simulator.Plan{})
	r.is("net", id, "QUEUED")
	r.advance(200 * time.Millisecond)
	r.is("net", id, "READY")
	r.advance(3400*time.Millisecond + 4800*time.Millisecond)
	r.is("net", id, "INITIALIZING")
	r.advance(13300*time.Millisecond + 28*time.Second - time.Nanosecond)
	r.is("net", id, "PLANNING")
	r.advance(time.Nanosecond)
	r.is("net", id, "FINISHED")
	if end := r.get("net", id).History[5].At; !end.Equal(epoch.Add(49700 * time.Millisecond)) {
		t.Errorf("finished at %s", end)
	}
}

// A run doesn't overtake an older one that takes longer to be queued.
func TestNoRunOvertakesAnOlderOne(t *testing.T) {
	r := newRig(t)
	stack := r.stack(simulator.Stack{ID: "network"})
	slow := simulator.Plan{Phases: simulator.Phases{spacelift.RunStateQueued: 2 * time.Second}, Delta: spacelift.Delta{Added: 1}}
	first := r.push(stack, slow)
	second := r.push(stack, simulator.Plan{})
	r.settle()
	if s := r.get(stack, second).State; s != spacelift.RunStateQueued {
		t.Errorf("the second run is %s before the first has left the queue", s)
	}
	r.advance(2 * time.Second)
	if a, b := r.get(stack, first).State, r.get(stack, second).State; a != spacelift.RunStateUnconfirmed || b != spacelift.RunStateQueued {
		t.Errorf("the runs are %s and %s", a, b)
	}
}
