package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// While Spacelift answers nothing, and many runs wait for it, people still have answers.
func TestPeopleAreAnsweredWhileSpaceliftHangs(t *testing.T) {
	t.Parallel()
	const busy = 60
	stacks := []simulator.Stack{{ID: "network-prod", Labels: []string{"gantry:managed", "gantry:confirm=manual"}}}
	for n := range busy {
		stacks = append(stacks, simulator.Stack{ID: spacelift.StackID(fmt.Sprintf("app-%d", n)), Labels: []string{"gantry:managed"}})
	}
	w := newWorld(t, stacks...)
	w.serve()
	run := w.push("network-prod", 1)
	w.phase("network-prod", run, api.PhaseWaiting)

	_, err := w.spacelift.InjectAPI(simulator.APIFault{Kind: simulator.Slow, Field: "query", Delay: simulator.Duration(time.Hour)})
	w.must(err)
	for _, s := range stacks[1:] {
		w.push(s.ID, 1)
	}
	hanging := func() (n int) {
		for _, r := range w.spacelift.Requests() {
			if r.Fault == simulator.Slow {
				n++
			}
		}
		return n
	}
	w.eventually("many runs wait for Spacelift", func(context.Context) error {
		if n := hanging(); n < busy/4 {
			return fmt.Errorf("%d calls hang", n)
		}
		return nil
	})
	var slow []time.Duration
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		began := time.Now()
		r, err := w.client.GetRunWithResponse(ctx, "acme", "network-prod", string(run))
		cancel()
		if err != nil || r.StatusCode() != http.StatusOK {
			slow = append(slow, time.Since(began))
		}
	}
	if len(slow) > 0 {
		t.Errorf("%d of 5 questions had no answer within three seconds: %v", len(slow), slices.Max(slow))
	}
}
