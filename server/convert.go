package server

import (
	"fmt"
	"strings"

	commonpb "go.temporal.io/api/common/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/converter"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/reconcile"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/spacelift"
)

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
	parts := strings.Split(id, "/")
	if len(parts) != 4 {
		return api.RunSummary{}, fmt.Errorf("execution %q is not that of a run", id)
	}
	attrs := e.GetSearchAttributes()
	r := api.RunSummary{
		Account: parts[1], Stack: parts[2], Run: parts[3],
		State: keyword(attrs, managed.AttrRunState), Type: keyword(attrs, managed.AttrRunType), Phase: toAPIPhase(managed.Phase(keyword(attrs, managed.AttrPhase))),
		StartedAt: e.GetStartTime().AsTime(),
		Execution: api.Execution{WorkflowID: id, TemporalRunID: e.GetExecution().GetRunId(), Status: e.GetStatus().String()},
	}
	if e.GetCloseTime() != nil {
		r.EndedAt = new(e.GetCloseTime().AsTime())
	}
	return r, nil
}

func keyword(attrs *commonpb.SearchAttributes, name string) string {
	var value string
	if payload := attrs.GetIndexedFields()[name]; payload != nil {
		// A value that is no string leaves it empty, as if it were missing.
		_ = converter.GetDefaultDataConverter().FromPayload(payload, &value)
	}
	return value
}

func toAPIAccount(name spacelift.Account, r *reconcile.Report, findings []reconcile.Finding) api.Account {
	a := api.Account{Name: string(name), Findings: make([]api.Finding, len(findings))}
	for i, f := range findings {
		a.Findings[i] = api.Finding{Kind: string(f.Kind), Since: f.Since, Summary: f.Summary, Fix: f.Fix}
	}
	if r == nil {
		return a
	}
	a.LastReconcile = &api.Reconciliation{
		At: r.At, Outcome: string(r.Outcome), Reason: nonEmpty(r.Reason), InProgress: r.InProgress, Open: r.Open,
		Adopted: r.Adopted, Repaired: r.Repaired, Finished: r.Finished, Postponed: r.Postponed, APICalls: r.APICalls,
	}
	if w := r.Webhook; w != nil {
		a.Webhook = &api.AccountWebhook{ID: w.ID, Enabled: w.Enabled}
	}
	return a
}
