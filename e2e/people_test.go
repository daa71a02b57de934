package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/client"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// twoApprove is a stack whose plans two people must approve when they delete
// something.
var twoApprove = simulator.Stack{ID: "billing-prod", Labels: []string{"gantry:managed", "gantry:confirm=no-deletes", "gantry:approvals=2"}}

// person is somebody with a token of their own.
type person struct {
	name   string
	client *client.ClientWithResponses
}

// people take the decisions of the tests. alice writes the commits.
type people struct{ alice, bob, carol *person }

// servePeople starts Gantry for alice, bob and carol, and an operator whom
// w.client speaks for.
func (w *world) servePeople(more string) (people, *process) {
	w.t.Helper()
	var config strings.Builder
	config.WriteString("people:\n  - {name: alice, aliases: [alice-gh]}\ntokens:\n")
	fmt.Fprintf(&config, "  - {name: e2e, role: admin, hash: %s}\n", authority.TokenHash(apiToken))
	for _, name := range []string{"alice", "bob", "carol"} {
		fmt.Fprintf(&config, "  - {name: %s, role: approver, groups: [platform], hash: %s}\n", name, authority.TokenHash("gantry_"+name))
	}
	p := w.serveWith(config.String() + more)
	return people{w.person("alice"), w.person("bob"), w.person("carol")}, p
}

func (w *world) person(name string) *person {
	w.t.Helper()
	return &person{name, w.bearer("gantry_" + name)}
}

// change pushes a commit of alice's whose plan deletes so many resources.
func (w *world) change(stack spacelift.StackID, deleted int) runID {
	w.t.Helper()
	id, err := w.spacelift.Push(stack, simulator.Commit{AuthorLogin: "alice-gh"},
		simulator.Plan{Delta: spacelift.Delta{Added: 1, Deleted: deleted}})
	w.must(err)
	return id
}

// decides sends a decision. With a key in the body, a repeat counts once.
func (p *person) decides(ctx context.Context, stack spacelift.StackID, id runID, v api.Verdict, key ...string) (*client.DecideRunResponse, error) {
	params := &api.DecideRunParams{}
	if len(key) > 0 {
		params.IdempotencyKey = &key[0]
	}
	return p.client.DecideRunWithResponse(ctx, "acme", string(stack), string(id), params, api.DecisionRequest{Verdict: v})
}

// counts sends a decision that must count, and returns the run after it.
func (w *world) counts(p *person, stack spacelift.StackID, id runID, v api.Verdict) api.Run {
	w.t.Helper()
	r, err := p.decides(w.t.Context(), stack, id, v)
	w.must(err)
	if r.JSON200 == nil {
		w.t.Fatalf("%s may not %s: %d %s", p.name, v, r.StatusCode(), r.Body)
	}
	return *r.JSON200
}

// refused sends a decision that must not count, and returns the kind of problem.
func (w *world) refused(p *person, stack spacelift.StackID, id runID, v api.Verdict) string {
	w.t.Helper()
	r, err := p.decides(w.t.Context(), stack, id, v)
	w.must(err)
	if r.StatusCode() < 400 || r.StatusCode() >= 500 {
		w.t.Fatalf("%s could %s: %d %s", p.name, v, r.StatusCode(), r.Body)
	}
	return kindOf(r)
}

// kindOf is the last part of a problem's type; empty when it counted.
func kindOf(r *client.DecideRunResponse) string {
	for _, p := range []*api.Problem{r.ApplicationProblemJSON403, r.ApplicationProblemJSON404, r.ApplicationProblemJSON409, r.ApplicationProblemJSON422, r.ApplicationProblemJSON503, r.ApplicationProblemJSONDefault} {
		if p != nil {
			return strings.TrimPrefix(p.Type, "urn:gantry:problem:")
		}
	}
	return ""
}

func (w *world) confirmations() int { return len(w.spacelift.Mutations("runConfirm")) }

