package activities_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	commonpb "go.temporal.io/api/common/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// waiters is a Temporal with open executions of runs, by workflow id: the phase of each
// and what it waits for.
type waiters struct {
	chains
	runs    map[string][2]string
	queries []string
}

func (w *waiters) ListWorkflow(ctx context.Context, req *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	w.queries = append(w.queries, req.GetQuery())
	if !strings.Contains(req.GetQuery(), "ManageRun") {
		return w.chains.ListWorkflow(ctx, req)
	}
	var page workflowservice.ListWorkflowExecutionsResponse
	for id, is := range w.runs {
		phase, err := converter.GetDefaultDataConverter().ToPayload(is[0])
		if err != nil {
			return nil, err
		}
		listed, err := converter.GetDefaultDataConverter().ToPayload(managed.Listed{Wait: &managed.ListedWait{For: managed.WaitingFor{What: managed.Wait(is[1])}}})
		if err != nil {
			return nil, err
		}
		page.Executions = append(page.Executions, &workflowpb.WorkflowExecutionInfo{
			Execution:        &commonpb.WorkflowExecution{WorkflowId: id},
			SearchAttributes: &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{managed.AttrPhase: phase}},
			Memo:             &commonpb.Memo{Fields: map[string]*commonpb.Payload{managed.ListedMemo: listed}},
		})
	}
	return &page, nil
}

