package e2e

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/simulator"
)

// A stop doesn't wait for Spacelift: Gantry abandons unanswered calls, and the next
// process repeats them. Nothing is lost and nothing is done twice.
func TestAStopDoesNotWaitForSpacelift(t *testing.T) {
	t.Parallel()
	for name, field := range map[string]string{"while a run is read": "query", "while a run is confirmed": "runConfirm"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, simulator.Stack{ID: "network-prod", Labels: []string{"gantry:managed", "gantry:confirm=auto"}})
			p := w.serve()
			fault, err := w.spacelift.InjectAPI(simulator.APIFault{Kind: simulator.Slow, Field: field, Delay: simulator.Duration(time.Hour)})
			w.must(err)
			run := w.push("network-prod", 1)
			w.eventually("Spacelift has been asked", func(context.Context) error {
				if !slices.ContainsFunc(w.spacelift.Requests(), func(r simulator.Request) bool { return r.Fault == simulator.Slow }) {
					return errors.New("not yet")
				}
				return nil
			})
			if took := p.interrupt(); took > 10*time.Second { // a call to Spacelift may take 30 s
				t.Errorf("the stop took %s", took)
			}

			w.spacelift.ClearFaults(fault)
			w.serve()
			if done := w.phase("network-prod", run, api.PhaseDone); done.State != "FINISHED" {
				t.Errorf("the run ended as %s", done.State)
			}
			if n := w.confirmations(); n != 1 {
				t.Errorf("confirmed %d times", n)
			}
		})
	}
}