// A plan with a delete waits for two people. One approval is not enough, the
// author's own does not count, the second person's confirms it; and a plan
// without a delete needs no approval.
func TestPlanWithADeleteTakesTwoPeople(t *testing.T) {
	w := newWorld(t, twoApprove)
	who, _ := w.servePeople("")

	harmless := w.change("billing-prod", 0)
	if run := w.phase("billing-prod", harmless, api.PhaseDone); run.State != "FINISHED" || w.confirmations() != 1 {
		t.Fatalf("a plan without a delete ended as %s after %d confirmations", run.State, w.confirmations())
	}

	id := w.change("billing-prod", 1)
	run := w.phase("billing-prod", id, api.PhaseWaiting)
	if run.Approvals == nil || run.Approvals.Needed != 2 || run.Approvals.Given != 0 {
		t.Fatalf("it waits for %+v", run.Approvals)
	}
	if kind := w.refused(who.alice, "billing-prod", id, api.VerdictApprove); kind != "self-approval" {
		t.Errorf("the author's approval: %s", kind)
	}
	if run = w.counts(who.bob, "billing-prod", id, api.VerdictApprove); run.Approvals == nil || run.Approvals.Given != 1 || run.Phase != api.PhaseWaiting {
		t.Errorf("after one approval: %s, %+v", run.Phase, run.Approvals)
	}
	if kind := w.refused(who.bob, "billing-prod", id, api.VerdictApprove); kind != "already-decided" {
		t.Errorf("a second approval of the same person: %s", kind)
	}
	if w.confirmations() != 1 {
		t.Fatal("confirmed after one of two approvals")
	}
	why, err := w.client.ExplainRunWithResponse(t.Context(), "acme", "billing-prod", string(id))
	w.must(err)
	if why.JSON200 == nil || len(why.JSON200.Unblock) == 0 || why.JSON200.Approvals == nil || !slices.Contains(why.JSON200.Approvals.Excluded, "alice-gh") {
		t.Errorf("it explains: %s", why.Body)
	}
	w.counts(who.carol, "billing-prod", id, api.VerdictApprove)
	if run = w.phase("billing-prod", id, api.PhaseDone); run.State != "FINISHED" || w.confirmations() != 2 {
		t.Errorf("ended as %s after %d confirmations", run.State, w.confirmations())
	}
	for _, name := range []string{"bob", "carol"} {
		if !slices.ContainsFunc(run.Timeline, func(e api.TimelineEntry) bool { return e.Actor != nil && *e.Actor == name }) {
			t.Errorf("the timeline does not name %s", name)
		}
	}
}

// A rejection discards the plan in Spacelift, with the note.
func TestRejectionDiscardsThePlan(t *testing.T) {
	w := newWorld(t, twoApprove)
	who, _ := w.servePeople("")
	id := w.change("billing-prod", 1)
	w.phase("billing-prod", id, api.PhaseWaiting)
	w.counts(who.bob, "billing-prod", id, api.VerdictApprove)
	w.counts(who.carol, "billing-prod", id, api.VerdictReject)
	if run := w.phase("billing-prod", id, api.PhaseDone); run.State != "DISCARDED" || w.confirmations() != 0 {
		t.Errorf("ended as %s after %d confirmations", run.State, w.confirmations())
	}
}

// Decisions outlive the process that took them.
func TestDecisionsSurviveARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, twoApprove)
	who, p := w.servePeople("")
	id := w.change("billing-prod", 1)
	w.phase("billing-prod", id, api.PhaseWaiting)
	w.counts(who.bob, "billing-prod", id, api.VerdictApprove)
	p.Kill()
	w.servePeople("")
	if run := w.phase("billing-prod", id, api.PhaseWaiting); run.Approvals == nil || run.Approvals.Given != 1 {
		t.Fatalf("after the restart: %+v", run.Approvals)
	}
	// Temporal may still wait for the worker that died: after a 503, send the decision
	// again with its key; it counts once.
	w.eventually("the second approval counts", func(ctx context.Context) error {
		r, err := who.carol.decides(ctx, "billing-prod", id, api.VerdictApprove, "second")
		if err == nil && r.JSON200 == nil {
			err = fmt.Errorf("%d %s", r.StatusCode(), r.Body)
		}
		return err
	})
	if run := w.phase("billing-prod", id, api.PhaseDone); run.State != "FINISHED" || w.confirmations() != 1 {
		t.Errorf("ended as %s after %d confirmations", run.State, w.confirmations())
	}
}
