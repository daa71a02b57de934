package server

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
)

// temporalTimeout bounds one call to Temporal on behalf of a caller.
const temporalTimeout = 10 * time.Second

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

// listExecutions reads a page of a workflow's executions from Temporal's
// visibility store, newest first, all of accounts that Gantry serves. Of those with one id it keeps the newest: the
// others continued as new, or took a run for ended that goes on.
func (h *handlers) listExecutions(
	ctx context.Context, workflowType string, accounts []string, filters []filter, size *int, pageToken *string,
) (executions []*workflowpb.WorkflowExecutionInfo, nextPageToken *string, err error) {
	query, err := visibilityQuery(workflowType, accounts, filters)
	if err != nil {
		return nil, nil, err
	}
	listing := listingOf(query)
	token, err := listing.place(pageToken)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, temporalTimeout)
	defer cancel()
	page, err := h.temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		PageSize: int32(pageSize(size)), NextPageToken: []byte(token), Query: query,
	})
	if err != nil {
		return nil, nil, err
	}
	listed := map[string]bool{}
	executions = slices.DeleteFunc(page.GetExecutions(), func(e *workflowpb.WorkflowExecutionInfo) bool {
		id := e.GetExecution().GetWorkflowId()
		again := listed[id]
		listed[id] = true
		return again
	})
	return executions, listing.token(string(page.GetNextPageToken())), nil
}

// filter narrows a list down to what carries a search attribute; empty does not.
type filter struct{ parameter, attribute, value string }

// visibilityQuery writes a query for the executions of a workflow type in some
// accounts, whose configured names hold no quote
// (https://docs.temporal.io/list-filter). Values are quoted there, so those
// that hold a quote or a backslash, which no id of Spacelift does, are refused.
func visibilityQuery(workflowType string, accounts []string, filters []filter) (string, error) {
	query := []string{
		fmt.Sprintf("WorkflowType = '%s'", workflowType), "ExecutionStatus != 'ContinuedAsNew'",
		fmt.Sprintf("%s IN ('%s')", managed.AttrAccount, strings.Join(accounts, "', '")),
	}
	for _, f := range filters {
		if f.value == "" {
			continue
		}
		if strings.ContainsAny(f.value, `'"\`) || strings.ContainsFunc(f.value, func(r rune) bool { return r < ' ' }) {
			p := badRequest(namesPlaces)
			p.Errors = append(p.Errors, parameterError(f.parameter, "holds a quote, a backslash or a control character, which no "+f.parameter+" has"))
			return "", &refusal{p}
		}
		query = append(query, fmt.Sprintf("%s = '%s'", f.attribute, f.value))
	}
	return strings.Join(query, " AND "), nil
}
