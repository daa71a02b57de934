package server_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/spacelift"
)

const runPath = "/v1/accounts/acme/stacks/network-prod/runs/01KDX3V4T8Q2M5N7P9R1S3T5V7"

func TestGetRun(t *testing.T) {
	ref := spacelift.RunRef{Account: "acme", Stack: "network-prod", Run: "01KDX3V4T8Q2M5N7P9R1S3T5V7"}
	at := time.Date(2026, 1, 1, 10, 1, 1, 0, time.UTC)
	r := newRig(t)
	resolved := (*policy.Definitions)(nil).Resolve(policy.Labelled([]string{"gantry:managed"}))
	resolved.Problems = []policy.Problem{{Label: "gantry:confirm=atuo", Problem: "its value is wrong", Remedy: "write auto"}}
	r.temporal.status[managed.ManageRunID(ref)] = managed.RunStatus{
		Run: ref, Type: "TRACKED", State: "UNCONFIRMED", StateVersion: 5, Phase: managed.PhaseHolding, Managed: true,
		WaitingFor: &managed.WaitingFor{What: managed.WaitLabels, Reason: "a label can't be followed", Since: at, Who: "anyone"},
		Policy:     resolved,
		Delta:      &spacelift.Delta{Added: 3, Changed: 1, Resources: 42}, Commit: spacelift.Commit{Hash: "9f2c"}, StartedAt: at,
		States:   []managed.StateEntry{{State: "UNCONFIRMED", StateVersion: 5, At: at}},
		Timeline: []managed.TimelineEntry{{At: at, Kind: managed.KindEvent, Source: "webhook", Summary: "the run is UNCONFIRMED", State: "UNCONFIRMED", StateVersion: 5}},
	}
	w := r.get(runPath, viewerToken)
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	want := api.Run{
		Account: "acme", Stack: "network-prod", Run: "01KDX3V4T8Q2M5N7P9R1S3T5V7", Type: "TRACKED", State: "UNCONFIRMED", StateVersion: 5,
		Phase: api.PhaseHolding, Managed: true,
		WaitingFor: &api.WaitingFor{What: "labels", Reason: "a label can't be followed", Since: at, Who: new("anyone")},
		Delta:      &api.Delta{Added: 3, Changed: 1, Resources: 42}, Commit: &api.Commit{Hash: new("9f2c")}, StartedAt: at,
		States:   []api.StateEntry{{State: "UNCONFIRMED", StateVersion: 5, At: at}},
		Timeline: []api.TimelineEntry{{At: at, Kind: "event", Source: "webhook", Summary: "the run is UNCONFIRMED", State: new("UNCONFIRMED"), StateVersion: new(5)}},
	}
	got := decode[api.Run](t, w)
	policyOf, unreadable := got.Policy, api.PolicyValue{
		Name: "unreadable", Value: "gantry:confirm=atuo", Origin: "gantry:confirm=atuo", Problem: new("its value is wrong; write auto"),
	}
	if n := len(policyOf); n != len(resolved.Values())+1 || !cmp.Equal(policyOf[1], api.PolicyValue{Name: "confirm", Value: "manual", Origin: "default"}) ||
		!cmp.Equal(policyOf[n-1], unreadable) {
		t.Errorf("the policy is %+v", policyOf)
	}
	got.Policy = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("run (-want +got):\n%s", diff)
	}
}

// The policy is empty until Gantry has read the rules in effect.
func TestGetRunBeforeTheRulesAreRead(t *testing.T) {
	ref := spacelift.RunRef{Account: "acme", Stack: "network-prod", Run: "01KDX3V4T8Q2M5N7P9R1S3T5V7"}
	r := newRig(t)
	r.temporal.status[managed.ManageRunID(ref)] = managed.RunStatus{
		Run: ref, State: "QUEUED", Phase: managed.PhaseQueued, Managed: true, RulesUnread: true,
		Policy: (*policy.Definitions)(nil).Resolve(policy.Labelled([]string{"gantry:managed"})), StartedAt: time.Date(2026, 1, 1, 10, 1, 1, 0, time.UTC),
	}
	if got := decode[api.Run](t, r.get(runPath, viewerToken)); len(got.Policy) != 0 {
		t.Errorf("the policy is %+v", got.Policy)
	}
}

