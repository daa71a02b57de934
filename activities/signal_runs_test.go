package activities_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/testsuite"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/policy"
)

var signalInput = activities.SignalInput{
	Query: "GantryAccount = 'acme'", Signal: "run-events", Payload: map[string]bool{"rulesChanged": true}, Limit: 100, Stack: "GantryStack",
}

// broadcast runs an attempt at the activity, in time that passes as fast as it can,
// and returns how long it took. details, if any, is
// what the attempt before left.
func (f *fakeTemporal) broadcast(t *testing.T, in activities.SignalInput, details ...any) (result activities.SignalResult, took time.Duration, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var suite testsuite.WorkflowTestSuite
		env := suite.NewTestActivityEnvironment()
		env.SetTestTimeout(time.Minute)
		a := &activities.Activities{Temporal: f}
		env.RegisterActivity(a)
		if len(details) > 0 {
			env.SetHeartbeatDetails(details[0])
		}
		begun := time.Now()
		result, err = do[activities.SignalResult](env, a.SignalExecutions, in)
		took = time.Since(begun)
	})
	return result, took, err
}

func runsOf(stacks ...string) (ids []string) {
	for _, s := range stacks {
		ids = append(ids, "run/acme/"+s+"/1")
	}
	return ids
}

func TestSignalRuns(t *testing.T) {
	f := &fakeTemporal{open: runsOf("c", "a", "b"), ended: map[string]bool{"run/acme/b/1": true}}
	result, _, err := f.broadcast(t, signalInput)
	if err != nil || result != (activities.SignalResult{Executions: 3, Complete: true}) {
		t.Errorf("%+v, %v", result, err)
	}
	const said = `run-events {"rulesChanged":true}`
	if diff := cmp.Diff(map[string][]byte{"run/acme/a/1": []byte(said), "run/acme/c/1": []byte(said)}, f.signaled); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{signalInput.Query}, f.queries); diff != "" {
		t.Errorf("asked for (-want +got):\n%s", diff)
	}
	in := signalInput
	in.Limit = 2
	if result, _, err := f.broadcast(t, in); err != nil || result.Complete || result.Executions != 2 {
		t.Errorf("with a limit: %+v, %v", result, err)
	}
}

// Only the runs of the stacks that a freeze names are signaled, however many it
// names. What can't be a stack's id follows no run.
func TestSignalRunsOfSomeStacks(t *testing.T) {
	in := signalInput
	for i := range 25 {
		in.Stacks = append(in.Stacks, fmt.Sprintf("s%d", i))
	}
	in.Stacks = append(in.Stacks, "it's none")
	f := &fakeTemporal{}
	if _, _, err := f.broadcast(t, in); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"GantryAccount = 'acme' AND GantryStack IN ('s0', 's1', 's2', 's3', 's4', 's5', 's6', 's7', 's8', 's9', 's10', 's11', 's12', 's13', 's14', 's15', 's16', 's17', 's18', 's19')",
		"GantryAccount = 'acme' AND GantryStack IN ('s20', 's21', 's22', 's23', 's24')",
	}
	if diff := cmp.Diff(want, f.queries); diff != "" {
		t.Errorf("asked for (-want +got):\n%s", diff)
	}
}

// Only executions that wait by other freezes than those in effect are signaled.
func TestSignalRunsWithOutdatedRules(t *testing.T) {
	held := policy.Freeze{ID: "audit", Stacks: []string{"a", "b"}, From: noon.Add(-time.Hour)}
	at := func(freezes ...policy.Freeze) string {
		return "x/" + (*policy.Definitions)(nil).GateFingerprint(freezes, "a", noon)
	}
	f := &fakeTemporal{
		freezes: []policy.Freeze{held}, open: runsOf("a", "b", "c", "d"),
		knows: map[string]string{"run/acme/a/1": at(held), "run/acme/b/1": at(), "run/acme/c/1": at(held), "run/acme/d/1": "x"},
	}
	in := signalInput
	in.Behind = &activities.BehindInput{Account: "acme", At: noon, Fingerprint: "Fingerprint"}
	if result, _, err := f.broadcast(t, in); err != nil || result.Executions != 2 || !slices.Equal(f.tries, runsOf("b", "c")) {
		t.Errorf("signaled %v: %+v, %v", f.tries, result, err)
	}
}

// One execution that can't be signaled keeps no other waiting: it is tried again
// at the end, and then counted.
func TestSignalRunsPastFailures(t *testing.T) {
	f := &fakeTemporal{open: runsOf("a", "b", "c"), fails: map[string]error{"run/acme/a/1": serviceerror.NewResourceExhausted(0, "too many signals")}}
	result, _, err := f.broadcast(t, signalInput)
	if err != nil || result != (activities.SignalResult{Executions: 2, Failed: 1, Complete: true}) {
		t.Errorf("%+v, %v", result, err)
	}
	if want := append(runsOf("a", "b", "c"), runsOf("a", "a")...); !slices.Equal(f.tries, want) {
		t.Errorf("signaled %v, want %v", f.tries, want)
	}
}

// Once Temporal does not answer at all, the attempt ends, and is worth another.
func TestSignalRunsWhileTemporalIsAway(t *testing.T) {
	f := &fakeTemporal{fails: map[string]error{}}
	for i := range 20 {
		id := runsOf(fmt.Sprintf("s%02d", i))[0]
		f.open, f.fails[id] = append(f.open, id), serviceerror.NewUnavailable("away")
	}
	if _, _, err := f.broadcast(t, signalInput); err == nil || nonRetryable(err) || len(f.tries) > 5 {
		t.Errorf("after %d signals: %v, want an error worth another attempt", len(f.tries), err)
	}
}

// When a worker dies the next one continues where it was, and thousands of runs
// don't read their rules in the same second.
func TestSignalRunsContinuesWhereItWas(t *testing.T) {
	f := &fakeTemporal{}
	for i := range 200 {
		f.open = append(f.open, runsOf(fmt.Sprintf("s%03d", i))...)
	}
	in := signalInput
	in.Limit = 1000
	result, took, err := f.broadcast(t, in, map[string]any{"after": "run/acme/s099/1", "sent": 99, "lost": runsOf("s007")})
	if err != nil || result != (activities.SignalResult{Executions: 200, Complete: true}) {
		t.Errorf("%+v, %v", result, err)
	}
	if len(f.tries) != 101 || f.tries[0] != "run/acme/s100/1" || f.tries[100] != "run/acme/s007/1" {
		t.Errorf("%d were signaled, from %s to %s", len(f.tries), f.tries[0], f.tries[len(f.tries)-1])
	}
	if took < 4*time.Second || took > 6*time.Second {
		t.Errorf("100 signals took %s, want about 4 seconds", took)
	}
}
