package e2e

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/gantry"
	"github.com/gantryhq/gantry/openapi/conformance"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// A program of another team asks what a run will release, triggers it and waits for its
// end. Its owner is behind the run and may not approve it; somebody else may.
func TestAProgramTriggersARun(t *testing.T) {
	w := newWorld(t, simulator.Stack{ID: "network-prod", Labels: []string{"gantry:managed", "gantry:approvals=1"}}, follower("app-prod", "network-prod"))
	people, _ := w.servePeople("")
	c, err := gantry.New(w.url(), gantry.WithToken(apiToken), gantry.WithTransport(conformance.Transport(t, http.DefaultTransport)))
	w.must(err)
	w.must(w.spacelift.SetNextPlan("network-prod", simulator.Plan{Delta: spacelift.Delta{Added: 1}}))

	var stacks []string
	for s, err := range c.Stacks(t.Context(), "acme", &api.ListStacksParams{PageSize: new(1)}) {
		w.must(err)
		stacks = append(stacks, s.Stack)
	}
	preview, err := gantry.Answer[api.FollowersPreview](c.PreviewFollowers(t.Context(), "acme", "network-prod"))
	w.must(err)
	if !slices.Equal(stacks, []string{"app-prod", "network-prod"}) || len(preview.Followers) != 1 || !preview.Followers[0].Released {
		t.Errorf("stacks %v, preview %+v", stacks, preview)
	}

	params := &api.TriggerRunParams{IdempotencyKey: new("one")}
	var made api.Trigger
	for range 2 {
		made, err = gantry.Answer[api.Trigger](c.TriggerRun(t.Context(), "acme", "network-prod", params, api.TriggerRequest{}))
		w.must(err)
	}
	if runs := w.runsOf("network-prod"); len(runs) != 1 || made.Run == nil || string(runs[0].Ref.Run) != *made.Run || made.URL == nil {
		t.Fatalf("the trigger made %+v of %d runs", made, len(runs))
	}
	id := runID(*made.Run)
	w.phase("network-prod", id, api.PhaseWaiting)
	_, err = gantry.Answer[api.Run](c.DecideRun(t.Context(), "acme", "network-prod", *made.Run, nil, api.DecisionRequest{Verdict: api.VerdictApprove}))
	if !gantry.IsProblem(err, "self-approval") {
		t.Errorf("its own approval: %v", err)
	}
	w.counts(people.bob, "network-prod", id, api.VerdictApprove)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	run, err := c.WaitForRun(ctx, "acme", "network-prod", *made.Run)
	w.must(err)
	if run.State != "FINISHED" || run.Phase != api.PhaseDone {
		t.Errorf("it ended in %s, %s", run.State, run.Phase)
	}
	w.eventually("the follower runs", func(context.Context) error {
		if len(w.runsOf("app-prod")) == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	_, err = gantry.Answer[api.Trigger](c.TriggerRun(t.Context(), "acme", "nowhere", nil, api.TriggerRequest{}))
	if !gantry.IsProblem(err, "not-found") {
		t.Errorf("a stack that does not exist: %v", err)
	}
	w.must(w.spacelift.Disable("network-prod"))
	_, err = gantry.Answer[api.Trigger](c.TriggerRun(t.Context(), "acme", "network-prod", nil, api.TriggerRequest{}))
	if !gantry.IsProblem(err, "trigger-refused") {
		t.Errorf("a stack that is disabled: %v", err)
	}
}
