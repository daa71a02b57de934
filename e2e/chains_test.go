package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/client"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// follower is a stack that follows others and whose plans Gantry confirms.
func follower(id spacelift.StackID, after ...spacelift.StackID) simulator.Stack {
	labels := []string{"gantry:managed", "gantry:confirm=auto"}
	for _, parent := range after {
		labels = append(labels, "gantry:after="+string(parent))
	}
	return simulator.Stack{ID: id, Labels: labels}
}

// chain waits until the chain that a run began is as wanted.
func (w *world) chain(root runID, what string, wanted func(api.Chain) bool) api.Chain {
	w.t.Helper()
	var chain api.Chain
	w.eventually("the chain "+what, func(ctx context.Context) error {
		r, err := w.client.GetChainWithResponse(ctx, "acme", string(root))
		if err != nil {
			return err
		}
		if r.JSON200 == nil {
			return fmt.Errorf("%d %s", r.StatusCode(), r.Body)
		}
		if chain = *r.JSON200; !wanted(chain) {
			return fmt.Errorf("it is %s: %s", chain.Phase, chain.Summary)
		}
		return nil
	})
	return chain
}

// runsOf returns all runs of a stack.
func (w *world) runsOf(stack spacelift.StackID) []simulator.Run {
	w.t.Helper()
	all, err := w.spacelift.Runs(stack)
	w.must(err)
	return all
}

func inPhase(p api.ChainPhase) func(api.Chain) bool {
	return func(c api.Chain) bool { return c.Phase == p }
}

// One push passes through three stacks that follow each other, without a person;
// each run knows its place, and each stack runs once.
func TestAPushGoesThroughAChain(t *testing.T) {
	w := newWorld(t, autoStack, follower("app-prod", "network-prod"), follower("web-prod", "app-prod", "network-prod"))
	for _, s := range []spacelift.StackID{"app-prod", "web-prod"} {
		w.must(w.spacelift.SetNextPlan(s, simulator.Plan{Delta: spacelift.Delta{Added: 1}}))
	}
	w.serve()
	root := w.push("network-prod", 2)
	chain := w.chain(root, "is complete", inPhase(api.ChainPhaseDone))

	var states []string
	for _, n := range chain.Nodes {
		states = append(states, n.Stack+" "+n.State)
	}
	if want := []string{"network-prod finished", "app-prod finished", "web-prod finished"}; !slices.Equal(states, want) {
		t.Errorf("stacks %v, want %v: %s", states, want, chain.Summary)
	}
	for _, e := range chain.Edges {
		if e.Decision != "releases" || e.Reason == "" {
			t.Errorf("edge %+v", e)
		}
	}
	for _, s := range []spacelift.StackID{"network-prod", "app-prod", "web-prod"} {
		runs := w.runsOf(s)
		if len(runs) != 1 {
			t.Fatalf("%s had %d runs, want one", s, len(runs))
		}
		w.phase(s, runs[0].Ref.Run, api.PhaseDone)
		// It may have ended before the chain could signal it.
		w.eventually(fmt.Sprintf("the run of %s finished as part of the chain", s), func(ctx context.Context) error {
			run, err := w.run(ctx, s, runs[0].Ref.Run)
			if err == nil && (run.State != "FINISHED" || len(run.Chains) != 1 || run.Chains[0].Run != string(root)) {
				err = fmt.Errorf("it ended in %s and is part of %+v", run.State, run.Chains)
			}
			return err
		})
	}
	if n := len(w.spacelift.Mutations("runTrigger")); n != 2 {
		t.Errorf("triggered %d times, want twice", n)
	}
	list, err := w.client.ListChainsWithResponse(t.Context(), "acme", &api.ListChainsParams{Stack: new("network-prod")})
	w.must(err)
	if list.JSON200 == nil || len(list.JSON200.Chains) != 1 || list.JSON200.Chains[0].Run != string(root) {
		t.Errorf("listed %d %s", list.StatusCode(), list.Body)
	}
}

// One push makes a run of each stack of a monorepo. Each stack applies it once, in
// the order of the chain, on a plan that was made after its parents had applied.
func TestAPushToAMonorepoAppliesOnce(t *testing.T) {
	w := newWorld(t, autoStack, follower("app-prod", "network-prod"), follower("dns-prod", "network-prod"), follower("web-prod", "app-prod", "dns-prod"))
	stacks := []spacelift.StackID{"network-prod", "app-prod", "dns-prod", "web-prod"}
	plan := simulator.Plan{Delta: spacelift.Delta{Added: 1}}
	for _, s := range stacks {
		w.must(w.spacelift.SetPlan(s, plan))
	}
	w.serve()
	ids, err := w.spacelift.PushAll(simulator.Commit{Hash: "4b825dc642cb6eb9a060e54bf8d69288fbee4904"}, plan, stacks...)
	w.must(err)
	w.chain(ids[0], "is complete", inPhase(api.ChainPhaseDone))

	ended := map[spacelift.StackID]time.Time{}
	for _, s := range stacks {
		for _, run := range w.runsOf(s) {
			if !run.BeganToApply() {
				continue
			}
			if _, twice := ended[s]; twice {
				t.Errorf("%s applied more than once", s)
			}
			end, _ := run.End()
			ended[s] = end.At
			for _, parent := range map[spacelift.StackID][]spacelift.StackID{"app-prod": stacks[:1], "dns-prod": stacks[:1], "web-prod": stacks[1:3]}[s] {
				if run.PlannedAt().Before(ended[parent].Truncate(time.Second)) {
					t.Errorf("%s planned at %s, and %s applied until %s", s, run.PlannedAt(), parent, ended[parent])
				}
			}
		}
		if ended[s].IsZero() {
			t.Errorf("%s did not apply: %+v", s, w.runsOf(s))
		}
	}
}

