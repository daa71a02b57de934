package workflows_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/decide/reconcile"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/workflows"
)

// crowd is an account with many runs in progress, whose ids are the longest there
// can be, and a Temporal with their executions.
type crowd struct {
	*testing.T
	activities.Spacelift
	activities.Temporal

	account  spacelift.Account
	runs     []spacelift.RunLine
	followed bool               // by executions
	knows    string             // the fingerprint of all executions
	shows    spacelift.RunState // of all executions
	missing  bool               // Spacelift knows none of the runs
	hookOff  bool
	notes    string
	last     *reconcile.Report
	at       time.Time
}

var crowdLabels = []string{"gantry:managed", "gantry:profile=" + strings.Repeat("p", 200)}

func newCrowd(t *testing.T, n int) *crowd {
	c := &crowd{
		T: t, account: spacelift.Account(strings.Repeat("a", 200)), followed: true, shows: unconfirmed, at: opened,
		knows: policy.Facts{Labels: crowdLabels}.Fingerprint() + "/0",
	}
	for i := range n {
		c.runs = append(c.runs, spacelift.RunLine{
			Ref: spacelift.RunRef{
				Account: c.account, Stack: spacelift.StackID(fmt.Sprintf("%s%06d", strings.Repeat("s", 194), i)),
				Run: spacelift.RunID(fmt.Sprintf("%s%06d", strings.Repeat("r", 194), i)),
			},
			State: unconfirmed, StackLabels: crowdLabels, CreatedAt: opened.Add(-time.Hour),
		})
	}
	return c
}

func (c *crowd) RunsInProgress(_ context.Context, pages int, _ ...spacelift.RunState) (spacelift.Listing[spacelift.RunLine], error) {
	if c.missing {
		return spacelift.Listing[spacelift.RunLine]{Complete: true}, nil
	}
	n := min(len(c.runs), 50*pages)
	return spacelift.Listing[spacelift.RunLine]{Items: c.runs[:n], Complete: n == len(c.runs)}, nil
}

func (c *crowd) NamedWebhook(context.Context, string) (spacelift.NamedWebhook, error) {
	return spacelift.NamedWebhook{ID: "gantry", Enabled: !c.hookOff}, nil
}

func (c *crowd) Run(_ context.Context, ref spacelift.RunRef) (spacelift.Run, error) {
	if c.missing {
		return spacelift.Run{}, spacelift.ErrNotFound
	}
	run := spacelift.Run{
		Ref: ref, Type: spacelift.RunTypeTracked, State: unconfirmed, StateVersion: 1, StackLabels: crowdLabels, CreatedAt: opened.Add(-time.Hour),
	}
	for v, state := range []spacelift.RunState{planning, unconfirmed} {
		run.History = append(run.History, spacelift.Transition{State: state, StateVersion: v, At: opened.Add(-time.Hour), Note: c.notes})
	}
	return run, nil
}

func (c *crowd) ListWorkflow(_ context.Context, req *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	var page workflowservice.ListWorkflowExecutionsResponse
	if !c.followed || strings.Contains(req.GetQuery(), "TemporalReportedProblems") {
		return &page, nil
	}
	for _, line := range c.runs {
		fields := map[string]*commonpb.Payload{}
		for name, value := range map[string]string{"GantryRunState": string(c.shows), "GantryPhase": "waiting", "GantryFingerprint": c.knows} {
			fields[name], _ = converter.GetDefaultDataConverter().ToPayload(value)
		}
		page.Executions = append(page.Executions, &workflowpb.WorkflowExecutionInfo{
			Execution: &commonpb.WorkflowExecution{WorkflowId: managed.ManageRunID(line.Ref)}, SearchAttributes: &commonpb.SearchAttributes{IndexedFields: fields},
		})
	}
	return &page, nil
}

func (c *crowd) QueryWorkflow(_ context.Context, id, _, _ string, _ ...any) (converter.EncodedValue, error) {
	if !c.followed || strings.HasPrefix(id, "freezes/") {
		return nil, serviceerror.NewNotFound("no execution " + id)
	}
	s := managed.RunStatus{Labels: crowdLabels}
	s = inState(s, planning, 0, managed.SourceReconcile)
	payloads, err := converter.GetDefaultDataConverter().ToPayloads(s)
	return encoded{payloads}, err
}

