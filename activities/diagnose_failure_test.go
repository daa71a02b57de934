package activities_test

import (
	"strings"
	"testing"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// fails makes the rig's run one that failed by a script.
func (r *rig) fails(p simulator.Plan) {
	r.Helper()
	r.must(r.sim.Discard("joe", stack, r.ref.Run, "make room"))
	run, err := r.sim.Push(stack, simulator.Commit{}, p)
	r.must(err)
	r.ref.Run = run
	if p.FailIn == spacelift.RunStateApplying {
		r.reaches(spacelift.RunStateUnconfirmed)
		r.must(r.sim.Confirm("jane", stack, run, ""))
	}
	r.reaches(spacelift.RunStateFailed)
}

func planFails(note string, log ...string) simulator.Plan {
	return simulator.Plan{
		Delta: spacelift.Delta{Added: 1}, FailIn: spacelift.RunStatePlanning, FailNote: note,
		Logs: map[spacelift.RunState][]string{spacelift.RunStatePlanning: log},
	}
}

func TestDiagnoseFailure(t *testing.T) {
	lock := []string{"Initializing...", "Error: Error acquiring the state lock"}
	applying := planFails("", "fine")
	applying.FailIn = spacelift.RunStateApplying
	applying.Logs[spacelift.RunStateApplying] = []string{"Error: ThrottlingException: Rate exceeded"}
	for _, tc := range []struct {
		name  string
		plan  simulator.Plan
		blind bool // logs may not be read
		want  activities.Diagnosis
		logs  int // how often logs were read
	}{
		{name: "by its log", plan: planFails("exit status 1", lock...), logs: 1, want: activities.Diagnosis{Failure: managed.Failure{
			Cause: policy.CauseTransient, Phase: "PLANNING", Evidence: "Error: Error acquiring the state lock", Source: "log",
		}}},
		{name: "logs may not be read", plan: planFails("exit status 1", lock...), blind: true, want: activities.Diagnosis{Failure: managed.Failure{
			Cause: policy.CauseUnknown, Phase: "PLANNING", Evidence: "exit status 1", Source: "note",
		}}},
		{name: "by its note", plan: planFails("no available workers", "fine"), blind: true, want: activities.Diagnosis{Failure: managed.Failure{
			Cause: policy.CauseCapacity, Phase: "PLANNING", Evidence: "no available workers", Source: "note",
		}}},
		{name: "while applying", plan: applying, logs: 1, want: activities.Diagnosis{Failure: managed.Failure{
			Cause: policy.CauseCapacity, Phase: "APPLYING", ApplyBegan: true, Evidence: "Error: ThrottlingException: Rate exceeded", Source: "log",
		}}},
		{name: "denied", plan: simulator.Plan{Delta: spacelift.Delta{Added: 1}, Verdict: simulator.Deny}, logs: 1, want: activities.Diagnosis{Failure: managed.Failure{
			Cause: policy.CausePolicy, Phase: "PLANNING", Evidence: "denied by a plan policy", Source: "note",
		}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			r.fails(tc.plan)
			got := done[activities.Diagnosis](r, r.acts.DiagnoseFailure, activities.DiagnoseFailureInput{Run: r.ref, ReadLogs: !tc.blind})
			if got.Run.State != spacelift.RunStateFailed || len(got.Run.History) == 0 {
				t.Errorf("does not show the run: %+v", got.Run)
			}
			got.Run = spacelift.Run{}
			if got.Cause != tc.want.Cause || got.Phase != tc.want.Phase || got.ApplyBegan != tc.want.ApplyBegan || got.Evidence != tc.want.Evidence || got.Source != tc.want.Source {
				t.Errorf("%+v, want %+v", got, tc.want)
			}
			if n := r.reads("RunLogs"); n != tc.logs {
				t.Errorf("logs were read %d times, want %d", n, tc.logs)
			}
		})
	}
}

// reads counts the requests of one operation.
func (r *rig) reads(operation string) (n int) {
	for _, q := range r.sim.Requests() {
		if q.Operation == operation {
			n++
		}
	}
	return n
}

// Somebody signed a notification of a failure that there was not.
func TestDiagnoseFailureThatWasNot(t *testing.T) {
	r := newRig(t)
	in := activities.DiagnoseFailureInput{Run: r.ref, ReadLogs: true}
	got := done[activities.Diagnosis](r, r.acts.DiagnoseFailure, in)
	if got.Run.State != spacelift.RunStateUnconfirmed || got.Phase != "" || got.Evidence != "" || r.reads("RunLogs") > 0 {
		t.Errorf("%+v", got)
	}
	// Notifications may be ahead of the API.
	in.StateVersion = 6
	if _, err := do[activities.Diagnosis](r.env, r.acts.DiagnoseFailure, in); err == nil || nonRetryable(err) {
		t.Errorf("%v, want an error worth another attempt", err)
	}
}

// Logs are a help, not a need.
func TestDiagnoseFailureWithoutItsLog(t *testing.T) {
	r := newRig(t)
	r.fails(planFails("no available workers"))
	in := activities.DiagnoseFailureInput{Run: r.ref, ReadLogs: true}
	r.fault(simulator.APIFault{Kind: simulator.NotExecutable, Field: "stack", Message: `Cannot query field "logs" on type "Run".`, Times: 1})
	if _, err := do[activities.Diagnosis](r.env, r.acts.DiagnoseFailure, in); err == nil || !strings.Contains(err.Error(), "schema") {
		t.Errorf("%v: the run itself can't be read", err)
	}
	api := &logless{Spacelift: r.acts.Accounts["acme"]}
	r.acts.Accounts["acme"] = api
	for _, err := range []error{spacelift.ErrNotFound, spacelift.ErrUnauthorized, spacelift.ErrSchemaMismatch} {
		api.err = err
		if got := done[activities.Diagnosis](r, r.acts.DiagnoseFailure, in); got.Cause != policy.CauseCapacity {
			t.Errorf("%v: %+v", err, got)
		}
	}
	api.err = &spacelift.RateLimitedError{}
	if _, err := do[activities.Diagnosis](r.env, r.acts.DiagnoseFailure, in); err == nil || nonRetryable(err) {
		t.Errorf("%v, want an error worth another attempt", err)
	}
}
