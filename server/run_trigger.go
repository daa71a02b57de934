package server

import (
	"cmp"
	"context"
	"net/url"

	"go.temporal.io/api/serviceerror"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/spacelift"
)

// TriggerRun starts an execution that triggers a run, and waits briefly for Spacelift's
// answer. The execution is named by the Idempotency-Key, so a repeat finds it.
func (h *handlers) TriggerRun(ctx context.Context, req genserver.TriggerRunRequestObject) (genserver.TriggerRunResponseObject, error) {
	c := callOf(ctx)
	ctx, cancel := context.WithTimeout(ctx, retryTimeout)
	defer cancel()
	if _, err := c.account.Stacks.Stack(ctx, c.stack); err != nil {
		return nil, &spaceliftError{err}
	}
	wish := deref(req.Body)
	in := managed.TriggerRunInput{
		Account: c.account.Name, Stack: c.stack, Type: cmp.Or(spacelift.RunType(deref(wish.Type)), spacelift.RunTypeTracked), Commit: deref(wish.Commit), By: c.by.Name,
	}
	outcome, done, err := h.trigger(ctx, c, in)
	result := api.Trigger{
		Account: string(in.Account), Stack: string(in.Stack), Type: api.RunType(in.Type), Run: nonEmpty(string(outcome.Run.Run)), URL: nonEmpty(outcome.URL),
	}
	if !done {
		return genserver.TriggerRun202JSONResponse(result), err
	}
	c.note, noteTo(ctx).on = []any{"triggered", outcome.Run.Run}, "run "+string(outcome.Run.Run)
	location := relative(depth(ctx), "v1/accounts/"+url.PathEscape(req.Account)+"/stacks/"+url.PathEscape(req.Stack)+"/runs/"+url.PathEscape(string(outcome.Run.Run)))
	return genserver.TriggerRun201JSONResponse{Body: result, Headers: genserver.TriggerRun201ResponseHeaders{Location: &location}}, nil
}

// trigger starts the execution of a request, or finds the one that the same request
// started before. done reports whether its outcome is known.
func (h *handlers) trigger(ctx context.Context, c *call, in managed.TriggerRunInput) (o managed.TriggerRunOutcome, done bool, err error) {
	id := managed.TriggerRunID(in.Account, c.resourceID())
	err = h.start(ctx, h.asked(c, id, in.Opening()), managed.TriggerRunType, in)
	if is[*serviceerror.WorkflowExecutionAlreadyStarted](err) {
		var asked startRequest
		if asked, err = h.requestOf(ctx, id); err == nil && asked.Content != c.content {
			err = errKeyReused
		}
	}
	if err != nil {
		return o, false, answered(err, c.key)
	}
	o, done, failure, err := outcomeOf[managed.TriggerRunOutcome](ctx, h, id)
	if failure = cmp.Or(failure, o.Reason); err == nil && failure != "" {
		err = &refusal{problem("trigger-refused", failure)}
	}
	return o, done && err == nil, err
}
