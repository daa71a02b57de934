package server_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	commonpb "go.temporal.io/api/common/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/spacelift"
)

// An unknown value is left out or has a word of its own; no answer holds an empty
// word. Each answer is held against the contract as well.
func TestUnknownValuesAreLeftOut(t *testing.T) {
	r := newRig(t)

	// A retry began the run, and no event of it has come.
	bare := managed.RunStatus{
		Run: theRun, StartedAt: planned, Policy: ordinaryPolicy(), WaitingFor: &managed.WaitingFor{Reason: "no notification of this run has been understood yet", Since: planned},
		RetryOf: &managed.RetryOf{Run: theRun, Attempt: 2, By: managed.SourceGantry},
	}
	r.temporal.set(bare)
	r.temporal.why = map[string]managed.Explanation{managed.ManageRunID(theRun): {Run: theRun, Summary: "nothing is known yet", Unblock: []managed.Unblock{{}}}}
	members := decode[map[string]any](t, r.get(runPath, viewerToken))
	for _, member := range []string{"state", "type"} {
		if value, there := members[member]; there {
			t.Errorf("%s is %q", member, value)
		}
	}
	if members["phase"] != "queued" {
		t.Errorf("phase is %q", members["phase"])
	}
	if why := decode[api.Explanation](t, r.get(runPath+"/explain", viewerToken)); len(why.Unblock) != 0 || why.Phase != api.PhaseQueued {
		t.Errorf("explanation %s", show(why))
	}

	// Gantry looks why a run failed.
	failed := asking()
	failed.State, failed.Phase, failed.Retry = spacelift.RunStateFailed, managed.PhaseDone, &managed.Retry{Attempt: 2, Of: 2, At: planned, State: managed.RetryStarted}
	failed.WaitingFor = &managed.WaitingFor{Reason: "the run failed", Since: planned}
	failed.Failure = &managed.Failure{Cause: policy.CauseUnknown}
	r.temporal.set(failed)
	r.temporal.why[managed.ManageRunID(theRun)] = managed.Explanation{
		Run: theRun, State: "FAILED", Phase: managed.PhaseDone, Summary: "the run failed", WaitingFor: failed.WaitingFor,
		Unblock: []managed.Unblock{{Who: "anyone whose token may operate"}},
	}
	if got := decode[api.Run](t, r.get(runPath, viewerToken)); got.WaitingFor.What != "gantry" || got.Retry.Reason == "" {
		t.Errorf("waits for %s, retry %s", show(got.WaitingFor), show(got.Retry))
	}
	want := []api.Unblock{{Who: "anyone whose token may operate", How: "wait"}}
	if diff := cmp.Diff(want, decode[api.Explanation](t, r.get(runPath+"/explain", viewerToken)).Unblock); diff != "" {
		t.Errorf("unblock (-want +got):\n%s", diff)
	}

	// Executions that were listed before their first task.
	execution := func(id string) *workflowpb.WorkflowExecutionInfo {
		return &workflowpb.WorkflowExecutionInfo{Execution: &commonpb.WorkflowExecution{WorkflowId: id, RunId: "r"}, StartTime: timestamppb.New(planned)}
	}
	r.temporal.list = &workflowservice.ListWorkflowExecutionsResponse{Executions: []*workflowpb.WorkflowExecutionInfo{execution(managed.ManageRunID(theRun))}}
	if runs := decode[api.RunList](t, r.get("/v1/runs", viewerToken)).Runs; len(runs) != 1 || runs[0].Phase != api.PhaseQueued {
		t.Errorf("runs %s", show(runs))
	}
	r.temporal.list.Executions = []*workflowpb.WorkflowExecutionInfo{execution("chain/acme/01ROOT")}
	if chains := decode[api.ChainList](t, r.get("/v1/accounts/acme/chains", viewerToken)).Chains; len(chains) != 1 || chains[0].Phase != api.ChainPhaseMoving {
		t.Errorf("chains %s", show(chains))
	}
}

// TestRecordedRunsFitTheContract shows what every recorded execution ended with.
func TestRecordedRunsFitTheContract(t *testing.T) {
	files, err := filepath.Glob("../workflows/testdata/histories/*.json")
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, file := range files {
		r := newRig(t)
		for _, result := range resultsIn(t, file) {
			var run managed.RunStatus
			var theChain chain.Status
			var path string
			if json.Unmarshal(result, &run) == nil && run.Run.Validate() == nil && run.Phase != "" {
				run.Run.Account = "acme"
				r.temporal.set(run)
				path = "/v1/accounts/acme/stacks/" + string(run.Run.Stack) + "/runs/" + string(run.Run.Run)
			} else if json.Unmarshal(result, &theChain) == nil && theChain.Root.Validate() == nil {
				theChain.Root.Account = "acme"
				r.temporal.chains = map[string]chain.Status{managed.ChainID(theChain.Root): theChain}
				path = "/v1/accounts/acme/chains/" + string(theChain.Root.Run)
			} else {
				continue
			}
			if w := r.get(path, viewerToken); w.Code != http.StatusOK {
				t.Errorf("%s: %d %s", file, w.Code, w.Body)
			}
			if t.Failed() {
				t.Fatalf("%s does not fit", file)
			}
			shown++
		}
	}
	if shown < 20 {
		t.Errorf("only %d results were shown", shown)
	}
}

// resultsIn returns the results with which a recorded execution completed.
func resultsIn(t *testing.T, file string) (results [][]byte) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var history struct {
		Events []struct {
			Completed struct {
				Result struct {
					Payloads []struct{ Data string }
				}
			} `json:"workflowExecutionCompletedEventAttributes"`
		}
	}
	if err := json.Unmarshal(text, &history); err != nil {
		t.Fatal(err)
	}
	for _, e := range history.Events {
		for _, p := range e.Completed.Result.Payloads {
			data, err := base64.StdEncoding.DecodeString(p.Data)
			if err != nil {
				t.Fatal(err)
			}
			results = append(results, data)
		}
	}
	return results
}
