package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

var (
	autoStack   = simulator.Stack{ID: "network-prod", Labels: []string{"gantry:managed", "gantry:confirm=auto"}}
	manualStack = simulator.Stack{ID: "app-prod", Labels: []string{"gantry:managed"}}
	foreign     = simulator.Stack{ID: "sandbox", Labels: []string{"env:dev"}}
)

// A push to a stack that Gantry confirms reaches FINISHED without a person, and the
// run has the full timeline afterwards.
func TestPushIsConfirmedAndFinishes(t *testing.T) {
	w := newWorld(t, autoStack)
	w.serve()
	id := w.push("network-prod", 2)
	run := w.phase("network-prod", id, api.PhaseDone)

	if run.State != "FINISHED" || run.StateVersion != 9 || run.Outcome == nil {
		t.Errorf("ended as %s %d: %v", run.State, run.StateVersion, run.Outcome)
	}
	if n := len(w.spacelift.Mutations("runConfirm")); n != 1 {
		t.Errorf("confirmed %d times, want once", n)
	}
	states := make([]string, len(run.States))
	for i, s := range run.States {
		states[i] = s.State
	}
	if want := []string{"QUEUED", "READY", "PREPARING", "INITIALIZING", "PLANNING", "UNCONFIRMED", "CONFIRMED", "PREPARING_APPLY", "APPLYING", "FINISHED"}; !slices.Equal(states, want) {
		t.Errorf("states %v, want %v", states, want)
	}
	if !slices.ContainsFunc(run.Timeline, func(e api.TimelineEntry) bool { return e.Kind == "action" && e.Source == "gantry" }) {
		t.Errorf("the timeline has no action: %+v", run.Timeline)
	}
}

// Without gantry:confirm=auto Gantry waits for a person and follows what they do.
func TestManualRunWaitsForAPerson(t *testing.T) {
	w := newWorld(t, manualStack)
	w.serve()
	confirmed := w.push("app-prod", 1)
	run := w.phase("app-prod", confirmed, api.PhaseWaiting)
	if run.WaitingFor == nil || run.WaitingFor.Reason == "" || run.WaitingFor.Who == nil {
		t.Fatalf("it does not say what it waits for: %+v", run.WaitingFor)
	}
	w.must(w.spacelift.Confirm("jane", "app-prod", confirmed, "go"))
	if run = w.phase("app-prod", confirmed, api.PhaseDone); run.State != "FINISHED" {
		t.Errorf("ended as %s", run.State)
	}
	discarded := w.push("app-prod", 1)
	w.phase("app-prod", discarded, api.PhaseWaiting)
	w.must(w.spacelift.Discard("jane", "app-prod", discarded, "no"))
	if run = w.phase("app-prod", discarded, api.PhaseDone); run.State != "DISCARDED" {
		t.Errorf("ended as %s", run.State)
	}
	if n := len(w.spacelift.Mutations("runConfirm")); n != 0 {
		t.Errorf("Gantry confirmed %d times", n)
	}
}

// Gantry doesn't manage the runs of unlabelled stacks.
func TestUnlabelledStacksAreLeftAlone(t *testing.T) {
	w := newWorld(t, foreign, manualStack)
	w.serve()
	other := w.push("sandbox", 1)
	w.phase("app-prod", w.push("app-prod", 1), api.PhaseWaiting)
	r, err := w.client.GetRunWithResponse(t.Context(), "acme", "sandbox", string(other))
	w.must(err)
	if r.StatusCode() != http.StatusNotFound || r.ApplicationProblemJSON404 == nil {
		t.Errorf("got %d %s", r.StatusCode(), r.Body)
	}
}

// Lists come from search attributes and filter by them.
func TestRunsAreListedByStackStateAndPhase(t *testing.T) {
	w := newWorld(t, autoStack, manualStack)
	w.serve()
	done, waiting := w.push("network-prod", 1), w.push("app-prod", 1)
	w.phase("network-prod", done, api.PhaseDone)
	w.phase("app-prod", waiting, api.PhaseWaiting)

	for name, tt := range map[string]struct {
		params api.ListRunsParams
		want   []spacelift.RunID
	}{
		"all":        {api.ListRunsParams{}, []spacelift.RunID{done, waiting}},
		"by stack":   {api.ListRunsParams{Stack: new("app-prod")}, []spacelift.RunID{waiting}},
		"by state":   {api.ListRunsParams{State: new("FINISHED")}, []spacelift.RunID{done}},
		"by phase":   {api.ListRunsParams{Phase: new(api.PhaseWaiting)}, []spacelift.RunID{waiting}},
		"by account": {api.ListRunsParams{Account: new("acme"), PageSize: new(1)}, []spacelift.RunID{done, waiting}},
	} {
		t.Run(name, func(t *testing.T) {
			// Visibility lags behind an execution.
			w.eventually("the list is right", func(ctx context.Context) error {
				got, err := w.listAll(ctx, tt.params)
				slices.Sort(got)
				slices.Sort(tt.want)
				if err == nil && !slices.Equal(got, tt.want) {
					err = fmt.Errorf("listed %v, want %v", got, tt.want)
				}
				return err
			})
		})
	}

	// Another Gantry in the same namespace of Temporal serves another account.
	other := w.beside()
	other.serves = "globex"
	other.serveAs("api")
	got, err := other.listAll(t.Context(), api.ListRunsParams{})
	if err != nil || len(got) != 0 {
		t.Errorf("it lists %v (%v)", got, err)
	}
	run, err := other.client.GetRunWithResponse(t.Context(), "acme", "app-prod", string(waiting))
	w.must(err)
	decision, err := other.client.DecideRunWithResponse(t.Context(), "acme", "app-prod", string(waiting), nil, api.DecisionRequest{Verdict: api.VerdictApprove})
	w.must(err)
	if run.StatusCode() != http.StatusNotFound || decision.StatusCode() != http.StatusNotFound {
		t.Errorf("it answers %s and %s", run.Status(), decision.Status())
	}
}

