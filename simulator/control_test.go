package simulator_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// control sends a request to the control API and decodes its answer.
func (r *rig) control(method, path, body string, out any) int {
	r.t.Helper()
	req := httptest.NewRequestWithContext(r.t.Context(), method, simulator.Control+path, strings.NewReader(body))
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	if out != nil {
		r.ok(json.Unmarshal(w.Body.Bytes(), out))
	}
	if w.Code >= 400 {
		var problem struct {
			Title, Detail string
			Status        int
		}
		r.ok(json.Unmarshal(w.Body.Bytes(), &problem))
		if kind := w.Header().Get("Content-Type"); kind != "application/problem+json" || problem.Status != w.Code || problem.Detail == "" {
			r.t.Errorf("%s %s: not a problem: %s %s", method, path, kind, w.Body)
		}
	}
	return w.Code
}

// A whole story over HTTP: set up, push, let the apply fail, read the log.
func TestControlAPIStory(t *testing.T) {
	r := newRig(t)
	must := func(want int, method, path, body string, out any) {
		t.Helper()
		if got := r.control(method, path, body, out); got != want {
			t.Fatalf("%s %s: status %d, want %d", method, path, got, want)
		}
	}
	must(201, "POST", "/stacks", `{"id":"net","labels":["gantry:managed"]}`, nil)
	must(201, "POST", "/webhooks", `{"id":"hook","endpoint":"`+r.hook.url+`","secret":"hush","labels":["x"]}`, nil)
	must(201, "POST", "/policies", `{"id":"all","engine":"REGO_V1","body":"package spacelift\nwebhook contains {\"endpoint_id\": \"hook\"}"}`, nil)
	must(201, "POST", "/faults/deliveries", `{"kind":"duplicate","state":"UNCONFIRMED","times":1}`, nil)

	var run struct {
		Ref   spacelift.RunRef
		State spacelift.RunState
	}
	must(201, "POST", "/stacks/net/pushes", `{"commit":{"message":"Widen subnets"},"plan":{"delta":{"added":2},"phases":{"APPLYING":"30s"}}}`, &run)
	if run.State != "QUEUED" {
		t.Fatalf("pushed run is %s", run.State)
	}
	must(201, "POST", "/clock/advance", `{"by":"1s"}`, nil)
	path := "/stacks/net/runs/" + string(run.Ref.Run)
	must(201, "POST", path+"/confirm", `{"by":"jane"}`, &run)
	if run.State != "CONFIRMED" {
		t.Errorf("confirmed run is %s", run.State)
	}
	must(201, "POST", "/clock/advance", `{"by":"1s"}`, nil)
	must(204, "PATCH", path+"/plan", `{"failIn":"APPLYING","failNote":"quota"}`, nil)
	must(201, "POST", "/clock/advance", `{"by":"1m"}`, nil)
	must(200, "GET", path, "", &run)
	if run.State != "FAILED" {
		t.Errorf("run is %s, want FAILED", run.State)
	}

	var log struct{ Deliveries []simulator.Delivery }
	must(200, "GET", "/deliveries?state=UNCONFIRMED&outcome=delivered", "", &log)
	if len(log.Deliveries) != 2 || log.Deliveries[0].Body != log.Deliveries[1].Body {
		t.Errorf("%d deliveries of UNCONFIRMED, want the same one twice", len(log.Deliveries))
	}
	must(409, "POST", path+"/confirm", `{}`, nil)
	must(201, "POST", path+"/retry", `{"by":"jane"}`, &run)
	if !strings.HasSuffix(path, string(run.Ref.Run)) && run.State != "QUEUED" {
		t.Errorf("retried run is %s", run.State)
	}
}

