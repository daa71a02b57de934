package server_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/temporal"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/spacelift"
)

const retry = runPath + "/retry"

// failedRun is a rig with a failed run whose retry has an outcome.
func failedRun(t *testing.T, outcome *managed.RetryRunOutcome) *rig {
	r := newRig(t)
	r.temporal.retry = outcome
	r.temporal.set(managed.RunStatus{Run: theRun, State: "FAILED", Phase: managed.PhaseDone, StartedAt: planned})
	return r
}

// as is the outcome of a retry that made a new run.
func as(run string) *managed.RetryRunOutcome {
	o := &managed.RetryRunOutcome{New: theRun}
	o.New.Run = "01KDX5N0R6T8W2Y4A6C8E0G2J4"
	if run != "" {
		o.New.Run = theRun.Run
	}
	return o
}

func TestRetry(t *testing.T) {
	r := failedRun(t, as(""))
	w := r.post(operatorToken, retry, `{"note":"the provider is back"}`)
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	want := api.Retry{Account: "acme", Stack: "network-prod", Run: string(theRun.Run), New: new("01KDX5N0R6T8W2Y4A6C8E0G2J4")}
	if diff := cmp.Diff(want, decode[api.Retry](t, w)); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	started := r.temporal.retries[0]
	if started.options.ID != managed.RetryRunID(theRun) {
		t.Errorf("started as %s", started.options.ID)
	}
	input := managed.RetryRunInput{Run: theRun, By: "otto", Reason: "otto asked for it: the provider is back", Attempt: 2}
	if diff := cmp.Diff(input, started.input); diff != "" {
		t.Errorf("input (-want +got):\n%s", diff)
	}

	// There is one retry of each run.
	p := wantProblem(t, r.post(operatorToken, retry, ``), http.StatusConflict, "already-retried")
	if !strings.Contains(*p.Detail, "otto") || !strings.Contains(*p.Detail, "01KDX5N0R6T8W2Y4A6C8E0G2J4") {
		t.Errorf("it does not say who did and as what: %s", *p.Detail)
	}
	if len(r.temporal.retries) != 1 {
		t.Errorf("%d retries were started", len(r.temporal.retries))
	}
}

// The run's execution may wait for the time of the policy's own retry; it learns of this
// one.
func TestRetryBeforeThePolicy(t *testing.T) {
	r := failedRun(t, as(""))
	r.temporal.set(managed.RunStatus{Run: theRun, State: "FAILED", Phase: managed.PhaseRetrying})
	r.post(operatorToken, retry, ``)
	if got := r.temporal.retries[0].input; !got.Waits {
		t.Errorf("the execution does not learn of it: %+v", got)
	}
}

// A run that tries another one again is itself the second attempt, and who is
// behind the first one is not forgotten.
func TestRetryOfARetry(t *testing.T) {
	r := failedRun(t, as(""))
	r.temporal.set(managed.RunStatus{Run: theRun, State: "FAILED", Phase: managed.PhaseDone, TriggeredBy: "api::gantry", RetryOf: &managed.RetryOf{
		Attempt: 2, By: "ann", TriggeredBy: []string{"jane"},
	}})
	r.post(operatorToken, retry, ``)
	got := r.temporal.retries[0].input
	if want := []string{"api::gantry", "jane", "ann"}; got.Attempt != 3 || !slices.Equal(got.TriggeredBy, want) {
		t.Errorf("attempt %d, triggered by %v; want 3, by %v", got.Attempt, got.TriggeredBy, want)
	}
}

func TestRetriesUnderOneKey(t *testing.T) {
	r := failedRun(t, nil) // Spacelift has not answered
	for range 2 {
		w := r.post(operatorToken, retry, `{"note":"x"}`, keyed("k")...)
		if w.Code != http.StatusAccepted || decode[api.Retry](t, w).New != nil {
			t.Errorf("under way: %d %s", w.Code, w.Body)
		}
	}
	r.temporal.retries[0].outcome = as("")
	w := r.post(operatorToken, retry, `{"note":"x"}`, keyed("k")...)
	if w.Code != http.StatusOK || decode[api.Retry](t, w).New == nil {
		t.Errorf("answered: %d %s", w.Code, w.Body)
	}
	wantProblem(t, r.post(operatorToken, retry, `{"note":"y"}`, keyed("k")...), http.StatusUnprocessableEntity, "idempotency-key-reused")
	wantProblem(t, r.post(operatorToken, retry, `{"note":"x"}`, keyed("k2")...), http.StatusConflict, "already-retried")
	if len(r.temporal.retries) != 1 {
		t.Errorf("%d retries were started", len(r.temporal.retries))
	}
}

