package server

import (
	"cmp"
	"context"

	workflowpb "go.temporal.io/api/workflow/v1"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/spacelift"
)

// GetRun returns the status of a run.
func (h *handlers) GetRun(ctx context.Context, _ genserver.GetRunRequestObject) (genserver.GetRunResponseObject, error) {
	status, err := h.run(callOf(ctx).run).status(ctx)
	return genserver.GetRun200JSONResponse(toAPIRun(status)), err
}

// ListRuns lists the executions of runs.
func (h *handlers) ListRuns(ctx context.Context, req genserver.ListRunsRequestObject) (genserver.ListRunsResponseObject, error) {
	p := req.Params
	accounts, err := h.accounts(p.Account)
	if err != nil {
		return nil, err
	}
	filters := []filter{
		{"stack", managed.AttrStack, deref(p.Stack)},
		{"state", managed.AttrRunState, deref(p.State)},
		{"phase", managed.AttrPhase, string(deref(p.Phase))},
	}
	runs, next, err := listExecutions(ctx, h, search{managed.ManageRunType, accounts, filters, p.PageSize, p.PageToken}, toAPIRunSummary)
	return genserver.ListRuns200JSONResponse{Runs: runs, NextPageToken: next}, err
}

// run returns the execution that manages a run.
func (h *handlers) run(ref spacelift.RunRef) execution[managed.RunStatus] {
	return execution[managed.RunStatus]{
		h: h, id: managed.ManageRunID(ref), query: managed.StatusQuery, ended: "run-ended",
		end: func(s managed.RunStatus) (string, bool, string) {
			return s.Outcome, s.Phase == managed.PhaseDone, string(s.State)
		},
	}
}

func toAPIRun(s managed.RunStatus) api.Run {
	r := api.Run{
		Account: string(s.Run.Account), Stack: string(s.Run.Stack), Run: string(s.Run.Run),
		Type: string(s.Type), State: string(s.State), StateVersion: s.StateVersion, Phase: toAPIPhase(s.Phase),
		Managed: s.Managed, Labels: s.Labels, Policy: toAPIPolicy(s.Policy), Outcome: nonEmpty(s.Outcome),
		Branch: nonEmpty(s.Branch), TriggeredBy: nonEmpty(s.TriggeredBy), URL: nonEmpty(s.URL), StackName: nonEmpty(s.StackName),
		StartedAt: s.StartedAt, LastEventAt: nonZero(s.LastEventAt),
		WaitingFor: optional(s.WaitingFor, toAPIWaitingFor), Gate: optional(s.Gate, toAPIGate), Approvals: optional(s.Approvals, toAPIApprovals),
		Failure: optional(s.Failure, toAPIFailure), Retry: optional(s.Retry, toAPIRetryState), RetryOf: optional(s.RetryOf, toAPIRetryOf),
		States: toAPIList(s.States, toAPIStateEntry), Timeline: toAPIList(s.Timeline, toAPITimelineEntry),
	}
	if len(s.Decisions) > 0 {
		r.Decisions = toAPIList(s.Decisions, toAPIDecided)
	}
	r.Chains, r.Followers = toAPIChainRefs(s.Chains), followers(s.Followers)
	if s.Commit != (spacelift.Commit{}) {
		r.Commit = &api.Commit{
			Hash: nonEmpty(s.Commit.Hash), Message: nonEmpty(s.Commit.Message), URL: nonEmpty(s.Commit.URL),
			AuthorLogin: nonEmpty(s.Commit.AuthorLogin), AuthorName: nonEmpty(s.Commit.AuthorName),
		}
	}
	if d := s.Delta; d != nil {
		r.Delta = &api.Delta{Added: d.Added, Changed: d.Changed, Deleted: d.Deleted, Resources: d.Resources}
	}
	if s.DriftDetection {
		r.DriftDetection = new(true)
	}
	return r
}

func toAPIStateEntry(e managed.StateEntry) api.StateEntry {
	return api.StateEntry{State: string(e.State), StateVersion: e.StateVersion, At: e.At, Note: nonEmpty(e.Note)}
}

func toAPITimelineEntry(e managed.TimelineEntry) api.TimelineEntry {
	entry := api.TimelineEntry{At: e.At, Kind: string(e.Kind), Source: e.Source, Actor: nonEmpty(e.Actor), Summary: e.Summary}
	if e.State != "" {
		entry.State, entry.StateVersion = new(string(e.State)), new(e.StateVersion)
	}
	return entry
}

// toAPIRunSummary reads a run from its execution's id and search attributes. An
// execution that has not run its first task has no attributes yet.
func toAPIRunSummary(e *workflowpb.WorkflowExecutionInfo) (r api.RunSummary, err error) {
	run, err := managed.ParseRunID(e.GetExecution().GetWorkflowId())
	if err != nil {
		return r, err
	}
	attrs := e.GetSearchAttributes()
	return api.RunSummary{
		Account: string(run.Account), Stack: string(run.Stack), Run: string(run.Run),
		State: keyword(attrs, managed.AttrRunState), Type: keyword(attrs, managed.AttrRunType), Phase: toAPIPhase(managed.Phase(keyword(attrs, managed.AttrPhase))),
		StartedAt: e.GetStartTime().AsTime(), EndedAt: endedAt(e), Execution: toAPIExecution(e),
	}, nil
}

// toAPIPhase returns the phase of a run, which is queued until its execution reports
// another one.
func toAPIPhase(p managed.Phase) api.Phase { return api.Phase(cmp.Or(p, managed.PhaseQueued)) }
