package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/reconcile"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/server"
	"github.com/gantryhq/gantry/spacelift"
)

func (r *rig) state(token string) api.Status {
	r.t.Helper()
	w := r.get("/v1/status", token)
	if w.Code != http.StatusOK {
		r.t.Fatalf("%d %s", w.Code, w.Body)
	}
	return decode[api.Status](r.t, w)
}

// One answer says whether all is well, and what arrived.
func TestStatus(t *testing.T) {
	r := newRig(t, func(c *server.Config) {
		c.TaskQueue, c.TemporalAddress, c.Namespace = "gantry", "temporal:7233", "prod"
	})
	r.receipt(example(t, "run_tracked_queued"))
	r.receipt(example(t, "run_tracked_queued"))
	r.receipt(edited(t, func(b map[string]any) { b["stack"].(map[string]any)["labels"] = []string{} }))
	r.receipt(edited(t, func(b map[string]any) { b["account"] = "nobody" }))
	r.send(http.MethodPost, "/webhook", "{}")
	got := r.state(viewerToken)
	if got.Level != "ok" || !strings.HasPrefix(got.Summary, "All is well") {
		t.Errorf("%s: %s", got.Level, got.Summary)
	}
	want := []api.Traffic{
		{Outcome: "ignored", Reason: new("unknown-account"), Count: 1},
		{Outcome: "refused", Reason: new("signature-missing"), Count: 1},
		{Account: new("acme"), Outcome: "accepted", Count: 1},
		{Account: new("acme"), Outcome: "duplicate", Reason: new("seen-before"), Count: 1},
		{Account: new("acme"), Outcome: "ignored", Reason: new("unmanaged-stack"), Count: 1},
	}
	if diff := cmp.Diff(want, got.Traffic, cmpopts.IgnoreFields(api.Traffic{}, "Last")); diff != "" {
		t.Errorf("traffic (-want +got):\n%s", diff)
	}
	if a := got.Accounts; len(a) != 2 || a[0].LastNotification == nil || a[1].LastNotification != nil {
		t.Errorf("accounts %s", show(a))
	}
	if self := got.Replicas[0]; len(got.Replicas) != 1 || *self.Version != "1.2.3" || !self.Inbox.Writable || self.Inbox.Pending != 1 || *self.Temporal != (api.TemporalPlace{Address: "temporal:7233", Namespace: "prod", TaskQueue: "gantry"}) {
		t.Errorf("replicas %s", show(got.Replicas))
	}
}

// What is wrong is at the top, in the findings, and in no other account's.
func TestStatusOfTrouble(t *testing.T) {
	r := newRig(t, reconciling, func(c *server.Config) {
		c.TemporalProblem = func() (time.Time, string) { return time.Now(), "dial tcp 10.0.0.7:7233: connection refused" }
	})
	r.temporal.err = serviceerror.NewUnavailable("connection refused")
	got := r.state(viewerToken)
	if got.Level != "critical" || !strings.HasPrefix(got.Summary, "Temporal hasn't answered since") || len(got.Unknown) != 2 {
		t.Errorf("%s: %s, unknown %v", got.Level, got.Summary, got.Unknown)
	}
	if p := got.Replicas[0].Forwarding.Problem; p == nil || !strings.Contains(*p, "10.0.0.7") {
		t.Errorf("forwarding %s", show(got.Replicas[0].Forwarding))
	}
}

// A run that went ahead against its policy is a finding for a day.
func TestBypassedRunsAreAFinding(t *testing.T) {
	r := newRig(t)
	began := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	r.temporal.pages = func(req *workflowservice.ListWorkflowExecutionsRequest) *workflowservice.ListWorkflowExecutionsResponse {
		page := &workflowservice.ListWorkflowExecutionsResponse{}
		if strings.Contains(req.GetQuery(), "GantryAccount = 'acme'") && strings.Contains(req.GetQuery(), "GantryBypassed = 'true'") {
			for range 2 { // one that continued as new is listed twice
				page.Executions = append(page.Executions, &workflowpb.WorkflowExecutionInfo{
					Execution: &commonpb.WorkflowExecution{WorkflowId: managed.ManageRunID(theRun)}, StartTime: timestamppb.New(began),
				})
			}
		}
		return page
	}
	got := r.state(viewerToken)
	want := []api.AccountFinding{{
		Account: "acme", Kind: "run-bypassed", Severity: api.SeverityCritical, Since: began,
		Summary: fmt.Sprintf("1 run of the last day went ahead against the policy in effect: %s of network-prod", theRun.Run),
	}}
	if diff := cmp.Diff(want, got.Findings, cmpopts.IgnoreFields(api.AccountFinding{}, "Fix")); diff != "" || got.Level != "critical" {
		t.Errorf("%s (-want +got):\n%s", got.Level, diff)
	}
	if a := r.accounts(); len(a[0].Findings) != 1 || len(a[1].Findings) != 0 {
		t.Errorf("accounts %s", show(a))
	}
	if text := r.metrics(); !strings.Contains(text, `gantry_guardian_findings{account="acme",kind="run-bypassed"} 1`) {
		t.Error("it is not measured")
	}
}

func (r *rig) findings(query string) api.FindingList {
	r.t.Helper()
	w := r.get("/v1/findings"+query, viewerToken)
	if w.Code != http.StatusOK {
		r.t.Fatalf("%d %s", w.Code, w.Body)
	}
	return decode[api.FindingList](r.t, w)
}

// Findings of all replicas count once, the critical ones first.
func TestFindingsOfAllReplicas(t *testing.T) {
	t.Parallel()
	replicas := newReplicas(t, 2)
	now := time.Now().UTC()
	for _, r := range replicas {
		r.temporal.reports = map[spacelift.Account]reconcile.Report{}
	}
	for range 5 { // only one replica sees them
		replicas[1].deliver("not-the-secret", example(t, "run_tracked_queued"))
	}
	for i, r := range replicas {
		got := r.findings("")
		if len(got.Findings) != 1 || got.Findings[0].Kind != "secret-mismatch" || got.Findings[0].Severity != api.SeverityCritical || len(got.Replicas) != 2 {
			t.Errorf("replica %d: %s", i, show(got))
		}
		if state := r.state(viewerToken); state.Level != "critical" || len(state.Replicas) != 2 || len(state.Traffic) != 1 || state.Traffic[0].Count != 5 {
			t.Errorf("replica %d: %s", i, show(state))
		}
		if got = r.findings("?account=globex"); len(got.Findings) != 0 {
			t.Errorf("globex: %s", show(got))
		}
		v := decode[api.Version](t, r.get("/v1/version", viewerToken))
		if v.Version != "1.2.3" || v.Contract == "" || len(v.Replicas) != 2 || v.Replicas[1].StartedAt.After(now) {
			t.Errorf("version %s", show(v))
		}
	}
	replicas[1].http.Close()
	v := decode[api.Version](t, replicas[0].get("/v1/version", viewerToken))
	if len(v.Replicas) != 2 || v.Replicas[1].Problem == nil {
		t.Errorf("with a replica away: %s", show(v))
	}
	if state := replicas[0].state(viewerToken); state.Level != "warning" || !strings.Contains(state.Summary, "doesn't answer") {
		t.Errorf("with a replica away: %s", show(state))
	}
}
