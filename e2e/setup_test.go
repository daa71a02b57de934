package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/simulator"
)

// In an empty account `gantry setup` creates all that Gantry needs. From then on a
// label decides: exactly the labelled stack is managed, and no new run of it after
// the label is removed.
func TestLabelsDecideAfterSetup(t *testing.T) {
	w := newBareWorld(t)
	for _, stack := range []simulator.Stack{{ID: "labelled", Labels: []string{"gantry:managed", "gantry:confirm=auto"}}, {ID: "plain"}} {
		w.must(w.spacelift.AddStack(stack))
	}
	w.serve()
	webhook := w.url() + "/webhook"

	if out, code := w.gantry("setup", "--url", webhook, "--check"); code != 3 {
		t.Fatalf("check of an empty account: exit code %d, want 3\n%s", code, out)
	}
	if out, code := w.gantry("setup", "--url", webhook, "--yes"); code != 0 || strings.Contains(out, secret) {
		t.Fatalf("set-up: exit code %d\n%s", code, out)
	}
	if out, code := w.gantry("setup", "--url", webhook, "--check"); code != 0 {
		t.Fatalf("check after set-up: exit code %d\n%s", code, out)
	}

	labelled, plain := w.push("labelled", 1), w.push("plain", 1)
	if run := w.phase("labelled", labelled, api.PhaseDone); run.State != "FINISHED" {
		t.Errorf("the labelled stack's run ended as %s", run.State)
	}
	w.must(w.spacelift.Flush(t.Context()))
	w.unknown("plain", plain)

	w.must(w.spacelift.SetLabels("labelled"))
	after := w.push("labelled", 1)
	_, err := w.spacelift.WaitState(t.Context(), "labelled", after, "UNCONFIRMED")
	w.must(err)
	w.must(w.spacelift.Flush(t.Context()))
	w.unknown("labelled", after)
}

// Doctor finds no fault in a healthy installation, and names the fault of a broken
// one.
func TestDoctorSeesTheWholeInstallation(t *testing.T) {
	w := newBareWorld(t)
	w.must(w.spacelift.AddStack(simulator.Stack{ID: "labelled", Labels: []string{"gantry:managed"}}))
	w.serve()
	if out, code := w.gantry("doctor"); code != 1 || !strings.Contains(out, "gantry setup") {
		t.Errorf("before set-up: exit code %d\n%s", code, out)
	}
	if out, code := w.gantry("setup", "--url", w.url()+"/webhook", "--yes"); code != 0 {
		t.Fatalf("set-up: exit code %d\n%s", code, out)
	}
	if out, code := w.gantry("doctor", "--url", w.url()+"/webhook"); code != 0 || !strings.Contains(out, "none in namespace") {
		t.Errorf("after set-up: exit code %d\n%s", code, out)
	}
	w.must(w.spacelift.SetLabels("labelled", "gantry:managed", "gantry:confirm=atuo"))
	if out, code := w.gantry("doctor", "--url", w.url()+"/webhook"); !strings.Contains(out, "gantry:confirm=atuo") {
		t.Errorf("with an unreadable label: exit code %d\n%s", code, out)
	}
}

// unknown checks that Gantry doesn't know a run.
func (w *world) unknown(stack string, id runID) {
	w.t.Helper()
	r, err := w.client.GetRunWithResponse(w.t.Context(), "acme", stack, string(id))
	w.must(err)
	if r.StatusCode() != http.StatusNotFound {
		w.t.Errorf("Gantry knows %s of %s: %d %s", id, stack, r.StatusCode(), r.Body)
	}
	d, err := w.client.ListDeliveriesWithResponse(w.t.Context(), &api.ListDeliveriesParams{Run: new(string(id))})
	w.must(err)
	if d.JSON200 == nil || len(d.JSON200.Deliveries) != 0 {
		w.t.Errorf("Spacelift notified of %s: %s", id, d.Body)
	}
}
