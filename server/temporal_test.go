package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/freeze"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/decide/reconcile"
	"github.com/gantryhq/gantry/spacelift"
)

// fakeTemporal answers from maps. It keeps Temporal's promises about ids: an
// update with a known id is not done again, and an execution whose id may not
// be used twice is not started again.
type fakeTemporal struct {
	mu     sync.Mutex
	status map[string]managed.RunStatus   // by workflow id
	why    map[string]managed.Explanation // by workflow id
	list   *workflowservice.ListWorkflowExecutionsResponse
	pages  func(*workflowservice.ListWorkflowExecutionsRequest) *workflowservice.ListWorkflowExecutionsResponse // in place of list
	asked  *workflowservice.ListWorkflowExecutionsRequest
	err    error // of every call
	asks   int   // queries so far

	chains map[string]chain.Status // by workflow id

	reports map[spacelift.Account]reconcile.Report // of the last completed Reconcile
	lists   int                                    // reads of the latest report

	// freezes are those of acme; nil when none was ever declared.
	freezes    []policy.Freeze
	freezeKeys map[string]string // what idempotency keys were used for

	// update stands for the execution's handler: it is called once for each
	// update id.
	update   func(o client.UpdateWorkflowOptions) (any, error)
	updates  []client.UpdateWorkflowOptions
	answered map[string]updateHandle

	// described, if it is set, describes executions.
	described func(id string) *workflowpb.WorkflowExecutionInfo

	// execution is Temporal's status of all executions of ManageRun.
	execution enums.WorkflowExecutionStatus

	// triggers are the executions of TriggerRun, and trigger is the outcome of each; nil
	// lets them wait.
	triggers []*startedTrigger
	trigger  *managed.TriggerRunOutcome

	// retry is the outcome of every retry; nil lets them wait.
	retry   *managed.RetryRunOutcome
	retries []started
}

// started is an execution of RetryRun.
type started struct {
	options client.StartWorkflowOptions
	input   managed.RetryRunInput
	outcome *managed.RetryRunOutcome // nil while it is under way
	err     error                    // that it failed with
}

// startedTrigger is an execution of TriggerRun.
type startedTrigger struct {
	options client.StartWorkflowOptions
	input   managed.TriggerRunInput
	outcome *managed.TriggerRunOutcome // nil while it is under way
}

// triggerOf returns the execution of TriggerRun with an id; nil if there is none.
func (f *fakeTemporal) triggerOf(id string) *startedTrigger {
	for _, t := range f.triggers {
		if t.options.ID == id {
			return t
		}
	}
	return nil
}

func (f *fakeTemporal) QueryWorkflow(_ context.Context, id, _, query string, _ ...any) (converter.EncodedValue, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asks++
	if f.err != nil {
		return nil, f.err
	}
	status, known := f.status[id]
	switch {
	case query == managed.StatusQuery && known:
		return encoded(status)
	case query == managed.ExplainQuery && known:
		return encoded(f.why[id])
	case query == chain.Query && f.chains[id].Root.Run != "":
		return encoded(f.chains[id])
	case query == freeze.Query && id == "freezes/acme" && f.freezes != nil:
		return encoded(f.freezes)
	}
	return nil, serviceerror.NewNotFound("workflow not found for ID: " + id)
}

// fail makes every call fail, or none.
func (f *fakeTemporal) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

// queries counts the queries so far.
func (f *fakeTemporal) queries() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asks
}

// set changes what a run is.
func (f *fakeTemporal) set(s managed.RunStatus) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status[managed.ManageRunID(s.Run)] = s
}

// report makes Reconcile's latest report on an account.
func (f *fakeTemporal) report(account spacelift.Account, r reconcile.Report) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reports[account] = r
}

func (f *fakeTemporal) UpdateWorkflow(ctx context.Context, o client.UpdateWorkflowOptions) (client.WorkflowUpdateHandle, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.updates = append(f.updates, o)
	if f.err != nil {
		return nil, f.err
	}
	if h, ok := f.answered[o.UpdateID]; ok && o.UpdateID != "" {
		return h, nil
	}
	if f.update == nil {
		return nil, serviceerror.NewNotFound("workflow execution already completed")
	}
	result, err := f.update(o)
	if errors.Is(err, errNobodyWorks) {
		return nil, client.NewWorkflowUpdateServiceTimeoutOrCanceledError(context.DeadlineExceeded)
	}
	h := updateHandle{result: result, err: err}
	if err == nil { // a refused update leaves no trace
		if f.answered == nil {
			f.answered = map[string]updateHandle{}
		}
		f.answered[o.UpdateID] = h
	}
	return h, nil
}

// errNobodyWorks is the error of an update without a worker.
var errNobodyWorks = errors.New("no worker")

type updateHandle struct {
	client.WorkflowUpdateHandle
	result any
	err    error
}