// tick runs Reconcile once. It returns how many bytes are in the history: what it
// began with, what its activities answered, what it sent and what came of it.
func (c *crowd) tick() int {
	c.Helper()
	env := newEnvironment()
	env.SetStartTime(c.at)
	in := reconcile.Input{Account: c.account, Interval: interval, Webhook: "gantry"}
	var size atomic.Int64 // signals are sent by goroutines of their own
	count := func(v any) {
		text, err := json.Marshal(v)
		if err != nil {
			c.Error(err)
		}
		if size.Add(int64(len(text))); len(text) > 2_000_000 {
			c.Errorf("a payload has %d bytes: %.200s", len(text), text)
		}
	}
	count(in)
	if c.last != nil {
		env.SetLastCompletionResult(*c.last)
		count(c.last)
	}
	env.RegisterWorkflow(workflows.Reconcile)
	env.RegisterActivity(&activities.Activities{Accounts: map[spacelift.Account]activities.Spacelift{c.account: c}, Temporal: c})
	env.RegisterWorkflowWithOptions(func(_ workflow.Context, in managed.ManageRunInput) error {
		count(in)
		return nil
	}, workflow.RegisterOptions{Name: managed.ManageRunType})
	env.OnSignalExternalWorkflow(anyArg, anyArg, anyArg, anyArg, anyArg).Return(func(_, _, _, _ string, arg any) error {
		count(arg)
		return nil
	}).Maybe()
	env.SetOnLocalActivityCompletedListener(func(_ *activity.Info, result converter.EncodedValue, _ error) {
		var v any
		if result != nil && result.HasValue() && result.Get(&v) == nil {
			count(v)
		}
	})
	env.ExecuteWorkflow(workflows.Reconcile, in)
	var report reconcile.Report
	if err := env.GetWorkflowResult(&report); err != nil {
		c.Fatal(err)
	}
	count(report)
	c.last, c.at = &report, c.at.Add(interval)
	return int(size.Load())
}

// A tick with nothing to do writes a few KB into its history, at any size.
func TestSizeOfAnIdleTick(t *testing.T) {
	for _, n := range []int{0, 2_000, 5_000} {
		c := newCrowd(t, n)
		c.tick()
		for range 6 { // some of which read the webhook
			if size := c.tick(); size > 4_096 || c.last.Outcome != done || c.last.InProgress != n || c.last.Open != n {
				t.Errorf("an idle tick with %d runs in progress writes %d bytes: %+v", n, size, c.last)
			}
		}
		t.Logf("%d runs in progress: an idle tick writes %d bytes", n, c.tick())
	}
}

// With thousands of runs to repair, a tick does as many as it can, says how many
// are left, and what it leaves to the next tick stays small.
func TestSizeOfABusyTick(t *testing.T) {
	for name, tc := range map[string]struct {
		n       int
		trouble func(*crowd)
	}{
		"nothing is followed":          {5_000, func(c *crowd) { c.followed = false }},
		"notes are absurdly long":      {200, func(c *crowd) { c.shows, c.notes = planning, strings.Repeat("<", 20_000) }},
		"every execution is behind":    {5_000, func(c *crowd) { c.shows = planning }},
		"Spacelift knows none of them": {5_000, func(c *crowd) { c.missing = true }},
		"the webhook was off":          {5_000, func(c *crowd) { c.hookOff = true }},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCrowd(t, tc.n)
			tc.trouble(c)
			for range 8 {
				size := c.tick()
				carried, err := json.Marshal(c.last)
				if err != nil || size > 4_000_000 || len(carried) > 100_000 {
					t.Errorf("a tick writes %d bytes and leaves %d to the next (%v)", size, len(carried), err)
				}
				if c.last.Outcome != partial || c.last.Postponed == 0 {
					t.Errorf("the tick is %s: %s", c.last.Outcome, c.last.Reason)
				}
			}
		})
	}
}