// Everything a whole account needs can be set up and looked at over HTTP.
func TestControlAPISetsUpAnAccount(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"POST", "/spaces", `{"id":"team","inheritEntities":true}`, 201},
		{"POST", "/worker-pools", `{"id":"pool","name":"prod"}`, 201},
		{"POST", "/stacks", `{"id":"net","space":"team","workerPool":"pool","drift":{"schedule":["0 4 * * *"],"reconcile":true}}`, 201},
		{"POST", "/stacks", `{"id":"app"}`, 201},
		{"POST", "/stacks", `{"id":"vpc","module":true}`, 201},
		{"POST", "/stacks/app/dependencies", `{"dependsOn":"net","references":[{"output":"o","input":"i"}]}`, 204},
		{"POST", "/stacks/net/webhooks", `{"endpoint":"` + r.hook.url + `","secret":"s"}`, 201},
		{"POST", "/contexts", `{"id":"aws","config":[{"id":"AWS_REGION","value":"eu-1"}]}`, 201},
		{"POST", "/contexts", `{"id":"aws"}`, 409},
		{"POST", "/stacks/net/contexts", `{"context":"aws","priority":1}`, 204},
		{"POST", "/stacks/net/contexts", `{"context":"aws"}`, 409},
		{"POST", "/stacks/net/contexts", `{"context":"gcp"}`, 404},
		{"POST", "/api-keys", `{"id":"01OTHER","secret":"x","role":"writer"}`, 201},
		{"PUT", "/stacks/net/labels", `{"labels":["gantry:managed"]}`, 204},
		{"PUT", "/stacks/net/settings", `{"autodeploy":true}`, 204},
		{"PUT", "/stacks/net/plan", `{"delta":{"added":1}}`, 204},
		{"POST", "/stacks/net/next-plans", `{"delta":{"deleted":3},"verdict":"warn"}`, 204},
		{"POST", "/stacks/net/triggers", `{"by":"jane"}`, 201},
		{"POST", "/clock/advance", `{}`, 201},
		{"POST", "/stacks/net/tasks", `{"by":"jane","command":"ls"}`, 201},
		{"PUT", "/stacks/net/lock", `{"by":"jane","note":"n"}`, 204},
		{"PUT", "/stacks/net/lock", `{"by":"ann"}`, 409},
		{"DELETE", "/stacks/net/lock", "", 204},
		{"POST", "/stacks/vpc/tests", `{}`, 201},
		{"POST", "/internal-errors", `{"title":"t","body":"b","error":"e"}`, 204},
		{"POST", "/module-versions", `{"module":"vpc","number":"1.0.0"}`, 204},
		{"POST", "/module-versions", `{"module":"net"}`, 409},
		{"PUT", "/external-dependencies/x", `{"status":"FINISHED"}`, 204},
		{"PUT", "/external-dependencies/x", `{"status":"MAYBE"}`, 409},
		{"POST", "/faults/deliveries", `{"kind":"delay","delay":"5s","probability":0.5}`, 201},
		{"DELETE", "/faults/fault-1", "", 204},
		{"DELETE", "/faults", "", 204},
		{"DELETE", "/stacks/app", "", 204},
		{"GET", "/stacks/app", "", 404},
	} {
		if got := r.control(c.method, c.path, c.body, nil); got != c.want {
			t.Errorf("%s %s %s: status %d, want %d", c.method, c.path, c.body, got, c.want)
		}
	}
	var net simulator.StackStatus
	r.control("GET", "/stacks/net", "", &net)
	if net.Space != "team" || !net.Autodeploy || !net.Drift.Reconcile || net.Labels[0] != "gantry:managed" || len(net.Runs) != 2 || net.State != "UNCONFIRMED" {
		t.Errorf("stack %+v", net)
	}
	var runs struct{ Runs []simulator.Run }
	r.control("GET", "/stacks/net/runs", "", &runs)
	if warned := runs.Runs[0]; warned.State != "UNCONFIRMED" || warned.Delta.Deleted != 3 || warned.TriggeredBy != "jane" {
		t.Errorf("the scripted run is %+v", warned.Run)
	}
	var inbox struct{ Notices []simulator.Notice }
	r.control("GET", "/inbox", "", &inbox)
	if len(inbox.Notices) != 1 || inbox.Notices[0].Title != "t" {
		t.Errorf("inbox %+v", inbox)
	}
	r.graphql(`{ viewer { id } }`, nil, nil)
	r.control("DELETE", "/tokens", "", nil)
	if a := r.graphql(`{ viewer { id } }`, nil, nil); len(a.Errors) != 1 {
		t.Error("a revoked token was taken")
	}
	var requests struct{ Requests []simulator.Request }
	r.control("GET", "/requests?field=viewer", "", &requests)
	if n := len(requests.Requests); n != 2 {
		t.Errorf("%d requests for viewer, want 2", n)
	}
}

func TestControlAPIActions(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net", Approvals: 1})
	id := r.push("net", twoAdded)
	do := func(action, body string, want int) {
		t.Helper()
		if got := r.control("POST", "/stacks/net/runs/"+string(id)+"/"+action, body, nil); got != want {
			t.Errorf("%s: status %d, want %d", action, got, want)
		}
		r.settle()
	}
	do("confirm", `{}`, 409) // not approved
	do("comment", `{"by":"ann","note":"hm"}`, 201)
	do("replan", `{}`, 201)
	do("approve", `{"by":"ann"}`, 201)
	do("confirm", `{"by":"jane"}`, 201)
	do("stop", `{}`, 409)
	do("kill", `{}`, 409)
	do("cancel", `{}`, 409)
	do("discard", `{}`, 409)
	do("reject", `{}`, 409)
	do("promote", `{}`, 409)
	run := r.get("net", id)
	if run.State != "FINISHED" || run.Comments[0].Author != "ann" || len(run.History) != 14 {
		t.Errorf("run %+v", run)
	}
}

