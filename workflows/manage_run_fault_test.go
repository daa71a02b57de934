package workflows

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/notify"
	"github.com/gantryhq/gantry/spacelift"
)

// broken returns a record that Gantry's code fails on: a retry is planned,
// and the failure that it is for is missing.
func broken() managed.Record {
	r := fresh()
	history := []spacelift.Transition{{State: spacelift.RunStateQueued, At: T0}, {State: spacelift.RunStateFailed, StateVersion: 1, At: T0}}
	labels := []string{"gantry:managed", "gantry:profile=retried"}
	r.Learn(T0, spacelift.Run{Ref: testRun, Type: "TRACKED", State: "FAILED", StateVersion: 1, StackLabels: labels, History: history})
	rules := policy.Policy{Notify: policy.Setting[[]string]{Value: []string{"deploys"}}}
	r.Rules, r.Diagnosed, r.RetryJudged = &managed.Rules{Labels: labels, Policy: rules}, true, true
	r.Retry = &managed.Retry{State: managed.RetryPlanned, Attempt: 2, Of: 2, At: T0.AddDate(100, 0, 0)}
	return r
}

// faulty runs an execution that knows this until it ends or continues as a new one.
func faulty(t *testing.T, known managed.Record, during func(*testsuite.TestWorkflowEnvironment)) (next *managed.ManageRunInput, arrived []notify.Message) {
	t.Helper()
	const anything = "mock.Anything" // of the SDK's mocks
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(time.Minute)
	env.SetWorkerOptions(worker.Options{DeadlockDetectionTimeout: time.Minute})
	var a *activities.Activities
	env.RegisterActivity(&activities.Activities{})
	env.OnActivity(a.ReadRun, anything, anything).Return(spacelift.Run{}, errors.New("connection refused")).Maybe()
	env.OnActivity(a.Notify, anything, anything).Return(func(_ context.Context, in activities.NotifyInput) error {
		arrived = append(arrived, in.Message)
		return nil
	}).Maybe()
	if during != nil {
		env.RegisterDelayedCallback(func() { during(env) }, 5*time.Second)
	}
	env.ExecuteWorkflow(ManageRun, managed.ManageRunInput{Run: testRun, Known: &known})
	again, ok := errors.AsType[*workflow.ContinueAsNewError](env.GetWorkflowError())
	if !ok {
		if err := env.GetWorkflowError(); err != nil {
			t.Fatalf("the execution ended with %v", err)
		}
		return nil, arrived
	}
	next = &managed.ManageRunInput{}
	if err := converter.GetDefaultDataConverter().FromPayloads(again.Input, next); err != nil {
		t.Fatal(err)
	}
	return next, arrived
}

// A bug in Gantry's own code ends no execution and blocks none: the run shows
// that it is held and why, somebody is notified once, and the execution tries
// again, later each time.
func TestAFaultIsShownAndRetried(t *testing.T) {
	next, _ := faulty(t, broken(), nil)
	if next == nil || next.Known.Fault == nil || next.Known.Fault.Tries != 1 || !strings.Contains(next.Known.Fault.Reason, "nil pointer") {
		t.Fatalf("continues with %+v, want a fault", next)
	}
	begun := time.Now()
	next.Known.Fault.At = begun // the test's clock begins now
	looked := false
	second, arrived := faulty(t, *next.Known, func(env *testsuite.TestWorkflowEnvironment) {
		looked = true
		var s managed.RunStatus
		answer, err := env.QueryWorkflow(managed.StatusQuery)
		if err == nil {
			err = answer.Get(&s)
		}
		if err != nil || s.Phase != managed.PhaseHolding || s.State != spacelift.RunStateFailed || s.WaitingFor == nil || s.WaitingFor.What == "" || s.WaitingFor.Who == "" ||
			!strings.Contains(s.WaitingFor.Reason, "Gantry's own code failed on this run") || s.WaitingFor.Until.IsZero() {
			t.Errorf("shows %+v (%v), want it held and why", s.WaitingFor, err)
		}
		var e managed.Explanation
		if answer, err = env.QueryWorkflow(managed.ExplainQuery); err == nil {
			err = answer.Get(&e)
		}
		if err != nil || e.Summary == "" || len(e.Unblock) == 0 {
			t.Errorf("explains %+v (%v)", e, err)
		}
	})
	if !looked {
		t.Error("the execution did not wait before it tried again")
	}
	if second == nil || second.Known.Fault == nil || second.Known.Fault.Tries != 2 {
		t.Fatalf("continues with %+v, want the second fault", second)
	}
	if first, then := next.Known.Fault.Until().Sub(next.Known.Fault.At), second.Known.Fault.Until().Sub(second.Known.Fault.At); then <= first {
		t.Errorf("tries again after %s, and then after %s", first, then)
	}
	if len(arrived) != 1 || arrived[0].Type != notify.RunHeld || arrived[0].Urgency != notify.Alarm {
		t.Errorf("%d messages were sent: %+v, want one alarm", len(arrived), arrived)
	}

	// The bug is fixed, and the execution continues where it was.
	repaired := *second.Known
	repaired.Retry, repaired.Failure = nil, &managed.Failure{Cause: policy.CauseCode}
	if third, arrived := faulty(t, repaired, nil); third != nil || len(arrived) > 1 {
		t.Errorf("continues with %+v after %d messages, want the end", third, len(arrived))
	}
}

// What the SDK panics with is not Gantry's to take.
func TestOnlyBugsAreFaults(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a panic of the SDK's was taken for a bug")
		}
	}()
	recovered("getState: illegal access from outside of workflow context")
}
