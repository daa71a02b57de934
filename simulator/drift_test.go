package simulator_test

import (
	"strings"
	"testing"

	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

func TestDrift(t *testing.T) {
	r := newRig(t)
	r.ok(r.AddWorkerPool(simulator.WorkerPool{ID: "pool"}))
	r.stack(simulator.Stack{ID: "net", WorkerPool: "pool", Drift: simulator.DriftDetection{Schedule: []string{"0 4 * * *"}, Reconcile: true}})
	if _, err := r.DetectDrift("net", twoAdded); err == nil {
		t.Error("drift checked on a stack that has never finished")
	}
	r.push("net", simulator.Plan{})
	id, err := r.DetectDrift("net", twoAdded)
	r.ok(err)
	r.settle()
	runs, err := r.Runs("net")
	r.ok(err)
	check, repair := r.get("net", id), runs[len(runs)-1]
	if check.Type != "PROPOSED" || !check.DriftDetection || check.State != "FINISHED" {
		t.Errorf("check %+v", check.Run)
	}
	if repair.Type != "TRACKED" || !repair.DriftDetection || repair.State != "UNCONFIRMED" || repair.TriggeredBy == "" {
		t.Errorf("repair %+v", repair.Run)
	}
	r.ok(r.Discard("jane", "net", repair.Ref.Run, ""))
	r.settle()
	r.push("net", simulator.Plan{})
	_, err = r.DetectDrift("net", simulator.Plan{})
	r.ok(err)
	r.settle()
	again, err := r.Runs("net")
	r.ok(err)
	if len(again) != len(runs)+2 {
		t.Errorf("%d runs more, want the push and a check without a repair", len(again)-len(runs))
	}
}

// Terraform schedules drift detection, changes it, imports it and removes it.
func TestLifeOfDriftDetection(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net"})
	const selection = `{reconcile,ignoreState,schedule,timezone}`
	const create = `mutation DriftDetectionCreate($input:DriftDetectionIntegrationInput!$stack:ID!){stackIntegrationDriftDetectionCreate(stack: $stack, input: $input)` + selection + `}`
	const update = `mutation DriftDetectionUpdate($input:DriftDetectionIntegrationInput!$stack:ID!){stackIntegrationDriftDetectionUpdate(stack: $stack, input: $input)` + selection + `}`
	const remove = `mutation DriftDetectionDelete($stack:ID!){stackIntegrationDriftDetectionDelete(stack: $stack){deleted}}`
	input := func(reconcile bool, zone any, schedule ...string) map[string]any {
		return map[string]any{"stack": "net", "input": map[string]any{"reconcile": reconcile, "ignoreState": false, "schedule": append([]string{}, schedule...), "timezone": zone}}
	}
	shown := func() string {
		return r.ask(`query StackDriftDetectionRead($id:ID!){stack(id: $id){integrations{driftDetection`+selection+`}}}`, map[string]any{"id": "net"})
	}
	const none = `{"stack":{"integrations":{"driftDetection":null}}}`
	if got := shown(); got != none {
		t.Errorf("before: %s", got)
	}
	if got := r.refused(update, input(false, "UTC", "0 4 * * *")); !strings.Contains(got, "not found") {
		t.Errorf("updated what is not there: %q", got)
	}
	want := `{"reconcile":true,"ignoreState":false,"schedule":["*/3 * * * *","*/4 * * * *"],"timezone":"UTC"}`
	if got := r.ask(create, input(true, "UTC", "*/3 * * * *", "*/4 * * * *")); got != `{"stackIntegrationDriftDetectionCreate":`+want+`}` {
		t.Errorf("created %s", got)
	}
	r = r.restart()
	if got := shown(); got != `{"stack":{"integrations":{"driftDetection":`+want+`}}}` {
		t.Errorf("after a restart: %s", got)
	}
	if got := r.refused(create, input(false, "UTC", "0 4 * * *")); got != "stack net has drift detection" {
		t.Errorf("created twice: %q", got)
	}
	want = `{"reconcile":false,"ignoreState":false,"schedule":["0 4 * * *"],"timezone":"Europe/Warsaw"}`
	if got := r.ask(update, input(false, "Europe/Warsaw", "0 4 * * *")); got != `{"stackIntegrationDriftDetectionUpdate":`+want+`}` {
		t.Errorf("updated %s", got)
	}
	for wrong, variables := range map[string]map[string]any{
		"needs a schedule": input(false, "UTC"), `schedule "soon" is no cron expression`: input(false, "UTC", "soon"),
		`time zone "Mars/Olympus" of a drift schedule is unknown`: input(false, "Mars/Olympus", "0 4 * * *"),
	} {
		if got := r.refused(update, variables); !strings.Contains(got, wrong) {
			t.Errorf("refused with %q, want %q", got, wrong)
		}
	}
	r.ask(`mutation($id:ID!$input:StackInput!){stackUpdate(id: $id, input: $input){id}}`, map[string]any{
		"id": "net", "input": map[string]any{"name": "net", "branch": "main", "repository": "infra", "administrative": false},
	})
	if got := shown(); !strings.Contains(got, want) {
		t.Errorf("after an update of the stack: %s", got)
	}
	for _, want := range []string{`{"stackIntegrationDriftDetectionDelete":{"deleted":true}}`, `{"stackIntegrationDriftDetectionDelete":null}`} {
		if got := r.ask(remove, map[string]any{"stack": "net"}); got != want {
			t.Errorf("removed: %s, want %s", got, want)
		}
	}
	if got := shown(); got != none {
		t.Errorf("afterwards: %s", got)
	}
}

// Tests of other programs let a drift check happen as the schedule would.
func TestDriftCheckOverTheControlAPI(t *testing.T) {
	r := newRig(t)
	r.must(201, "POST", "/worker-pools", `{"id":"pool"}`, nil)
	r.must(201, "POST", "/stacks", `{"id":"net","workerPool":"pool"}`, nil)
	r.must(201, "POST", "/stacks", `{"id":"public","drift":{"schedule":["0 4 * * *"]}}`, nil)
	r.must(400, "POST", "/stacks", `{"id":"x","drift":{"schedul":["0 4 * * *"]}}`, nil)
	r.must(409, "POST", "/stacks", `{"id":"x","drift":{"reconcile":true}}`, nil)
	r.pushed("net", `{}`)
	r.pushed("public", `{}`)
	detail := func(path, body string) string {
		var problem struct{ Detail string }
		r.must(409, "POST", path, body, &problem)
		return problem.Detail
	}
	if got := detail("/stacks/net/drift-checks", `{}`); got != "stack net has no drift detection" {
		t.Errorf("refused with %q", got)
	}
	if got := detail("/stacks/public/drift-checks", `{}`); got != "drift detection needs a private worker pool" {
		t.Errorf("refused with %q", got)
	}
	var run simulator.Run
	check := func() {
		r.must(201, "POST", "/stacks/net/drift-checks", `{"plan":{"delta":{"changed":1}}}`, &run)
		r.settle()
	}
	count := func() int {
		var runs struct{ Runs []simulator.Run }
		r.must(200, "GET", "/stacks/net/runs", "", &runs)
		return len(runs.Runs)
	}
	r.must(204, "PUT", "/stacks/net/drift-detection", `{"schedule":["0 4 * * *"]}`, nil)
	if check(); count() != 2 || run.Type != spacelift.RunTypeProposed || !run.DriftDetection {
		t.Errorf("%d runs, the check is %+v", count(), run.Run)
	}
	r.must(204, "PUT", "/stacks/net/drift-detection", `{"schedule":["0 4 * * *"],"reconcile":true}`, nil)
	if check(); count() != 4 {
		t.Errorf("%d runs, want a check and a repair more", count())
	}
	r.must(204, "PUT", "/stacks/net/drift-detection", `{}`, nil)
	if got := detail("/stacks/net/drift-checks", `{}`); got != "stack net has no drift detection" {
		t.Errorf("refused with %q", got)
	}
}
