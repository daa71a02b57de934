package server

import (
	"cmp"
	"context"
	"fmt"

	workflowpb "go.temporal.io/api/workflow/v1"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/spacelift"
)

// GetRun asks the run's execution for its status.
func (h *handlers) GetRun(ctx context.Context, req genserver.GetRunRequestObject) (genserver.GetRunResponseObject, error) {
	ref, err := h.runRef(req.Account, req.Stack, req.Run)
	if err != nil {
		return nil, err
	}
	status, err := h.status(ctx, ref)
	if err != nil {
		return nil, err
	}
	return genserver.GetRun200JSONResponse(toAPIRun(status)), nil
}

// ListRuns lists executions from Temporal's visibility store.
func (h *handlers) ListRuns(ctx context.Context, req genserver.ListRunsRequestObject) (genserver.ListRunsResponseObject, error) {
	accounts, err := h.accounts(req.Params.Account)
	if err != nil {
		return nil, err
	}
	page, next, err := h.listExecutions(ctx, managed.ManageRunType, accounts, runFilters(req.Params), req.Params.PageSize, req.Params.PageToken)
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	list, err := toAPIRunList(page, next)
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	return genserver.ListRuns200JSONResponse(list), nil
}

// runFilters are what a list of runs is filtered by.
func runFilters(p api.ListRunsParams) []filter {
	return []filter{
		{"stack", managed.AttrStack, deref(p.Stack)},
		{"state", managed.AttrRunState, deref(p.State)},
		{"phase", managed.AttrPhase, string(deref(p.Phase))},
	}
}

func toAPIRun(s managed.RunStatus) api.Run {
	r := api.Run{
		Account: string(s.Run.Account), Stack: string(s.Run.Stack), Run: string(s.Run.Run),
		Type: string(s.Type), State: string(s.State), StateVersion: s.StateVersion, Phase: toAPIPhase(s.Phase),
		Managed: s.Managed, Labels: s.Labels, Policy: toAPIPolicy(s.Policy), Outcome: nonEmpty(s.Outcome),
		Branch: nonEmpty(s.Branch), TriggeredBy: nonEmpty(s.TriggeredBy), URL: nonEmpty(s.URL), StackName: nonEmpty(s.StackName),
		StartedAt: s.StartedAt,
		States:    make([]api.StateEntry, len(s.States)),
		Timeline:  make([]api.TimelineEntry, len(s.Timeline)),
	}
	if w := s.WaitingFor; w != nil {
		r.WaitingFor = toAPIWaitingFor(*w)
	}
	if s.Gate != nil {
		r.Gate = new(toAPIGate(*s.Gate))
	}
	if s.Approvals != nil {
		r.Approvals = toAPIApprovals(*s.Approvals)
	}
	if len(s.Decisions) > 0 {
		r.Decisions = toAPIDecisions(s.Decisions)
	}
	r.Failure, r.Retry, r.RetryOf = toAPIFailure(s.Failure), toAPIRetryState(s.Retry), toAPIRetryOf(s.RetryOf)
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
	if !s.LastEventAt.IsZero() {
		r.LastEventAt = new(s.LastEventAt)
	}
	for i, e := range s.States {
		r.States[i] = api.StateEntry{State: string(e.State), StateVersion: e.StateVersion, At: e.At, Note: nonEmpty(e.Note)}
	}
	for i, e := range s.Timeline {
		r.Timeline[i] = toAPITimelineEntry(e)
	}
	return r
}

func toAPITimelineEntry(e managed.TimelineEntry) api.TimelineEntry {
	entry := api.TimelineEntry{At: e.At, Kind: string(e.Kind), Source: e.Source, Actor: nonEmpty(e.Actor), Summary: e.Summary}
	if e.State != "" {
		entry.State, entry.StateVersion = new(string(e.State)), new(e.StateVersion)
	}
	return entry
}

func toAPIRunList(page []*workflowpb.WorkflowExecutionInfo, nextPageToken *string) (api.RunList, error) {
	list := api.RunList{Runs: make([]api.RunSummary, len(page)), NextPageToken: nextPageToken}
	for i, e := range page {
		run, err := toAPIRunSummary(e)
		if err != nil {
			return api.RunList{}, err
		}
		list.Runs[i] = run
	}
	return list, nil
}

// toAPIRunSummary reads a run from its execution's identity and search
// attributes. An execution that has not run its first task has no attributes
// yet; its identity says enough.
func toAPIRunSummary(e *workflowpb.WorkflowExecutionInfo) (api.RunSummary, error) {
	id := e.GetExecution().GetWorkflowId()
	run, err := managed.ParseRunID(id)
	if err != nil {
		return api.RunSummary{}, err
	}
	attrs := e.GetSearchAttributes()
	r := api.RunSummary{
		Account: string(run.Account), Stack: string(run.Stack), Run: string(run.Run),
		State: keyword(attrs, managed.AttrRunState), Type: keyword(attrs, managed.AttrRunType), Phase: toAPIPhase(managed.Phase(keyword(attrs, managed.AttrPhase))),
		StartedAt: e.GetStartTime().AsTime(),
		Execution: api.Execution{WorkflowID: id, TemporalRunID: e.GetExecution().GetRunId(), Status: e.GetStatus().String()},
	}
	if e.GetCloseTime() != nil {
		r.EndedAt = new(e.GetCloseTime().AsTime())
	}
	return r, nil
}

// toAPIPhase returns the phase of a run, which is queued until its execution says
// something else.
func toAPIPhase(p managed.Phase) api.Phase { return api.Phase(cmp.Or(p, managed.PhaseQueued)) }
