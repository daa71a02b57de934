package server

import (
	"context"
	"net/url"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"github.com/gantryhq/gantry/decide/freeze"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/spacelift"
)

// ListFreezes returns the account's current and future freezes.
func (h *handlers) ListFreezes(ctx context.Context, _ genserver.ListFreezesRequestObject) (genserver.ListFreezesResponseObject, error) {
	freezes, err := h.freezes(ctx, callOf(ctx).account.Name)
	return genserver.ListFreezes200JSONResponse{Freezes: toAPIList(freezes, toAPIFreeze)}, err
}

// freezes returns an account's freezes. There is no execution before the first one.
func (h *handlers) freezes(ctx context.Context, account spacelift.Account) ([]policy.Freeze, error) {
	freezes, err := ask[[]policy.Freeze](ctx, h, freeze.ID(account), freeze.Query)
	if is[*serviceerror.NotFound](err) {
		return nil, nil
	}
	return freezes, err
}

// DeclareFreeze sends a freeze to the account's execution, which begins with the first
// freeze.
func (h *handlers) DeclareFreeze(ctx context.Context, req genserver.DeclareFreezeRequestObject) (genserver.DeclareFreezeResponseObject, error) {
	c := callOf(ctx)
	wish := fromAPIFreezeRequest(*req.Body)
	wish.ID, wish.By, wish.Key = c.resourceID(), c.by.Name, c.key
	freeze, err := h.declare(ctx, c, wish)
	c.note = []any{"freeze", freeze.ID}
	location := relative(depth(ctx), "v1/accounts/"+url.PathEscape(req.Account)+"/freezes/"+url.PathEscape(freeze.ID))
	return genserver.DeclareFreeze201JSONResponse{
		Body: toAPIFreeze(freeze), Headers: genserver.DeclareFreeze201ResponseHeaders{Location: &location},
	}, err
}

func (h *handlers) declare(ctx context.Context, c *call, wish freeze.Declare) (declared policy.Freeze, err error) {
	ctx, cancel := context.WithTimeout(ctx, updateTimeout)
	defer cancel()
	id := freeze.ID(c.account.Name)
	handle, err := h.temporal.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: h.temporal.NewWithStartWorkflowOperation(client.StartWorkflowOptions{
			ID: id, TaskQueue: h.taskQueue, WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		}, freeze.Type, freeze.Input{Account: c.account.Name}),
		UpdateOptions: updateOptions(id, c.change, freeze.DeclareUpdate, wish),
	})
	if err == nil {
		err = handle.Get(ctx, &declared)
	}
	return declared, answered(err, c.key)
}

// LiftFreeze ends a freeze early.
func (h *handlers) LiftFreeze(ctx context.Context, req genserver.LiftFreezeRequestObject) (genserver.LiftFreezeResponseObject, error) {
	c := callOf(ctx)
	lift := freeze.Lift{ID: req.Freeze, By: c.by.Name, Key: c.key}
	lifted, err := update[policy.Freeze](ctx, h, freeze.ID(c.account.Name), c.change, freeze.LiftUpdate, lift, func(context.Context, error) error {
		return &refusal{problem("unknown-freeze", "no freeze was ever declared in account "+req.Account)}
	})
	return genserver.LiftFreeze200JSONResponse(toAPIFreeze(lifted)), err
}

func fromAPIFreezeRequest(r api.FreezeRequest) freeze.Declare {
	return freeze.Declare{Reason: r.Reason, Stacks: r.Stacks, From: deref(r.From), Until: deref(r.Until)}
}

func toAPIFreeze(f policy.Freeze) api.Freeze {
	return api.Freeze{
		ID: f.ID, Reason: f.Reason, Stacks: f.Stacks, From: f.From, Until: nonZero(f.Until), DeclaredBy: f.DeclaredBy, DeclaredAt: f.DeclaredAt,
	}
}
