package server

import (
	"cmp"
	"context"
	"slices"

	commonpb "go.temporal.io/api/common/v1"
	workflowpb "go.temporal.io/api/workflow/v1"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/spacelift"
)

// ListChains lists the executions of chains.
func (h *handlers) ListChains(ctx context.Context, req genserver.ListChainsRequestObject) (genserver.ListChainsResponseObject, error) {
	p, account := req.Params, callOf(ctx).account.Name
	may, err := h.scope(ctx, authority.RoleViewer, account)
	if err != nil {
		return nil, err
	}
	filters := []filter{
		{parameter: "stack", attribute: managed.AttrStack, value: deref(p.Stack)},
		{parameter: "phase", attribute: managed.AttrPhase, value: string(deref(p.Phase))},
	}
	s := search{[]string{chain.Type}, []spacelift.Account{account}, filters, p.PageSize, p.PageToken}
	chains, next, err := listExecutions(ctx, h, s, func(e *foundExecution) (api.ChainSummary, bool, error) {
		c, err := toAPIChainSummary(e.WorkflowExecutionInfo)
		explainHeld(&c, e.GetMemo(), may)
		return c, may(account, spacelift.StackID(c.Stack)), err
	})
	return genserver.ListChains200JSONResponse{Chains: chains, NextPageToken: next}, err
}

// GetChain returns the status of a chain.
func (h *handlers) GetChain(ctx context.Context, _ genserver.GetChainRequestObject) (genserver.GetChainResponseObject, error) {
	c := callOf(ctx)
	status, err := h.chain(c.run).recentStatus(ctx)
	if err != nil {
		return nil, err
	}
	may, err := h.scope(ctx, authority.RoleViewer, c.account.Name)
	if err == nil && !may(c.account.Name, status.Root.Stack) {
		err = lacks(principalOf(ctx), authority.RoleViewer, "the stack that began this chain")
	}
	if err != nil {
		return nil, err
	}
	return genserver.GetChain200JSONResponse(inScope(toAPIChain(status), may)), nil
}

// SkipChainStack sends the caller's request to skip a stack to the chain's execution.
func (h *handlers) SkipChainStack(ctx context.Context, req genserver.SkipChainStackRequestObject) (genserver.SkipChainStackResponseObject, error) {
	c := callOf(ctx)
	c.note = []any{"stack", req.Body.Stack}
	if err := h.allow(ctx, authority.RoleOperator, c.account.Name, spacelift.StackID(req.Body.Stack)); err != nil {
		return nil, err
	}
	skip := chain.Skip{Stack: spacelift.StackID(req.Body.Stack), By: c.by.Name, Note: deref(req.Body.Note), Key: c.key}
	status, err := h.changeChain(ctx, chain.SkipUpdate, skip)
	return genserver.SkipChainStack200JSONResponse(status), err
}

// StopChain sends the caller's request to stop to the chain's execution.
func (h *handlers) StopChain(ctx context.Context, req genserver.StopChainRequestObject) (genserver.StopChainResponseObject, error) {
	c := callOf(ctx)
	// It stops every stack of the chain.
	if !principalOf(ctx).Rules(authority.RoleOperator, string(c.account.Name)) {
		status, err := h.chain(c.run).status(ctx)
		if err == nil {
			err = h.allow(ctx, authority.RoleOperator, c.account.Name, toAPIList(status.Nodes, func(n chain.Node) spacelift.StackID { return n.Stack })...)
		}
		if err != nil {
			return nil, err
		}
	}
	stop := chain.Stop{By: c.by.Name, Note: noteOf(req.Body), Key: c.key}
	status, err := h.changeChain(ctx, chain.StopUpdate, stop)
	return genserver.StopChain200JSONResponse(status), err
}

// changeChain sends a change to the execution of the chain in the path, and returns what
// the caller may see of the chain after it.
func (h *handlers) changeChain(ctx context.Context, name string, content any) (api.Chain, error) {
	c := callOf(ctx)
	may, err := h.scope(ctx, authority.RoleViewer, c.account.Name)
	if err != nil {
		return api.Chain{}, err
	}
	status, err := h.chain(c.run).update(ctx, c.change, name, content)
	return inScope(toAPIChain(status), may), err
}

// inScope leaves out the stacks of a chain that the caller may not see.
func inScope(c api.Chain, may func(spacelift.Account, spacelift.StackID) bool) api.Chain {
	hidden := func(stack string) bool { return !may(spacelift.Account(c.Account), spacelift.StackID(stack)) }
	nodes := len(c.Nodes)
	c.Nodes = slices.DeleteFunc(c.Nodes, func(n api.ChainNode) bool { return hidden(n.Stack) })
	if len(c.Nodes) == nodes {
		return c
	}
	for i := range c.Nodes {
		c.Nodes[i].After = slices.DeleteFunc(c.Nodes[i].After, hidden)
		c.Nodes[i].Reason = "the chain has stacks that you may not see; the state is this stack's own"
	}
	c.Edges = slices.DeleteFunc(c.Edges, func(e api.ChainEdge) bool { return hidden(e.From) || hidden(e.To) })
	c.Timeline = slices.DeleteFunc(c.Timeline, func(e api.ChainEntry) bool { return e.Stack == nil || hidden(*e.Stack) })
	c.Summary = "this shows the stacks of the chain that you may see; it has others"
	return c
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

// explainHeld says in a list why a chain is held, if the caller may see all stacks that
// are in the way. The memo of a chain that has moved on since says nothing.
func explainHeld(c *api.ChainSummary, memo *commonpb.Memo, may func(spacelift.Account, spacelift.StackID) bool) {
	held := memoOf[chain.Held](memo, chain.HeldMemo)
	if held.Since.IsZero() || c.Phase != api.ChainPhaseHeld || c.EndedAt != nil {
		return
	}
	c.HeldSince = &held.Since
	hidden := func(stack spacelift.StackID) bool { return !may(spacelift.Account(c.Account), stack) }
	if !slices.ContainsFunc(held.InTheWay, hidden) {
		c.Summary, c.InTheWay = &held.Reason, words(held.InTheWay)
	}
}
