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
	var runs []*listedRun
	var next *string
	if p.CanDecide != nil || deref(p.Order) == api.ListRunsParamsOrderOldest {
		runs, next, err = sortedRuns(ctx, h, s, p, v)
	} else {
		runs, next, err = listExecutions(ctx, h, s, onlyRuns(v.runs(p)))
	}
	return genserver.ListRuns200JSONResponse{Runs: toAPIList(runs, v.toAPIRun), NextPageToken: next}, err
}

// countedBypassed bounds the bypassed runs that are counted.
const countedBypassed = 100

// CountRuns counts the runs that wait.
func (h *handlers) CountRuns(ctx context.Context, req genserver.CountRunsRequestObject) (genserver.CountRunsResponseObject, error) {
	accounts, err := h.accounts(ctx, req.Params.Account)
	if err != nil {
		return nil, err
	}
	v, err := h.view(ctx, false, accounts...)
	if err != nil {
		return nil, err
	}
	s := search{workflowTypes: []string{managed.ManageRunType}, accounts: accounts, filters: waitingFilters, pageSize: new(countedBypassed)}
	all, err := runsToSort(ctx, h, s, api.ListRunsParams{Waiting: new("any")}, v)
	if err != nil {
		return nil, err
	}
	of := api.ListRunsParams{Bypassed: new(true)}
	s.filters = runFilters(of)
	bypassed, _, err := listExecutions(ctx, h, s, onlyRuns(v.runs(of)))
	if err != nil {
		return nil, err
	}
	counts := genserver.CountRuns200JSONResponse{Waiting: len(all), Bypassed: len(bypassed)}
	for _, r := range all {
		for _, of := range []struct {
			n    *int
			fits bool
		}{{&counts.CanDecide, v.mayApprove(r)}, {&counts.Group, v.asksGroup(r, "me")}, {&counts.Author, v.isAuthor(r, "me")}, {&counts.Held, r.phase == managed.PhaseHolding}} {
			if of.fits {
				*of.n++
			}
		}
	}
	return counts, nil
}

// onlyRuns returns runs that are shown, for lists of executions.
func onlyRuns(shown func(*listedRun) bool) func(*foundExecution) (*listedRun, bool, error) {
	return func(e *foundExecution) (*listedRun, bool, error) {
		r, err := e.run()
		return r, err == nil && shown(r), err
	}
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
	if run := deref(p.Run); run != "" && !glob && p.Account != nil && p.Stack != nil {
		ref := spacelift.RunRef{Account: spacelift.Account(*p.Account), Stack: spacelift.StackID(*p.Stack), Run: spacelift.RunID(run)}
		filters = append(filters, filter{parameter: "run", attribute: "WorkflowId", operator: "STARTS_WITH", value: managed.ManageRunID(ref)})
	}
	if onlyWaiting(p) {
		filters = append(filters, waitingFilters...)
	}
	if deref(p.Held) {
		filters = append(filters, filter{attribute: managed.AttrPhase, value: string(managed.PhaseHolding)})
	}
	if deref(p.Bypassed) {
		filters = append(filters, filter{attribute: managed.AttrBypassed, value: managed.AttrTrue})
	}
	return filters
}

// onlyWaiting reports whether a list selects nothing but runs that wait.
func onlyWaiting(p api.ListRunsParams) bool {
	return p.Waiting != nil || p.CanDecide != nil || p.Group != nil
}

