package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/spacelift"
)

const chainPath = "/v1/accounts/acme/chains/01ROOT"

// aChain is one whose second stack failed.
func aChain() chain.Status {
	return chain.Status{
		Root:  spacelift.RunRef{Account: "acme", Stack: "network-prod", Run: "01ROOT"},
		Phase: chain.PhaseHeld, Summary: "run 01APP of app-prod ended in FAILED", StartedAt: planned, HeldSince: planned, GivesUpAt: planned.Add(30 * 24 * time.Hour),
		Nodes: []chain.Node{
			{Stack: "network-prod", State: chain.NodeFinished, Since: planned, Lets: chain.EdgeReleases, Reason: "it finished", Run: "01ROOT", RunState: "FINISHED", Runs: []spacelift.RunID{"01ROOT"}},
			{Stack: "app-prod", After: []int{0}, State: chain.NodeFailed, Since: planned, Lets: chain.EdgeStops, Reason: "it failed", Run: "01APP", RunState: "FAILED", Runs: []spacelift.RunID{"01APP"}},
		},
		Timeline: []chain.Entry{{At: planned, Kind: managed.KindAction, Stack: "app-prod", Run: "01APP", Summary: "Gantry triggered run 01APP"}},
	}
}

// chainRig is a server that knows aChain, which takes every wish.
func chainRig(t *testing.T) *rig {
	r := newRig(t)
	r.temporal.chains = map[string]chain.Status{"chain/acme/01ROOT": aChain()}
	r.temporal.update = func(client.UpdateWorkflowOptions) (any, error) { return aChain(), nil }
	return r
}

func TestAChainIsShown(t *testing.T) {
	r := chainRig(t)
	w := r.get(chainPath, viewerToken)
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	want := api.Chain{
		Account: "acme", Stack: "network-prod", Run: "01ROOT", Phase: api.ChainPhaseHeld, Summary: "run 01APP of app-prod ended in FAILED",
		StartedAt: planned, HeldSince: new(planned), GivesUpAt: new(planned.Add(30 * 24 * time.Hour)),
		Nodes: []api.ChainNode{
			{Stack: "network-prod", After: []string{}, State: "finished", Reason: "it finished", Run: new("01ROOT"), RunState: new("FINISHED"), Runs: []string{"01ROOT"}},
			{Stack: "app-prod", After: []string{"network-prod"}, State: "failed", Reason: "it failed", Run: new("01APP"), RunState: new("FAILED"), Runs: []string{"01APP"}},
		},
		Edges:    []api.ChainEdge{{From: "network-prod", To: "app-prod", Decision: "releases", Reason: "it finished", At: planned}},
		Timeline: []api.ChainEntry{{At: planned, Kind: "action", Stack: new("app-prod"), Run: new("01APP"), Summary: "Gantry triggered run 01APP"}},
	}
	if diff := cmp.Diff(want, decode[api.Chain](t, w)); diff != "" {
		t.Errorf("chain (-want +got):\n%s", diff)
	}
	wantProblem(t, r.get("/v1/accounts/acme/chains/01OTHER", viewerToken), http.StatusNotFound, "not-found")
	wantProblem(t, r.get("/v1/accounts/initech/chains/01ROOT", viewerToken), http.StatusNotFound, "not-found")
	wantProblem(t, r.get("/v1/accounts/acme/chains/a'b", viewerToken), http.StatusBadRequest, "bad-request")
}