func TestFindWaiting(t *testing.T) {
	ended := spacelift.RunRef{Account: "acme", Stack: "net-prod", Run: "01R"}
	w := &waiters{
		chains: chains{ids: []string{"chain/acme/01A", "chain/acme/01B"}, answers: map[string]string{"chain/acme/01A": `{"listens":true}`, "chain/acme/01B": `{}`}},
		runs: map[string][2]string{
			"run/acme/app-prod/1": {"holding", "chain"}, "run/acme/app-prod/2": {"holding", "labels"}, "run/acme/net-prod/3": {"retrying", "stack"},
			"run/acme/app-prod/4": {"done", ""}, "run/acme/net-prod/01R": {"done", ""},
		},
	}
	a := activities.Activities{Temporal: w}
	got, err := a.FindWaiting(t.Context(), activities.FindWaitingInput{Run: ended, Chain: true, Stacks: []spacelift.StackID{"app-prod", "it's"}, Chains: besides.Chains})
	want := activities.Waiting{Runs: []string{"run/acme/app-prod/1", "run/acme/app-prod/4", "run/acme/net-prod/3"}, Chains: []string{"chain/acme/01A"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
	if q := w.queries[0]; !strings.Contains(q, "GantryStack IN ('net-prod', 'app-prod')") || !strings.Contains(q, "ExecutionStatus = 'Running'") {
		t.Errorf("asked %s", q)
	}
}

// A replica that has just begun, or whose list of stacks is old, does not know who follows
// a stack. Then it signals all runs of the account that wait for others, and chains.
func TestAnEndOfWhichTheFollowersAreNotKnown(t *testing.T) {
	w := &waiters{
		chains: chains{ids: []string{"chain/acme/01A"}, answers: map[string]string{"chain/acme/01A": `{"listens":true}`}},
		runs:   map[string][2]string{"run/acme/app-prod/1": {"holding", "chain"}, "run/acme/app-prod/2": {"holding", "labels"}},
	}
	a := activities.Activities{Temporal: w}
	got, err := a.FindWaiting(t.Context(), activities.FindWaitingInput{Run: spacelift.RunRef{Account: "acme", Stack: "net-prod", Run: "01R"}, Chains: besides.Chains})
	want := activities.Waiting{Runs: []string{"run/acme/app-prod/1"}, Chains: []string{"chain/acme/01A"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
	if q := w.queries[0]; strings.Contains(q, "GantryStack IN") {
		t.Errorf("asked only for some stacks: %s", q)
	}
}

// Of the chains, an end asks those that may have a stack behind its own, however far.
func TestAnEndAsksTheChainsBehindIt(t *testing.T) {
	c := newTown(t, "net", "dns<net", "app<dns")
	if _, err := do[chain.Graph](c.env, c.acts.ReadChain, activities.ReadChainInput{Account: "acme", Root: "net"}); err != nil {
		t.Fatal(err)
	}
	c.acts.Temporal = &waiters{chains: chains{
		ids: []string{"chain/acme/01A", "chain/acme/01B"}, answers: map[string]string{"chain/acme/01A": `{"listens":true}`, "chain/acme/01B": `{"listens":true}`},
		stacks: map[string][]byte{"chain/acme/01A": packed("app"), "chain/acme/01B": packed("web")},
	}}
	got, err := do[activities.Waiting](c.env, c.acts.FindWaiting, activities.FindWaitingInput{Run: spacelift.RunRef{Account: "acme", Stack: "net", Run: "01R"}, Chains: besides.Chains})
	if diff := cmp.Diff([]string{"chain/acme/01A"}, got.Chains); diff != "" || err != nil {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
}

// A run may wait for another one two stacks above it, where nothing waits in between: the end
// signals the nearest that wait on each way.
func TestAnEndSignalsTheNearestThatWait(t *testing.T) {
	for name, c := range map[string]struct {
		waiting []string
		want    []string
	}{
		"the next":                 {[]string{"run/acme/dns/1", "run/acme/app/1"}, []string{"run/acme/dns/1"}},
		"none in between":          {[]string{"run/acme/app/1"}, []string{"run/acme/app/1"}},
		"on another way":           {[]string{"run/acme/dns/1", "run/acme/web/1"}, []string{"run/acme/dns/1", "run/acme/web/1"}},
		"another of its stack":     {[]string{"run/acme/net/2", "run/acme/app/1"}, []string{"run/acme/app/1", "run/acme/net/2"}},
		"one that isn't behind it": {[]string{"run/acme/other/1"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			town := newTown(t, "net", "dns<net", "app<dns", "cdn<net", "web<cdn", "other")
			if _, err := do[chain.Graph](town.env, town.acts.ReadChain, activities.ReadChainInput{Account: "acme", Root: "net"}); err != nil {
				t.Fatal(err)
			}
			w := &waiters{runs: map[string][2]string{}}
			for _, id := range c.waiting {
				w.runs[id] = [2]string{"holding", "chain"}
			}
			town.acts.Temporal = w
			got, err := do[activities.Waiting](town.env, town.acts.FindWaiting, activities.FindWaitingInput{Run: spacelift.RunRef{Account: "acme", Stack: "net", Run: "01R"}, Chains: besides.Chains})
			if q := w.queries[0]; !strings.Contains(q, "GantryStack IN ('net', 'app', 'cdn', 'dns', 'web')") {
				t.Errorf("asked %s", q)
			}
			if diff := cmp.Diff(c.want, got.Runs); diff != "" || err != nil {
				t.Errorf("%v, (-want +got):\n%s", err, diff)
			}
		})
	}
}

// A chain that ends doesn't ask itself: it could not answer while the activity runs.
func TestAChainDoesNotAskItself(t *testing.T) {
	c := newTown(t, "net", "app<net")
	const itself = "default-test-workflow-id"
	c.acts.Temporal = &waiters{chains: chains{
		ids: []string{itself, "chain/acme/01A"}, answers: map[string]string{itself: `{"listens":true}`, "chain/acme/01A": `{"listens":true}`},
	}}
	in := activities.FindWaitingInput{Run: spacelift.RunRef{Account: "acme", Stack: "net", Run: "01R"}, Chain: true, Chains: besides.Chains}
	got, err := do[activities.Waiting](c.env, c.acts.FindWaiting, in)
	if diff := cmp.Diff([]string{"chain/acme/01A"}, got.Chains); diff != "" || err != nil {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
}