// fits reports whether a run is one that runFilters selects, beside its stack and its id.
func (r *listedRun) fits(p api.ListRunsParams) bool {
	return (p.State == nil || r.state == *p.State) && (p.Phase == nil || r.phase == managed.Phase(*p.Phase)) &&
		(p.Since == nil || !r.startedAt.Before(*p.Since)) && (p.Until == nil || r.startedAt.Before(*p.Until)) &&
		(p.Ended == nil || *p.Ended != r.running()) && (!deref(p.Held) || r.phase == managed.PhaseHolding) && (!deref(p.Bypassed) || r.bypassed)
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
// doesn't have.
func sortedRuns(ctx context.Context, h *handlers, s search, p api.ListRunsParams, v view) ([]*listedRun, *string, error) {
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
	all, err := runsToSort(ctx, h, s, p, v)
	if err != nil {
		return nil, nil, err
	}
	key := func(r *listedRun) string { return r.newestKey }
	if oldest {
		key = func(r *listedRun) string { return r.oldestKey }
	}
	slices.SortFunc(all, func(a, b *listedRun) int { return strings.Compare(key(a), key(b)) })
	from, _ := slices.BinarySearchFunc(all, place, func(r *listedRun, place string) int {
		return cmp.Or(strings.Compare(key(r), place), -1) // the place itself was shown
	})
	all = all[from:]
	if len(all) <= pageSize(s.pageSize) {
		return all, nil, nil
	}
	all = all[:pageSize(s.pageSize)]
	return all, listing.token(key(all[len(all)-1])), nil
}

// runsToSort returns all runs that a search selects and the caller may see. It asks the hub
// for those that wait, and else Temporal, by pages of a thousand.
func runsToSort(ctx context.Context, h *handlers, s search, p api.ListRunsParams, v view) ([]*listedRun, error) {
	shown := v.runs(p)
	if onlyWaiting(p) {
		if waiting, known := h.hub.waitingRuns(ctx); known {
			return slices.DeleteFunc(slices.Clone(waiting), func(r *listedRun) bool {
				return !slices.Contains(s.accounts, r.ref.Account) || !r.fits(p) || !shown(r)
			}), nil
		}
	}
	return allExecutions(ctx, h, s, maxSorted, onlyRuns(shown))
}

// filtersOf identifies the filters that Temporal doesn't apply, for page tokens.
func filtersOf(p api.ListRunsParams) string {
	return fmt.Sprintf("%q", []string{
		deref(p.Stack), deref(p.Label), deref(p.Space), deref(p.Author), deref(p.Commit), deref(p.Run), deref(p.Chain), deref(p.Group), string(deref(p.CanDecide)), deref(p.Waiting),
	})
}

// listedRun is a run as its execution's id, search attributes and memo show it. Callers
// share it, so it must not be changed.
type listedRun struct {
	managed.Listed

	ref       spacelift.RunRef
	execution api.Execution
	phase     managed.Phase
	state     string
	kind      string // the type of the run
	delta     *spacelift.Delta
	bypassed  bool
	changed   string // when it last changed; see managed.ListedTime
	startedAt time.Time
	endedAt   *time.Time // nil while the execution is open

	oldestKey string // orders runs by the length of their wait, the longest first
	newestKey string // orders runs by their start, the newest first
}

// listedRunOf reads a run from a list of executions. An execution that has not run its
// first task may have no attributes yet.
func listedRunOf(e *workflowpb.WorkflowExecutionInfo) (*listedRun, error) {
	id, attrs := e.GetExecution().GetWorkflowId(), e.GetSearchAttributes()
	ref, err := managed.ParseRunID(id)
	if err != nil {
		return nil, err
	}
	r := &listedRun{
		Listed: memoOf[managed.Listed](e.GetMemo(), managed.ListedMemo), ref: ref, execution: toAPIExecution(e), phase: managed.Phase(keyword(attrs, managed.AttrPhase)),
		state: keyword(attrs, managed.AttrRunState), kind: keyword(attrs, managed.AttrRunType), delta: managed.ParseListedPlan(keyword(attrs, managed.AttrPlan)),
		bypassed: keyword(attrs, managed.AttrBypassed) == managed.AttrTrue, changed: changedAt(e), startedAt: e.GetStartTime().AsTime(), endedAt: endedAt(e),
	}
	if r.Wait != nil && (r.Wait.Phase != r.phase || !r.running()) {
		r.Wait = nil // it has moved on since
	}
	since := r.startedAt
	if r.Wait != nil {
		since = r.Wait.For.Since
	}
	r.oldestKey = managed.ListedTime(since) + " " + id
	r.newestKey = fmt.Sprintf("%020d %s", -r.startedAt.UnixMicro()+1<<62, id)
	return r, nil
}

// running reports whether the execution is open.
func (r *listedRun) running() bool {
	return r.execution.Status == enums.WORKFLOW_EXECUTION_STATUS_RUNNING.String()
}

// inChain reports whether the run belongs to the chain that another run began.
func (r *listedRun) inChain(root spacelift.RunID) bool {
	return slices.ContainsFunc(r.Chains, func(c managed.ChainRef) bool { return c.Root.Run == root })
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
func (v view) runs(p api.ListRunsParams) func(*listedRun) bool {
	var where authority.Where // Temporal selects the stack itself, and what its id begins with
	for parameter, values := range map[*string]*[]string{p.Stack: &where.Stacks, p.Label: &where.Labels, p.Space: &where.Spaces} {
		if parameter != nil {
			*values = []string{*parameter}
		}
	}
	return func(r *listedRun) bool {
		return v.may(authority.RoleViewer, r.ref) && where.Holds(v.known.stack(r.ref.Account, r.ref.Stack)) &&
			(p.Author == nil || v.isAuthor(r, *p.Author)) &&
			(p.Commit == nil || strings.HasPrefix(r.Commit.Hash, strings.ToLower(*p.Commit))) &&
			(p.Run == nil || strings.HasPrefix(string(r.ref.Run), *p.Run)) &&
			(p.Chain == nil || r.inChain(spacelift.RunID(*p.Chain))) &&
			(p.Group == nil || v.asksGroup(r, *p.Group)) &&
			(p.Waiting == nil || r.Wait != nil && (*p.Waiting == "any" || *p.Waiting == string(r.Wait.For.What))) &&
			(p.CanDecide == nil || v.mayApprove(r))
	}
}

// isAuthor reports whether a person triggered a run or wrote its commit; "me" is the caller.
func (v view) isAuthor(r *listedRun, name string) bool {
	person := decide.Person{Name: name}
	if name == "me" {
		person = v.principal.Person
	}
	return slices.ContainsFunc(r.Authors(), person.IsCalled)
}

// asksGroup reports whether a run waits for approvals of a group; "me" is any of the
// caller's.
func (v view) asksGroup(r *listedRun, group string) bool {
	groups := []string{group}
	if group == "me" {
		groups = v.principal.Person.Groups
	}
	if r.Wait == nil || r.Wait.For.What != managed.WaitPerson || r.Wait.Approvals == nil {
		return false
	}
	a := r.Wait.Approvals
	return a.Group != "" && slices.Contains(groups, a.Group) ||
		slices.ContainsFunc(a.Required, func(q managed.RequiredApprovals) bool { return q.Group != "" && slices.Contains(groups, q.Group) })
}

func (v view) mayApprove(r *listedRun) bool {
	return slices.Contains(v.decisions(r), api.VerdictApprove)
}

func (v view) decisions(r *listedRun) []api.Verdict {
	if r.Wait == nil {
		return nil
	}
	return v.offers(r.ref, r.Wait.Ballot)
}

func (v view) toAPIRun(r *listedRun) api.RunSummary {
	s := api.RunSummary{
		Account: string(r.ref.Account), Stack: string(r.ref.Stack), Run: string(r.ref.Run),
		State: r.state, Type: r.kind, Phase: toAPIPhase(r.phase), Delta: optional(r.delta, toAPIDelta), Bypassed: nonEmpty(r.bypassed),
		Branch: nonEmpty(r.Branch), Commit: toAPICommit(r.Commit), TriggeredBy: nonEmpty(r.TriggeredBy), DriftDetection: nonEmpty(r.DriftDetection),
		URL: nonEmpty(r.URL), StackName: nonEmpty(r.StackName), Labels: r.Labels, Chains: toAPIChainRefs(r.Chains),
		StartedAt: r.startedAt, ChangedAt: nonZero(managed.ParseListedTime(r.changed)), EndedAt: r.endedAt, Execution: r.execution,
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