func TestChainsAreListed(t *testing.T) {
	r := newRig(t)
	attr := func(v string) *commonpb.Payload {
		p, err := converter.GetDefaultDataConverter().ToPayload(v)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	r.temporal.list = &workflowservice.ListWorkflowExecutionsResponse{
		NextPageToken: []byte("\x00more"),
		Executions: []*workflowpb.WorkflowExecutionInfo{{
			Execution: &commonpb.WorkflowExecution{WorkflowId: "chain/acme/01ROOT", RunId: "temporal-run"},
			Status:    enums.WORKFLOW_EXECUTION_STATUS_COMPLETED, StartTime: timestamppb.New(planned), CloseTime: timestamppb.New(planned.Add(time.Minute)),
			SearchAttributes: &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{
				"GantryStack": attr("network-prod"), "GantryPhase": attr("done"),
			}},
		}},
	}
	w := r.get("/v1/accounts/acme/chains?stack=network-prod&phase=done&pageSize=2", viewerToken)
	list := decode[api.ChainList](t, w)
	want := []api.ChainSummary{{
		Account: "acme", Stack: "network-prod", Run: "01ROOT", Phase: api.ChainPhaseDone, StartedAt: planned, EndedAt: new(planned.Add(time.Minute)),
		Execution: api.Execution{WorkflowID: "chain/acme/01ROOT", TemporalRunID: "temporal-run", Status: "Completed"},
	}}
	if diff := cmp.Diff(want, list.Chains); diff != "" || list.NextPageToken == nil {
		t.Errorf("%d: list (-want +got):\n%s", w.Code, diff)
	}
	if q := r.temporal.asked.GetQuery(); q != "WorkflowType = 'Chain' AND ExecutionStatus != 'ContinuedAsNew' AND GantryAccount IN ('acme') AND GantryStack = 'network-prod' AND GantryPhase = 'done'" {
		t.Errorf("asked for %q", q)
	}
	wantProblem(t, r.get("/v1/accounts/acme/chains?pageToken=%25", viewerToken), http.StatusBadRequest, "bad-request")
}

// A list says why a chain is held, as long as it is.
func TestHeldChainsAreListedWithTheReason(t *testing.T) {
	r := newRig(t)
	payload := func(v any) *commonpb.Payload {
		p, err := converter.GetDefaultDataConverter().ToPayload(v)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	held := chain.Held{Since: planned, InTheWay: []spacelift.StackID{"app-prod"}, Reason: "run 01APP of app-prod ended in FAILED"}
	for phase, want := range map[string]bool{"held": true, "moving": false} {
		r.temporal.list = &workflowservice.ListWorkflowExecutionsResponse{Executions: []*workflowpb.WorkflowExecutionInfo{{
			Execution: &commonpb.WorkflowExecution{WorkflowId: "chain/acme/01ROOT", RunId: "temporal-run"},
			Status:    enums.WORKFLOW_EXECUTION_STATUS_RUNNING, StartTime: timestamppb.New(planned),
			SearchAttributes: &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{"GantryStack": payload("network-prod"), "GantryPhase": payload(phase)}},
			Memo:             &commonpb.Memo{Fields: map[string]*commonpb.Payload{chain.HeldMemo: payload(held)}},
		}}}
		c := decode[api.ChainList](t, r.get("/v1/accounts/acme/chains?pageSize=3&phase="+phase, viewerToken)).Chains[0]
		if shown := c.Summary != nil && *c.Summary == held.Reason && cmp.Equal(c.InTheWay, []string{"app-prod"}) && c.HeldSince.Equal(planned); shown != want || !want && c.Summary != nil {
			t.Errorf("%s: %+v", phase, c)
		}
	}
}

