package service

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/workflows"
)

// Waits between attempts to reach Temporal at the start.
const (
	firstRetry = 250 * time.Millisecond
	lastRetry  = 10 * time.Second
)

func dial(o Options, measure client.MetricsHandler) (client.Client, error) {
	options := o.Temporal
	options.MetricsHandler = measure
	options.Logger = log.NewStructuredLogger(o.Log.With("component", "temporal"))
	host, _ := os.Hostname() // an unknown host is left out
	options.Identity = fmt.Sprintf("gantry/%s@%s/%d", o.Version, host, os.Getpid())
	c, err := client.NewLazyClient(options)
	if err != nil {
		return nil, fmt.Errorf("temporal client: %w; check the TEMPORAL_* variables and temporal.toml", err)
	}
	return c, nil
}

// work runs the worker. It waits for Temporal as long as it takes: webhooks
// are accepted meanwhile. It sets polling once it takes tasks.
func work(ctx context.Context, c client.Client, acts *activities.Activities, polling *atomic.Bool, o Options) error {
	w, err := startWorker(ctx, c, acts, o)
	if err != nil {
		return err
	}
	defer w.Stop()
	polling.Store(true)
	return keepSchedules(ctx, c, o)
}

func startWorker(ctx context.Context, c client.Client, acts *activities.Activities, o Options) (worker.Worker, error) {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		err := prepareNamespace(ctx, c, o)
		if err == nil {
			w := newWorker(ctx, c, acts, o)
			if err = w.Start(); err == nil {
				o.Log.InfoContext(ctx, "worker started", "taskQueue", o.Config.Temporal.TaskQueue, "namespace", o.Temporal.Namespace)
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

func newWorker(ctx context.Context, c client.Client, acts *activities.Activities, o Options) worker.Worker {
	w := worker.New(c, o.Config.Temporal.TaskQueue, worker.Options{
		WorkflowTaskPollerBehavior: worker.NewPollerBehaviorAutoscaling(worker.PollerBehaviorAutoscalingOptions{}),
		ActivityTaskPollerBehavior: worker.NewPollerBehaviorAutoscaling(worker.PollerBehaviorAutoscalingOptions{}),
		WorkerStopTimeout:          shutdownGrace,
		Interceptors:               []interceptor.WorkerInterceptor{newCutOff(ctx)},
	})
	workflows.Register(w)
	w.RegisterActivityWithOptions(acts, activity.RegisterOptions{})
	return w
}

// prepareNamespace makes sure that the namespace has our search attributes:
// without them every execution would stall at its first step.
func prepareNamespace(ctx context.Context, c client.Client, o Options) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	const kind = enums.INDEXED_VALUE_TYPE_KEYWORD
	have, err := c.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: o.Temporal.Namespace})
	if err != nil {
		return fmt.Errorf("list search attributes: %w", err)
	}
	missing := map[string]enums.IndexedValueType{}
	for _, name := range managed.SearchAttributes() {
		switch got, ok := have.GetCustomAttributes()[name]; {
		case !ok:
			missing[name] = kind
		case got != kind:
			return fmt.Errorf("search attribute %s is a %s in namespace %s, but must be a %s: remove it first", name, got, o.Temporal.Namespace, kind)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	names := slices.Sorted(maps.Keys(missing))
	if _, err := c.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{Namespace: o.Temporal.Namespace, SearchAttributes: missing}); err != nil {
		return errors.Join(fmt.Errorf("add search attributes %s: %w", strings.Join(names, ", "), err),
			fmt.Errorf("an administrator can add them: temporal operator search-attribute create --namespace %s --type Keyword --name %s", o.Temporal.Namespace, strings.Join(names, " --name ")))
	}
	o.Log.InfoContext(ctx, "search attributes added", "namespace", o.Temporal.Namespace, "names", names)
	return nil
}
