package simulator_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// deed is one thing that happens to an account: what it is and two numbers that
// say to whom and how. Refusals are part of the script.
type deed struct{ do, who, how int }

var deeds = []func(r *rig, who, how int) error{
	func(r *rig, who, how int) error {
		branch := map[bool]string{true: "feature"}[how%4 == 3]
		_, err := r.PushWaiting(stackOf(who), simulator.Commit{Branch: branch}, planOf(how), map[bool][]string{true: {"ext"}}[how%5 == 4]...)
		return err
	},
	func(r *rig, who, how int) error {
		run, ok := r.runOf(who)
		if !ok {
			return nil
		}
		stack, id := run.Ref.Stack, run.Ref.Run
		switch how % 11 {
		case 0, 1, 2:
			return r.Confirm("jane", stack, id, "go")
		case 3:
			return r.Discard("jane", stack, id, "no")
		case 4:
			return r.Stop("jane", stack, id, "stop")
		case 5:
			return r.Kill("jane", stack, id, "kill")
		case 6:
			return r.Replan("jane", stack, id)
		case 7:
			return r.Review("ann", stack, id, "APPROVE", "fine")
		case 8:
			_, err := r.Retry("jane", stack, id)
			return err
		case 9:
			return r.Comment("ann", stack, id, "why?")
		}
		return r.Cancel("jane", stack, id, "")
	},
	func(r *rig, _, how int) error { r.pass(time.Duration(how) * 1300 * time.Millisecond); return nil },
	func(r *rig, who, how int) error {
		switch how % 6 {
		case 0:
			return r.Lock("jane", stackOf(who), "mine")
		case 1:
			return r.Unlock("ann", stackOf(who))
		case 2:
			return r.SetLabels(stackOf(who), "gantry:managed", strconv.Itoa(how))
		case 3:
			return r.SetNextPlan(stackOf(who), planOf(how))
		case 4:
			return r.SetAutodeploy(stackOf(who), how > 10)
		}
		return r.SetApprovals(stackOf(who), how%2)
	},
	func(r *rig, who, how int) error {
		var err error
		switch how % 4 {
		case 0:
			_, err = r.Trigger("jane", simulator.Trigger{Stack: stackOf(who), Metadata: "m", ForceApply: map[bool]string{true: "CASCADE"}[how > 10]})
		case 1:
			_, err = r.CreateTask("jane", stackOf(who), "ls", how > 10)
		case 2:
			_, err = r.DetectDrift(stackOf(who), planOf(how))
		case 3:
			_, err = r.TestModule("mod", simulator.Commit{}, planOf(how))
		}
		return err
	},
	func(r *rig, who, how int) error {
		if how%3 == 0 {
			return r.MarkExternalDependency("ext", []string{"FINISHED", "FAILED"}[who%2])
		}
		return r.AddDependency(stackOf(who), stackOf(how), simulator.Reference{Output: "vpc", Input: "VPC", TriggerAlways: how%2 == 0})
	},
	func(r *rig, who, how int) error {
		kinds := []simulator.DeliveryFaultKind{simulator.Delay, simulator.Duplicate, simulator.Reorder, simulator.Drop, simulator.InternalNoise}
		_, err := r.InjectDelivery(simulator.DeliveryFault{
			Kind: kinds[how%len(kinds)], Stack: stackOf(who), Times: how % 3, Probability: float64(how%2) / 2, Delay: simulator.Duration(time.Minute),
		})
		return err
	},
	func(r *rig, who, how int) error {
		document := []string{
			`mutation { namedWebhooksIntegrationSetHeaders(id: "hook", input: {entries: [{key: "X-N", value: "%d"}]}) { id } }`,
			`mutation { stackConfigAdd(stack: "a", config: {id: "N", type: ENVIRONMENT_VARIABLE, value: "%d", writeOnly: true}) { id } }`,
			`mutation { spaceCreate(input: {name: "S%d", parentSpace: "root", inheritEntities: true, description: "", labels: []}) { id } }`,
			`mutation { stackUpdate(id: "b", input: {name: "B", branch: "main", repository: "infra", administrative: true, labels: ["%d"]}) { id } }`,
			`mutation { policyAttach(id: "plan", stack: "a") { id } x%d: __typename }`,
			`{ stacks { id } x%d: __typename }`,
			`mutation { contextConfigAdd(context: "shared", config: {id: "N", type: ENVIRONMENT_VARIABLE, value: "%d", writeOnly: true}) { id } }`,
			`mutation { contextDelete(id: "shared") { id } x%d: __typename }`,
		}[how%8]
		r.graphql(fmt.Sprintf(document, who), nil, nil)
		return nil
	},
	func(r *rig, who, how int) error {
		if how%2 == 0 {
			_, err := r.RemoveStack("jane", stackOf(who), how%4 == 0)
			return err
		}
		return r.AddStack(simulator.Stack{ID: stackOf(who), Autodeploy: true, Plan: planOf(how)})
	},
}