// A run that fails stops what follows it. A retry that finishes resumes the
// line where it stopped, and so does skipping the stack.
func TestAChainIsResumedWhereItStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, autoStack, follower("app-prod", "network-prod"), follower("web-prod", "app-prod"))
	p := w.serve()
	fails := simulator.Plan{FailIn: spacelift.RunStatePlanning, FailNote: "it does not compile"}

	w.must(w.spacelift.SetNextPlan("app-prod", fails))
	root := w.push("network-prod", 1)
	chain := w.chain(root, "is held", inPhase(api.ChainPhaseHeld))
	failed := *chain.Nodes[1].Run
	if len(w.runsOf("web-prod")) != 0 {
		t.Fatal("web-prod ran though app-prod failed")
	}
	// A process that dies in between changes nothing.
	p.Kill()
	w.serve()
	key := "once"
	w.eventually("the run is retried", func(ctx context.Context) error {
		r, err := w.client.RetryRunWithResponse(ctx, "acme", "app-prod", failed, &api.RetryRunParams{IdempotencyKey: &key}, api.ActionRequest{})
		if err == nil && r.StatusCode()/100 != 2 {
			err = fmt.Errorf("%d %s", r.StatusCode(), r.Body)
		}
		return err
	})
	chain = w.chain(root, "is complete", inPhase(api.ChainPhaseDone))
	if n := chain.Nodes[1]; n.State != "finished" || len(n.Runs) != 2 || len(w.runsOf("web-prod")) != 1 {
		t.Errorf("app-prod is %+v, and web-prod had %d runs", n, len(w.runsOf("web-prod")))
	}

	w.must(w.spacelift.SetNextPlan("app-prod", fails))
	root = w.push("network-prod", 1)
	w.chain(root, "is held", inPhase(api.ChainPhaseHeld))
	skip, err := w.skips(root, "app-prod")
	w.must(err)
	if skip.JSON200 == nil {
		t.Fatalf("skip: %d %s", skip.StatusCode(), skip.Body)
	}
	w.chain(root, "is complete", inPhase(api.ChainPhaseDone))
	if again, err := w.skips(root, "app-prod"); err != nil || again.StatusCode() != 409 {
		t.Errorf("skipping in a chain that has ended: %v", again)
	}
	if n := len(w.runsOf("web-prod")); n != 2 {
		t.Errorf("web-prod had %d runs, want one for each chain", n)
	}
}

// The end of a run signals the plans that wait for it: they don't wait for their next
// check, which explain names.
func TestAnEndSignalsThePlansThatWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Stack{ID: "net-prod", Labels: []string{"gantry:managed", "gantry:confirm=manual"}}, follower("app-prod", "net-prod"))
	w.serve()
	ids, err := w.spacelift.PushAll(simulator.Commit{Hash: "4b825dc642cb6eb9a060e54bf8d69288fbee4904"}, simulator.Plan{Delta: spacelift.Delta{Added: 1}}, "net-prod", "app-prod")
	w.must(err)
	waits := func(for_ string, soonest time.Duration) (next time.Time) {
		w.eventually("app-prod waits because "+for_, func(ctx context.Context) error {
			r, err := w.client.ExplainRunWithResponse(ctx, "acme", "app-prod", string(ids[1]))
			switch {
			case err != nil:
				return err
			case r.JSON200 == nil || r.JSON200.WaitingFor == nil || r.JSON200.WaitingFor.Until == nil:
				return fmt.Errorf("%d %s", r.StatusCode(), r.Body)
			}
			next = *r.JSON200.WaitingFor.Until
			if !strings.Contains(r.JSON200.WaitingFor.Reason, for_) || time.Until(next) < soonest {
				return fmt.Errorf("until %s: %s", next, r.JSON200.WaitingFor.Reason)
			}
			return nil
		})
		return next
	}
	next := waits("has not ended", time.Minute) // the first check comes soon
	w.must(w.spacelift.Discard("jane", "net-prod", ids[0], "wrong day"))
	waits("ended in DISCARDED", 0)
	if now := time.Now(); !now.Before(next) {
		t.Errorf("app-prod learned of the end at %s, at its own check of %s", now, next)
	}
}

func (w *world) skips(root runID, stack string) (*client.SkipChainStackResponse, error) {
	return w.client.SkipChainStackWithResponse(w.t.Context(), "acme", string(root), &api.SkipChainStackParams{},
		api.SkipRequest{Stack: stack, Note: new("done by hand")})
}
