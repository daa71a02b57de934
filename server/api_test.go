package server_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/openapi"
	"github.com/gantryhq/gantry/policy"
	"github.com/gantryhq/gantry/server"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/workflows"
)

const runPath = "/v1/accounts/acme/stacks/network-prod/runs/01KDX3V4T8Q2M5N7P9R1S3T5V7"

// TestEveryOperationKnowsWhoMay walks every operation of the contract with every
// role, with no token and with a wrong one.
func TestEveryOperationKnowsWhoMay(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(openapi.Document)
	if err != nil {
		t.Fatal(err)
	}
	tokens := map[server.Role]string{}
	r := newRig(t, func(c *server.Config) {
		c.Tokens = nil
		for _, role := range server.Roles {
			tokens[role] = "gantry_" + string(role)
			c.Tokens = append(c.Tokens, server.Token{Name: string(role), Role: role, Hash: server.TokenHash(tokens[role])})
		}
	})
	fill := strings.NewReplacer("{freeze}", "01KDX4A7B3C5D7E9F1G3H5J7K9", "{account}", "acme", "{stack}", "network-prod", "{run}", "01KDX3V4T8Q2M5N7P9R1S3T5V7", "{delivery}", "01KDX4A7B3C5D7E9F1G3H5J7K9")
	walked := 0
	for path, item := range doc.Paths.Map() {
		if !strings.HasPrefix(path, "/v1/") {
			continue
		}
		for method, op := range item.Operations() {
			needs, _ := op.Extensions["x-gantry-role"].(string)
			if needs == "" {
				t.Errorf("%s %s has no rule", method, path)
			}
			path, body := fill.Replace(path), exampleBody(t, op)
			wantProblem(t, r.send(method, path, ""), http.StatusUnauthorized, "unauthenticated")
			wantProblem(t, r.send(method, path, "", "Authorization", "Bearer gantry_wrong"), http.StatusUnauthorized, "unauthenticated")
			wantProblem(t, r.send(method, path, "", "Authorization", "Basic gantry_admin"), http.StatusUnauthorized, "unauthenticated")
			for _, role := range server.Roles {
				w := r.send(method, path, body, "Authorization", "Bearer "+tokens[role], "Content-Type", "application/json")
				if allowed := role.Includes(server.Role(needs)); allowed == (w.Code == http.StatusForbidden) || w.Code == http.StatusUnauthorized {
					t.Errorf("%s %s as %s: %d (it needs %s)", method, path, role, w.Code, needs)
				}
				walked++
			}
		}
	}
	if walked < 60 {
		t.Errorf("only %d combinations walked", walked)
	}
}

