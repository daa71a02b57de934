package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/e2e/program"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/inbox/executions"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// Gantry was specified in seven phases. Each has its test here; TestBrowserPhase2
// repeats the second one with a real browser, TestWalkthrough the last one with the
// commands that a person types.

// Phase 1: an application whose /webhook takes POSTs, and processes and logs
// what they carry.
func TestPhase1Webhook(t *testing.T) {
	w := newWorld(t)
	p := w.serve()
	body := w.notification("network-prod", "01KDXPHASE1000000000000000", "QUEUED", 0)

	if status, _ := w.fetch(w.url() + "/webhook"); status != http.StatusMethodNotAllowed {
		t.Errorf("a GET is answered with %d", status)
	}
	if status, answer := w.post(w.url()+"/webhook", body); status != http.StatusUnauthorized || !strings.Contains(answer, "signature-missing") {
		t.Errorf("without a signature: %d %s", status, answer)
	}
	status, answer := w.deliver(body)
	var receipt api.Receipt
	w.must(json.Unmarshal([]byte(answer), &receipt))
	if status != http.StatusAccepted || receipt.Outcome != api.OutcomeAccepted {
		t.Fatalf("signed: %d %s", status, answer)
	}

	// The log has a line on it, the delivery log all of it.
	line := logLine(t, p, "delivery="+receipt.Delivery)
	for _, want := range []string{"outcome=accepted", "account=acme", "stack=network-prod", "run=01KDXPHASE1000000000000000", "state=QUEUED"} {
		if !strings.Contains(line, want) {
			t.Errorf("no %s in the log's line %s", want, line)
		}
	}
	if out := p.Out.String(); strings.Contains(out, secret) || strings.Contains(out, "Widen private subnets") {
		t.Errorf("the log holds the secret or a body:\n%s", out)
	}
	d, err := w.client.GetDeliveryWithResponse(t.Context(), receipt.Delivery)
	w.must(err)
	if d.JSON200 == nil || d.JSON200.Body == nil || *d.JSON200.Body != body {
		t.Errorf("the delivery log has %s", d.Body)
	}
}

// Phase 2: each kind of payload is taken apart into stack, run, state and so on,
// and the Swagger page offers payloads to try.
func TestPhase2Payload(t *testing.T) {
	w := newWorld(t)
	p := w.serve()
	examples, err := filepath.Glob("../openapi/examples/run_*.json")
	w.must(err)
	if len(examples) < 15 {
		t.Fatalf("only %d examples of runs", len(examples))
	}
	for _, file := range examples {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			body, err := os.ReadFile(file)
			w.must(err)
			var n struct {
				Account, State string
				StateVersion   int
				Run            struct{ ID, Type string }
				Stack          struct{ ID string }
			}
			w.must(json.Unmarshal(body, &n))
			status, answer := w.deliver(string(body))
			var receipt api.Receipt
			w.must(json.Unmarshal([]byte(answer), &receipt))
			if status != http.StatusAccepted {
				t.Fatalf("%d %s", status, answer)
			}
			want := fmt.Sprintf("account=%s stack=%s run=%s type=%s state=%s stateVersion=%d ", n.Account, n.Stack.ID, n.Run.ID, n.Run.Type, n.State, n.StateVersion)
			if line := logLine(t, p, "delivery="+receipt.Delivery); !strings.Contains(line, want) {
				t.Errorf("the log says %s, want %s", line, want)
			}
		})
	}

	if status, page := w.fetch(w.url() + "/docs"); status != http.StatusOK || !strings.Contains(page, "swagger-ui") {
		t.Errorf("/docs: %d %.200s", status, page)
	}
	_, document := w.fetch(w.url() + "/openapi.yaml")
	contract, err := openapi3.NewLoader().LoadFromData([]byte(document))
	w.must(err)
	offered := contract.Paths.Find("/webhook").Post.RequestBody.Value.Content.Get("application/json").Examples
	if len(offered) < 3 {
		t.Errorf("the page offers only %d payloads", len(offered))
	}
	for name, example := range offered {
		body, err := json.Marshal(example.Value.Value)
		w.must(err)
		if status, answer := w.deliver(string(body)); status != http.StatusAccepted {
			t.Errorf("the page's payload %s: %d %s", name, status, answer)
		}
	}
}

