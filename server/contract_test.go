package server_test

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/openapi"
)

// TestEveryPhaseIsInTheContract: the workflows' phases are the contract's.
func TestEveryPhaseIsInTheContract(t *testing.T) {
	for _, p := range managed.Phases {
		if !api.Phase(p).Valid() {
			t.Errorf("the contract does not know the phase %s", p)
		}
	}
}

// TestWordsAreInTheContract: words by which clients may distinguish cases are the same
// in the source and in the contract.
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
		"kinds of timeline entries": {schemas["TimelineKind"].Value.Extensions["x-extensible-enum"], "../decide/managed/status.go", "TimelineKind"},
		"what runs wait for":        {schemas["WaitingFor"].Value.Properties["what"].Value.Extensions["x-extensible-enum"], "../decide/managed/status.go", "Wait"},
		"causes of failures":        {schemas["Failure"].Value.Properties["cause"].Value.Extensions["x-extensible-enum"], "../decide/policy/policy.go", "Cause"},
		"effects of rules":          {schemas["Rule"].Value.Properties["effect"].Value.Extensions["x-extensible-enum"], "../decide/policy/rule.go", "Effect"},
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

// Browsers neither guess what an answer is, nor render or frame it.
func TestAnswersAreNoPages(t *testing.T) {
	r := newRig(t)
	for path, token := range map[string]string{"/v1/runs": viewerToken, "/v1/me": "wrong", "/nowhere": "", "/healthz": "", "/openapi.yaml": ""} {
		w := r.get(path, token)
		if policy := w.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "frame-ancestors 'none'") || !strings.HasPrefix(policy, "default-src 'none'") {
			t.Errorf("%s: policy %q", path, policy)
		}
		if got := w.Header().Get("X-Content-Type-Options"); got != "nosniff" {
			t.Errorf("%s: content may be %q", path, got)
		}
		if got := w.Header().Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("%s: pages of %s may read it", path, got)
		}
	}
	if w := r.send("TRACE", "/v1/runs", "", "Authorization", "Bearer "+viewerToken); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("TRACE: %d", w.Code)
	}
}

func TestUnroutedRequests(t *testing.T) {
	r := newRig(t)
	wantProblem(t, r.send(http.MethodGet, "/nowhere", ""), http.StatusNotFound, "not-found")
	wantProblem(t, r.get("/v1/nowhere", viewerToken), http.StatusNotFound, "not-found")
	wantProblem(t, r.get("/v1/deliveries/01KDX4A7B3C5D7E9F1G3H5J7K9", viewerToken), http.StatusNotFound, "not-found")
	for path, allow := range map[string]string{"/webhook": "POST", "/v1/runs": "GET, HEAD", "/v1/redeliveries": "POST"} {
		w := r.send(http.MethodDelete, path, "", "Authorization", "Bearer "+viewerToken)
		wantProblem(t, w, http.StatusMethodNotAllowed, "method-not-allowed")
		if got := w.Header().Get("Allow"); got != allow {
			t.Errorf("%s: Allow is %q, want %q", path, got, allow)
		}
	}
}
