package service_test

import (
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/reconcile"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// A process with the role all takes a webhook to Temporal, serves the API and
// works on activities with the account's API key.
func TestRoleAll(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.must(r.spacelift.AddStack(simulator.Stack{ID: "network-prod", Labels: []string{"gantry:managed"}}))
	run, err := r.spacelift.Push("network-prod", simulator.Commit{}, simulator.Plan{})
	r.must(err)
	g := r.start()

	if a := g.deliver(webhookSecret); a.Status != http.StatusAccepted {
		t.Errorf("the webhook answers %d %s, want 202", a.Status, a.Body)
	}
	r.temporal.await(t, "the event is forwarded", func() bool { return len(r.temporal.signals) == 1 })
	var signal *workflowservice.SignalWithStartWorkflowExecutionRequest
	r.temporal.read(func() { signal = r.temporal.signals[0] })
	if got, want := signal.GetWorkflowId(), "run/acme/network-prod/01KDX3V4T8Q2M5N7P9R1S3T5V7"; got != want {
		t.Errorf("the event goes to %s, want %s", got, want)
	}
	if got := signal.GetTaskQueue().GetName(); got != "gantry" {
		t.Errorf("the execution starts on task queue %s, want gantry", got)
	}
	if a := g.get("/v1/deliveries", "Authorization", "Bearer "+viewerToken); a.Status != http.StatusOK || !strings.Contains(a.Body, "network-prod") {
		t.Errorf("the API answers %d %s", a.Status, a.Body)
	}

	r.temporal.awaitWorker(t)
	var got spacelift.Run
	r.must(r.temporal.execute(t, "ReadRun", spacelift.RunRef{Account: "acme", Stack: "network-prod", Run: run}, &got))
	if got.Ref.Run != run {
		t.Errorf("the worker reads run %q, want %q", got.Ref.Run, run)
	}
	r.temporal.awaitTrigger(t, reconcile.ID("acme"))
}

// A process with the role api takes webhooks and serves the API. It leaves tasks,
// schedules and the namespace to workers.
func TestRoleAPI(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.config.Role = config.RoleAPI
	g := r.start()
	if a := g.deliver(webhookSecret); a.Status != http.StatusAccepted {
		t.Errorf("the webhook answers %d %s, want 202", a.Status, a.Body)
	}
	r.temporal.await(t, "the event is forwarded", func() bool { return len(r.temporal.signals) == 1 })
	g.stop()
	if n := r.temporal.called("PollWorkflowTaskQueue", "PollActivityTaskQueue", "AddSearchAttributes", "CreateSchedule"); n != 0 {
		t.Errorf("it called Temporal %d times as a worker does", n)
	}
}

// A process with the role worker takes tasks. It has no inbox, takes no webhook
// and has no API.
func TestRoleWorker(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.config.Role = config.RoleWorker
	g := r.start()
	r.temporal.awaitWorker(t)
	for _, path := range []string{"/webhook", "/v1/deliveries", "/docs"} {
		if a := g.get(path, "Authorization", "Bearer "+viewerToken); a.Status != http.StatusNotFound {
			t.Errorf("%s answers %d, want 404", path, a.Status)
		}
	}
	if a := g.deliver(webhookSecret); a.Status != http.StatusNotFound {
		t.Errorf("a delivery is answered with %d, want 404", a.Status)
	}
	if found, err := os.ReadDir(r.config.Data); err != nil || len(found) != 1 || found[0].Name() != "audit" {
		t.Errorf("the folder of data has %v, %v; want the audit log alone", found, err)
	}
}

// Webhooks are accepted while Temporal is away, and reach it when it is back.
// The worker waits for it as well.
func TestStartWithoutTemporal(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.temporal.fail("", serviceerror.NewPermissionDenied("not yet", ""))
	g := r.start()
	if a := g.deliver(webhookSecret); a.Status != http.StatusAccepted {
		t.Errorf("the webhook answers %d %s, want 202", a.Status, a.Body)
	}
	line := r.awaitLog("Temporal is not ready")
	for _, want := range []string{r.temporal.address, "not yet", `"in":"250ms"`} {
		if !strings.Contains(line, want) {
			t.Errorf("the log doesn't say %s: %s", want, line)
		}
	}
	r.temporal.fail("", nil)
	r.temporal.await(t, "the event is forwarded", func() bool { return len(r.temporal.signals) == 1 })
	r.temporal.awaitWorker(t)
	if line := r.awaitLog("worker started"); !strings.Contains(line, `"namespace":"default"`) {
		t.Errorf("the log doesn't name the namespace: %s", line)
	}
}

// What was accepted before a stop is forwarded after the next start.
func TestAcceptedEventsOutliveTheProcess(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.config.Role = config.RoleAPI
	r.temporal.fail("SignalWithStartWorkflowExecution", serviceerror.NewPermissionDenied("not yet", ""))
	g := r.start()
	if a := g.deliver(webhookSecret); a.Status != http.StatusAccepted {
		t.Fatalf("the webhook answers %d %s, want 202", a.Status, a.Body)
	}
	g.stop()
	r.temporal.fail("SignalWithStartWorkflowExecution", nil)
	r.start()
	r.temporal.await(t, "the event is forwarded", func() bool { return len(r.temporal.signals) == 1 })
}

// The worker gives the namespace the search attributes it lacks, before it takes
// a task, and leaves those of others alone.
func TestSearchAttributesAreAdded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.config.Role = config.RoleWorker
	r.temporal.attributes[managed.AttrAccount] = enums.INDEXED_VALUE_TYPE_KEYWORD
	r.temporal.attributes["Theirs"] = enums.INDEXED_VALUE_TYPE_INT
	g := r.start()
	r.temporal.awaitWorker(t)
	r.temporal.read(func() {
		for _, name := range managed.SearchAttributes() {
			if got := r.temporal.attributes[name]; got != enums.INDEXED_VALUE_TYPE_KEYWORD {
				t.Errorf("search attribute %s is a %s, want a keyword", name, got)
			}
		}
		if got := r.temporal.attributes["Theirs"]; got != enums.INDEXED_VALUE_TYPE_INT {
			t.Errorf("the attribute of others is a %s", got)
		}
	})
	g.stop()
	g = r.start()
	g.awaitStatus("/readyz", http.StatusOK)
	if n := r.temporal.called("AddSearchAttributes"); n != 1 {
		t.Errorf("search attributes were added %d times, want once", n)
	}
}

