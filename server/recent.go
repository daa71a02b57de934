package server

import (
	"context"
	"fmt"
	"sync"
	"time"

	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
)

// recentAge bounds the age of an answer that callers share. It is shorter than the time
// after which pages renew themselves, so that a page that learned of a change from another
// replica finds it here.
const recentAge = 250 * time.Millisecond

// recent shares answers of Temporal between callers who ask for the same within a moment,
// such as the pages that renew themselves after an event.
type recent struct {
	mu      sync.Mutex
	answers map[string]*recentAnswer
}

// recentAnswer is an answer that may still be on its way. Nobody may change it.
type recentAnswer struct {
	arrived chan struct{} // closed once value and err are set
	value   any
	err     error
}

func newRecent() *recent { return &recent{answers: map[string]*recentAnswer{}} }

// forget drops all answers, because something has changed.
func (r *recent) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.answers)
}

// forget makes readers read anew, because this replica has changed something.
func (h *handlers) forget() {
	h.recent.forget()
	h.hub.outdate()
}

// drop forgets one answer.
func (r *recent) drop(key string, a *recentAnswer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answers[key] == a {
		delete(r.answers, key)
	}
}

// recently returns the answer to a question that a key names. While streams are open,
// callers share it, as pages ask anew after each event. Failures are shared only by the
// callers who wait for the same answer. No decision may depend on a shared answer.
func recently[T any](ctx context.Context, h *handlers, key string, question func(context.Context) (T, error)) (answer T, err error) {
	if !h.eventStreams.any() && !h.runStreams.any() {
		return question(ctx)
	}
	a := h.recent.ask(ctx, key, func(ctx context.Context) (any, error) { return question(ctx) })
	select {
	case <-a.arrived:
	case <-ctx.Done():
		return answer, context.Cause(ctx)
	}
	answer, _ = a.value.(T)
	return answer, a.err
}

// ask returns the recent answer to a question, or asks it.
func (r *recent) ask(ctx context.Context, key string, question func(context.Context) (any, error)) *recentAnswer {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a := r.answers[key]; a != nil {
		return a
	}
	a := &recentAnswer{arrived: make(chan struct{})}
	r.answers[key] = a
	time.AfterFunc(recentAge, func() { r.drop(key, a) })
	go func() {
		defer close(a.arrived)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), temporalTimeout) // it serves other callers too
		defer cancel()
		if a.value, a.err = question(ctx); a.err != nil {
			r.drop(key, a)
		}
	}()
	return a
}

// foundExecutions is a page of executions. Nobody may change it.
type foundExecutions struct {
	executions []*foundExecution
	next       []byte // token of the next page; empty for none
}

// foundExecution is an execution that was listed.
type foundExecution struct {
	*workflowpb.WorkflowExecutionInfo

	run func() (*listedRun, error) // reads the run once for all callers
}

// listWorkflow returns a page of the executions that a query selects.
func (h *handlers) listWorkflow(ctx context.Context, query string, size int, token []byte) (foundExecutions, error) {
	return recently(ctx, h, fmt.Sprintf("%d %q %s", size, token, query), func(ctx context.Context) (foundExecutions, error) {
		page, err := h.temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{PageSize: int32(size), NextPageToken: token, Query: query})
		found := foundExecutions{next: page.GetNextPageToken()}
		for _, e := range page.GetExecutions() {
			found.executions = append(found.executions, &foundExecution{e, sync.OnceValues(func() (*listedRun, error) { return listedRunOf(e) })})
		}
		return found, err
	})
}
