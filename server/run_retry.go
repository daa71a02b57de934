package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/spacelift"
)

// retryPatience bounds how long a caller waits for Spacelift to accept a retry, and
// retryTimeout all calls for a request. It must be shorter than the HTTP server's own
// timeout.
const (
	retryPatience = 10 * time.Second
	retryTimeout  = 20 * time.Second
)

// requestMemo is the memo of executions that a request started. Its name and form are a
// contract with replicas of other versions.
const requestMemo = "gantryRequest"

type startRequest struct {
	By      string `json:"by"`
	Key     string `json:"key,omitempty"`     // see change.key
	Content string `json:"content,omitempty"` // see change.content
}

// asked returns the options of an execution that a request starts once, however often it
// is sent. The execution keeps the request.
func (h *handlers) asked(c *call, id string, opening decide.Opening) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{
		ID: id, TaskQueue: h.taskQueue,
		WorkflowIDReusePolicy:                    enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		StaticSummary:                            opening.Summary,
		StaticDetails:                            opening.Details,
		Memo:                                     map[string]any{requestMemo: startRequest{By: c.by.Name, Key: c.key, Content: c.content}},
	}
}

// RetryRun starts the one retry of a failed run, and waits briefly for Spacelift's answer.
func (h *handlers) RetryRun(ctx context.Context, req genserver.RetryRunRequestObject) (genserver.RetryRunResponseObject, error) {
	c := callOf(ctx)
	ctx, cancel := context.WithTimeout(ctx, retryTimeout)
	defer cancel()
	outcome, done, err := h.retry(ctx, c, noteOf(req.Body))
	if !done {
		return genserver.RetryRun202JSONResponse(toAPIRetry(c.run, outcome)), err
	}
	return genserver.RetryRun200JSONResponse(toAPIRetry(c.run, outcome)), err
}

// retry starts a retry, or finds the one that the same change started before. done
// reports whether its outcome is known.
func (h *handlers) retry(ctx context.Context, c *call, note string) (o managed.RetryRunOutcome, done bool, err error) {
	// A run has one retry, so it must have failed.
	status, err := h.run(c.run).status(ctx)
	if err != nil {
		return o, false, err
	}
	if status.State != spacelift.RunStateFailed {
		return o, false, &refusal{problem("not-failed", "the run is "+string(status.State)+", not FAILED")}
	}
	in := retryInput(c.run, status, c.by.Name, note)
	id := managed.RetryRunID(c.run)
	start := h.asked(c, id, in.Opening(h.pages))
	for {
		err := h.start(ctx, start, managed.RetryRunType, in)
		if err == nil {
			return h.retryOutcome(ctx, id)
		}
		if _, started := errors.AsType[*serviceerror.WorkflowExecutionAlreadyStarted](err); !started {
			return o, false, answered(err, c.key)
		}
		asked, err := h.requestOf(ctx, id)
		switch {
		case err != nil:
			return o, false, err
		case c.key != "" && asked.Key == c.key && asked.Content != c.content:
			return o, false, errKeyReused
		case c.key != "" && asked.Key == c.key:
			return h.retryOutcome(ctx, id)
		}
		o, done, err = h.retryOutcome(ctx, id)
		_, refused := errors.AsType[*retryRefusedError](err)
		past := err == nil && done && o.New == c.run && status.RetryOf != nil && status.RetryOf.Run == c.run
		if (refused || past) && start.WorkflowIDReusePolicy != enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE {
			// The earlier request was refused, perhaps for a reason that no longer applies, or
			// the run was retried under the same id and has failed again. The activity checks
			// for a retry before it asks for one, so two simultaneous requests get the same.
			start.WorkflowIDReusePolicy = enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE
			continue
		}
		if err != nil {
			return o, false, err
		}
		if !done {
			return o, false, &refusal{problem("already-retried", asked.By+" asked for it before, and Spacelift has not answered yet")}
		}
		return o, false, &refusal{problem("already-retried", fmt.Sprintf("%s retried it as run %s", asked.By, o.New.Run))}
	}
}

// retryInput returns the input for a retry that a person asked for.
func retryInput(ref spacelift.RunRef, status managed.RunStatus, by, note string) managed.RetryRunInput {
	in := managed.RetryRunInput{
		Run: ref, By: by, Reason: by + " asked for it", Attempt: 2, TriggeredBy: status.Triggerers(), Chains: status.Released(),
		Waits: status.Phase != managed.PhaseDone,
	}
	if status.RetryOf != nil {
		in.Attempt = status.RetryOf.Attempt + 1
	}
	if note != "" {
		in.Reason += ": " + note
	}
	return in
}

// start starts an execution.
func (h *handlers) start(ctx context.Context, options client.StartWorkflowOptions, workflowType string, in any) error {
	ctx, cancel := context.WithTimeout(ctx, temporalTimeout)
	defer cancel()
	defer h.forget() // callers see their own changes
	_, err := h.temporal.ExecuteWorkflow(ctx, options, workflowType, in)
	return err
}

// requestOf returns the request that started an execution. A retry by policy has none.
func (h *handlers) requestOf(ctx context.Context, id string) (startRequest, error) {
	ctx, cancel := context.WithTimeout(ctx, temporalTimeout)
	defer cancel()
	found, err := h.temporal.DescribeWorkflowExecution(ctx, id, "")
	if err != nil {
		return startRequest{}, err
	}
	asked := startRequest{By: "Gantry, by the run's policy,"}
	if memo := found.GetWorkflowExecutionInfo().GetMemo().GetFields()[requestMemo]; memo != nil {
		if err := converter.GetDefaultDataConverter().FromPayload(memo, &asked); err != nil {
			return startRequest{}, fmt.Errorf("read memo of %s: %w", id, err)
		}
	}
	return asked, nil
}

// outcomeOf waits briefly for the outcome of an execution that a request started. done
// reports whether it is known; otherwise the execution continues automatically. failure
// says that the execution failed.
func outcomeOf[T any](ctx context.Context, h *handlers, id string) (o T, done bool, failure string, err error) {
	ctx, cancel := context.WithTimeout(ctx, retryPatience)
	defer cancel()
	err = h.temporal.GetWorkflow(ctx, id, "").Get(ctx, &o)
	if is[*temporal.WorkflowExecutionError](err) {
		return o, false, "Gantry gave up calling Spacelift; see the execution " + id, nil
	}
	if err != nil && temporalAway(err) {
		return o, false, "", nil
	}
	return o, err == nil, "", err
}

// retryOutcome waits for the outcome of a retry. It returns a *retryRefusedError if the
// run was not retried.
func (h *handlers) retryOutcome(ctx context.Context, id string) (managed.RetryRunOutcome, bool, error) {
	o, done, failure, err := outcomeOf[managed.RetryRunOutcome](ctx, h, id)
	if failure == "" && done && o.New == (spacelift.RunRef{}) {
		failure = o.Reason
	}
	if err == nil && failure != "" {
		return o, false, &retryRefusedError{failure}
	}
	return o, done, err
}

// retryRefusedError explains why a run was not retried.
type retryRefusedError struct{ reason string }

func (e *retryRefusedError) Error() string { return "not retried: " + e.reason }

// toAPIRetry converts the outcome of a retry, which is empty until it is known.
func toAPIRetry(ref spacelift.RunRef, outcome managed.RetryRunOutcome) api.Retry {
	return api.Retry{Account: string(ref.Account), Stack: string(ref.Stack), Run: string(ref.Run), New: nonEmpty(string(outcome.New.Run))}
}