// exampleBody returns a body that the contract shows for an operation, or
// nothing when it takes none.
func exampleBody(t *testing.T, op *openapi3.Operation) string {
	t.Helper()
	if op.RequestBody == nil {
		return ""
	}
	for _, e := range op.RequestBody.Value.Content["application/json"].Examples {
		b, err := json.Marshal(e.Value.Value)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	t.Fatalf("%s shows no body", op.OperationID)
	return ""
}

func TestWithoutTokensTheAPIIsClosed(t *testing.T) {
	r := newRig(t, func(c *server.Config) { c.Tokens = nil })
	p := wantProblem(t, r.get("/v1/runs", "gantry_admin"), http.StatusUnauthorized, "unauthenticated")
	if !strings.Contains(*p.Detail, "gantry token create") {
		t.Errorf("it does not say how to get a token: %s", *p.Detail)
	}
	if w := r.send(http.MethodGet, "/healthz", ""); w.Code != http.StatusOK {
		t.Errorf("healthz: %d", w.Code)
	}
}

func TestGetRun(t *testing.T) {
	ref := spacelift.RunRef{Account: "acme", Stack: "network-prod", Run: "01KDX3V4T8Q2M5N7P9R1S3T5V7"}
	at := time.Date(2026, 1, 1, 10, 1, 1, 0, time.UTC)
	r := newRig(t)
	r.temporal.status[workflows.ManageRunID(ref)] = workflows.RunStatus{
		Run: ref, Type: "TRACKED", State: "UNCONFIRMED", StateVersion: 5, Phase: workflows.PhaseHolding, Managed: true,
		WaitingFor: &workflows.WaitingFor{What: workflows.WaitLabels, Reason: "a label can't be followed", Since: at, Who: "anyone"},
		Policy: policy.Policy{
			Confirm:  policy.Setting[policy.ConfirmMode]{Value: policy.ConfirmManual, Origin: policy.OriginDefault},
			Problems: []policy.Problem{{Label: "gantry:confirm=atuo", Problem: "its value is wrong", Remedy: "write auto"}},
		},
		Delta: &spacelift.Delta{Added: 3, Changed: 1, Resources: 42}, Commit: spacelift.Commit{Hash: "9f2c"}, StartedAt: at,
		States:   []workflows.StateEntry{{State: "UNCONFIRMED", StateVersion: 5, At: at}},
		Timeline: []workflows.TimelineEntry{{At: at, Kind: workflows.KindEvent, Source: "webhook", Summary: "the run is UNCONFIRMED", State: "UNCONFIRMED", StateVersion: 5}},
	}
	w := r.get(runPath, viewerToken)
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	want := api.Run{
		Account: "acme", Stack: "network-prod", Run: "01KDX3V4T8Q2M5N7P9R1S3T5V7", Type: "TRACKED", State: "UNCONFIRMED", StateVersion: 5,
		Phase: api.PhaseHolding, Managed: true,
		WaitingFor: &api.WaitingFor{What: "labels", Reason: "a label can't be followed", Since: at, Who: new("anyone")},
		Policy: []api.PolicyValue{
			{Name: "confirm", Value: "manual", Origin: "default"},
			{Name: "unreadable", Value: "gantry:confirm=atuo", Origin: "gantry:confirm=atuo", Problem: new("its value is wrong; write auto")},
		},
		Delta: &api.Delta{Added: 3, Changed: 1, Resources: 42}, Commit: &api.Commit{Hash: new("9f2c")}, StartedAt: at,
		States:   []api.StateEntry{{State: "UNCONFIRMED", StateVersion: 5, At: at}},
		Timeline: []api.TimelineEntry{{At: at, Kind: "event", Source: "webhook", Summary: "the run is UNCONFIRMED", State: new("UNCONFIRMED"), StateVersion: new(5)}},
	}
	if diff := cmp.Diff(want, decode[api.Run](t, w)); diff != "" {
		t.Errorf("run (-want +got):\n%s", diff)
	}
}

// TestEveryPhaseIsInTheContract: the workflows' phases are the contract's.
func TestEveryPhaseIsInTheContract(t *testing.T) {
	for _, p := range workflows.Phases {
		if !api.Phase(p).Valid() {
			t.Errorf("the contract does not know the phase %s", p)
		}
	}
}

// TestWordsAreInTheContract: words that clients may tell cases apart by are the
// same in the source and in the contract.
func TestWordsAreInTheContract(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(openapi.Document)
	if err != nil {
		t.Fatal(err)
	}
	schemas := doc.Components.Schemas
	for name, tt := range map[string]struct {
		shown      any
		file, kind string
	}{
		"kinds of timeline entries": {schemas["TimelineKind"].Value.Extensions["x-extensible-enum"], "../workflows/status.go", "TimelineKind"},
		"what runs wait for":        {schemas["WaitingFor"].Value.Properties["what"].Value.Extensions["x-extensible-enum"], "../workflows/status.go", "Wait"},
		"causes of failures":        {schemas["Failure"].Value.Properties["cause"].Value.Extensions["x-extensible-enum"], "../policy/policy.go", "Cause"},
		"effects of rules":          {schemas["Rule"].Value.Properties["effect"].Value.Extensions["x-extensible-enum"], "../policy/alone.go", "Effect"},
	} {
		source, err := os.ReadFile(tt.file)
		if err != nil {
			t.Fatal(err)
		}
		var words []any
		for _, m := range regexp.MustCompile(`(?m)^\t\w+\s+`+tt.kind+`\s+= "([a-z-]+)"`).FindAllSubmatch(source, -1) {
			words = append(words, string(m[1]))
		}
		if diff := cmp.Diff(words, tt.shown); diff != "" || len(words) == 0 {
			t.Errorf("%s (-source +contract):\n%s", name, diff)
		}
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
			Execution: &commonpb.WorkflowExecution{WorkflowId: "run/acme/app-prod/02", RunId: "another"},
			Status:    enums.WORKFLOW_EXECUTION_STATUS_RUNNING, StartTime: timestamppb.New(started),
		}},
	}
	w := r.get("/v1/runs?account=acme&stack=network-prod&state=FINISHED&phase=done&pageSize=2", viewerToken)
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	got := decode[api.RunList](t, w)
	want := []api.RunSummary{{
		Account: "acme", Stack: "network-prod", Run: "01", Type: "TRACKED", State: "FINISHED", Phase: api.PhaseDone,
		StartedAt: started, EndedAt: new(started.Add(time.Minute)),
		Execution: api.Execution{WorkflowID: "run/acme/network-prod/01", TemporalRunID: "temporal-run", Status: "Completed"},
	}, {
		Account: "acme", Stack: "app-prod", Run: "02", Phase: api.PhaseQueued, StartedAt: started,
		Execution: api.Execution{WorkflowID: "run/acme/app-prod/02", TemporalRunID: "another", Status: "Running"},
	}}
	if diff := cmp.Diff(want, got.Runs); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
	const query = "WorkflowType = 'ManageRun' AND GantryAccount = 'acme' AND GantryStack = 'network-prod' AND GantryRunState = 'FINISHED' AND GantryPhase = 'done'"
	if r.temporal.asked.GetQuery() != query || r.temporal.asked.GetPageSize() != 2 {
		t.Errorf("asked Temporal for %q by %d", r.temporal.asked.GetQuery(), r.temporal.asked.GetPageSize())
	}
	r.get("/v1/runs?pageToken="+*got.NextPageToken, viewerToken)
	if string(r.temporal.asked.GetNextPageToken()) != "\x00more" {
		t.Errorf("the page token came back as %q", r.temporal.asked.GetNextPageToken())
	}
}

