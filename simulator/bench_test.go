package simulator_test

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"

	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// BenchmarkRun plays a run of seven states whose every state goes through a
// notification policy to a webhook, without a network.
func BenchmarkRun(b *testing.B) {
	for _, stacks := range []int{1, 2000} {
		b.Run(fmt.Sprintf("stacks=%d", stacks), func(b *testing.B) {
			clock := simulator.NewManualClock(epoch)
			accept := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
			sim := simulator.New(simulator.Options{
				Clock: clock, Phases: simulator.Instant(), HTTPClient: &http.Client{Transport: transport{accept}},
			})
			defer sim.Close()
			for i := range stacks {
				if err := sim.AddStack(simulator.Stack{ID: spacelift.StackID(fmt.Sprintf("s%d", i)), Labels: []string{"gantry:managed"}, Autodeploy: true}); err != nil {
					b.Fatal(err)
				}
			}
			if err := sim.AddNamedWebhook(simulator.NamedWebhook{ID: "hook", Endpoint: "http://hook", Labels: []string{"gantry"}}); err != nil {
				b.Fatal(err)
			}
			if err := sim.AddPolicy(simulator.Policy{ID: "p", Engine: simulator.RegoV1, Body: `package spacelift

webhook contains {"endpoint_id": e.id} if {
	some e in input.webhook_endpoints
	"gantry" in e.labels
	"gantry:managed" in input.run_updated.stack.labels
}
`}); err != nil {
				b.Fatal(err)
			}
			i := 0
			for b.Loop() {
				if _, err := sim.Push(spacelift.StackID(fmt.Sprintf("s%d", i%stacks)), simulator.Commit{}, twoAdded); err != nil {
					b.Fatal(err)
				}
				clock.Advance(0)
				if err := sim.Flush(b.Context()); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}

// BenchmarkSave takes the snapshot of an account with a thousand runs and full
// logs, as the lab does after every change.
func BenchmarkSave(b *testing.B) {
	clock := simulator.NewManualClock(epoch)
	accept := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	sim := simulator.New(simulator.Options{Clock: clock, Phases: simulator.Instant(), HTTPClient: &http.Client{Transport: transport{accept}}})
	defer sim.Close()
	for i := range 100 {
		id := spacelift.StackID(fmt.Sprintf("s%d", i))
		for _, err := range []error{
			sim.AddStack(simulator.Stack{ID: id, Autodeploy: true}),
			sim.AddStackWebhook(simulator.StackWebhook{Stack: id, Endpoint: "http://hook"}),
		} {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	for i := range 1000 {
		if _, err := sim.Push(spacelift.StackID(fmt.Sprintf("s%d", i%100)), simulator.Commit{}, twoAdded); err != nil {
			b.Fatal(err)
		}
		clock.Advance(0)
		if err := sim.Flush(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	var size int
	for b.Loop() {
		var out bytes.Buffer
		if err := sim.Save(&out); err != nil {
			b.Fatal(err)
		}
		size = out.Len()
	}
	b.ReportMetric(float64(size), "bytes")
}
