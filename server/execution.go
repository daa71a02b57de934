package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/spacelift"
)

// temporalTimeout bounds one call to Temporal on behalf of a caller.
const temporalTimeout = 10 * time.Second

// updateTimeout bounds how long a caller waits for an execution to accept a decision
// and carry it out.
const updateTimeout = 10 * time.Second

// Waits before an update without an answer is sent again. An execution that begins, or
// continues as new, accepts updates within milliseconds.
const (
	firstResend = 50 * time.Millisecond
	lastResend  = time.Second
)

// errTypeClosedMeanwhile is Temporal's own refusal of updates that an execution had
// accepted but not completed when it ended.
const errTypeClosedMeanwhile = "AcceptedUpdateCompletedWorkflow"

// execution is the workflow execution of a run or a chain, with a status of type S.
type execution[S any] struct {
	h     *handlers
	id    string
	query string
	ended string // slug of the problem that reports its end
	none  string // detail of the problem that reports that there is none; by default that of runs

	// end returns the outcome, if the execution is done, and its state.
	end func(S) (outcome string, done bool, state string)
}

// status asks the execution for its status.
func (e execution[S]) status(ctx context.Context) (S, error) {
	status, err := ask[S](ctx, e.h, e.id, e.query)
	if e.none != "" && is[*serviceerror.NotFound](err) {
		err = &refusal{notFound(e.none)}
	}
	return status, err
}

// recentStatus returns the status for callers who only read.
func (e execution[S]) recentStatus(ctx context.Context) (S, error) {
	return recently(ctx, e.h, e.id+" "+e.query, e.status)
}

// update sends an update to the execution and waits for the result.
func (e execution[S]) update(ctx context.Context, this change, name string, content any) (S, error) {
	return update[S](ctx, e.h, e.id, this, name, content, func(ctx context.Context, closed error) error {
		return e.whyClosed(ctx, this, closed)
	})
}

// whyClosed explains an update that found no open execution: it has ended, or
// Gantry doesn't know it.
func (e execution[S]) whyClosed(ctx context.Context, this change, closed error) error {
	ctx, cancel := context.WithTimeout(ctx, temporalTimeout)
	defer cancel()
	status, err := e.status(ctx)
	if err != nil {
		return err
	}
	outcome, done, state := e.end(status)
	if done {
		return &refusal{problem(e.ended, outcome)}
	}
	found, err := e.h.temporal.DescribeWorkflowExecution(ctx, e.id, "")
	switch {
	case err != nil:
		return fmt.Errorf("describe %s: %w", e.id, err)
	case found.GetWorkflowExecutionInfo().GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING: // it was continuing as new
		return &unansweredError{err: closed, repeatable: this.key != ""}
	}
	return &refusal{problem(e.ended, "an operator closed its execution in Temporal while it was "+state)}
}

// ask sends a query to an execution and returns the answer.
func ask[T any](ctx context.Context, h *handlers, id, query string) (answer T, err error) {
	ctx, cancel := context.WithTimeout(ctx, temporalTimeout)
	defer cancel()
	value, err := h.temporal.QueryWorkflow(ctx, id, "", query)
	if err == nil {
		err = value.Get(&answer)
	}
	if err != nil {
		var none T // not what was decoded until the error
		return none, fmt.Errorf("%s of %s: %w", query, id, err)
	}
	return answer, nil
}

// update sends an update to an execution and returns the result. whyClosed explains why
// there is no open execution; an *unansweredError means that there may be one again.
//
// update sends an unanswered update again until updateTimeout. Temporal runs an update
// of one id once in one execution. In an execution that continued as new, our own keys
// identify a repeat. A request without a key may be refused there as decided already,
// but nothing counts twice.
func update[T any](
	ctx context.Context, h *handlers, id string, this change, name string, content any, whyClosed func(context.Context, error) error,
) (result T, err error) {
	ctx, cancel := context.WithTimeout(ctx, updateTimeout)
	defer cancel()
	defer h.forget() // callers see their own changes
	o := updateOptions(id, this, name, content)
	if o.UpdateID == "" {
		o.UpdateID = ulid.Make().String()
	}
	for wait := firstResend; ; wait = min(2*wait, lastResend) {
		handle, err := h.temporal.UpdateWorkflow(ctx, o)
		if err == nil {
			err = handle.Get(ctx, &result)
		}
		err = answered(err, this.key)
		if _, closed := errors.AsType[*serviceerror.NotFound](err); closed || isType(err, errTypeClosedMeanwhile) {
			err = answered(whyClosed(ctx, err), this.key)
		}
		if !is[*unansweredError](err) {
			return result, err
		}
		select {
		case <-ctx.Done():
			return result, err
		case <-time.After(wait):
		}
	}
}