func TestRunsThatCannotBeShown(t *testing.T) {
	for name, tt := range map[string]struct {
		path   string
		err    error
		status int
		kind   string
	}{
		"unknown":            {runPath, nil, http.StatusNotFound, "not-found"},
		"Temporal away":      {runPath, serviceerror.NewUnavailable("down"), http.StatusServiceUnavailable, "temporal-unavailable"},
		"Temporal slow":      {runPath, serviceerror.NewDeadlineExceeded("slow"), http.StatusServiceUnavailable, "temporal-unavailable"},
		"no worker polls":    {runPath, serviceerror.NewFailedPrecondition("no poller seen for task queue recently, worker may be down"), http.StatusServiceUnavailable, "temporal-unavailable"},
		"something else":     {runPath, errors.New("secret details"), http.StatusInternalServerError, "internal"},
		"an id with a slash": {"/v1/accounts/acme/stacks/a%2Fb/runs/1", nil, http.StatusBadRequest, "bad-request"},
		"an id with a quote": {"/v1/accounts/acme/stacks/a'b/runs/1", nil, http.StatusBadRequest, "bad-request"},
		"an endless id":      {"/v1/accounts/acme/stacks/" + strings.Repeat("a", 300) + "/runs/1", nil, http.StatusBadRequest, "bad-request"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.temporal.err = tt.err
			w := r.get(tt.path, viewerToken)
			wantProblem(t, w, tt.status, tt.kind)
			if strings.Contains(w.Body.String(), "secret details") {
				t.Error("the problem passes an error's text on")
			}
			if (tt.status == http.StatusServiceUnavailable) != (w.Header().Get("Retry-After") != "") {
				t.Errorf("Retry-After is %q", w.Header().Get("Retry-After"))
			}
		})
	}
}

func TestListRuns(t *testing.T) {
	started := time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)
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
			Execution: &commonpb.WorkflowExecution{WorkflowId: "run/acme/network-prod/01", RunId: "temporal-run"},
			Status:    enums.WORKFLOW_EXECUTION_STATUS_COMPLETED, StartTime: timestamppb.New(started), CloseTime: timestamppb.New(started.Add(time.Minute)),
			SearchAttributes: &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{
				"GantryRunState": attr("FINISHED"), "GantryRunType": attr("TRACKED"), "GantryPhase": attr("done"),
			}},
		}, {
			Execution: &commonpb.WorkflowExecution{WorkflowId: "run/acme/network-prod/02", RunId: "another"},
			Status:    enums.WORKFLOW_EXECUTION_STATUS_RUNNING, StartTime: timestamppb.New(started),
		}, { // took the run for ended, before the one above began to follow it again
			Execution: &commonpb.WorkflowExecution{WorkflowId: "run/acme/network-prod/02", RunId: "first"},
			Status:    enums.WORKFLOW_EXECUTION_STATUS_COMPLETED, StartTime: timestamppb.New(started.Add(-time.Minute)),
		}},
	}
	const filters = "account=acme&stack=network-prod&state=FINISHED&phase=done"
	w := r.get("/v1/runs?"+filters+"&pageSize=2", viewerToken)
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	got := decode[api.RunList](t, w)
	want := []api.RunSummary{{
		Account: "acme", Stack: "network-prod", Run: "01", Type: "TRACKED", State: "FINISHED", Phase: api.PhaseDone,
		StartedAt: started, ChangedAt: &started, EndedAt: new(started.Add(time.Minute)),
		Execution: api.Execution{WorkflowID: "run/acme/network-prod/01", TemporalRunID: "temporal-run", Status: "Completed"},
	}, {
		Account: "acme", Stack: "network-prod", Run: "02", Phase: api.PhaseQueued, StartedAt: started, ChangedAt: &started,
		Execution: api.Execution{WorkflowID: "run/acme/network-prod/02", TemporalRunID: "another", Status: "Running"},
	}}
	if diff := cmp.Diff(want, got.Runs); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
	const query = "WorkflowType = 'ManageRun' AND ExecutionStatus != 'ContinuedAsNew' AND GantryAccount IN ('acme') AND GantryStack = 'network-prod' AND GantryRunState = 'FINISHED' AND GantryPhase = 'done'"
	if r.temporal.asked.GetQuery() != query || r.temporal.asked.GetPageSize() != 2 {
		t.Errorf("asked Temporal for %q by %d", r.temporal.asked.GetQuery(), r.temporal.asked.GetPageSize())
	}
	r.get("/v1/runs?"+filters+"&pageToken="+*got.NextPageToken, viewerToken)
	if string(r.temporal.asked.GetNextPageToken()) != "\x00more" {
		t.Errorf("the page token came back as %q", r.temporal.asked.GetNextPageToken())
	}
}
