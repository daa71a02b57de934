package server

import (
	"cmp"
	"context"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
)

// ExplainRun asks the run's execution why the run is where it is.
func (h *handlers) ExplainRun(ctx context.Context, req genserver.ExplainRunRequestObject) (genserver.ExplainRunResponseObject, error) {
	ref, err := h.runRef(req.Account, req.Stack, req.Run)
	if err != nil {
		return nil, err
	}
	var e managed.Explanation
	if err := h.ask(ctx, ref, managed.ExplainQuery, &e); err != nil {
		return nil, err
	}
	return genserver.ExplainRun200JSONResponse(toAPIExplanation(e)), nil
}

func toAPIExplanation(e managed.Explanation) api.Explanation {
	a := api.Explanation{
		Account: string(e.Run.Account), Stack: string(e.Run.Stack), Run: string(e.Run.Run), State: nonEmpty(string(e.State)),
		Phase: toAPIPhase(e.Phase), Summary: e.Summary, Chains: toAPIChainRefs(e.Chains), Followers: followers(e.Followers),
		Unblock: toAPIUnblock(e.Unblock), Next: make([]api.NextStep, len(e.Next)), Rules: make([]api.Rule, len(e.Rules)),
	}
	if e.WaitingFor != nil {
		a.WaitingFor = toAPIWaitingFor(*e.WaitingFor)
	}
	if e.Approvals != nil {
		a.Approvals = toAPIApprovals(*e.Approvals)
	}
	for i, n := range e.Next {
		a.Next[i] = api.NextStep{At: nonZero(n.At), What: n.What}
	}
	for i, r := range e.Rules {
		a.Rules[i] = api.Rule{Name: r.Name, Value: r.Value, Origin: r.Origin, Effect: string(r.Effect), Detail: nonEmpty(r.Detail)}
	}
	return a
}

// toAPIWaitingFor converts the reason why a run waits. A run that waits for nothing
// outside waits for Gantry itself.
func toAPIWaitingFor(w managed.WaitingFor) *api.WaitingFor {
	return &api.WaitingFor{
		What: string(cmp.Or(w.What, managed.WaitGantry)), Reason: w.Reason, Since: w.Since, Until: nonZero(w.Until), Who: nonEmpty(w.Who), Next: nonEmpty(w.Next),
	}
}

// toAPIUnblock lists the people who can move a run on. It leaves out entries without any.
func toAPIUnblock(all []managed.Unblock) []api.Unblock {
	list := []api.Unblock{}
	for _, u := range all {
		if u.Who != "" {
			list = append(list, api.Unblock{Who: u.Who, How: cmp.Or(u.How, "wait")})
		}
	}
	return list
}