func stackOf(n int) spacelift.StackID { return spacelift.StackID("abcd"[n%4 : n%4+1]) }

func planOf(n int) simulator.Plan {
	p := simulator.Plan{Delta: spacelift.Delta{Added: n % 3, Deleted: n % 2}}
	switch n % 6 {
	case 0:
		p.FailIn, p.FailNote = []spacelift.RunState{"PLANNING", "APPLYING", "CONFIRMED"}[n%3], "as asked"
	case 1:
		p.Outputs = map[string]string{"vpc": strconv.Itoa(n)}
	case 2:
		p.Verdict, p.Messages = simulator.Warn, []string{"careful"}
	case 3:
		p.Phases = simulator.Phases{"PLANNING": time.Minute}
	case 4:
		p.Changes = []simulator.Change{{Address: "x", Action: "added", Values: map[string]any{"n": 1 << 60, "f": 0.5, "l": []any{"a", nil}}}}
	case 5:
		p.Changes, p.Logs = []simulator.Change{}, map[spacelift.RunState][]string{"PLANNING": {}, "APPLYING": {"a", "b"}}
	}
	return p
}

// runOf is one of the runs there are.
func (r *rig) runOf(n int) (simulator.Run, bool) {
	var all []simulator.Run
	for _, st := range r.Stacks() {
		runs, err := r.Runs(st.ID)
		r.ok(err)
		all = append(all, runs...)
	}
	if len(all) == 0 {
		return simulator.Run{}, false
	}
	return all[n%len(all)], true
}