func updateOptions(id string, this change, name string, content any) client.UpdateWorkflowOptions {
	return client.UpdateWorkflowOptions{
		WorkflowID: id, UpdateName: name, UpdateID: this.updateID(), Args: []any{content}, WaitForStage: client.WorkflowUpdateStageCompleted,
	}
}

// answered wraps the errors after which a change may still count: Gantry sent it, but
// the worker or Temporal was too slow or unavailable.
func answered(err error, key string) error {
	if err == nil || !temporalAway(err) {
		return err
	}
	return &unansweredError{err: err, repeatable: key != ""}
}

// unansweredError reports that a change was sent and may still count.
type unansweredError struct {
	err        error
	repeatable bool // it has a key, so a repeat counts once
}

func (e *unansweredError) Error() string { return "no answer yet: " + e.err.Error() }

func (e *unansweredError) Unwrap() error { return e.err }

func (e *unansweredError) remedy() string {
	if e.repeatable {
		return "the request was sent and may still count; send it again with the same Idempotency-Key, and it counts once"
	}
	return "the request was sent and may still count; check the result before sending it again. With an Idempotency-Key, sending it again is safe"
}

// search selects executions in Temporal's visibility store.
type search struct {
	workflowTypes []string
	accounts      []spacelift.Account // which Gantry serves, and of which the caller may see something
	filters       []filter
	pageSize      *int
	pageToken     *string
}

// filter selects the executions with a value of a search attribute, or one of several;
// without any it selects all.
type filter struct {
	parameter string // of the request; empty if the values are not the caller's
	attribute string
	operator  string // empty for "="
	value     string
	values    []string  // for IN
	begun     time.Time // also executions that began since then, whatever the attribute is
}

// String returns the filter as a list filter has it (https://docs.temporal.io/list-filter).
func (f filter) String() string {
	if len(f.values) > 0 {
		return fmt.Sprintf("%s IN ('%s')", f.attribute, strings.Join(f.values, "', '"))
	}
	one := fmt.Sprintf("%s %s '%s'", f.attribute, cmp.Or(f.operator, "="), f.value)
	if !f.begun.IsZero() {
		return fmt.Sprintf("(%s OR StartTime >= '%s')", one, timeValue(&f.begun))
	}
	return one
}

// maxListReads bounds the pages of Temporal's that are read for one answer, if most of
// what they list is out of the caller's scope. The page may then have fewer entries than
// it could.
const maxListReads = 10

// listExecutions returns a page of the executions that a search selects and convert shows,
// newest first. Of those with one id it keeps the newest: the others continued as new, or
// ended too early and were started again.
func listExecutions[T any](
	ctx context.Context, h *handlers, s search, convert func(*foundExecution) (item T, shown bool, err error),
) (page []T, nextPageToken *string, err error) {
	if len(s.accounts) == 0 {
		return []T{}, nil, nil
	}
	query, err := s.query()
	if err != nil {
		return nil, nil, err
	}
	listing := listingOf(query)
	token, err := listing.place(s.pageToken)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, temporalTimeout)
	defer cancel()
	page = []T{}
	listed := map[string]bool{}
	for range maxListReads {
		found, err := h.listWorkflow(ctx, query, pageSize(s.pageSize)-len(page), []byte(token))
		if err != nil {
			return nil, nil, err
		}
		hidden := false
		for _, e := range found.executions {
			item, shown, err := convert(e)
			if err != nil {
				return nil, nil, err
			}
			id := e.GetExecution().GetWorkflowId()
			switch {
			case !shown:
				hidden = true
			case !listed[id]:
				page = append(page, item)
			}
			listed[id] = true
		}
		if token = string(found.next); !hidden || token == "" || len(page) == pageSize(s.pageSize) {
			break // everything was shown, or there is no more, or no more is needed
		}
	}
	return page, listing.token(token), nil
}

