package activities_test

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/testsuite"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi"
)

// town is an account of stacks that follow each other, on a clock of its own, so
// that plans and applies have different times.
type town struct {
	*testing.T
	sim   *simulator.Simulator
	clock *simulator.ManualClock
	env   *testsuite.TestActivityEnvironment
	acts  *activities.Activities
	temp  *fakeTemporal
}

// newTown makes an account. Stacks read "app<net,dns": app follows net and dns.
func newTown(t *testing.T, stacks ...string) *town {
	t.Helper()
	c := &town{T: t, clock: simulator.NewManualClock(time.Date(2037, 1, 1, 10, 0, 0, 0, time.UTC)), temp: &fakeTemporal{}}
	c.sim = simulator.New(simulator.Options{Account: "acme", Seed: 1, Clock: c.clock, Phases: simulator.RealisticPhases()})
	t.Cleanup(c.sim.Close)
	server := httptest.NewServer(c.sim)
	t.Cleanup(server.Close)
	for _, s := range stacks {
		stack, parents, _ := strings.Cut(s, "<")
		labels := []string{"gantry:managed"}
		for p := range strings.SplitSeq(parents, ",") {
			if p != "" {
				labels = append(labels, "gantry:after="+p)
			}
		}
		c.must(c.sim.AddStack(simulator.Stack{ID: spacelift.StackID(stack), Labels: labels}))
	}
	key := c.sim.AddAPIKey(simulator.APIKey{})
	client, err := spaceliftapi.NewClient(spaceliftapi.Config{
		Account: "acme", Endpoint: server.URL, Credentials: spaceliftapi.APIKey{ID: key.ID, Secret: key.Secret}, Timeout: wait,
	})
	c.must(err)
	rules, err := policy.Compile(policy.Config{Profiles: []policy.Profile{{Name: "patient", OldPlans: new(policy.OldPlansKeep)}}})
	c.must(err)
	var suite testsuite.WorkflowTestSuite
	c.env = suite.NewTestActivityEnvironment()
	c.env.SetTestTimeout(time.Minute)
	c.acts = &activities.Activities{Accounts: map[spacelift.Account]activities.Spacelift{"acme": client}, Temporal: c.temp, Definitions: func() *policy.Definitions { return rules }, Now: c.clock.Now}
	c.env.RegisterActivity(c.acts)
	return c
}

func (c *town) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// besides names the queries to Temporal.
var besides = activities.OpenWork{Chains: activities.FindChainsInput{List: "chains", Query: "place", Limit: 10}, Executions: "run/", Query: "status", Done: "done"}

var (
	changes   = simulator.Plan{Delta: spacelift.Delta{Added: 1}}
	noChanges = simulator.Plan{}
)

// push makes the runs of one push, and lets nothing happen.
func (c *town) push(commit string, plan simulator.Plan, stacks ...spacelift.StackID) {
	c.Helper()
	for _, s := range stacks {
		_, err := c.sim.Push(s, simulator.Commit{Hash: commit}, plan)
		c.must(err)
	}
}

// passes lets time pass.
func (c *town) passes(d time.Duration) { c.clock.Advance(d) }

// run is the nth run of a stack, from 0; -1 is the newest.
func (c *town) run(stack spacelift.StackID, n int) simulator.Run {
	c.Helper()
	all, err := c.sim.Runs(stack)
	c.must(err)
	if n < 0 {
		n += len(all)
	}
	if n < 0 || n >= len(all) {
		c.Fatalf("%s has %d runs", stack, len(all))
	}
	return all[n]
}

func (c *town) runs(stack spacelift.StackID) int {
	c.Helper()
	all, err := c.sim.Runs(stack)
	c.must(err)
	return len(all)
}

// applies confirms a stack's newest run, and lets it go to its end.
func (c *town) applies(stack spacelift.StackID) {
	c.Helper()
	c.must(c.sim.Confirm("jane", stack, c.run(stack, -1).Ref.Run, ""))
	c.passes(5 * time.Minute)
}

// turn returns the input of a chain that net's newest run began, which has ended,
// when the turn of a stack that follows net has come.
func (c *town) turn(stack spacelift.StackID, parents ...spacelift.StackID) activities.TriggerFollowerInput {
	c.Helper()
	root := c.run("net", -1).Run
	in := activities.TriggerFollowerInput{Account: "acme", Stack: stack, After: parents, Begun: root.CreatedAt, Commit: root.Commit.Hash, OpenWork: besides}
	for _, p := range parents {
		run := c.run(p, -1).Run
		end, ended := run.End()
		if !ended {
			c.Fatalf("%s continues", run.Ref)
		}
		if in.Ended.Before(end.At) {
			in.Ended = end.At
		}
		if run.BeganToApply() && in.Applied.Before(end.At) {
			in.Applied = end.At
		}
	}
	return in
}

func (c *town) triggers(in activities.TriggerFollowerInput) activities.TriggerFollowerResult {
	c.Helper()
	result, err := do[activities.TriggerFollowerResult](c.env, c.acts.TriggerFollower, in)
	c.must(err)
	return result
}

// waits is the state of what goes before a stack's newest run.
func (c *town) waits(stack spacelift.StackID) activities.Parents {
	c.Helper()
	result, err := do[activities.Parents](c.env, c.acts.ReadParents, activities.ReadParentsInput{
		Run: c.run(stack, -1).Ref, OpenWork: besides,
	})
	c.must(err)
	return result
}

func (c *town) mutations(field string) int { return len(c.sim.Mutations(field)) }

func (c *town) labels(stack spacelift.StackID, labels ...string) {
	c.Helper()
	c.must(c.sim.SetLabels(stack, slices.Concat([]string{"gantry:managed"}, labels)...))
}
