package doctor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"github.com/gantryhq/gantry/decide/managed"
)

// temporalTimeout is short: a Temporal that needs longer is as good as down.
const temporalTimeout = 10 * time.Second

func checkTemporal(ctx context.Context, p *Machine) Finding {
	const fix = "start it, or correct temporal.address; until then the inbox keeps all events"
	options, err := p.Loaded.TemporalOptions()
	if err != nil {
		return leftOut // the configuration is the fault
	}
	p.namespace = options.Namespace
	at := fmt.Sprintf("%s (%s)", options.HostPort, origin(p.Loaded, "temporal.address"))
	options.Logger = log.NewStructuredLogger(slog.New(slog.DiscardHandler))
	options.Identity = "gantry-doctor/" + p.Version
	c, err := client.NewLazyClient(options)
	if err != nil {
		return fail("correct the TEMPORAL_* variables or temporal.toml", "%s", err)
	}
	ctx, cancel := context.WithTimeout(ctx, temporalTimeout)
	defer cancel()
	info, err := c.WorkflowService().GetSystemInfo(ctx, &workflowservice.GetSystemInfoRequest{})
	if err != nil {
		c.Close()
		return fail(fix, "nothing answers at %s: %s", at, err)
	}
	p.temporal = c
	return ok("Temporal %s answers at %s", info.GetServerVersion(), at)
}

func checkNamespace(ctx context.Context, p *Machine) Finding {
	if p.temporal == nil {
		return leftOut
	}
	name := p.namespace
	answer, err := p.temporal.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: name})
	if _, missing := errors.AsType[*serviceerror.NamespaceNotFound](err); missing {
		p.namespace = ""
		return fail("temporal operator namespace create --namespace "+name+", or name another in temporal.namespace", "there is no namespace %s (%s)", name, origin(p.Loaded, "temporal.namespace"))
	}
	if err != nil {
		p.namespace = ""
		return fail("check the credentials for Temporal and what they may do in the namespace", "describe namespace %s: %s", name, err)
	}
	keeps := answer.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration()
	return ok("%s (%s); it keeps ended executions for %s", name, origin(p.Loaded, "temporal.namespace"), keeps)
}

func checkSearchAttributes(ctx context.Context, p *Machine) Finding {
	if p.temporal == nil || p.namespace == "" {
		return leftOut
	}
	have, err := p.temporal.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: p.namespace})
	if err != nil {
		return warn("ask the operator of Temporal", "could not be checked: they can't be listed: %s", err)
	}
	const want = enumspb.INDEXED_VALUE_TYPE_KEYWORD
	var missing, wrong []string
	for _, name := range slices.Sorted(slices.Values(managed.SearchAttributes())) {
		switch got, there := have.GetCustomAttributes()[name]; {
		case !there:
			missing = append(missing, name)
		case got != want:
			wrong = append(wrong, fmt.Sprintf("%s is a %s, not a %s", name, got, want))
		}
	}
	switch {
	case len(wrong) > 0:
		f := fail("remove them: temporal operator search-attribute remove --namespace "+p.namespace, "some have another type, and executions would fail")
		f.Details = wrong
		return f
	case len(missing) > 0:
		return warn(
			fmt.Sprintf("gantry serve adds them if it may; otherwise: temporal operator search-attribute create --namespace %s --type Keyword --name %s", p.namespace, strings.Join(missing, " --name ")),
			"missing: %s", strings.Join(missing, ", "))
	}
	return ok("all %d are there", len(managed.SearchAttributes()))
}

func checkWorker(ctx context.Context, p *Machine) Finding {
	if p.temporal == nil || p.namespace == "" {
		return leftOut
	}
	queue := p.Loaded.Temporal.TaskQueue
	answer, err := p.temporal.WorkflowService().DescribeTaskQueue(ctx, &workflowservice.DescribeTaskQueueRequest{
		Namespace: p.namespace, TaskQueue: &taskqueue.TaskQueue{Name: queue}, TaskQueueType: enumspb.TASK_QUEUE_TYPE_WORKFLOW,
	})
	if err != nil {
		return warn("ask the operator of Temporal", "could not be checked: task queue %s can't be described: %s", queue, err)
	}
	if len(answer.GetPollers()) == 0 {
		return warn("start gantry serve; if it runs, it uses another task queue or namespace", "no worker polls task queue %s of namespace %s", queue, p.namespace)
	}
	return ok("%d on task queue %s", len(answer.GetPollers()), queue)
}

func checkShared(ctx context.Context, p *Machine) Finding {
	if p.temporal == nil || p.namespace == "" {
		return leftOut
	}
	others, err := p.Neighbours(ctx, p.temporal, p.Loaded.Accounts)
	switch {
	case err != nil:
		return warn("ask the operator of Temporal", "could not be checked: %s", err)
	case len(others) > 0:
		return warn("if another Gantry serves them, give each its own temporal.taskQueue, better a namespace; if this one did, its executions end with their runs",
			"runs of accounts that the configuration doesn't name are managed in namespace %s: %s", p.namespace, strings.Join(others, ", "))
	}
	return ok("none in namespace %s", p.namespace)
}