// TestRequestsThatDoNotFit: each place that does not fit is named.
func TestRequestsThatDoNotFit(t *testing.T) {
	for name, tt := range map[string]struct{ path, parameter string }{
		"page size is no number": {"/v1/runs?pageSize=many", "pageSize"},
		"page size too large":    {"/v1/runs?pageSize=1000", "pageSize"},
		"page size negative":     {"/v1/deliveries?pageSize=-1", "pageSize"},
		"phase unknown":          {"/v1/runs?phase=asleep", "phase"},
		"outcome unknown":        {"/v1/deliveries?outcome=lost", "outcome"},
		"since is no time":       {"/v1/deliveries?since=yesterday", "since"},
		"delivery is no id":      {"/v1/deliveries/..%2Fetc", "delivery"},
		"page token is not ours": {"/v1/runs?pageToken=%21%21", ""},
		"a delivery page token":  {"/v1/deliveries?pageToken=%21%21", ""},
		"an injected filter":     {"/v1/runs?stack=x%27%20OR%20%27a%27=%27a", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.temporal.list = &workflowservice.ListWorkflowExecutionsResponse{}
			p := wantProblem(t, r.get(tt.path, viewerToken), http.StatusBadRequest, "bad-request")
			if tt.parameter == "" {
				return
			}
			if len(p.Errors) != 1 || p.Errors[0].Parameter == nil || *p.Errors[0].Parameter != tt.parameter || p.Errors[0].Detail == "" {
				t.Errorf("it does not name %s: %s", tt.parameter, show(p))
			}
		})
	}
}

