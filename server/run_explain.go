package server

import (
	"cmp"
	"context"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
)

// ExplainRun returns why the run is where it is.
func (h *handlers) ExplainRun(ctx context.Context, _ genserver.ExplainRunRequestObject) (genserver.ExplainRunResponseObject, error) {
	e, err := ask[managed.Explanation](ctx, h, managed.ManageRunID(callOf(ctx).run), managed.ExplainQuery)
	return genserver.ExplainRun200JSONResponse(toAPIExplanation(e)), err
}

func toAPIExplanation(e managed.Explanation) api.Explanation {
	return api.Explanation{
		Account: string(e.Run.Account), Stack: string(e.Run.Stack), Run: string(e.Run.Run), State: nonEmpty(string(e.State)),
		Phase: toAPIPhase(e.Phase), Summary: e.Summary, Chains: toAPIChainRefs(e.Chains), Followers: followers(e.Followers),
		WaitingFor: optional(e.WaitingFor, toAPIWaitingFor), Approvals: optional(e.Approvals, toAPIApprovals), Unblock: toAPIUnblock(e.Unblock),
		Next: toAPIList(e.Next, func(n managed.NextStep) api.NextStep { return api.NextStep{At: nonZero(n.At), What: n.What} }),
		Rules: toAPIList(e.Rules, func(r managed.Rule) api.Rule {
			return api.Rule{Name: r.Name, Value: r.Value, Origin: r.Origin, Effect: string(r.Effect), Detail: nonEmpty(r.Detail)}
		}),
	}
}

// toAPIWaitingFor converts the reason why a run waits. A run that waits for nothing
// outside waits for Gantry itself.
func toAPIWaitingFor(w managed.WaitingFor) api.WaitingFor {
	return api.WaitingFor{
		What: string(cmp.Or(w.What, managed.WaitGantry)), Reason: w.Reason, Since: w.Since, Until: nonZero(w.Until), Who: nonEmpty(w.Who), Next: nonEmpty(w.Next),
	}
}

// toAPIUnblock returns the people who can unblock a run. It leaves out entries without any.
func toAPIUnblock(all []managed.Unblock) []api.Unblock {
	list := []api.Unblock{}
	for _, u := range all {
		if u.Who != "" {
			list = append(list, api.Unblock{Who: u.Who, How: cmp.Or(u.How, "wait")})
		}
	}
	return list
}