func TestControlAPIBadInput(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net"})
	for _, bad := range []struct {
		method, path, body string
		want               int
	}{
		{"POST", "/stacks/net/pushes", `{"plan":`, 400},
		{"POST", "/stacks/net/pushes", `{"plann":{}}`, 400},
		{"POST", "/stacks/net/pushes", `{} {}`, 400},
		{"POST", "/stacks/net/pushes", `[]`, 400},
		{"POST", "/stacks/net/pushes", `{"plan":{"phases":{"PLANNING":"soon"}}}`, 400},
		{"POST", "/stacks/nope/pushes", `{}`, 404},
		{"GET", "/stacks/nope", "", 404},
		{"GET", "/stacks/net/runs/nope", "", 404},
		{"POST", "/stacks", `{"id":"net"}`, 409},
		{"POST", "/stacks", `{}`, 409},
		{"POST", "/stacks/net/drift-checks", `{}`, 409},
		{"POST", "/faults/api", `{"kind":"gremlins"}`, 400},
		{"POST", "/faults/deliveries", `{"kind":"drop","probability":7}`, 400},
		{"POST", "/policies", `{"id":"p","body":"package spacelift\nallow {"}`, 409},
		{"POST", "/policies", `{"id":"p","engine":"REGO_V1","body":"package spacelift\nx := http.send({})"}`, 409},
		{"POST", "/clock/advance", `{"by":"-1s"}`, 400},
		{"POST", "/worker-pools", `{}`, 400},
		{"GET", "/weather", "", 404},
		{"POST", "/stacks/net/runs/x/dance", `{}`, 404},
		{"POST", "/stacks/net/pushes", `{"commit":{"message":"` + strings.Repeat("x", 5<<20) + `"}}`, 413},
	} {
		if got := r.control(bad.method, bad.path, bad.body, nil); got != bad.want {
			t.Errorf("%s %s %.40s: status %d, want %d", bad.method, bad.path, bad.body, got, bad.want)
		}
	}
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, simulator.Control+"/stacks", strings.NewReader(`{"id":"other"}`))
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	if w.Code != http.StatusUnsupportedMediaType {
		t.Errorf("a form's body: status %d, want 415", w.Code)
	}
}

func TestAdvanceNeedsAManualClock(t *testing.T) {
	sim := simulator.New(simulator.Options{})
	t.Cleanup(sim.Close)
	r := &rig{Simulator: sim, t: t}
	if got := r.control("POST", "/clock/advance", `{"by":"1s"}`, nil); got != http.StatusConflict {
		t.Errorf("status %d, want 409", got)
	}
}

// Every request the README lists is one the control API knows.
func TestREADMEListsRealRequests(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t)
	_, table, _ := strings.Cut(string(text), "## Control API")
	requests := regexp.MustCompile("`(GET|POST|PUT|PATCH|DELETE) (/[^` ?]+)").FindAllStringSubmatch(table, -1)
	if len(requests) < 30 {
		t.Fatalf("found %d requests in README.md", len(requests))
	}
	for _, m := range requests {
		method, path := m[1], strings.NewReplacer("[/{run}]", "/x", "[/{id}]", "/x", "{action}", "confirm").Replace(m[2])
		path = regexp.MustCompile(`\{\w+\}`).ReplaceAllString(path, "x")
		req := httptest.NewRequestWithContext(t.Context(), method, simulator.Control+path, strings.NewReader("{"))
		req.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		if strings.Contains(w.Body.String(), "the control API has no") {
			t.Errorf("%s %s is not served", method, m[2])
		}
	}
}

// The README's example works unchanged.
func TestREADMEExampleRuns(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t)
	calls := regexp.MustCompile(`(?m)^curl -H "\$json" \$sim(\S+) -d '(.*)'$`).FindAllStringSubmatch(string(text), -1)
	if len(calls) < 3 {
		t.Fatalf("found %d calls in README.md", len(calls))
	}
	for _, c := range calls {
		if got := r.control("POST", c[1], c[2], nil); got != http.StatusCreated {
			t.Errorf("%s %s: status %d", c[1], c[2], got)
		}
	}
	r.settle()
	if st, err := r.Stack("network"); err != nil || st.State != spacelift.RunStateUnconfirmed {
		t.Errorf("stack %+v, %v", st, err)
	}
}