func TestWhatIsNotThere(t *testing.T) {
	r := newRig(t)
	wantProblem(t, r.send(http.MethodGet, "/nowhere", ""), http.StatusNotFound, "not-found")
	wantProblem(t, r.get("/v1/nowhere", viewerToken), http.StatusNotFound, "not-found")
	wantProblem(t, r.get("/v1/deliveries/01KDX4A7B3C5D7E9F1G3H5J7K9", viewerToken), http.StatusNotFound, "not-found")
	for path, allow := range map[string]string{"/webhook": "POST", "/v1/runs": "GET", "/v1/redeliveries": "POST"} {
		w := r.send(http.MethodDelete, path, "", "Authorization", "Bearer "+viewerToken)
		wantProblem(t, w, http.StatusMethodNotAllowed, "method-not-allowed")
		if got := w.Header().Get("Allow"); got != allow {
			t.Errorf("%s: Allow is %q, want %q", path, got, allow)
		}
	}
}

func TestDeliveriesAreListedShownAndRedelivered(t *testing.T) {
	r := newRig(t)
	body := example(t, "run_tracked_unconfirmed")
	accepted := r.receipt(body)
	ignored := r.receipt(example(t, "internal_error"))
	r.receipt(body)

	all := r.deliveries("")
	if len(all) != 3 {
		t.Fatalf("%d deliveries, want 3", len(all))
	}
	for i, outcome := range []api.Outcome{"duplicate", "ignored", "accepted"} {
		if all[i].Outcome != outcome {
			t.Errorf("delivery %d is %s, want %s: newest first", i, all[i].Outcome, outcome)
		}
	}
	if *all[0].DuplicateOf != accepted.Delivery {
		t.Errorf("the duplicate does not name its original: %s", show(all[0]))
	}
	if one := r.deliveries("?stack=network-prod&outcome=accepted"); len(one) != 1 || one[0].ID != accepted.Delivery || one[0].Size != len(body) || *one[0].Secret != 1 {
		t.Errorf("by stack and outcome: %s", show(one))
	}

	path := "/v1/deliveries/" + accepted.Delivery + "/redeliveries"
	wantProblem(t, r.send(http.MethodPost, path, "", "Authorization", "Bearer "+viewerToken), http.StatusForbidden, "forbidden")
	w := r.send(http.MethodPost, path, "", "Authorization", "Bearer "+operatorToken, "Idempotency-Key", "once")
	if w.Code != http.StatusAccepted || decode[api.Delivery](t, w).ID != accepted.Delivery {
		t.Errorf("redeliver: %d %s", w.Code, w.Body)
	}
	wantProblem(t, r.send(http.MethodPost, "/v1/deliveries/"+ignored.Delivery+"/redeliveries", "", "Authorization", "Bearer "+operatorToken), http.StatusConflict, "not-redeliverable")
	if w := r.send(http.MethodPost, "/v1/redeliveries", "", "Authorization", "Bearer "+operatorToken); w.Code != http.StatusAccepted || decode[api.RedeliveryCount](t, w).Redelivered != 0 {
		t.Errorf("redeliver all dead: %d %s", w.Code, w.Body)
	}
	if lines := r.log.entries(t, "redelivery"); len(lines) != 1 || lines[0]["by"] != "otto" {
		t.Errorf("the log does not say who redelivered: %v", lines)
	}
}