func TestAStackIsSkippedAndAChainStopped(t *testing.T) {
	r := chainRig(t)
	wantProblem(t, r.post(approverToken, chainPath+"/skip", `{"stack":"app-prod"}`), http.StatusForbidden, "forbidden")
	wantProblem(t, r.post(operatorToken, chainPath+"/skip", `{"stack":"app-prod","by":"jane"}`), http.StatusBadRequest, "bad-request")
	for range 2 {
		w := r.send(http.MethodPost, chainPath+"/skip", `{"stack":"app-prod","note":"by hand"}`, "Authorization", "Bearer "+operatorToken,
			"Content-Type", "application/json", "Idempotency-Key", "k1")
		if w.Code != http.StatusOK || decode[api.Chain](t, w).Run != "01ROOT" {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	if w := r.post(operatorToken, chainPath+"/stop", `{"note":"wrong day"}`); w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	var wishes []any
	for _, u := range r.temporal.updates {
		if u.WorkflowID != "chain/acme/01ROOT" {
			t.Errorf("asked %s", u.WorkflowID)
		}
		wishes = append(wishes, u.Args[0])
	}
	first, ok := wishes[0].(chain.Skip)
	if !ok || first.Stack != "app-prod" || first.By != "otto" || first.Note != "by hand" || first.Key == "" {
		t.Errorf("the first wish is %+v", wishes[0])
	}
	if diff := cmp.Diff([]any{first, first, chain.Stop{By: "otto", Note: "wrong day"}}, wishes); diff != "" {
		t.Errorf("wishes (-want +got):\n%s", diff)
	}
	if a, b := r.temporal.updates[0].UpdateID, r.temporal.updates[1].UpdateID; a == "" || a != b {
		t.Errorf("a repeat is sent as %q, the first as %q", b, a)
	}
}

func TestChainsThatRefuse(t *testing.T) {
	for errType, want := range map[string]string{
		chain.ErrTypeNotInChain: "not-in-chain", chain.ErrTypeNotSkippable: "not-skippable", managed.ErrTypeTooLate: "too-late",
		managed.ErrTypeAlreadyDecided: "already-decided",
	} {
		r := chainRig(t)
		r.temporal.update = func(client.UpdateWorkflowOptions) (any, error) {
			return nil, temporal.NewNonRetryableApplicationError("because", errType, nil)
		}
		wantProblem(t, r.post(operatorToken, chainPath+"/skip", `{"stack":"app-prod"}`), http.StatusConflict, want)
	}
	t.Run("it has ended", func(t *testing.T) {
		r := chainRig(t)
		r.temporal.update = nil
		done := aChain()
		done.Phase, done.Summary = chain.PhaseDone, "joe stopped the chain"
		r.temporal.chains["chain/acme/01ROOT"] = done
		w := r.post(operatorToken, chainPath+"/stop", `{}`)
		wantProblem(t, w, http.StatusConflict, "chain-ended")
		if !strings.Contains(w.Body.String(), "joe stopped") {
			t.Errorf("does not say how: %s", w.Body)
		}
		wantProblem(t, r.post(operatorToken, "/v1/accounts/acme/chains/01OTHER/stop", `{}`), http.StatusNotFound, "not-found")
	})
}

// A run says which chains it is part of and what follows it, and its retry is
// part of the same.
func TestARunShowsItsChains(t *testing.T) {
	r := newRig(t)
	s := asking()
	s.State, s.Phase = spacelift.RunStateFailed, managed.PhaseDone
	ref := managed.ChainRef{Root: spacelift.RunRef{Account: "acme", Stack: "account-prod", Run: "01ROOT"}, After: []spacelift.StackID{"account-prod"}}
	s.Chains, s.Followers = []managed.ChainRef{ref}, []spacelift.StackID{"app-prod"}
	r.temporal.set(s)
	run := decode[api.Run](t, r.get(runPath, viewerToken))
	if diff := cmp.Diff([]api.ChainRef{{Run: "01ROOT", Stack: "account-prod", After: []string{"account-prod"}}}, run.Chains); diff != "" {
		t.Errorf("chains (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"app-prod"}, run.Followers); diff != "" {
		t.Errorf("followers (-want +got):\n%s", diff)
	}
	r.temporal.retry = &managed.RetryRunOutcome{New: spacelift.RunRef{Account: "acme", Stack: "network-prod", Run: "01NEW"}}
	if w := r.post(operatorToken, runPath+"/retry", `{}`); w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if diff := cmp.Diff([]managed.ChainRef{ref}, r.temporal.retries[0].input.Chains); diff != "" {
		t.Errorf("the retry's chains (-want +got):\n%s", diff)
	}
}
