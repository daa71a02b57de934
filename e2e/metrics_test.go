package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.temporal.io/sdk/client"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// Every metric in docs/reference/metrics.md is exposed, with the documented labels,
// after a story that moves all of them.
func TestMetricsInTheTablesAreExposed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Stack{ID: "network-prod", Labels: []string{"gantry:managed", "gantry:confirm=auto"}})
	w.serveAs("all")
	c := w.dialTemporal()

	// A run is confirmed and ends, and somebody approves it too late.
	done := w.push("network-prod", 1)
	w.phase("network-prod", done, api.PhaseDone)
	decision, err := w.client.DecideRunWithResponse(t.Context(), "acme", "network-prod", string(done), &api.DecideRunParams{}, api.DecisionRequest{Verdict: api.VerdictApprove})
	w.must(err)
	if decision.JSON200 != nil {
		t.Errorf("a run that has ended was approved: %s", decision.Body)
	}

	// An ignored notification, and one with a wrong signature.
	w.deliver(`{"event_type": "something-else"}`)
	res, err := http.Post(w.url()+"/webhook", "application/json", strings.NewReader("{}"))
	w.must(err)
	res.Body.Close()

	// Spacelift fails for so long that a call leaves its step, and recovers.
	fault, err := w.spacelift.InjectAPI(simulator.APIFault{Kind: simulator.ServerError})
	w.must(err)
	broken := w.push("network-prod", 1)
	w.metrics("a call fails outside of its step", "temporal_activity_execution_failed_total")
	w.spacelift.ClearFaults(fault)
	w.phase("network-prod", broken, api.PhaseDone)

	// A step fails: no worker knows this workflow.
	_, err = c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "stranger", TaskQueue: "gantry"}, "Stranger")
	w.must(err)
	w.metrics("a step fails", "temporal_workflow_task_execution_failed_total")
	w.must(c.TerminateWorkflow(t.Context(), "stranger", "", "it has served"))

	// A caller asks for an unknown run, and Temporal goes down.
	if r, err := w.client.GetRunWithResponse(t.Context(), "acme", "network-prod", "01KDXUNKNOWN00000000000000"); err != nil || r.StatusCode() != http.StatusNotFound {
		t.Errorf("an unknown run: %v %s", err, r.Body)
	}
	w.temporal.Stop()
	w.metrics("polls fail", "temporal_long_request_failure_total")
	w.startTemporal()
	after := w.push("network-prod", 1)
	_, err = w.spacelift.WaitState(t.Context(), "network-prod", after, spacelift.RunStateFinished)
	w.must(err)

	tables := metricTables(t)
	var names []string
	for _, m := range tables {
		names = append(names, m.name)
	}
	shown := w.metrics("every metric is there", names...)
	for _, m := range tables {
		for _, label := range m.labels {
			if !slices.Contains(shown[m.name], label) {
				t.Errorf("%s has labels %v, and the document names %s", m.name, shown[m.name], label)
			}
		}
	}
}

type documented struct {
	name   string
	labels []string
}

func metricTables(t *testing.T) (all []documented) {
	t.Helper()
	doc, err := os.ReadFile("../docs/reference/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)(?:\\{([a-z_,]+)\\})?` \\|").FindAllStringSubmatch(string(doc), -1) {
		d := documented{name: m[1]}
		if m[2] != "" {
			d.labels = strings.Split(m[2], ",")
		}
		all = append(all, d)
	}
	if len(all) < 40 {
		t.Fatalf("only %d metrics were read", len(all))
	}
	return all
}

// metrics waits until these are exposed, and returns all with their labels.
func (w *world) metrics(what string, names ...string) (labels map[string][]string) {
	w.t.Helper()
	w.eventually(what, func(context.Context) error {
		status, text := w.fetch(w.ops() + "/metrics")
		if status != http.StatusOK {
			return fmt.Errorf("/metrics: %d", status)
		}
		parser := expfmt.NewTextParser(model.LegacyValidation)
		families, err := parser.TextToMetricFamilies(strings.NewReader(text))
		if err != nil {
			return err
		}
		labels = map[string][]string{}
		for name, family := range families {
			labels[name] = []string{}
			for _, l := range family.GetMetric()[0].GetLabel() {
				labels[name] = append(labels[name], l.GetName())
			}
		}
		var missing []string
		for _, name := range names {
			if labels[name] == nil {
				missing = append(missing, name)
			}
		}
		if missing != nil {
			return fmt.Errorf("not there: %v", missing)
		}
		return nil
	})
	return labels
}