// A redelivery with a key is done once, and its repeat is answered like it.
func TestRedeliveriesUnderOneKey(t *testing.T) {
	r := newRig(t)
	first, second := r.receipt(example(t, "run_tracked_unconfirmed")), r.receipt(example(t, "run_tracked_finished"))
	path := func(d api.Receipt) string { return "/v1/deliveries/" + d.Delivery + "/redeliveries" }
	for range 2 {
		if w := r.post(operatorToken, path(first), ``, keyed("k")...); w.Code != http.StatusAccepted || decode[api.Delivery](t, w).ID != first.Delivery {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	for _, other := range []string{path(second), "/v1/redeliveries"} {
		wantProblem(t, r.post(operatorToken, other, ``, keyed("k")...), http.StatusUnprocessableEntity, "idempotency-key-reused")
	}
	for range 2 {
		if w := r.post(operatorToken, "/v1/redeliveries", ``, keyed("dead")...); w.Code != http.StatusAccepted {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	// What failed is not remembered: the same request may be sent again.
	for range 2 {
		wantProblem(t, r.post(operatorToken, path(api.Receipt{Delivery: "01KDX4A7B3C5D7E9F1G3H5J7K9"}), ``, keyed("gone")...), http.StatusNotFound, "not-found")
	}
}

// TestAClosedInboxIsA503: what can't be stored is not acknowledged.
func TestAClosedInboxIsA503(t *testing.T) {
	r := newRig(t)
	if err := r.inbox.Close(); err != nil {
		t.Fatal(err)
	}
	w := r.deliver(acmeSecret, example(t, "run_tracked_unconfirmed"))
	wantProblem(t, w, http.StatusServiceUnavailable, "not-stored")
	if w.Header().Get("Retry-After") == "" {
		t.Error("a 503 without Retry-After")
	}
	ready := r.send(http.MethodGet, "/readyz", "")
	if ready.Code != http.StatusServiceUnavailable || decode[api.Readiness](t, ready).Status != api.ReadinessStatusUnavailable {
		t.Errorf("readyz: %d %s", ready.Code, ready.Body)
	}
}

func TestMetricsTellOutcomesApart(t *testing.T) {
	r := newRig(t)
	body := example(t, "run_tracked_unconfirmed")
	r.receipt(body)
	r.receipt(body)
	r.receipt(example(t, "internal_error"))
	r.deliver("guess", body)
	w := r.send(http.MethodGet, "/metrics", "")
	for _, line := range []string{
		"gantry_webhook_received_total 4", "gantry_webhook_accepted_total 1", "gantry_webhook_duplicate_total 1",
		`gantry_webhook_ignored_total{reason="internal-error"} 1`, `gantry_webhook_refused_total{reason="signature-mismatch"} 1`,
		`gantry_webhook_secret_used_total{account="acme",secret="1"} 3`, "gantry_webhook_ack_seconds_count 3",
	} {
		if !strings.Contains(w.Body.String(), line+"\n") {
			t.Errorf("no %q in\n%s", line, w.Body)
		}
	}
}

// TestDocsWorkOffline: the page and all it loads come from this server, under a
// policy that allows nothing else.
func TestDocsWorkOffline(t *testing.T) {
	r := newRig(t)
	w := r.send(http.MethodGet, "/docs", "")
	policy := w.Header().Get("Content-Security-Policy")
	if w.Code != http.StatusOK || !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe-eval") {
		t.Fatalf("%d, policy %q", w.Code, policy)
	}
	loaded := regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(w.Body.String(), -1)
	if len(loaded) < 3 {
		t.Errorf("the page loads only %d things", len(loaded))
	}
	for _, l := range loaded {
		if asset := r.send(http.MethodGet, l[1], ""); !strings.HasPrefix(l[1], "/docs/") || asset.Code != http.StatusOK {
			t.Errorf("%s: %d", l[1], asset.Code)
		}
	}
	doc := r.send(http.MethodGet, "/openapi.yaml", "")
	if doc.Body.String() != string(openapi.Document) {
		t.Error("/openapi.yaml is not the contract")
	}
	if again := r.send(http.MethodGet, "/openapi.yaml", "", "If-None-Match", doc.Header().Get("ETag")); again.Code != http.StatusNotModified {
		t.Errorf("unchanged document: %d", again.Code)
	}
	if head := r.send(http.MethodHead, "/docs", ""); head.Code != http.StatusOK {
		t.Errorf("HEAD /docs: %d", head.Code)
	}
}
