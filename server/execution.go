package server

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// temporalTimeout bounds one call to Temporal on behalf of a caller.
const temporalTimeout = 10 * time.Second

// status asks the execution of a run for its status.
func (h *handlers) status(ctx context.Context, ref spacelift.RunRef) (managed.RunStatus, error) {
	var status managed.RunStatus
	err := h.ask(ctx, ref, managed.StatusQuery, &status)
	return status, err
}

// ask sends a query to the execution of a run.
func (h *handlers) ask(ctx context.Context, ref spacelift.RunRef, query string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, temporalTimeout)
	defer cancel()
	answer, err := h.temporal.QueryWorkflow(ctx, managed.ManageRunID(ref), "", query)
	if err == nil {
		err = answer.Get(into)
	}
	if err != nil {
		return fmt.Errorf("%s of %s: %w", query, ref, err)
	}
	return nil
}

// listExecutions reads a page of a workflow's executions from Temporal's
// visibility store, newest first, all of accounts that Gantry serves. Of those with one id it keeps the newest: the
// others continued as new, or ended too early and were started again.
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
			return "", &refusal{badPlaces(parameterError(f.parameter, "holds a quote, a backslash or a control character, which no "+f.parameter+" has"))}
		}
		query = append(query, fmt.Sprintf("%s = '%s'", f.attribute, f.value))
	}
	return strings.Join(query, " AND "), nil
}

func keyword(attrs *commonpb.SearchAttributes, name string) string {
	var value string
	if payload := attrs.GetIndexedFields()[name]; payload != nil {
		// A value that is no string leaves it empty, as if it were missing.
		_ = converter.GetDefaultDataConverter().FromPayload(payload, &value)
	}
	return value
}