// stage is an account with a bit of everything and a history, for scripts to
// play on.
func stage(t *testing.T) *rig {
	hook := &receiver{answer: func(int) int { return http.StatusOK }}
	r := newRig(t, realistic, func(o *simulator.Options) {
		o.BlockerLag, o.StopLag = time.Second, 3*time.Second
		o.HTTPClient = &http.Client{Transport: transport{hook}}
	})
	r.hook, hook.url = hook, "http://hook"
	r.ok(r.AddSpace(simulator.Space{ID: "team", InheritEntities: true, Labels: []string{"t"}}))
	r.ok(r.AddWorkerPool(simulator.WorkerPool{ID: "pool", Name: "Pool", Labels: []string{"p"}}))
	r.stack(simulator.Stack{ID: "a", Space: "team", WorkerPool: "pool", Labels: []string{"gantry:managed"}})
	r.stack(simulator.Stack{ID: "b", WorkerPool: "pool", Autodeploy: true, Drift: simulator.DriftDetection{Schedule: []string{"0 4 * * *"}, Reconcile: true, IgnoreState: true}})
	r.stack(simulator.Stack{ID: "c", Approvals: 1, Plan: planOf(1)})
	r.stack(simulator.Stack{ID: "d", Autodeploy: true, ApproveQueued: true})
	r.stack(simulator.Stack{ID: "mod", Module: true})
	r.ok(r.AddStackWebhook(simulator.StackWebhook{Stack: "b", Endpoint: "http://own", Secret: "own"}))
	r.ok(r.AddDependency("b", "a"))
	r.ok(r.AddPolicy(simulator.Policy{ID: "plan", Type: "PLAN", Body: "package spacelift"}))
	r.routeAll()
	r.ok(r.AddPolicy(simulator.Policy{ID: "sampled", Engine: simulator.RegoV1, Body: `package spacelift

sample := true

inbox contains {"title": "done", "body": input.run_updated.run.id} if input.run_updated.state == "FINISHED"
`}))
	r.ok(r.AddContext(simulator.Context{
		ID: "shared", Space: "team", Labels: []string{"autoattach:*"}, Hooks: simulator.Hooks{BeforePlan: []string{"x"}},
		Config: []simulator.ConfigElement{{ID: "REGION", Value: "eu-1", Description: "d"}, {ID: "f", Type: simulator.FileMount, Value: "Zg==", WriteOnly: true}},
	}))
	r.ok(r.AttachContext("shared", "a", 2))
	for _, document := range []string{
		`mutation { stackCreate(input: {name: "Made", branch: "main", repository: "infra", administrative: true, beforeInit: ["x"]}, manageState: true) { id } }`,
		`mutation { stackConfigAdd(stack: "a", config: {id: "V", type: ENVIRONMENT_VARIABLE, value: "1", writeOnly: false, description: "d"}) { id } }`,
		`mutation { stackDependencyCreate(input: {stackId: "d", dependsOnStackId: "b", triggerAlways: true}) { id } }`,
		`mutation { policyAttach(id: "plan", stack: "c") { id } }`,
		`mutation { stackDisable(id: "made") { id } }`,
	} {
		if a := r.graphql(document, nil, nil); len(a.Errors) > 0 {
			t.Fatalf("%s: %v", document, a.Errors)
		}
	}
	prioritize := func(id spacelift.RunID) {
		document := `mutation { runPrioritizeSet(stack: "a", run: "` + string(id) + `", prioritize: true) { id } }`
		if a := r.graphql(document, nil, nil); len(a.Errors) > 0 {
			t.Fatalf("%s: %v", document, a.Errors)
		}
	}
	quick := simulator.RealisticPhases()
	for state := range quick {
		quick[state] = 100 * time.Millisecond
	}
	r.ok(r.SetPlan("d", simulator.Plan{Phases: quick})) // it runs after b
	r.push("b", simulator.Plan{Delta: twoAdded.Delta, Outputs: map[string]string{"vpc": "1"}, Phases: quick})
	r.pass(3 * time.Second)
	drift, err := r.DetectDrift("b", simulator.Plan{Phases: quick})
	r.ok(err)
	failed := r.push("d", simulator.Plan{FailIn: "PREPARING", Phases: quick})
	prioritize(r.push("a", twoAdded))
	r.pass(2 * time.Second)
	r.is("b", drift, spacelift.RunStateFinished)
	_, err = r.Retry("jane", "d", failed)
	r.ok(err)
	r.settle()
	return r
}

// pass advances the clock so that every delivery is made at the instant that
// caused it: all times here are tenths of seconds.
func (r *rig) pass(d time.Duration) {
	for range d / (100 * time.Millisecond) {
		r.clock.Advance(100 * time.Millisecond)
		r.ok(r.Flush(r.t.Context()))
	}
}

func (r *rig) play(script []deed) {
	for _, s := range script {
		_ = deeds[s.do](r, s.who, s.how)
		r.settle()
	}
}

func scripts() *rapid.Generator[[]deed] {
	one := rapid.Custom(func(t *rapid.T) deed {
		// Pushes, actions and time weigh most: they are what makes a history.
		do := rapid.SampledFrom([]int{0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 4, 5, 6, 7, 8}).Draw(t, "do")
		return deed{do, rapid.IntRange(0, 7).Draw(t, "who"), rapid.IntRange(0, 21).Draw(t, "how")}
	})
	return rapid.SliceOfN(one, 1, 25)
}

