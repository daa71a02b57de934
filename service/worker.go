package service

import (
	"context"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/workflows"
)

// Waits between attempts to reach Temporal at the start.
const (
	firstRetry = 250 * time.Millisecond
	lastRetry  = 10 * time.Second
)

// work runs the worker until ctx ends. It waits for Temporal without a limit,
// because webhooks are accepted meanwhile. It sets polling once it takes tasks.
func work(ctx context.Context, c client.Client, acts *activities.Activities, polling *atomic.Bool, o Options) error {
	w, err := startWorker(ctx, c, acts, o)
	if err != nil {
		return err
	}
	defer w.Stop()
	polling.Store(true)
	return keepSchedules(ctx, c, o)
}

// noteOthers logs that another Gantry seems to use the namespace. Whether that could be
// read changes nothing.
func noteOthers(ctx context.Context, c client.Client, o Options) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	others, err := OtherAccounts(ctx, c, o.Config.Accounts)
	switch {
	case err != nil:
		o.Log.DebugContext(ctx, "other accounts in the namespace are unknown", "error", err)
	case len(others) > 0:
		o.Log.WarnContext(ctx, "another Gantry manages runs in this namespace; give each a task queue of its own, and no account to two",
			"namespace", o.Temporal.Namespace, "accounts", others)
	}
}

func startWorker(ctx context.Context, c client.Client, acts *activities.Activities, o Options) (worker.Worker, error) {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		err := prepareNamespace(ctx, c, o)
		if err == nil {
			w := newWorker(ctx, c, acts, o)
			if err = w.Start(); err == nil {
				o.Log.InfoContext(ctx, "worker started", "taskQueue", o.Config.Temporal.TaskQueue, "namespace", o.Temporal.Namespace)
				noteOthers(ctx, c, o)
				return w, nil
			}
		}
		o.Log.WarnContext(ctx, "Temporal is not ready; trying again", "address", o.Temporal.HostPort, "in", wait.String(), "error", err)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// cachedExecutions limits the executions that the worker keeps in memory between
// their tasks. Each takes up to 300 KB: 127 KB if its run has 200 events, 20 KB of stack,
// and as much again that the collector leaves. An execution beyond the limit is replayed
// from its history of some dozens of events at its next task, which takes a few
// milliseconds; between two tasks of most of them people decide.
const cachedExecutions = 100

func newWorker(ctx context.Context, c client.Client, acts *activities.Activities, o Options) worker.Worker {
	worker.SetStickyWorkflowCacheSize(cachedExecutions)
	w := worker.New(c, o.Config.Temporal.TaskQueue, worker.Options{
		Tuner:                      newTuner(),
		WorkflowTaskPollerBehavior: worker.NewPollerBehaviorAutoscaling(worker.PollerBehaviorAutoscalingOptions{}),
		ActivityTaskPollerBehavior: worker.NewPollerBehaviorAutoscaling(worker.PollerBehaviorAutoscalingOptions{}),
		WorkerStopTimeout:          shutdownGrace,
		Interceptors:               []interceptor.WorkerInterceptor{newCutOff(ctx), workflows.WithPages(decide.Pages(o.Config.PublicURL))},
	})
	workflows.Register(w)
	w.RegisterActivityWithOptions(acts, activity.RegisterOptions{})
	return w
}
