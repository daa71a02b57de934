package simulator_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

func TestDependencies(t *testing.T) {
	chain := func(t *testing.T, edges ...[2]spacelift.StackID) *rig {
		r := newRig(t)
		for _, id := range []spacelift.StackID{"a", "b", "c", "d"} {
			r.stack(simulator.Stack{ID: id, Autodeploy: true, Plan: twoAdded})
		}
		for _, e := range edges {
			r.ok(r.AddDependency(e[0], e[1]))
		}
		return r
	}
	only := func(r *rig, stack spacelift.StackID) simulator.Run {
		r.t.Helper()
		runs, err := r.Runs(stack)
		r.ok(err)
		if len(runs) != 1 {
			r.t.Fatalf("stack %s has %d runs, want 1", stack, len(runs))
		}
		return runs[0]
	}
	line := [][2]spacelift.StackID{{"b", "a"}, {"c", "b"}}

	t.Run("queue immediately, run in order", func(t *testing.T) {
		r := chain(t, line...)
		r.ok(r.SetAutodeploy("a", false))
		id := r.push("a", twoAdded)
		b, c := only(r, "b"), only(r, "c")
		if b.State != "QUEUED" || c.State != "QUEUED" || b.TriggeredBy != "a" || c.TriggeredBy != "b" {
			t.Errorf("b %s by %q, c %s by %q", b.State, b.TriggeredBy, c.State, c.TriggeredBy)
		}
		if diff := cmp.Diff([]spacelift.RunRef{{Account: "acme", Stack: "a", Run: id}}, b.WaitsFor); diff != "" {
			t.Errorf("b waits for (-want +got)\n%s", diff)
		}
		r.ok(r.Confirm("jane", "a", id, ""))
		r.settle()
		r.is("b", b.Ref.Run, "FINISHED")
		r.is("c", c.Ref.Run, "FINISHED")
	})
	t.Run("a failure skips the next, and the one after it runs", func(t *testing.T) {
		r := chain(t, line...)
		r.push("a", simulator.Plan{Delta: twoAdded.Delta, FailIn: "APPLYING"})
		if b, c := only(r, "b"), only(r, "c"); b.State != "SKIPPED" || b.StateVersion != 1 || c.State != "FINISHED" {
			t.Errorf("b %s%d, c %s; want SKIPPED1 and FINISHED", b.State, b.StateVersion, c.State)
		}
	})
	t.Run("a retry does not resume the dependents", func(t *testing.T) {
		r := chain(t, line...)
		id := r.push("a", simulator.Plan{Delta: twoAdded.Delta, FailIn: "PLANNING"})
		again, err := r.Retry("jane", "a", id)
		r.ok(err)
		r.settle()
		r.is("a", again, "FINISHED")
		if b := only(r, "b"); b.State != "SKIPPED" {
			t.Errorf("b %s", b.State)
		}
	})
	t.Run("fan-in waits for all, once", func(t *testing.T) {
		r := chain(t, [][2]spacelift.StackID{{"b", "a"}, {"c", "a"}, {"d", "b"}, {"d", "c"}}...)
		r.ok(r.SetAutodeploy("c", false))
		r.push("a", twoAdded)
		d, c := only(r, "d"), only(r, "c")
		if len(d.WaitsFor) != 2 || d.State != "QUEUED" {
			t.Errorf("d is %s and waits for %v", d.State, d.WaitsFor)
		}
		r.ok(r.Confirm("jane", "c", c.Ref.Run, ""))
		r.settle()
		r.is("d", d.Ref.Run, "FINISHED")
	})
	t.Run("a push to all of them runs each once, in order", func(t *testing.T) {
		r := chain(t, line...)
		ids, err := r.PushAll(simulator.Commit{Message: "monorepo"}, twoAdded, "c", "a", "b")
		r.ok(err)
		r.settle()
		for i, stack := range []spacelift.StackID{"c", "a", "b"} {
			if run := only(r, stack); run.Ref.Run != ids[i] || run.State != "FINISHED" || run.TriggeredBy != "" {
				t.Errorf("%s: %+v", stack, run.Run)
			}
		}
	})
	t.Run("a batch runs each once", func(t *testing.T) {
		r := chain(t, line...)
		var got struct {
			RunTriggerBatch struct {
				Runs []struct {
					RunID string
					Run   struct{ StackID string }
				}
			}
		}
		r.graphql(`mutation ($in: RunTriggerBatchInput!) { runTriggerBatch(input: $in) { runs { runId run { stackId } } } }`,
			map[string]any{"in": map[string]any{"stacks": []any{map[string]any{"stack": "b"}, map[string]any{"stack": "a"}}}}, &got)
		r.settle()
		if runs := got.RunTriggerBatch.Runs; len(runs) != 2 || runs[0].Run.StackID != "b" || string(only(r, "b").Ref.Run) != runs[0].RunID {
			t.Errorf("batch %+v", runs)
		}
		if c := only(r, "c"); c.State != "FINISHED" {
			t.Errorf("c %s", c.State)
		}
	})
	t.Run("proposed runs and tasks don't count", func(t *testing.T) {
		r := chain(t, line...)
		_, err := r.Push("a", simulator.Commit{Branch: "feature"}, twoAdded)
		r.ok(err)
		_, err = r.CreateTask("jane", "a", "ls", false)
		r.ok(err)
		r.settle()
		if runs, err := r.Runs("b"); err != nil || len(runs) != 0 {
			t.Errorf("b has %d runs (%v)", len(runs), err)
		}
	})
	t.Run("cycles are refused with their path", func(t *testing.T) {
		r := chain(t, line...)
		err := r.AddDependency("a", "c")
		if err == nil || !strings.Contains(err.Error(), "a -> c -> b -> a") {
			t.Errorf("error %v", err)
		}
	})
}

