package simulator_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// A push to a labelled stack reaches a webhook through a notification policy;
// somebody confirms the run, and it applies.
func Example() {
	sim := simulator.New(simulator.Options{Account: "acme", Phases: simulator.Instant()})
	defer sim.Close()
	gantry := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		fmt.Println("webhook signed:", r.Header.Get("X-Signature-256") != "")
	}))
	defer gantry.Close()

	check := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	check(sim.AddStack(simulator.Stack{ID: "network", Labels: []string{"gantry:managed"}}))
	check(sim.AddNamedWebhook(simulator.NamedWebhook{ID: "gantry", Endpoint: gantry.URL, Secret: "hush"}))
	check(sim.AddPolicy(simulator.Policy{ID: "gantry", Engine: simulator.RegoV1, Body: `package spacelift

webhook contains {"endpoint_id": "gantry"} if {
	"gantry:managed" in input.run_updated.stack.labels
	input.run_updated.state == "UNCONFIRMED"
}`}))

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	run, err := sim.Push("network", simulator.Commit{}, simulator.Plan{Delta: spacelift.Delta{Added: 1}})
	check(err)
	_, err = sim.WaitState(ctx, "network", run, spacelift.RunStateUnconfirmed)
	check(err)
	check(sim.Flush(ctx))
	check(sim.Confirm("jane", "network", run, "looks good"))
	end, err := sim.WaitState(ctx, "network", run, spacelift.RunStateFinished)
	check(err)
	fmt.Println(end.State, end.StateVersion)
	// Output:
	// webhook signed: true
	// FINISHED 9
}