// Phase 3: the Temporal server that docker/compose.yaml runs reports that it is
// ready, and then accepts a workflow definition and executes it.
func TestPhase3Temporal(t *testing.T) {
	w := &world{t: t, dir: t.TempDir()}
	if temporalBinary == "" {
		var err error
		if temporalBinary, err = program.Build("docker/temporal"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { temporalBinary = "" })
	}
	w.startTemporal()
	t.Cleanup(func() { w.temporal.Stop() })

	c, err := client.DialContext(t.Context(), client.Options{HostPort: w.temporal.HostPort()})
	w.must(err)
	t.Cleanup(c.Close)
	definitions := worker.New(c, "phase-3", worker.Options{})
	definitions.RegisterWorkflowWithOptions(func(_ workflow.Context, stack string) (string, error) {
		return "managing " + stack, nil
	}, workflow.RegisterOptions{Name: "Hello"})
	w.must(definitions.Start())
	t.Cleanup(definitions.Stop)

	execution, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{TaskQueue: "phase-3"}, "Hello", "network-prod")
	w.must(err)
	var said string
	w.must(execution.Get(t.Context(), &said))
	if said != "managing network-prod" {
		t.Errorf("the workflow said %q", said)
	}
}

// Phase 4: a workflow that is started with the data of a stack's run manages its
// execution, without any webhook.
func TestPhase4Workflow(t *testing.T) {
	w := newWorld(t, autoStack)
	w.silence()
	w.serve()
	id := w.push("network-prod", 2)
	ref := spacelift.RunRef{Account: "acme", Stack: "network-prod", Run: id}
	_, err := w.spacelift.WaitState(t.Context(), ref.Stack, id, spacelift.RunStateUnconfirmed)
	w.must(err)
	run, err := w.spacelift.Run(ref.Stack, id)
	w.must(err)

	c, err := client.DialContext(t.Context(), client.Options{HostPort: w.temporal.HostPort()})
	w.must(err)
	t.Cleanup(c.Close)
	signal := func(state spacelift.RunState, version int) {
		t.Helper()
		w.must((&executions.Target{Client: c, TaskQueue: "gantry"}).Signal(t.Context(), ref, []managed.RunEvent{{
			Run: ref, Type: spacelift.RunTypeTracked, State: state, StateVersion: version, At: time.Now(), Labels: autoStack.Labels,
			Commit: spacelift.Commit{Hash: run.Commit.Hash}, Delta: &spacelift.Delta{Added: 2}, Source: managed.SourceWebhook, ReceivedAt: time.Now(),
		}}))
	}
	signal(spacelift.RunStateUnconfirmed, 5)
	_, err = w.spacelift.WaitState(t.Context(), ref.Stack, id, spacelift.RunStateFinished) // it confirmed
	w.must(err)
	signal(spacelift.RunStateFinished, 9)

	var end managed.RunStatus
	w.must(c.GetWorkflow(t.Context(), managed.ManageRunID(ref), "").Get(t.Context(), &end))
	if end.State != spacelift.RunStateFinished || end.Phase != managed.PhaseDone {
		t.Errorf("the workflow ended with %+v", end)
	}
	if n := len(w.spacelift.Mutations("runConfirm")); n != 1 {
		t.Errorf("it confirmed %d times, want once", n)
	}
}

// Phase 5: a payload at the webhook reaches the workflow of its run, which records
// its data. Another run has another execution.
func TestPhase5WebhookToWorkflow(t *testing.T) {
	w := newWorld(t)
	w.serve()
	first, second := runID("01KDXPHASE5000000000000001"), runID("01KDXPHASE5000000000000002")
	for version, state := range []spacelift.RunState{"QUEUED", "READY", "PREPARING", "INITIALIZING", "PLANNING"} {
		if status, answer := w.deliver(w.notification("network-prod", first, state, version)); status != http.StatusAccepted {
			t.Fatalf("%s: %d %s", state, status, answer)
		}
	}
	w.deliver(w.notification("network-prod", second, "QUEUED", 0))
	w.phase("network-prod", second, api.PhaseQueued)
	run := w.phase("network-prod", first, api.PhasePlanning)
	if run.State != "PLANNING" || len(run.States) != 5 || run.Commit == nil || run.Commit.Message == nil || *run.Commit.Message != "Widen private subnets" {
		t.Errorf("the workflow knows %+v", run)
	}

	c, err := client.DialContext(t.Context(), client.Options{HostPort: w.temporal.HostPort()})
	w.must(err)
	t.Cleanup(c.Close)
	for _, id := range []runID{first, second} {
		execution, err := c.DescribeWorkflowExecution(t.Context(), "run/acme/network-prod/"+string(id), "")
		w.must(err)
		if info := execution.WorkflowExecutionInfo; info.Type.Name != "ManageRun" || info.Status != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
			t.Errorf("Temporal shows %s as %s", info.Type.Name, info.Status)
		}
	}
}