// A search attribute that can't be used keeps the worker from taking tasks. The
// log says what to do, and the worker starts when it's done.
func TestSearchAttributesThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	account := managed.AttrAccount
	for name, tt := range map[string]struct {
		harm, repair func(*fakeTemporal)
		says         []string
	}{
		"another type": {
			harm:   func(f *fakeTemporal) { f.attributes[account] = enums.INDEXED_VALUE_TYPE_INT },
			repair: func(f *fakeTemporal) { f.change(func() { delete(f.attributes, account) }) },
			says:   []string{account, "namespace default", "remove it first"},
		},
		"not allowed to add": {
			harm: func(f *fakeTemporal) {
				f.broken["AddSearchAttributes"] = serviceerror.NewPermissionDenied("ask your administrator", "")
			},
			repair: func(f *fakeTemporal) { f.fail("AddSearchAttributes", nil) },
			says:   []string{account, "ask your administrator", "temporal operator search-attribute create --namespace default --type Keyword --name " + slices.Min(managed.SearchAttributes())},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.config.Role = config.RoleWorker
			tt.harm(r.temporal)
			g := r.start()
			line := r.awaitLog("Temporal is not ready")
			for _, want := range tt.says {
				if !strings.Contains(line, want) {
					t.Errorf("the log doesn't say %q: %s", want, line)
				}
			}
			if a := g.operator("/readyz"); a.Status != http.StatusServiceUnavailable || !strings.Contains(a.Body, "has not started") {
				t.Errorf("/readyz answers %d %s, want 503", a.Status, a.Body)
			}
			tt.repair(r.temporal)
			r.temporal.awaitWorker(t)
			g.awaitStatus("/readyz", http.StatusOK)
		})
	}
}
