package workflows

import (
	"time"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/decide"
)

// summarized adds a summary to the activities of a context, for Temporal's pages. It costs
// its bytes in the history, and no event.
func summarized(ctx workflow.Context, summary string) workflow.Context {
	local, remote := workflow.GetLocalActivityOptions(ctx), workflow.GetActivityOptions(ctx)
	local.Summary = decide.Summary(summary)
	remote.Summary = local.Summary
	return workflow.WithActivityOptions(workflow.WithLocalActivityOptions(ctx, local), remote)
}

// timer is the options of a timer with a summary.
func timer(summary string) workflow.TimerOptions {
	return workflow.TimerOptions{Summary: decide.Summary(summary)}
}

// sleep blocks for a time, and returns an error if the execution is canceled.
func sleep(ctx workflow.Context, d time.Duration, summary string) error {
	return workflow.NewTimerWithOptions(ctx, d, timer(summary)).Get(ctx, nil)
}

// WithPages returns an interceptor that gives executions the address of Gantry's pages, to
// which their details link. Details are no part of a history, so replicas may have
// different addresses.
func WithPages(pages decide.Pages) interceptor.WorkerInterceptor { return &pagesOfWorker{pages: pages} }

type pagesOfWorker struct {
	interceptor.WorkerInterceptorBase
	pages decide.Pages
}

// InterceptWorkflow implements interceptor.WorkerInterceptor.
func (p *pagesOfWorker) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	return &pagesOfExecution{interceptor.WorkflowInboundInterceptorBase{Next: next}, p.pages}
}

type pagesOfExecution struct {
	interceptor.WorkflowInboundInterceptorBase
	pages decide.Pages
}

// ExecuteWorkflow implements interceptor.WorkflowInboundInterceptor.
func (p *pagesOfExecution) ExecuteWorkflow(ctx workflow.Context, in *interceptor.ExecuteWorkflowInput) (any, error) {
	return p.Next.ExecuteWorkflow(workflow.WithValue(ctx, pagesKey{}, p.pages), in)
}

type pagesKey struct{}

// pagesOf returns the address of Gantry's pages.
func pagesOf(ctx workflow.Context) decide.Pages {
	pages, _ := ctx.Value(pagesKey{}).(decide.Pages)
	return pages
}
