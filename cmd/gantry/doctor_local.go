package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
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

	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/service"
)

// localState holds what the checks know of this machine's Gantry: its
// configuration and its connection to Temporal.
type localState struct {
	loaded  config.Loaded
	loadErr error
	url     string // of the webhook; empty if not given
	webhook string // its name in Spacelift
	policy  string // the policy's

	temporal  client.Client // nil until it is known to answer
	namespace string        // "" until it is known to exist
}

func (p *localState) close() {
	if p.temporal != nil {
		p.temporal.Close()
	}
}

func checkConfiguration(_ context.Context, p *localState) finding {
	const fix = "correct it; gantry serve --print-config shows each value and where it comes from"
	err := p.loadErr
	if err == nil {
		_, err = p.loaded.TemporalOptions()
		err = errors.Join(err, service.Check(p.loaded.Config, version))
	}
	if err != nil {
		f := fail(fix, "gantry serve would not start with it")
		f.Details = strings.Split(strings.TrimPrefix(err.Error(), "configuration:\n"), "\n")
		return f
	}
	names := make([]string, len(p.loaded.Accounts))
	for i, a := range p.loaded.Accounts {
		names[i] = a.Name
	}
	if warnings := p.loaded.Warnings(); len(warnings) > 0 {
		f := warn(fix, "gantry serve starts with it, but some of it has no effect")
		f.Details = warnings
		return f
	}
	return ok("accounts: %s", strings.Join(names, ", "))
}

func checkInbox(_ context.Context, p *localState) finding {
	if p.loadErr != nil || p.loaded.Data == "" || p.loaded.Role == config.RoleWorker {
		return leftOut
	}
	dir, err := filepath.Abs(p.loaded.Data)
	if err != nil {
		return fail("set data to a folder", "%s: %s", p.loaded.Data, err)
	}
	const fix = "make it writable for the user of gantry serve, or set data to another folder"
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		above := existingFolder(filepath.Dir(dir))
		if err := tryWriting(above); err != nil {
			return fail(fix, "%s doesn't exist and can't be created in %s: %s", dir, above, err)
		}
		return ok("%s doesn't exist yet; gantry serve creates it", dir)
	case err != nil:
		return fail(fix, "%s", err)
	case !info.IsDir():
		return fail("set data to a folder", "%s is not a folder", dir)
	}
	if err := tryWriting(dir); err != nil {
		return fail(fix, "%s can't be written: %s", dir, err)
	}
	return ok("%s can be written", dir)
}

func existingFolder(dir string) string {
	for {
		if info, err := os.Stat(dir); err == nil && info.IsDir() || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// tryWriting does what the inbox does: write a file and wait for the disk.
func tryWriting(dir string) error {
	f, err := os.CreateTemp(dir, ".gantry-doctor-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString("written by gantry doctor\n")
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
}

// origin returns where a setting comes from, for people.
func origin(loaded config.Loaded, setting string) string {
	switch from := loaded.Origins[setting]; from {
	case "":
		return setting
	case "default":
		return "by default"
	default:
		return "from " + from
	}
}

// temporalTimeout is short: a Temporal that needs longer is as good as down.
const temporalTimeout = 10 * time.Second

func checkTemporal(ctx context.Context, p *localState) finding {
	const fix = "start it, or correct temporal.address; until then the inbox keeps all events"
	options, err := p.loaded.TemporalOptions()
	if err != nil {
		return leftOut // the configuration is the fault
	}
	p.namespace = options.Namespace
	at := fmt.Sprintf("%s (%s)", options.HostPort, origin(p.loaded, "temporal.address"))
	options.Logger = log.NewStructuredLogger(slog.New(slog.DiscardHandler))
	options.Identity = "gantry-doctor/" + version
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

func checkNamespace(ctx context.Context, p *localState) finding {
	if p.temporal == nil {
		return leftOut
	}
	name := p.namespace
	answer, err := p.temporal.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: name})
	if _, missing := errors.AsType[*serviceerror.NamespaceNotFound](err); missing {
		p.namespace = ""
		return fail("temporal operator namespace create --namespace "+name+", or name another in temporal.namespace", "there is no namespace %s (%s)", name, origin(p.loaded, "temporal.namespace"))
	}
	if err != nil {
		p.namespace = ""
		return fail("check the credentials for Temporal and what they may do in the namespace", "describe namespace %s: %s", name, err)
	}
	keeps := answer.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration()
	return ok("%s (%s); it keeps ended executions for %s", name, origin(p.loaded, "temporal.namespace"), keeps)
}

func checkSearchAttributes(ctx context.Context, p *localState) finding {
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

func checkWorker(ctx context.Context, p *localState) finding {
	if p.temporal == nil || p.namespace == "" {
		return leftOut
	}
	queue := p.loaded.Temporal.TaskQueue
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

func checkShared(ctx context.Context, p *localState) finding {
	if p.temporal == nil || p.namespace == "" {
		return leftOut
	}
	others, err := service.OtherAccounts(ctx, p.temporal, p.loaded.Accounts)
	switch {
	case err != nil:
		return warn("ask the operator of Temporal", "could not be checked: %s", err)
	case len(others) > 0:
		return warn("if another Gantry serves them, give each its own temporal.taskQueue, better a namespace; if this one did, its executions end with their runs",
			"runs of accounts that the configuration doesn't name are managed in namespace %s: %s", p.namespace, strings.Join(others, ", "))
	}
	return ok("none in namespace %s", p.namespace)
}
