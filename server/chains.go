package server

import (
	"context"
	"errors"
	"fmt"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/spacelift"
)

// ListChains lists executions of chains from Temporal's visibility store.
func (h *handlers) ListChains(ctx context.Context, req genserver.ListChainsRequestObject) (genserver.ListChainsResponseObject, error) {
	account, err := h.account(req.Account)
	if err != nil {
		return nil, err
	}
	page, next, err := h.listExecutions(ctx, chain.RolloutType, []string{string(account.Name)}, []filter{
		{"stack", managed.AttrStack, deref(req.Params.Stack)},
		{"phase", managed.AttrPhase, string(deref(req.Params.Phase))},
	}, req.Params.PageSize, req.Params.PageToken)
	if err != nil {
		return nil, fmt.Errorf("list chains: %w", err)
	}
	list, err := toAPIChainList(page, next)
	if err != nil {
		return nil, fmt.Errorf("list chains: %w", err)
	}
	return genserver.ListChains200JSONResponse(list), nil
}

// GetChain asks a chain's execution for its status.
func (h *handlers) GetChain(ctx context.Context, req genserver.GetChainRequestObject) (genserver.GetChainResponseObject, error) {
	root, err := h.chainRoot(req.Account, req.Run)
	if err != nil {
		return nil, err
	}
	status, err := h.chain(ctx, root)
	if err != nil {
		return nil, err
	}
	return genserver.GetChain200JSONResponse(toAPIChain(status)), nil
}

// SkipChainStack hands the bearer's wish to the chain's execution.
func (h *handlers) SkipChainStack(ctx context.Context, req genserver.SkipChainStackRequestObject) (genserver.SkipChainStackResponseObject, error) {
	root, err := h.chainRoot(req.Account, req.Run)
	if err != nil {
		return nil, err
	}
	this, err := changeOf(ctx, "chain."+chain.SkipUpdate, req.Params.IdempotencyKey, req.Body)
	if err != nil {
		return nil, err
	}
	wish := chain.SkipStack{
		Stack: spacelift.StackID(req.Body.Stack), By: principalOf(ctx).Name, Note: deref(req.Body.Note), Key: this.key,
	}
	status, err := h.updateChain(ctx, root, chain.SkipUpdate, this, wish)
	if err != nil {
		return nil, fmt.Errorf("skip %s in %s: %w", wish.Stack, managed.ChainID(root), err)
	}
	h.log.InfoContext(ctx, "skip", "chain", managed.ChainID(root), "stack", req.Body.Stack, "by", wish.By)
	return genserver.SkipChainStack200JSONResponse(toAPIChain(status)), nil
}

// StopChain hands the bearer's wish to the chain's execution.
func (h *handlers) StopChain(ctx context.Context, req genserver.StopChainRequestObject) (genserver.StopChainResponseObject, error) {
	root, err := h.chainRoot(req.Account, req.Run)
	if err != nil {
		return nil, err
	}
	this, err := changeOf(ctx, "chain."+chain.StopChainUpdate, req.Params.IdempotencyKey, req.Body)
	if err != nil {
		return nil, err
	}
	wish := chain.StopChain{By: principalOf(ctx).Name, Note: noteOf(req.Body), Key: this.key}
	status, err := h.updateChain(ctx, root, chain.StopChainUpdate, this, wish)
	if err != nil {
		return nil, fmt.Errorf("stop %s: %w", managed.ChainID(root), err)
	}
	h.log.InfoContext(ctx, "stop", "chain", managed.ChainID(root), "by", wish.By)
	return genserver.StopChain200JSONResponse(toAPIChain(status)), nil
}

// chainRoot reads which chain a path means. Its stack is not named there.
func (h *handlers) chainRoot(account, run string) (spacelift.RunRef, error) {
	ref, err := h.runRef(account, "any", run)
	ref.Stack = ""
	return ref, err
}

func (h *handlers) chain(ctx context.Context, root spacelift.RunRef) (chain.ChainStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, temporalTimeout)
	defer cancel()
	var status chain.ChainStatus
	answer, err := h.temporal.QueryWorkflow(ctx, managed.ChainID(root), "", chain.ChainQuery)
	if err == nil {
		err = answer.Get(&status)
	}
	if _, none := errors.AsType[*serviceerror.NotFound](err); none {
		return status, &refusal{notFound("no chain began with this run: it has not finished, no stack follows its stack, or Temporal's retention has passed")}
	}
	if err != nil {
		return status, fmt.Errorf("status of %s: %w", managed.ChainID(root), err)
	}
	return status, nil
}

// updateChain sends an update to a chain's execution and waits until it is done.
func (h *handlers) updateChain(ctx context.Context, root spacelift.RunRef, name string, this change, wish any) (chain.ChainStatus, error) {
	var status chain.ChainStatus
	err := h.update(ctx, client.UpdateWorkflowOptions{
		WorkflowID: managed.ChainID(root), UpdateName: name, UpdateID: this.updateID(), Args: []any{wish},
		WaitForStage: client.WorkflowUpdateStageCompleted,
	}, &status, func(ctx context.Context, closed error) error { return h.whyChainClosed(ctx, root, this, closed) })
	return status, err
}

// whyChainClosed explains an update that found no open execution.
func (h *handlers) whyChainClosed(ctx context.Context, root spacelift.RunRef, this change, closed error) error {
	status, err := h.chain(ctx, root)
	if err != nil {
		return err
	}
	if status.Phase == chain.ChainDone {
		return &chainEndedError{status.Summary}
	}
	ctx, cancel := context.WithTimeout(ctx, temporalTimeout)
	defer cancel()
	found, err := h.temporal.DescribeWorkflowExecution(ctx, managed.ChainID(root), "")
	switch {
	case err != nil:
		return fmt.Errorf("look at %s: %w", managed.ChainID(root), err)
	case found.GetWorkflowExecutionInfo().GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING: // it was continuing as new
		return &unansweredError{err: closed, repeatable: this.key != ""}
	}
	return &chainEndedError{"somebody closed its execution in Temporal"}
}

// chainEndedError says that a chain has ended, and how.
type chainEndedError struct{ outcome string }

func (e *chainEndedError) Error() string { return "the chain has ended: " + e.outcome }