func (h updateHandle) Get(_ context.Context, into any) error {
	if h.err != nil {
		return h.err
	}
	b, err := json.Marshal(h.result)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

func (f *fakeTemporal) NewWithStartWorkflowOperation(o client.StartWorkflowOptions, workflow any, args ...any) client.WithStartWorkflowOperation {
	return startOperation{options: o, workflow: workflow, args: args}
}

type startOperation struct {
	client.WithStartWorkflowOperation
	options  client.StartWorkflowOptions
	workflow any
	args     []any
}

func (f *fakeTemporal) UpdateWithStartWorkflow(ctx context.Context, o client.UpdateWithStartWorkflowOptions) (client.WorkflowUpdateHandle, error) {
	start := o.StartWorkflowOperation.(startOperation)
	if start.workflow != freeze.Type || start.options.ID != o.UpdateOptions.WorkflowID || start.options.TaskQueue == "" ||
		start.options.WorkflowIDConflictPolicy != enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING {
		return nil, serviceerror.NewInvalidArgument("this does not start the freezes of an account")
	}
	return f.UpdateWorkflow(ctx, o.UpdateOptions)
}

func (f *fakeTemporal) ExecuteWorkflow(_ context.Context, o client.StartWorkflowOptions, workflow any, args ...any) (client.WorkflowRun, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return nil, f.err
	}
	if workflow == managed.TriggerRunType && o.TaskQueue != "" && o.WorkflowIDReusePolicy == enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE {
		if f.triggerOf(o.ID) != nil {
			return nil, serviceerror.NewWorkflowExecutionAlreadyStarted("already started", "", "")
		}
		f.triggers = append(f.triggers, &startedTrigger{options: o, input: args[0].(managed.TriggerRunInput), outcome: f.trigger})
		return nil, nil
	}
	if workflow != managed.RetryRunType || o.TaskQueue == "" {
		return nil, serviceerror.NewInvalidArgument("this does not start a retry")
	}
	if last := f.lastRetry(); last != nil && ((last.outcome == nil && last.err == nil) || o.WorkflowIDReusePolicy == enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE) {
		return nil, serviceerror.NewWorkflowExecutionAlreadyStarted("already started", "", "")
	}
	f.retries = append(f.retries, started{options: o, input: args[0].(managed.RetryRunInput), outcome: f.retry})
	return nil, nil
}

func (f *fakeTemporal) lastRetry() *started {
	if len(f.retries) == 0 {
		return nil
	}
	return &f.retries[len(f.retries)-1]
}

func (f *fakeTemporal) DescribeWorkflowExecution(_ context.Context, id, _ string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return nil, f.err
	}
	if f.described != nil {
		if info := f.described(id); info != nil {
			return &workflowservice.DescribeWorkflowExecutionResponse{WorkflowExecutionInfo: info}, nil
		}
	}
	if _, known := f.status[id]; known {
		return &workflowservice.DescribeWorkflowExecutionResponse{WorkflowExecutionInfo: &workflowpb.WorkflowExecutionInfo{Status: f.execution}}, nil
	}
	var started client.StartWorkflowOptions
	if last, trigger := f.lastRetry(), f.triggerOf(id); trigger != nil {
		started = trigger.options
	} else if last != nil && last.options.ID == id {
		started = last.options
	} else {
		return nil, serviceerror.NewNotFound("workflow not found for ID: " + id)
	}
	memo := &commonpb.Memo{Fields: map[string]*commonpb.Payload{}}
	for name, value := range started.Memo {
		payload, err := converter.GetDefaultDataConverter().ToPayload(value)
		if err != nil {
			return nil, err
		}
		memo.Fields[name] = payload
	}
	return &workflowservice.DescribeWorkflowExecutionResponse{WorkflowExecutionInfo: &workflowpb.WorkflowExecutionInfo{Memo: memo}}, nil
}

func (f *fakeTemporal) ListWorkflow(_ context.Context, req *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	if strings.Contains(req.GetQuery(), reconcile.Type) {
		f.lists++
		return f.listReconcile(req.GetQuery())
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = req
	if f.pages != nil {
		return f.pages(req), f.err
	}
	return f.list, f.err
}

func (f *fakeTemporal) listReconcile(query string) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	var page workflowservice.ListWorkflowExecutionsResponse
	for account := range f.reports {
		if query == "WorkflowType = 'Reconcile' AND GantryAccount = '"+string(account)+"' AND ExecutionStatus = 'Completed'" {
			page.Executions = append(page.Executions, &workflowpb.WorkflowExecutionInfo{
				Execution: &commonpb.WorkflowExecution{WorkflowId: reconcile.ID(account) + "-2026-01-01T10:02:00Z", RunId: string(account)},
			})
		}
	}
	return &page, f.err
}

// GetWorkflow returns a trigger, the latest retry, or the Reconcile that listReconcile listed.
func (f *fakeTemporal) GetWorkflow(_ context.Context, id, runID string) client.WorkflowRun {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t := f.triggerOf(id); t != nil {
		if t.outcome == nil {
			return completed{err: context.DeadlineExceeded}
		}
		return completed{result: *t.outcome, err: f.err}
	}
	if !strings.HasPrefix(id, "retry/") {
		return completed{result: f.reports[spacelift.Account(runID)], err: f.err}
	}
	switch last := f.lastRetry(); {
	case last != nil && last.err != nil:
		return completed{err: last.err}
	case last != nil && last.outcome != nil:
		return completed{result: *last.outcome, err: f.err}
	}
	return completed{err: context.DeadlineExceeded}
}

type completed struct {
	client.WorkflowRun
	result any
	err    error
}

func (c completed) Get(_ context.Context, into any) error {
	payloads, err := converter.GetDefaultDataConverter().ToPayloads(c.result)
	if err != nil {
		return err
	}
	return errors.Join(c.err, converter.GetDefaultDataConverter().FromPayloads(payloads, into))
}

func encoded(v any) (converter.EncodedValue, error) {
	payloads, err := converter.GetDefaultDataConverter().ToPayloads(v)
	if err != nil {
		return nil, err
	}
	return answer{func(into any) error { return converter.GetDefaultDataConverter().FromPayloads(payloads, into) }}, nil
}

type answer struct{ get func(any) error }

func (a answer) Get(v any) error { return a.get(v) }
func (answer) HasValue() bool    { return true }
