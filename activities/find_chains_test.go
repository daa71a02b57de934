package activities_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/spacelift"
)

// chains is a Temporal with chains, by workflow id, in an order: what each
// answers, as JSON. One without an answer is silent, one that says "gone" has
// ended.
type chains struct {
	activities.Temporal // nothing else is called

	ids     []string
	answers map[string]string
	stacks  map[string][]byte // as listed; a chain without says nothing of them
	away    error
}

func (c chains) ListWorkflow(context.Context, *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	var page workflowservice.ListWorkflowExecutionsResponse
	for _, id := range c.ids {
		info := &workflowpb.WorkflowExecutionInfo{Execution: &commonpb.WorkflowExecution{WorkflowId: id}}
		if packed, ok := c.stacks[id]; ok {
			payload, err := converter.GetDefaultDataConverter().ToPayload(packed)
			if err != nil {
				return nil, err
			}
			info.Memo = &commonpb.Memo{Fields: map[string]*commonpb.Payload{chain.StacksMemo: payload}}
		}
		page.Executions = append(page.Executions, info)
	}
	return &page, c.away
}

func (c chains) QueryWorkflow(ctx context.Context, id, _, _ string, _ ...any) (converter.EncodedValue, error) {
	switch text := c.answers[id]; text {
	case "":
		<-ctx.Done()
		return nil, ctx.Err()
	case "gone":
		return nil, serviceerror.NewNotFound("no execution " + id)
	default:
		payloads, err := converter.GetDefaultDataConverter().ToPayloads(json.RawMessage(text))
		return answer{payloads}, err
	}
}

// packed returns what is listed of a chain that these stacks follow in.
func packed(stacks ...spacelift.StackID) []byte {
	c := chain.New(spacelift.RunRef{Account: "acme", Stack: "net-prod", Run: "01R"}, time.Time{})
	var g chain.Graph
	for _, s := range stacks {
		g.Stacks = append(g.Stacks, chain.Follower{Stack: s})
	}
	c.TakeGraph(time.Time{}, g)
	return c.PackedStacks()
}

func TestFindChains(t *testing.T) {
	ref := spacelift.RunRef{Account: "acme", Stack: "app-prod", Run: "01F"}
	found := chain.Place{
		Root: spacelift.RunRef{Account: "acme", Stack: "net-prod", Run: "01R"}, After: []spacelift.StackID{"dns-prod", "net-prod"}, In: true, Ours: true,
	}
	holding, err := json.Marshal(found)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name     string
		ids      []string
		limit    int
		among    []spacelift.StackID // of the run alone, if empty
		complete bool
		silent   int
		want     []chain.Place
	}{
		{name: "there are none", limit: 10, complete: true},
		{name: "one holds it", ids: []string{"another", "holding"}, limit: 10, complete: true, want: []chain.Place{found}},
		{name: "one has ended", ids: []string{"gone", "holding"}, limit: 10, complete: true, want: []chain.Place{found}},
		{name: "one is silent", ids: []string{"silent", "holding"}, limit: 10, silent: 1, want: []chain.Place{found}},
		{name: "one makes no sense", ids: []string{"odd", "holding"}, limit: 10, silent: 1, want: []chain.Place{found}},
		{name: "one that lacks its stack is not asked", ids: []string{"silent, with others", "holding"}, limit: 10, complete: true, want: []chain.Place{found}},
		{name: "… unless it has another one that was named", ids: []string{"silent, with others", "holding"}, limit: 10, among: []spacelift.StackID{"app-prod", "dns-prod"}, silent: 1, want: []chain.Place{found}},
		{name: "one that has its stack is asked", ids: []string{"silent, with it"}, limit: 10, silent: 1},
		{name: "there are more than are asked", ids: []string{"another", "holding"}, limit: 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &activities.Activities{Temporal: chains{ids: tc.ids, answers: map[string]string{
					"another": "{}", "holding": string(holding), "gone": "gone", "odd": `"?"`,
				}, stacks: map[string][]byte{"silent, with others": packed("dns-prod"), "silent, with it": packed("dns-prod", "app-prod")}}}
				began := time.Now()
				if tc.among == nil {
					tc.among = []spacelift.StackID{ref.Stack}
				}
				got, err := a.FindChains(t.Context(), activities.FindChainsInput{Run: ref, List: "x", Query: "place", Limit: tc.limit, Among: tc.among})
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(activities.FoundChains{Chains: tc.want, Complete: tc.complete, Silent: tc.silent}, got); diff != "" {
					t.Errorf("found (-want +got):\n%s", diff)
				}
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

func TestFindChainsWithoutAList(t *testing.T) {
	a := &activities.Activities{Temporal: chains{away: errors.New("away")}}
	if got, err := a.FindChains(t.Context(), activities.FindChainsInput{Limit: 1}); err == nil || nonRetryable(err) {
		t.Errorf("%+v, %v, want an error worth another attempt", got, err)
	}
}