func TestReferences(t *testing.T) {
	out := func(id string) simulator.Plan {
		return simulator.Plan{Delta: twoAdded.Delta, Outputs: map[string]string{"vpc_id": id}}
	}
	setup := func(t *testing.T, ref simulator.Reference) *rig {
		r := newRig(t)
		r.stack(simulator.Stack{ID: "net", Name: "Network", Autodeploy: true})
		r.stack(simulator.Stack{ID: "app", Autodeploy: true, Plan: twoAdded})
		r.ok(r.AddDependency("app", "net", ref))
		return r
	}
	last := func(r *rig) simulator.Run {
		runs, err := r.Runs("app")
		r.ok(err)
		return runs[len(runs)-1]
	}
	ref := simulator.Reference{Output: "vpc_id", Input: "TF_VAR_vpc_id"}
	t.Run("run the dependent when the output changed", func(t *testing.T) {
		r := setup(t, ref)
		r.push("net", out("vpc-1"))
		if run := last(r); run.State != "FINISHED" {
			t.Errorf("first output: %s", run.State)
		}
		r.push("net", out("vpc-1"))
		if run := last(r); run.State != "SKIPPED" || !strings.Contains(run.History[1].Note, "have not changed") {
			t.Errorf("same output: %s, %q", run.State, run.History[1].Note)
		}
		r.push("net", out("vpc-2"))
		if run := last(r); run.State != "FINISHED" {
			t.Errorf("new output: %s", run.State)
		}
	})
	t.Run("trigger always", func(t *testing.T) {
		always := ref
		always.TriggerAlways = true
		r := setup(t, always)
		r.push("net", out("vpc-1"))
		r.push("net", out("vpc-1"))
		if run := last(r); run.State != "FINISHED" {
			t.Errorf("same output: %s", run.State)
		}
	})
	t.Run("miss without an apply", func(t *testing.T) {
		r := setup(t, ref)
		id := r.push("app", twoAdded)
		run := r.get("app", id)
		note := run.History[len(run.History)-1].Note
		if want := "job assignment failed: the following inputs are missing: Network.vpc_id => TF_VAR_vpc_id"; run.State != "FAILED" || note != want {
			t.Errorf("%s: %q, want %q", run.State, note, want)
		}
	})
}

func TestExternalDependencies(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net"})
	one, err := r.PushWaiting("net", simulator.Commit{}, simulator.Plan{}, "build-1", "scan-1")
	r.ok(err)
	two, err := r.PushWaiting("net", simulator.Commit{}, simulator.Plan{}, "build-2")
	r.ok(err)
	mark := func(name, status string) {
		t.Helper()
		a := r.graphql(`mutation ($d: ID!, $s: RunExternalDependencyStatus!) { runExternalDependencyMarkAsCompleted(dependency: $d, status: $s) { phantom } }`,
			map[string]any{"d": name, "s": status}, nil)
		if len(a.Errors) > 0 {
			t.Fatal(a.Errors)
		}
		r.settle()
	}
	mark("build-1", "FINISHED")
	r.is("net", one, "QUEUED")
	mark("scan-1", "SKIPPED")
	r.is("net", one, "FINISHED")
	mark("build-2", "FAILED")
	r.is("net", two, "FAILED")
}
