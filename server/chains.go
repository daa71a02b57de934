package server

import (
	"cmp"
	"context"

	workflowpb "go.temporal.io/api/workflow/v1"

	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/spacelift"
)

// ListChains lists the executions of chains.
func (h *handlers) ListChains(ctx context.Context, req genserver.ListChainsRequestObject) (genserver.ListChainsResponseObject, error) {
	p := req.Params
	filters := []filter{
		{"stack", managed.AttrStack, deref(p.Stack)},
		{"phase", managed.AttrPhase, string(deref(p.Phase))},
	}
	chains, next, err := listExecutions(ctx, h, search{chain.Type, []string{req.Account}, filters, p.PageSize, p.PageToken}, toAPIChainSummary)
	return genserver.ListChains200JSONResponse{Chains: chains, NextPageToken: next}, err
}

// GetChain returns the status of a chain.
func (h *handlers) GetChain(ctx context.Context, _ genserver.GetChainRequestObject) (genserver.GetChainResponseObject, error) {
	status, err := h.chain(callOf(ctx).run).status(ctx)
	return genserver.GetChain200JSONResponse(toAPIChain(status)), err
}

// SkipChainStack sends the caller's request to skip a stack to the chain's execution.
func (h *handlers) SkipChainStack(ctx context.Context, req genserver.SkipChainStackRequestObject) (genserver.SkipChainStackResponseObject, error) {
	c := callOf(ctx)
	c.note = []any{"stack", req.Body.Stack}
	skip := chain.Skip{Stack: spacelift.StackID(req.Body.Stack), By: c.by.Name, Note: deref(req.Body.Note), Key: c.key}
	status, err := h.chain(c.run).update(ctx, c.change, chain.SkipUpdate, skip)
	return genserver.SkipChainStack200JSONResponse(toAPIChain(status)), err
}

// StopChain sends the caller's request to stop to the chain's execution.
func (h *handlers) StopChain(ctx context.Context, req genserver.StopChainRequestObject) (genserver.StopChainResponseObject, error) {
	c := callOf(ctx)
	stop := chain.Stop{By: c.by.Name, Note: noteOf(req.Body), Key: c.key}
	status, err := h.chain(c.run).update(ctx, c.change, chain.StopUpdate, stop)
	return genserver.StopChain200JSONResponse(toAPIChain(status)), err
}

// chain returns the execution of the chain that a run began.
func (h *handlers) chain(root spacelift.RunRef) execution[chain.Status] {
	return execution[chain.Status]{
		h: h, id: managed.ChainID(root), query: chain.Query, ended: "chain-ended",
		none: "no chain began with this run: it has not finished, no stack follows its stack, or Temporal's retention has passed",
		end: func(s chain.Status) (string, bool, string) {
			return s.Summary, s.Phase == chain.PhaseDone, string(s.Phase)
		},
	}
}

func toAPIChain(s chain.Status) api.Chain {
	return api.Chain{
		Account: string(s.Root.Account), Stack: string(s.Root.Stack), Run: string(s.Root.Run), Phase: toAPIChainPhase(s.Phase), Summary: s.Summary,
		StartedAt: s.StartedAt, HeldSince: nonZero(s.HeldSince), GivesUpAt: nonZero(s.GivesUpAt), EndedAt: nonZero(s.EndedAt),
		Nodes: toAPIList(s.Nodes, func(n chain.Node) api.ChainNode {
			return api.ChainNode{
				Stack: string(n.Stack), After: words(s.Parents(n)), State: string(n.State), Reason: n.Reason,
				Run: nonEmpty(string(n.Run)), RunState: nonEmpty(string(n.RunState)), Runs: words(n.Runs), Until: nonZero(n.Until),
			}
		}),
		Edges: toAPIList(s.Edges(), func(e chain.Edge) api.ChainEdge {
			return api.ChainEdge{From: string(e.From), To: string(e.To), Decision: string(e.Decision), Reason: e.Reason, At: e.At}
		}),
		Timeline: toAPIList(s.Timeline, func(e chain.Entry) api.ChainEntry {
			return api.ChainEntry{
				At: e.At, Kind: string(e.Kind), Stack: nonEmpty(string(e.Stack)), Run: nonEmpty(string(e.Run)), Actor: nonEmpty(e.Actor), Summary: e.Summary,
			}
		}),
	}
}

// toAPIChainPhase returns the phase of a chain, which is moving until its execution
// reports another one.
func toAPIChainPhase(p chain.Phase) api.ChainPhase {
	return api.ChainPhase(cmp.Or(p, chain.PhaseMoving))
}

// toAPIChainSummary reads a chain from its execution's id and search attributes.
func toAPIChainSummary(e *workflowpb.WorkflowExecutionInfo) (c api.ChainSummary, err error) {
	root, err := managed.ParseChainID(e.GetExecution().GetWorkflowId())
	if err != nil {
		return c, err
	}
	attrs := e.GetSearchAttributes()
	return api.ChainSummary{
		Account: string(root.Account), Stack: keyword(attrs, managed.AttrStack), Run: string(root.Run), Phase: toAPIChainPhase(chain.Phase(keyword(attrs, managed.AttrPhase))),
		StartedAt: e.GetStartTime().AsTime(), EndedAt: endedAt(e), Execution: toAPIExecution(e),
	}, nil
}
