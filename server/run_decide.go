package server

import (
	"context"
	"fmt"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
)

// DecideRun hands the bearer's decision to the run's execution.
func (h *handlers) DecideRun(ctx context.Context, req genserver.DecideRunRequestObject) (genserver.DecideRunResponseObject, error) {
	ref, err := h.runRef(req.Account, req.Stack, req.Run)
	if err != nil {
		return nil, err
	}
	this, err := changeOf(ctx, managed.DecideUpdate, req.Params.IdempotencyKey, req.Body)
	if err != nil {
		return nil, err
	}
	decision := fromAPIDecisionRequest(*req.Body)
	decision.By, decision.Key = principalOf(ctx), this.key
	status, err := h.updateRun(ctx, ref, managed.DecideUpdate, this, decision)
	h.gate.metrics.decided(decision.Verdict, err)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", decision.Verdict, ref, err)
	}
	h.log.InfoContext(ctx, "decision", "run", ref.String(), "verdict", decision.Verdict, "by", decision.By.Name)
	return genserver.DecideRun200JSONResponse(toAPIRun(status)), nil
}

// StopRun hands the bearer's wish to end the run to its execution.
func (h *handlers) StopRun(ctx context.Context, req genserver.StopRunRequestObject) (genserver.StopRunResponseObject, error) {
	ref, err := h.runRef(req.Account, req.Stack, req.Run)
	if err != nil {
		return nil, err
	}
	this, err := changeOf(ctx, managed.StopUpdate, req.Params.IdempotencyKey, req.Body)
	if err != nil {
		return nil, err
	}
	by := principalOf(ctx)
	status, err := h.updateRun(ctx, ref, managed.StopUpdate, this, managed.StopRequest{By: by, Note: noteOf(req.Body), Key: this.key})
	if err != nil {
		return nil, fmt.Errorf("stop %s: %w", ref, err)
	}
	h.log.InfoContext(ctx, "stop", "run", ref.String(), "by", by.Name)
	return genserver.StopRun200JSONResponse(toAPIRun(status)), nil
}

func fromAPIDecisionRequest(r api.DecisionRequest) managed.Decision {
	return managed.Decision{Verdict: managed.Verdict(r.Verdict), Note: deref(r.Note), StateVersion: r.StateVersion}
}

// noteOf returns the note of a body that may be missing.
func noteOf(body *api.ActionRequest) string {
	if body == nil {
		return ""
	}
	return deref(body.Note)
}

func toAPIApprovals(a managed.Approvals) *api.Approvals {
	return &api.Approvals{Needed: a.Needed, Given: a.Given, Group: nonEmpty(a.Group), Excluded: a.Excluded, Decided: toAPIDecisions(a.Decided)}
}

func toAPIDecisions(decided []managed.Decided) []api.Decided {
	all := make([]api.Decided, len(decided))
	for i, d := range decided {
		all[i] = api.Decided{
			Verdict: api.Verdict(d.Verdict), By: d.By, Note: nonEmpty(d.Note), At: d.At, State: string(d.State), StateVersion: d.StateVersion,
			Discounted: nonEmpty(d.Discounted),
		}
		if d.Revoked {
			all[i].Revoked = new(true)
		}
	}
	return all
}
