package server

import (
	"context"
	"fmt"
	"net/http"

	"go.temporal.io/api/serviceerror"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/spacelift"
)

// DecideRun sends the caller's decision to the run's execution.
func (h *handlers) DecideRun(ctx context.Context, req genserver.DecideRunRequestObject) (genserver.DecideRunResponseObject, error) {
	c := callOf(ctx)
	decision := fromAPIDecisionRequest(*req.Body)
	decision.By, decision.Key = c.by, c.key
	c.note = []any{"verdict", decision.Verdict}
	status, err := h.decide(ctx, c, decision)
	noteTo(ctx).plan = planOf(status)
	h.door.metrics.decided(decision.Verdict, err)
	return genserver.DecideRun200JSONResponse(h.toAPIRun(ctx, status)), err
}

// decide sends a decision; one that names no state version, with the state that Gantry
// knows now.
func (h *handlers) decide(ctx context.Context, c *call, decision managed.Decision) (managed.RunStatus, error) {
	if decision.StateVersion == nil {
		known, err := h.known(ctx, c.run)
		if err != nil {
			return managed.RunStatus{}, err
		}
		decision.Known = &known
	}
	return h.run(c.run).update(ctx, c.change, managed.DecideUpdate, decision)
}

// known returns the state that Gantry knows of a run; zero if it doesn't know the run. A
// decision may reach the execution late, when there is a plan that the caller can't have
// meant.
func (h *handlers) known(ctx context.Context, run spacelift.RunRef) (managed.StateKey, error) {
	s, err := h.run(run).status(ctx)
	if is[*serviceerror.NotFound](err) {
		err = nil
	}
	return managed.StateKey{StateVersion: s.StateVersion, State: s.State}, err
}

// planOf identifies the plan of a run for the audit log.
func planOf(s managed.RunStatus) string {
	if s.Delta == nil {
		return ""
	}
	return fmt.Sprintf("state version %d, +%d ~%d -%d", s.StateVersion, s.Delta.Added, s.Delta.Changed, s.Delta.Deleted)
}

// StopRun sends the caller's request to stop to the run's execution.
func (h *handlers) StopRun(ctx context.Context, req genserver.StopRunRequestObject) (genserver.StopRunResponseObject, error) {
	c := callOf(ctx)
	stop := managed.StopRequest{By: c.by, Note: noteOf(req.Body), Key: c.key}
	status, err := h.run(c.run).update(ctx, c.change, managed.StopUpdate, stop)
	return genserver.StopRun200JSONResponse(h.toAPIRun(ctx, status)), err
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

func toAPIApprovals(a managed.Approvals) api.Approvals {
	approvals := api.Approvals{
		Needed: a.Needed, Given: a.Given, Group: nonEmpty(a.Group), Excluded: a.Excluded, Decided: toAPIList(a.Decided, toAPIDecided),
	}
	if len(a.Required) > 0 {
		approvals.Required = toAPIList(a.Required, func(r managed.RequiredApprovals) api.RequiredApprovals {
			return api.RequiredApprovals{Needed: r.Needed, Given: r.Given, Group: nonEmpty(r.Group), Reason: r.Reason}
		})
	}
	return approvals
}

func toAPIDecided(d managed.Decided) api.Decided {
	decided := api.Decided{
		Verdict: api.Verdict(d.Verdict), By: d.By, Note: nonEmpty(d.Note), At: d.At, State: string(d.State), StateVersion: d.StateVersion,
		Discounted: nonEmpty(d.Discounted),
	}
	if d.Revoked {
		decided.Revoked = new(true)
	}
	return decided
}

// decided counts a decision by the answer to it.
func (m *metrics) decided(v managed.Verdict, err error) {
	result := "counted"
	if err != nil {
		p, _ := problemOf(err)
		switch {
		case p.Status == http.StatusServiceUnavailable:
			result = "unanswered"
		case p.Status < http.StatusInternalServerError:
			result = "refused"
		default:
			result = "failed"
		}
	}
	m.decisions.WithLabelValues(string(v), result).Inc()
}
