package activities

import (
	"context"
	"fmt"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"

	"github.com/gantryhq/gantry/decide/reconcile"
)

// execution is an entry of Temporal's visibility store, which may be a moment old.
type execution struct {
	ID     string   // workflow id
	Values []string // of the search attributes asked for, in their order
	Memo   map[string]*commonpb.Payload
}

// executionsPerPage is Temporal's own limit on a page.
const executionsPerPage = 1000

// executions lists at most limit executions
// (https://docs.temporal.io/list-filter), with the values of search attributes
// of type Keyword. complete is false if there are more.
func (a *Activities) executions(ctx context.Context, query string, limit int, attributes ...string) (found []execution, complete bool, err error) {
	var token []byte
	for {
		page, err := a.Temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Query: query, PageSize: int32(min(executionsPerPage, limit)), NextPageToken: token,
		})
		if err != nil {
			return nil, false, fmt.Errorf("list executions: %w", err)
		}
		for _, e := range page.GetExecutions() {
			if len(found) == limit {
				return found, false, nil
			}
			one := execution{ID: e.GetExecution().GetWorkflowId(), Memo: e.GetMemo().GetFields()}
			for _, name := range attributes {
				one.Values = append(one.Values, keyword(e.GetSearchAttributes(), name))
			}
			found = append(found, one)
		}
		if token = page.GetNextPageToken(); len(token) == 0 {
			return found, true, nil
		}
	}
}

func keyword(attrs *commonpb.SearchAttributes, name string) string {
	var value string
	if payload := attrs.GetIndexedFields()[name]; payload != nil {
		// A value that is no string counts as missing.
		_ = converter.GetDefaultDataConverter().FromPayload(payload, &value)
	}
	return value
}

// memoOf returns a memo of an execution; !ok without one, or if it has another form.
func memoOf[T any](e execution, name string) (value T, ok bool) {
	payload := e.Memo[name]
	if payload == nil || converter.GetDefaultDataConverter().FromPayload(payload, &value) != nil {
		var none T
		return none, false
	}
	return value, true
}

// QueryInput is a query to an execution.
type QueryInput struct {
	ID    string `json:"id"` // workflow id
	Query string `json:"query"`
}

// AskExecution queries an execution for what it knows. That there is none is an
// answer, and so is that it can't answer.
func (a *Activities) AskExecution(ctx context.Context, in QueryInput) (reconcile.Knowledge, error) {
	known, exists, err := query[reconcile.Knowledge](ctx, a, in.ID, "", in.Query)
	if mute(err) {
		return reconcile.Knowledge{Exists: true, Mute: err.Error()}, nil
	}
	if err != nil {
		return reconcile.Knowledge{}, fmt.Errorf("query %s: %w", in.ID, err)
	}
	known.Exists = exists
	return known, nil
}

// query sends a query to an execution, and reports whether there is one.
func query[T any](ctx context.Context, a *Activities, id, runID, name string, args ...any) (answer T, exists bool, err error) {
	encoded, err := a.Temporal.QueryWorkflow(ctx, id, runID, name, args...)
	if is[*serviceerror.NotFound](err) {
		return answer, false, nil
	}
	if err == nil {
		err = encoded.Get(&answer)
	}
	return answer, err == nil, err
}

// mute reports whether a query failed because the execution itself can't answer.
// Temporal refuses queries to executions whose workflow tasks keep failing; on a
// worker, the query meets the same failure.
func mute(err error) bool {
	return is[*serviceerror.WorkflowNotReady](err) || is[*serviceerror.QueryFailed](err)
}
