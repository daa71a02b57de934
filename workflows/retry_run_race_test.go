package workflows_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/workflows"
)

// A person asked for a retry before the time of the policy's own has come. One
// that made no run leaves that to the policy.
func TestAPolicyRetriesBehindAPerson(t *testing.T) {
	for _, tc := range []struct {
		name  string
		takes time.Duration // the person's retry
		says  string
	}{
		{"it was refused", 0, "Gantry retries the run: the cause is transient"},
		{"it is under way, and will be refused", 10 * time.Minute, "a retry was requested before, and Spacelift has not answered yet"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, retried)
			var asked []string
			r.env.RegisterWorkflowWithOptions(func(ctx workflow.Context, in managed.RetryRunInput) (managed.RetryRunOutcome, error) {
				asked = append(asked, in.By)
				if in.By == "ann" {
					return managed.RetryRunOutcome{Reason: "the stack is locked by bob"}, workflow.Sleep(ctx, tc.takes)
				}
				return managed.RetryRunOutcome{New: again}, nil
			}, workflow.RegisterOptions{Name: managed.RetryRunType})
			r.goes(queued, ready, preparing, initializing, planning)
			r.fails("", timeout)
			s := r.manageBehind(managed.RetryRunInput{Run: run, By: "ann", Attempt: 2})
			if want := []string{"ann", "gantry"}; !slices.Equal(asked, want) || s.Retry == nil || s.Retry.As != again || s.Retry.By != "" {
				t.Errorf("retries of %v, want %v; the retry is %+v", asked, want, s.Retry)
			}
			if all := strings.Join(timeline(s, managed.KindNote, managed.KindAction), "\n"); strings.Count(all, tc.says) != 1 {
				t.Errorf("want %q once in\n%s", tc.says, all)
			}
		})
	}
}

// A person's retry that made a run says so, and the policy's own is not needed.
func TestAPersonRetriesBeforeThePolicy(t *testing.T) {
	for _, tc := range []struct {
		name  string
		after time.Duration
	}{{"while the policy waits", 90 * time.Second}, {"before the cause is known", 60 * time.Second}} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, retried)
			asked := r.retries(managed.RetryRunOutcome{})
			r.at(0, func() { r.moves(queued, ready, preparing, initializing, planning) })
			r.at(time.Minute, func() { r.fails("", timeout); r.notify() })
			r.at(tc.after, func() {
				r.env.SignalWorkflow(managed.RunEventsSignal, managed.RunEvents{Retried: &managed.Retried{By: "ann", As: again}})
			})
			s := r.manage()
			if len(*asked) != 0 || s.Retry == nil || s.Retry.By != "ann" || s.Retry.As != again {
				t.Errorf("asked for %+v, and the retry is %+v", *asked, s.Retry)
			}
			if want := "; ann retried it as run " + string(again.Run); !strings.HasSuffix(s.Outcome, want) {
				t.Errorf("the outcome is %q, want %q", s.Outcome, want)
			}
			r.mentions(s, managed.KindPerson, "ann retried the run, as run "+string(again.Run))
		})
	}
}

// manageBehind lets somebody ask for a retry, and runs the execution of the run
// that failed to its end.
func (r *rig) manageBehind(in managed.RetryRunInput) (s managed.RunStatus) {
	r.Helper()
	r.env.RegisterWorkflow(workflows.ManageRun)
	r.env.RegisterWorkflowWithOptions(func(ctx workflow.Context) (s managed.RunStatus, err error) {
		first := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{WorkflowID: managed.RetryRunID(run)}), managed.RetryRunType, in)
		err = errors.Join(first.GetChildWorkflowExecution().Get(ctx, nil), workflow.Sleep(ctx, time.Second))
		in := r.input()
		in.Events = []managed.RunEvent{r.notification(-1)}
		return s, errors.Join(err, workflow.ExecuteChildWorkflow(
			workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{WorkflowID: managed.ManageRunID(run)}), workflows.ManageRun, in).Get(ctx, &s))
	}, workflow.RegisterOptions{Name: "behind"})
	r.env.ExecuteWorkflow("behind")
	if err := r.env.GetWorkflowResult(&s); err != nil {
		r.Fatal(err)
	}
	return s
}
