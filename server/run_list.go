package server

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/converter"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/spacelift"
)

// ListRuns lists the executions of runs.
func (h *handlers) ListRuns(ctx context.Context, req genserver.ListRunsRequestObject) (genserver.ListRunsResponseObject, error) {
	p := req.Params
	accounts, err := h.accounts(ctx, p.Account)
	if err != nil {
		return nil, err
	}
	v, err := h.view(ctx, p.Label != nil || p.Space != nil, accounts...)
	if err != nil {
		return nil, err
	}
	s := search{workflowTypes: []string{managed.ManageRunType}, accounts: accounts, filters: runFilters(p), pageSize: p.PageSize, pageToken: p.PageToken}
	shown := v.runs(p)
	var runs []listedRun
	var next *string
	if p.CanDecide != nil || deref(p.Order) == api.ListRunsParamsOrderOldest {
		runs, next, err = sortedRuns(ctx, h, s, p, shown)
	} else {
		runs, next, err = listExecutions(ctx, h, s, shown)
	}
	return genserver.ListRuns200JSONResponse{Runs: toAPIList(runs, v.toAPIRun), NextPageToken: next}, err
}

// runFilters returns the filters that Temporal applies.
func runFilters(p api.ListRunsParams) []filter {
	prefix, _, glob := strings.Cut(deref(p.Stack), "*")
	stack := filter{parameter: "stack", attribute: managed.AttrStack, value: prefix}
	if glob {
		stack.operator = "STARTS_WITH"
	}
	filters := []filter{
		stack,
		{parameter: "state", attribute: managed.AttrRunState, value: deref(p.State)},
		{parameter: "phase", attribute: managed.AttrPhase, value: string(deref(p.Phase))},
		{attribute: "StartTime", operator: ">=", value: timeValue(p.Since)},
		{attribute: "StartTime", operator: "<", value: timeValue(p.Until)},
	}
	if p.Ended != nil {
		filters = append(filters, filter{attribute: "ExecutionStatus", operator: map[bool]string{false: "=", true: "!="}[*p.Ended], value: "Running"})
	}
	if p.Waiting != nil || p.CanDecide != nil {
		filters = append(filters,
			filter{attribute: "ExecutionStatus", value: "Running"},
			filter{attribute: managed.AttrPhase, operator: "IN", values: words(managed.WaitingPhases)})
	}
	if deref(p.Held) {
		filters = append(filters, filter{attribute: managed.AttrPhase, value: string(managed.PhaseHolding)})
	}
	if deref(p.Bypassed) {
		filters = append(filters, filter{attribute: managed.AttrBypassed, value: managed.AttrTrue})
	}
	return filters
}