// Whatever has happened to an account, its snapshot restores to the same account
// with the same snapshot, and one that is stopped and restored half-way through a
// script ends exactly as one that was not: the same runs, ids, times and
// deliveries.
func TestARestoreChangesNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		first, second := scripts().Draw(rt, "first"), scripts().Draw(rt, "second")
		broken := stage(t)
		defer func() { broken.Close() }()
		broken.play(first)
		before := broken
		broken = broken.restart()
		if diff := simulator.Difference(before.Simulator, broken.Simulator); diff != "" {
			rt.Fatalf("the restored account (-before +after)\n%s", diff)
		}
		sameSnapshot(rt, "of the restored account", before, broken)
		broken.play(second)

		whole := stage(t)
		defer whole.Close()
		whole.play(slices.Concat(first, second))
		sameSnapshot(rt, "at the end of the script", whole, broken)
		if diff := cmp.Diff(len(whole.hook.all()), len(broken.hook.all())); diff != "" {
			rt.Fatalf("deliveries (-without +with)\n%s", diff)
		}
	})
}

func sameSnapshot(rt *rapid.T, which string, without, with *rig) {
	rt.Helper()
	want, got := without.saved(), with.saved()
	if bytes.Equal(want, got) {
		return
	}
	lines := func(snapshot []byte) []string {
		var b bytes.Buffer
		with.ok(json.Indent(&b, snapshot, "", " "))
		return strings.Split(b.String(), "\n")
	}
	rt.Fatalf("the snapshot %s (-without +with a restore)\n%s", which, cmp.Diff(lines(want), lines(got)))
}

// What Spacelift lists of a plan agrees with what it counts, whether a push scripts
// the resources, the counts or nothing.
func TestAPlansResourcesAgreeWithItsCounts(t *testing.T) {
	for name, c := range map[string]struct {
		plan simulator.Plan
		want spacelift.Delta
		has  []string
	}{
		"counts": {simulator.Plan{Delta: spacelift.Delta{Added: 7, Changed: 1, Deleted: 2}}, spacelift.Delta{Added: 7, Changed: 1, Deleted: 2},
			[]string{"deleted aws_db_instance.main", "added aws_s3_bucket.artifacts_2"}},
		"resources": {simulator.Plan{Changes: []simulator.Change{
			{Address: "aws_db_instance.main", Action: "destroy-Before-create-replaced"}, {Address: "aws_subnet.a", Action: "changed"},
			{Address: "aws_subnet.b", PreviousAddress: "aws_subnet.old", Action: "no-op"},
		}}, spacelift.Delta{Added: 1, Changed: 1, Deleted: 1}, []string{"destroy-Before-create-replaced aws_db_instance.main", "no-op aws_subnet.b from aws_subnet.old"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.stack(simulator.Stack{ID: "net"})
			run := r.push("net", c.plan)
			got := r.get("net", run)
			if got.State != spacelift.RunStateUnconfirmed || got.Delta == nil || *got.Delta != c.want {
				t.Fatalf("the run is %s with %+v, want %+v", got.State, got.Delta, c.want)
			}
			var out struct {
				Stack struct {
					Run struct {
						ChangesV3 []struct {
							Resources []struct {
								Address, PreviousAddress string
								Metadata                 struct{ Type string }
							}
						}
					}
				}
			}
			r.graphql(`query($run: ID!) { stack(id: "net") { run(id: $run) { changesV3(input: {}) { resources { address previousAddress metadata { type } } } } } }`,
				map[string]any{"run": run}, &out)
			listed := map[string]bool{}
			for _, phase := range out.Stack.Run.ChangesV3 {
				for _, res := range phase.Resources {
					line := res.Metadata.Type + " " + res.Address
					if res.PreviousAddress != res.Address {
						line += " from " + res.PreviousAddress
					}
					if listed[line] {
						t.Errorf("%s is listed twice", line)
					}
					listed[line] = true
				}
			}
			for _, want := range c.has {
				if !listed[want] {
					t.Errorf("%s is missing: %v", want, listed)
				}
			}
		})
	}
}
