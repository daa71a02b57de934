package server

import (
	"cmp"
	"fmt"
	"strings"

	workflowpb "go.temporal.io/api/workflow/v1"

	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/spacelift"
)

func toAPIChain(s chain.ChainStatus) api.Chain {
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
func toAPIChainPhase(p chain.ChainPhase) api.ChainPhase {
	return api.ChainPhase(cmp.Or(p, chain.ChainMoving))
}

func toAPIChainRefs(refs []managed.ChainRef) []api.ChainRef {
	var all []api.ChainRef
	for _, r := range refs {
		all = append(all, api.ChainRef{Run: string(r.Root.Run), Stack: string(r.Root.Stack), After: words(r.After)})
	}
	return all
}

// words writes ids as the API has them; none is an empty list.
func words[ID ~string](ids []ID) []string {
	all := make([]string, len(ids))
	for i, id := range ids {
		all[i] = string(id)
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
	parts := strings.Split(id, "/")
	if len(parts) != 3 {
		return api.ChainSummary{}, fmt.Errorf("execution %q is not that of a chain", id)
	}
	attrs := e.GetSearchAttributes()
	c := api.ChainSummary{
		Account: parts[1], Stack: keyword(attrs, managed.AttrStack), Run: parts[2],
		Phase: toAPIChainPhase(chain.ChainPhase(keyword(attrs, managed.AttrPhase))), StartedAt: e.GetStartTime().AsTime(),
		Execution: api.Execution{WorkflowID: id, TemporalRunID: e.GetExecution().GetRunId(), Status: e.GetStatus().String()},
	}
	if e.GetCloseTime() != nil {
		c.EndedAt = new(e.GetCloseTime().AsTime())
	}
	return c, nil
}