func timeValue(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// maxSorted bounds the runs that one answer sorts.
const maxSorted = 5000

// sortedRuns returns a page of the runs that a search selects, in an order that Temporal
// doesn't have. It reads all of them, by pages of a thousand.
func sortedRuns(
	ctx context.Context, h *handlers, s search, p api.ListRunsParams, shown func(*foundExecution) (listedRun, bool, error),
) ([]listedRun, *string, error) {
	query, err := s.query()
	if err != nil {
		return nil, nil, err
	}
	oldest := deref(p.Order) == api.ListRunsParamsOrderOldest
	listing := listingOf(query, fmt.Sprintf("oldest %t", oldest), filtersOf(p))
	place, err := listing.place(s.pageToken)
	if err != nil {
		return nil, nil, err
	}
	all, err := allExecutions(ctx, h, s, maxSorted, shown)
	if err != nil {
		return nil, nil, err
	}
	key := listedRun.newestKey
	if oldest {
		key = listedRun.oldestKey
	}
	slices.SortFunc(all, func(a, b listedRun) int { return strings.Compare(key(a), key(b)) })
	from, _ := slices.BinarySearchFunc(all, place, func(r listedRun, place string) int {
		return cmp.Or(strings.Compare(key(r), place), -1) // the place itself was shown
	})
	all = all[from:]
	if len(all) <= pageSize(s.pageSize) {
		return all, nil, nil
	}
	all = all[:pageSize(s.pageSize)]
	return all, listing.token(key(all[len(all)-1])), nil
}

// filtersOf identifies the filters that Temporal doesn't apply, for page tokens.
func filtersOf(p api.ListRunsParams) string {
	return fmt.Sprintf("%q", []string{deref(p.Stack), deref(p.Label), deref(p.Space), deref(p.Author), string(deref(p.CanDecide)), deref(p.Waiting)})
}

// listedRun is a run as its execution's id, search attributes and memo show it.
type listedRun struct {
	managed.Listed

	ref       spacelift.RunRef
	info      *workflowpb.WorkflowExecutionInfo
	phase     managed.Phase
	startedAt time.Time
}

// listedRunOf reads a run from a list of executions. An execution that has not run its
// first task may have no attributes yet.
func listedRunOf(e *workflowpb.WorkflowExecutionInfo) (listedRun, error) {
	ref, err := managed.ParseRunID(e.GetExecution().GetWorkflowId())
	if err != nil {
		return listedRun{}, err
	}
	r := listedRun{ref: ref, info: e, startedAt: e.GetStartTime().AsTime(), phase: managed.Phase(keyword(e.GetSearchAttributes(), managed.AttrPhase))}
	r.Listed = memoOf[managed.Listed](e.GetMemo(), managed.ListedMemo)
	if r.Wait != nil && (r.Wait.Phase != r.phase || e.GetStatus() != enums.WORKFLOW_EXECUTION_STATUS_RUNNING) {
		r.Wait = nil // it has moved on since
	}
	return r, nil
}

// memoOf returns a memo; zero without one, or if it has another form.
func memoOf[T any](memo *commonpb.Memo, name string) (value T) {
	if payload := memo.GetFields()[name]; payload != nil {
		if err := converter.GetDefaultDataConverter().FromPayload(payload, &value); err != nil {
			var none T
			return none
		}
	}
	return value
}

func (r listedRun) attribute(name string) string { return keyword(r.info.GetSearchAttributes(), name) }

func (r listedRun) since() time.Time {
	if r.Wait != nil {
		return r.Wait.For.Since
	}
	return r.startedAt
}

// oldestKey orders runs by the length of their wait, the longest first.
func (r listedRun) oldestKey() string {
	return managed.ListedTime(r.since()) + " " + r.info.GetExecution().GetWorkflowId()
}

// newestKey orders runs by their start, the newest first.
func (r listedRun) newestKey() string {
	return fmt.Sprintf("%020d %s", -r.startedAt.UnixMicro()+1<<62, r.info.GetExecution().GetWorkflowId())
}

// view is a caller's sight of some accounts: what they may see and decide there.
type view struct {
	principal authority.Principal
	known     directories
}

// view returns what the caller may see and decide. With all, it reads what Spacelift
// shows of the stacks even if the caller's rights don't depend on that.
func (h *handlers) view(ctx context.Context, all bool, accounts ...spacelift.Account) (view, error) {
	p := principalOf(ctx)
	known, err := h.directories(ctx, accounts, func(account string) bool {
		return all || dependsOnStacks(p, authority.RoleViewer, account) || dependsOnStacks(p, authority.RoleApprover, account)
	})
	return view{principal: p, known: known}, err
}

// may reports whether the caller has a role for the stack of a run.
func (v view) may(role authority.Role, run spacelift.RunRef) bool {
	return v.principal.May(role, v.known.stack(run.Account, run.Stack))
}

// offers returns the verdicts on a ballot that the API would take from the caller.
func (v view) offers(run spacelift.RunRef, b *managed.Ballot) []api.Verdict {
	if b == nil || !v.may(authority.RoleApprover, run) {
		return nil
	}
	var all []api.Verdict
	for _, verdict := range b.Offers(v.principal.Person) {
		all = append(all, api.Verdict(verdict))
	}
	return all
}

// runs returns the filter of a list of runs: what the caller may see, and what Temporal
// can't select.
func (v view) runs(p api.ListRunsParams) func(*foundExecution) (listedRun, bool, error) {
	var where authority.Where // Temporal selects the stack itself, and what its id begins with
	for parameter, values := range map[*string]*[]string{p.Stack: &where.Stacks, p.Label: &where.Labels, p.Space: &where.Spaces} {
		if parameter != nil {
			*values = []string{*parameter}
		}
	}
	author := decide.Person{Name: deref(p.Author)}
	if author.Name == "me" {
		author = v.principal.Person
	}
	return func(e *foundExecution) (listedRun, bool, error) {
		r, err := e.run()
		if err != nil {
			return r, false, err
		}
		shown := v.may(authority.RoleViewer, r.ref) && where.Holds(v.known.stack(r.ref.Account, r.ref.Stack)) &&
			(p.Author == nil || slices.ContainsFunc(r.Authors(), author.IsCalled)) &&
			(p.Waiting == nil || r.Wait != nil && (*p.Waiting == "any" || *p.Waiting == string(r.Wait.For.What))) &&
			(p.CanDecide == nil || slices.Contains(v.decisions(r), api.VerdictApprove))
		return r, shown, nil
	}
}

func (v view) decisions(r listedRun) []api.Verdict {
	if r.Wait == nil {
		return nil
	}
	return v.offers(r.ref, r.Wait.Ballot)
}

func (v view) toAPIRun(r listedRun) api.RunSummary {
	s := api.RunSummary{
		Account: string(r.ref.Account), Stack: string(r.ref.Stack), Run: string(r.ref.Run),
		State: r.attribute(managed.AttrRunState), Type: r.attribute(managed.AttrRunType), Phase: toAPIPhase(r.phase),
		Delta: optional(managed.ParseListedPlan(r.attribute(managed.AttrPlan)), toAPIDelta), Bypassed: nonEmpty(r.attribute(managed.AttrBypassed) == managed.AttrTrue),
		Branch: nonEmpty(r.Branch), Commit: toAPICommit(r.Commit), TriggeredBy: nonEmpty(r.TriggeredBy), DriftDetection: nonEmpty(r.DriftDetection),
		URL: nonEmpty(r.URL), StackName: nonEmpty(r.StackName), Labels: r.Labels, Chains: toAPIChainRefs(r.Chains),
		StartedAt: r.startedAt, ChangedAt: nonZero(managed.ParseListedTime(r.attribute(managed.AttrChanged))), EndedAt: endedAt(r.info), Execution: toAPIExecution(r.info),
	}
	if spaces := v.known.stack(r.ref.Account, r.ref.Stack).Spaces; len(spaces) > 0 {
		s.Space = &spaces[0]
	}
	if w := r.Wait; w != nil {
		s.StateVersion, s.WaitingFor, s.CanDecide = &w.StateVersion, new(toAPIWaitingFor(w.For)), v.decisions(r)
		s.Approvals, s.Resources, s.Enforcement = optional(w.Approvals, toAPIApprovals), optional(w.Resources, toAPIPlannedResources), optional(w.Enforcement, toAPIEnforcement)
	}
	return s
}
