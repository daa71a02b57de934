package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/simulator"
)

// Gantry is killed after Spacelift carried out a decision, and before Gantry could
// record it. The decision is recorded all the same, its repeat isn't refused, and
// no other person is named for it.
func TestADecisionOutlivesItsLostTask(t *testing.T) {
	t.Parallel()
	note := "as discussed"
	approve := func(v api.Verdict) func(context.Context, people, *world, runID) (int, string, error) {
		return func(ctx context.Context, who people, _ *world, id runID) (int, string, error) {
			key := "01JLOSTTASK"
			r, err := who.bob.client.DecideRunWithResponse(ctx, "acme", "billing-dev", string(id), &api.DecideRunParams{IdempotencyKey: &key},
				api.DecisionRequest{Verdict: v, Note: &note})
			if err != nil {
				return 0, "", err
			}
			return r.StatusCode(), string(r.Body), nil
		}
	}
	for _, tc := range []struct {
		name   string
		field  string // the mutation whose answer is lost
		asks   func(context.Context, people, *world, runID) (int, string, error)
		state  string // in which the run ends
		person string // who decided, as the timeline has it
	}{
		{"an approval", "runConfirm", approve(api.VerdictApprove), "FINISHED", "bob approved the plan: as discussed"},
		{"a rejection", "runDiscard", approve(api.VerdictReject), "DISCARDED", "bob rejected the plan: as discussed"},
		{"a stop", "runDiscard", func(ctx context.Context, _ people, w *world, id runID) (int, string, error) {
			key := "01JLOSTTASK"
			r, err := w.client.StopRunWithResponse(ctx, "acme", "billing-dev", string(id), &api.StopRunParams{IdempotencyKey: &key}, api.ActionRequest{Note: &note})
			if err != nil {
				return 0, "", err
			}
			return r.StatusCode(), string(r.Body), nil
		}, "DISCARDED", "e2e wants the run stopped: as discussed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, oneApproves)
			who, p := w.servePeople("")
			id := w.change("billing-dev", 1)
			w.phase("billing-dev", id, api.PhaseWaiting)
			_, err := w.spacelift.InjectAPI(simulator.APIFault{Kind: simulator.LostResponse, Field: tc.field, Times: 1, Delay: simulator.Duration(time.Minute)})
			w.must(err)

			asked := make(chan struct{})
			go func() {
				defer close(asked)
				_, _, _ = tc.asks(t.Context(), who, w, id) // and dies with Gantry
			}()
			w.eventually("Spacelift did it", func(context.Context) error {
				if len(w.spacelift.Mutations(tc.field)) == 0 {
					return fmt.Errorf("no %s yet", tc.field)
				}
				return nil
			})
			p.Kill()
			<-asked

			who, _ = w.servePeople("")
			w.eventually("the repeat is answered", func(ctx context.Context) error { // once the next worker has the execution
				status, body, err := tc.asks(ctx, who, w, id)
				switch {
				case err != nil || status == http.StatusServiceUnavailable:
					return fmt.Errorf("%d %s (%w)", status, body, err)
				case status != http.StatusOK:
					t.Errorf("the repeat is answered %d %s", status, body)
				}
				return nil
			})
			if run := w.phase("billing-dev", id, api.PhaseDone); run.State != tc.state {
				t.Errorf("ended as %s, want %s", run.State, tc.state)
			}
			var said []string
			r, err := w.client.ListTimelineWithResponse(t.Context(), "acme", "billing-dev", string(id), nil)
			w.must(err)
			for _, e := range r.JSON200.Entries {
				if e.Kind != "event" {
					said = append(said, e.Summary)
				}
			}
			if all := strings.Join(said, "\n"); !strings.Contains(all, tc.person) || strings.Contains(all, "api::") {
				t.Errorf("the timeline does not say %q, or names a key:\n%s", tc.person, all)
			}
			if n := len(w.spacelift.Mutations(tc.field)); n != 1 {
				t.Errorf("%s was sent %d times", tc.field, n)
			}
		})
	}
}
