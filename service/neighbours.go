package service

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"go.temporal.io/api/workflowservice/v1"

	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/decide/managed"
)

// Executions lists executions, as the client of Temporal's workflow service does.
type Executions interface {
	ListWorkflow(context.Context, *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error)
}

// OtherAccounts returns accounts whose runs are managed in Temporal's namespace and that
// a configuration doesn't name: another Gantry serves them, or this one did. It reads one
// page.
func OtherAccounts(ctx context.Context, c Executions, accounts []config.Account) ([]string, error) {
	own := make([]string, len(accounts))
	for i, a := range accounts {
		own[i] = a.Name // which holds no quote
	}
	page, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{PageSize: 100, Query: fmt.Sprintf(
		"WorkflowType = '%s' AND ExecutionStatus = 'Running' AND %s NOT IN ('%s')", managed.ManageRunType, managed.AttrAccount, strings.Join(own, "', '"))})
	if err != nil {
		return nil, fmt.Errorf("list runs of other accounts: %w", err)
	}
	var others []string
	for _, e := range page.GetExecutions() {
		if run, err := managed.ParseRunID(e.GetExecution().GetWorkflowId()); err == nil {
			others = append(others, string(run.Account))
		}
	}
	slices.Sort(others)
	return slices.Compact(others), nil
}