// Phase 6: `gantry setup` gives Spacelift the webhook's address and creates the
// policy that tests labels. From then on people label stacks.
func TestPhase6Labels(t *testing.T) {
	w := newBareWorld(t)
	w.must(w.spacelift.AddStack(simulator.Stack{ID: "network-prod", Labels: []string{"env:prod"}}))
	w.serve()
	if out, code := w.gantry("setup", "--url", w.url()+"/webhook", "--yes"); code != 0 {
		t.Fatalf("set-up: exit code %d\n%s", code, out)
	}

	before := w.push("network-prod", 1)
	_, err := w.spacelift.WaitState(t.Context(), "network-prod", before, spacelift.RunStateUnconfirmed)
	w.must(err)
	w.must(w.spacelift.Flush(t.Context()))
	w.unknown("network-prod", before)
	w.must(w.spacelift.Discard("jane", "network-prod", before, "not managed"))

	w.must(w.spacelift.SetLabels("network-prod", "env:prod", "gantry:managed"))
	waiting := w.push("network-prod", 1)
	w.phase("network-prod", waiting, api.PhaseWaiting)
	w.must(w.spacelift.Discard("jane", "network-prod", waiting, "let Gantry do it"))

	w.must(w.spacelift.SetLabels("network-prod", "env:prod", "gantry:managed", "gantry:confirm=auto"))
	if run := w.phase("network-prod", w.push("network-prod", 1), api.PhaseDone); run.State != "FINISHED" {
		t.Errorf("ended as %s", run.State)
	}
}

// Phase 7: from an empty account to a change that is managed end to end. All parts
// have the same record of it.
func TestPhase7EndToEnd(t *testing.T) {
	w := newBareWorld(t)
	w.must(w.spacelift.AddStack(autoStack))
	w.serve()
	if out, code := w.gantry("setup", "--url", w.url()+"/webhook", "--yes"); code != 0 {
		t.Fatalf("set-up: exit code %d\n%s", code, out)
	}
	id := w.push("network-prod", 3)
	run := w.phase("network-prod", id, api.PhaseDone)

	spacelifts, err := w.spacelift.Run("network-prod", id)
	w.must(err)
	var was, seen []string
	for _, h := range spacelifts.History {
		was = append(was, string(h.State))
	}
	for _, s := range run.States {
		seen = append(seen, s.State)
	}
	if !slices.Equal(was, seen) || len(was) == 0 || was[len(was)-1] != "FINISHED" {
		t.Errorf("Spacelift passed %v, Gantry recorded %v", was, seen)
	}
	if !slices.ContainsFunc(run.Timeline, func(e api.TimelineEntry) bool { return e.Kind == "action" && e.Source == "gantry" && e.Summary != "" }) {
		t.Errorf("the timeline does not say what Gantry did: %+v", run.Timeline)
	}
	if n := len(w.spacelift.Mutations("runConfirm")); n != 1 {
		t.Errorf("confirmed %d times, want once", n)
	}
	d, err := w.client.ListDeliveriesWithResponse(t.Context(), &api.ListDeliveriesParams{Run: new(string(id)), Outcome: new(api.OutcomeAccepted)})
	w.must(err)
	if d.JSON200 == nil || len(d.JSON200.Deliveries) != len(was) {
		t.Errorf("the delivery log has %s", d.Body)
	}
}

// logLine waits for the line of a program's log that holds a text.
func logLine(t *testing.T, p *process, text string) (found string) {
	t.Helper()
	(&world{t: t}).eventually("the log says "+text, func(context.Context) error {
		for line := range strings.Lines(p.Out.String()) {
			if strings.Contains(line, text) {
				found = line
				return nil
			}
		}
		return fmt.Errorf("it says %s", p.Out)
	})
	return found
}
