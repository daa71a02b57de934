package server

import (
	"context"
	"errors"
	"fmt"
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

// ListFreezes asks the account's freezes for those that hold or will.
func (h *handlers) ListFreezes(ctx context.Context, req genserver.ListFreezesRequestObject) (genserver.ListFreezesResponseObject, error) {
	account, err := h.account(req.Account)
	if err != nil {
		return nil, err
	}
	freezes, err := h.freezes(ctx, account.Name)
	if err != nil {
		return nil, err
	}
	list := api.FreezeList{Freezes: make([]api.Freeze, len(freezes))}
	for i, f := range freezes {
		list.Freezes[i] = toAPIFreeze(f)
	}
	return genserver.ListFreezes200JSONResponse(list), nil
}

// freezes returns an account's freezes; before the first one was declared there
// is no execution to ask.
func (h *handlers) freezes(ctx context.Context, account spacelift.Account) ([]policy.Freeze, error) {
	ctx, cancel := context.WithTimeout(ctx, temporalTimeout)
	defer cancel()
	answer, err := h.temporal.QueryWorkflow(ctx, freeze.ID(account), "", freeze.Query)
	if _, none := errors.AsType[*serviceerror.NotFound](err); none {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("freezes of account %s: %w", account, err)
	}
	var freezes []policy.Freeze
	if err := answer.Get(&freezes); err != nil {
		return nil, fmt.Errorf("freezes of account %s: %w", account, err)
	}
	return freezes, nil
}

// DeclareFreeze hands a freeze to the account's freezes, which begin to exist
// with the first.
func (h *handlers) DeclareFreeze(ctx context.Context, req genserver.DeclareFreezeRequestObject) (genserver.DeclareFreezeResponseObject, error) {
	account, err := h.account(req.Account)
	if err != nil {
		return nil, err
	}
	this, err := changeOf(ctx, freeze.DeclareUpdate, req.Params.IdempotencyKey, req.Body)
	if err != nil {
		return nil, err
	}
	wish := fromAPIFreezeRequest(*req.Body)
	wish.ID, wish.By, wish.Key = this.resourceID(), principalOf(ctx).Name, this.key
	freeze, err := h.declare(ctx, account.Name, this, wish)
	if err != nil {
		return nil, fmt.Errorf("declare freeze of account %s: %w", account.Name, err)
	}
	h.log.InfoContext(ctx, "freeze declared", "account", account.Name, "freeze", freeze.ID, "by", wish.By)
	location := relative(ctx, "v1/accounts/"+url.PathEscape(string(account.Name))+"/freezes/"+url.PathEscape(freeze.ID))
	return genserver.DeclareFreeze201JSONResponse{
		Body: toAPIFreeze(freeze), Headers: genserver.DeclareFreeze201ResponseHeaders{Location: &location},
	}, nil
}

func (h *handlers) declare(ctx context.Context, account spacelift.Account, this change, wish freeze.Declare) (policy.Freeze, error) {
	ctx, cancel := context.WithTimeout(ctx, updateTimeout)
	defer cancel()
	id := freeze.ID(account)
	handle, err := h.temporal.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: h.temporal.NewWithStartWorkflowOperation(client.StartWorkflowOptions{
			ID: id, TaskQueue: h.taskQueue, WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		}, freeze.Type, freeze.Input{Account: account}),
		UpdateOptions: client.UpdateWorkflowOptions{
			WorkflowID: id, UpdateName: freeze.DeclareUpdate, UpdateID: this.updateID(), Args: []any{wish},
			WaitForStage: client.WorkflowUpdateStageCompleted,
		},
	})
	var freeze policy.Freeze
	if err == nil {
		err = handle.Get(ctx, &freeze)
	}
	return freeze, answered(err, this.key)
}

// LiftFreeze ends a freeze before its time.
func (h *handlers) LiftFreeze(ctx context.Context, req genserver.LiftFreezeRequestObject) (genserver.LiftFreezeResponseObject, error) {
	account, err := h.account(req.Account)
	if err != nil {
		return nil, err
	}
	this, err := changeOf(ctx, freeze.LiftUpdate, req.Params.IdempotencyKey, req.Freeze)
	if err != nil {
		return nil, err
	}
	by := principalOf(ctx).Name
	var lifted policy.Freeze
	err = h.update(ctx, client.UpdateWorkflowOptions{
		WorkflowID: freeze.ID(account.Name), UpdateName: freeze.LiftUpdate, UpdateID: this.updateID(),
		Args: []any{freeze.Lift{ID: req.Freeze, By: by, Key: this.key}}, WaitForStage: client.WorkflowUpdateStageCompleted,
	}, &lifted, func(context.Context, error) error {
		return &refusal{problem("unknown-freeze", "no freeze was ever declared in account "+string(account.Name))}
	})
	if err != nil {
		return nil, fmt.Errorf("lift freeze %s of account %s: %w", req.Freeze, account.Name, err)
	}
	h.log.InfoContext(ctx, "freeze lifted", "account", account.Name, "freeze", lifted.ID, "by", by)
	return genserver.LiftFreeze200JSONResponse(toAPIFreeze(lifted)), nil
}

func fromAPIFreezeRequest(r api.FreezeRequest) freeze.Declare {
	return freeze.Declare{Reason: r.Reason, Stacks: r.Stacks, From: deref(r.From), Until: deref(r.Until)}
}

func toAPIFreeze(f policy.Freeze) api.Freeze {
	return api.Freeze{
		ID: f.ID, Reason: f.Reason, Stacks: f.Stacks, From: f.From, Until: nonZero(f.Until), DeclaredBy: f.DeclaredBy, DeclaredAt: f.DeclaredAt,
	}
}