// maxTemporalPage is the largest page that a Temporal server returns by default.
const maxTemporalPage = 1000

// allExecutions returns all executions that a search selects and convert shows, each id
// once. It refuses a search that selects more than a number of executions.
func allExecutions[T any](
	ctx context.Context, h *handlers, s search, most int, convert func(*foundExecution) (item T, shown bool, err error),
) ([]T, error) {
	all, listed := []T{}, map[string]bool{}
	if len(s.accounts) == 0 {
		return all, nil
	}
	query, err := s.query()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, temporalTimeout)
	defer cancel()
	var token []byte
	for read := 0; ; {
		found, err := h.listWorkflow(ctx, query, maxTemporalPage, token)
		if err != nil {
			return nil, err
		}
		for _, e := range found.executions {
			item, shown, err := convert(e)
			if err != nil {
				return nil, err
			}
			if id := e.GetExecution().GetWorkflowId(); !listed[id] {
				listed[id] = true
				if shown {
					all = append(all, item)
				}
			}
		}
		read += len(found.executions)
		token = found.next
		switch {
		case len(token) == 0:
			return all, nil
		case read >= most:
			return nil, &refusal{badRequest(fmt.Sprintf("more than %d executions fit, which is more than one request orders; narrow them, such as by ended=false, waiting, account, stack or since", most))}
		}
	}
}

// query returns the search as a list filter (https://docs.temporal.io/list-filter).
// Values are quoted there, so it refuses values with a quote or a backslash, which no id
// of Spacelift has. Configured names of accounts have none either.
func (s search) query() (string, error) {
	ofTypes := filter{attribute: "WorkflowType", values: s.workflowTypes}
	if len(s.workflowTypes) == 1 {
		ofTypes = filter{attribute: "WorkflowType", value: s.workflowTypes[0]}
	}
	query := []string{
		ofTypes.String(), "ExecutionStatus != 'ContinuedAsNew'",
		filter{attribute: managed.AttrAccount, values: words(s.accounts)}.String(),
	}
	for _, f := range s.filters {
		if f.value == "" && len(f.values) == 0 {
			continue
		}
		if strings.ContainsAny(f.value, `'"\`) || strings.ContainsFunc(f.value, func(r rune) bool { return r < ' ' }) {
			return "", &refusal{badPlaces(parameterError(f.parameter, "has a quote, a backslash or a control character; no "+f.parameter+" has one"))}
		}
		query = append(query, f.String())
	}
	return strings.Join(query, " AND "), nil
}

func toAPIExecution(e *workflowpb.WorkflowExecutionInfo) api.Execution {
	return api.Execution{WorkflowID: e.GetExecution().GetWorkflowId(), TemporalRunID: e.GetExecution().GetRunId(), Status: e.GetStatus().String()}
}

// endedAt returns when an execution closed; nil while it is open.
func endedAt(e *workflowpb.WorkflowExecutionInfo) *time.Time {
	if e.GetCloseTime() == nil {
		return nil
	}
	return new(e.GetCloseTime().AsTime())
}

// changedAt returns when an entry of a list last changed, in the form of AttrChanged. All
// such times are Temporal's: replicas' clocks may be apart.
func changedAt(e *workflowpb.WorkflowExecutionInfo) string {
	return cmp.Or(keyword(e.GetSearchAttributes(), managed.AttrChanged), managed.ListedTime(e.GetStartTime().AsTime()))
}

func keyword(attrs *commonpb.SearchAttributes, name string) string {
	var value string
	if payload := attrs.GetIndexedFields()[name]; payload != nil {
		// A value of another type counts as missing.
		_ = converter.GetDefaultDataConverter().FromPayload(payload, &value)
	}
	return value
}
