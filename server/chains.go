package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"

	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/spacelift"
)

// ListChains lists executions of chains from Temporal's visibility store.
func (h *handlers) ListChains(ctx context.Context, req genserver.ListChainsRequestObject) (genserver.ListChainsResponseObject, error) {
	account, err := h.account(req.Account)
	if err != nil {
		return nil, err
	}
	page, next, err := h.listExecutions(ctx, chain.Type, []string{string(account.Name)}, []filter{
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
	wish := chain.Skip{
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
	this, err := changeOf(ctx, "chain."+chain.StopUpdate, req.Params.IdempotencyKey, req.Body)
	if err != nil {
		return nil, err
	}
	wish := chain.Stop{By: principalOf(ctx).Name, Note: noteOf(req.Body), Key: this.key}
	status, err := h.updateChain(ctx, root, chain.StopUpdate, this, wish)
	if err != nil {
		return nil, fmt.Errorf("stop %s: %w", managed.ChainID(root), err)
	}
	h.log.InfoContext(ctx, "stop", "chain", managed.ChainID(root), "by", wish.By)
	return genserver.StopChain200JSONResponse(toAPIChain(status)), nil
}

func (h *handlers) chain(ctx context.Context, root spacelift.RunRef) (chain.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, temporalTimeout)
	defer cancel()
	var status chain.Status
	answer, err := h.temporal.QueryWorkflow(ctx, managed.ChainID(root), "", chain.Query)
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

func toAPIChain(s chain.Status) api.Chain {
	edges := s.Edges()
	c := api.Chain{
		Account: string(s.Root.Account), Stack: string(s.Root.Stack), Run: string(s.Root.Run), Phase: toAPIChainPhase(s.Phase), Summary: s.Summary,
		StartedAt: s.StartedAt, HeldSince: nonZero(s.HeldSince), GivesUpAt: nonZero(s.GivesUpAt), EndedAt: nonZero(s.EndedAt),
		Nodes: make([]api.ChainNode, len(s.Nodes)), Edges: make([]api.ChainEdge, len(edges)), Timeline: make([]api.ChainEntry, len(s.Timeline)),
	}
	for i, n := range s.Nodes {
		c.Nodes[i] = api.ChainNode{
			Stack: string(n.Stack), After: words(s.Parents(n)), State: string(n.State), Reason: n.Reason,
			Run: nonEmpty(string(n.Run)), RunState: nonEmpty(string(n.RunState)), Runs: words(n.Runs), Until: nonZero(n.Until),
		}
	}
	for i, e := range edges {
		c.Edges[i] = api.ChainEdge{From: string(e.From), To: string(e.To), Decision: string(e.Decision), Reason: e.Reason, At: e.At}
	}
	for i, e := range s.Timeline {
		c.Timeline[i] = api.ChainEntry{
			At: e.At, Kind: string(e.Kind), Stack: nonEmpty(string(e.Stack)), Run: nonEmpty(string(e.Run)), Actor: nonEmpty(e.Actor), Summary: e.Summary,
		}
	}
	return c
}

// toAPIChainPhase returns the phase of a chain, which moves until its execution
// says something else.
func toAPIChainPhase(p chain.Phase) api.ChainPhase {
	return api.ChainPhase(cmp.Or(p, chain.PhaseMoving))
}

func toAPIChainRefs(refs []managed.ChainRef) []api.ChainRef {
	var all []api.ChainRef
	for _, r := range refs {
		all = append(all, api.ChainRef{Run: string(r.Root.Run), Stack: string(r.Root.Stack), After: words(r.After)})
	}
	return all
}

// followers writes the stacks that follow; none are left out.
func followers(stacks []spacelift.StackID) []string {
	if len(stacks) == 0 {
		return nil
	}
	return words(stacks)
}

func toAPIChainList(page []*workflowpb.WorkflowExecutionInfo, nextPageToken *string) (api.ChainList, error) {
	list := api.ChainList{Chains: make([]api.ChainSummary, len(page)), NextPageToken: nextPageToken}
	for i, e := range page {
		chain, err := toAPIChainSummary(e)
		if err != nil {
			return api.ChainList{}, err
		}
		list.Chains[i] = chain
	}
	return list, nil
}

// toAPIChainSummary reads a chain from its execution's identity and search
// attributes.
func toAPIChainSummary(e *workflowpb.WorkflowExecutionInfo) (api.ChainSummary, error) {
	id := e.GetExecution().GetWorkflowId()
	root, err := managed.ParseChainID(id)
	if err != nil {
		return api.ChainSummary{}, err
	}
	attrs := e.GetSearchAttributes()
	c := api.ChainSummary{
		Account: string(root.Account), Stack: keyword(attrs, managed.AttrStack), Run: string(root.Run),
		Phase: toAPIChainPhase(chain.Phase(keyword(attrs, managed.AttrPhase))), StartedAt: e.GetStartTime().AsTime(),
		Execution: api.Execution{WorkflowID: id, TemporalRunID: e.GetExecution().GetRunId(), Status: e.GetStatus().String()},
	}
	if e.GetCloseTime() != nil {
		c.EndedAt = new(e.GetCloseTime().AsTime())
	}
	return c, nil
}