// listAll follows the pages of a list.
func (w *world) listAll(ctx context.Context, p api.ListRunsParams) (ids []spacelift.RunID, err error) {
	for {
		r, err := w.client.ListRunsWithResponse(ctx, &p)
		if err != nil {
			return nil, err
		}
		if r.JSON200 == nil {
			return nil, fmt.Errorf("%d %s", r.StatusCode(), r.Body)
		}
		for _, run := range r.JSON200.Runs {
			ids = append(ids, spacelift.RunID(run.Run))
		}
		if r.JSON200.NextPageToken == nil {
			return ids, nil
		}
		p.PageToken = r.JSON200.NextPageToken
	}
}

// Gantry may be stopped in the middle of a run; the next process continues.
func TestRestartInTheMiddleOfARun(t *testing.T) {
	w := newWorld(t, manualStack)
	p := w.serve()
	id := w.push("app-prod", 1)
	w.phase("app-prod", id, api.PhaseWaiting)
	p.interrupt()
	w.serve()
	w.must(w.spacelift.Confirm("jane", "app-prod", id, ""))
	if run := w.phase("app-prod", id, api.PhaseDone); run.State != "FINISHED" {
		t.Errorf("ended as %s", run.State)
	}
}

// A notification that Spacelift repeats after a run's end opens no second execution.
func TestLateRepeatOpensNothing(t *testing.T) {
	w := newWorld(t, autoStack)
	w.serve()
	id := w.push("network-prod", 1)
	w.phase("network-prod", id, api.PhaseDone)

	// Another state version, so that the inbox does not know it either.
	body := w.notification("network-prod", id, "UNCONFIRMED", 95)
	if status, answer := w.deliver(body); status != http.StatusAccepted {
		t.Fatalf("%d %s", status, answer)
	}
	w.eventually("the repeat is marked late", func(ctx context.Context) error {
		r, err := w.client.ListDeliveriesWithResponse(ctx, &api.ListDeliveriesParams{Forwarding: new(api.ForwardingLate)})
		if err == nil && (r.JSON200 == nil || len(r.JSON200.Deliveries) != 1) {
			err = fmt.Errorf("%s", r.Body)
		}
		return err
	})
	runs, err := w.listAll(t.Context(), api.ListRunsParams{})
	w.must(err)
	if len(runs) != 1 {
		t.Errorf("%d executions, want one", len(runs))
	}
	if n := len(w.spacelift.Mutations("runConfirm")); n != 1 {
		t.Errorf("confirmed %d times, want once", n)
	}
}

// A forgery signed with the right secret makes Gantry read the run, never act.
func TestSignedForgeryIsLookedAtAndNotActedOn(t *testing.T) {
	w := newWorld(t, autoStack)
	w.serve()
	w.must(w.spacelift.SetNextPlan("network-prod", simulator.Plan{FailIn: spacelift.RunStatePlanning}))
	id, err := w.spacelift.Trigger("jane", simulator.Trigger{Stack: "network-prod"})
	w.must(err)
	_, err = w.spacelift.WaitState(t.Context(), "network-prod", id, spacelift.RunStateFailed)
	w.must(err)

	// A run that does not exist, in a state that needs confirmation.
	if status, answer := w.deliver(w.notification("network-prod", "01KDXFORGED000000000000000", "UNCONFIRMED", 5)); status != http.StatusAccepted {
		t.Fatalf("%d %s", status, answer)
	}
	run := w.phase("network-prod", "01KDXFORGED000000000000000", api.PhaseHolding)
	if run.WaitingFor == nil {
		t.Error("it does not say why it holds")
	}
	if n := len(w.spacelift.Mutations("runConfirm")); n != 0 {
		t.Errorf("Gantry asked to confirm %d times", n)
	}
}