// A retry that Spacelift refused made no run, so the run may be retried once
// what was in the way is gone; a repeat of the refused request is refused again.
func TestARefusedRetryMayBeAskedForAgain(t *testing.T) {
	r := failedRun(t, &managed.RetryRunOutcome{Reason: "the stack is locked by bob"})
	p := wantProblem(t, r.post(operatorToken, retry, ``, keyed("k")...), http.StatusConflict, "retry-refused")
	if *p.Detail != "the stack is locked by bob" {
		t.Errorf("detail %q", *p.Detail)
	}
	r.temporal.retry = as("same")
	wantProblem(t, r.post(operatorToken, retry, ``, keyed("k")...), http.StatusConflict, "retry-refused")
	w := r.post(operatorToken, retry, ``, keyed("k2")...)
	if w.Code != http.StatusOK || *decode[api.Retry](t, w).New != string(theRun.Run) {
		t.Errorf("asked for again: %d %s", w.Code, w.Body)
	}
}

// A run that was tried again under its own id, and failed again, may be tried
// once more.
func TestRetryOfARetryUnderTheSameID(t *testing.T) {
	r := failedRun(t, as("same"))
	r.post(operatorToken, retry, ``)
	wantProblem(t, r.post(operatorToken, retry, ``), http.StatusConflict, "already-retried")
	r.temporal.set(managed.RunStatus{Run: theRun, State: "FAILED", Phase: managed.PhaseDone, RetryOf: &managed.RetryOf{
		Run: theRun, Attempt: 2, By: "otto", After: 5,
	}})
	if w := r.post(operatorToken, retry, ``); w.Code != http.StatusOK || len(r.temporal.retries) != 2 || r.temporal.retries[1].input.Attempt != 3 {
		t.Errorf("%d %s after %d retries", w.Code, w.Body, len(r.temporal.retries))
	}
}

func TestRetriesThatCannotBe(t *testing.T) {
	r := failedRun(t, as(""))
	for _, state := range []string{"FINISHED", "APPLYING", "DISCARDED"} {
		r.temporal.set(managed.RunStatus{Run: theRun, State: spacelift.RunState(state), Phase: managed.PhaseDone})
		if p := wantProblem(t, r.post(operatorToken, retry, ``), http.StatusConflict, "not-failed"); !strings.Contains(*p.Detail, state) {
			t.Errorf("%s: %s", state, *p.Detail)
		}
	}
	wantProblem(t, r.post(operatorToken, strings.Replace(retry, "network-prod", "app-prod", 1), ``), http.StatusNotFound, "not-found")
	if len(r.temporal.retries) != 0 {
		t.Error("the one retry was spent on a run that had not failed")
	}
	r.temporal.err = serviceerror.NewUnavailable("down")
	wantProblem(t, r.post(operatorToken, retry, ``), http.StatusServiceUnavailable, "temporal-unavailable")
}

// The retry of a policy has no request, which distinguishes it from people's.
func TestAPolicyWasFaster(t *testing.T) {
	r := failedRun(t, nil)
	r.temporal.retries = []started{{outcome: as("")}}
	r.temporal.retries[0].options.ID = managed.RetryRunID(theRun)
	p := wantProblem(t, r.post(operatorToken, retry, ``, keyed("k")...), http.StatusConflict, "already-retried")
	if !strings.Contains(*p.Detail, "policy") {
		t.Errorf("detail %q", *p.Detail)
	}

	// One that gave up made no run either.
	r.temporal.retries[0].outcome, r.temporal.retries[0].err = nil, &temporal.WorkflowExecutionError{}
	r.temporal.retry = as("")
	if w := r.post(operatorToken, retry, ``); w.Code != http.StatusOK {
		t.Errorf("after one that gave up: %d %s", w.Code, w.Body)
	}
}
