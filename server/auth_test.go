package server_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/server"
)

// TestEveryOperationHasARole walks every operation of the contract with every
// role, with no token and with a wrong one.
func TestEveryOperationHasARole(t *testing.T) {
	tokens := map[server.Role]string{}
	r := newRig(t, func(c *server.Config) {
		c.Tokens, c.Refusals = nil, server.RefusalLimit{Burst: 1000}
		for _, role := range server.Roles {
			tokens[role] = "gantry_" + string(role)
			c.Tokens = append(c.Tokens, server.Token{Name: string(role), Role: role, Hash: server.TokenHash(tokens[role])})
		}
	})
	walked := 0
	for path, item := range contractOf(t).Paths.Map() {
		if !strings.HasPrefix(path, "/v1/") {
			continue
		}
		for method, op := range item.Operations() {
			needs, _ := op.Extensions["x-gantry-role"].(string)
			if needs == "" {
				t.Errorf("%s %s has no rule", method, path)
			}
			path, body := filled(path, "acme"), exampleBody(t, op)
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

func TestTwoTokensAreNone(t *testing.T) {
	w := newRig(t).send(http.MethodGet, "/v1/runs", "", "Authorization", "Bearer "+viewerToken, "Authorization", "Bearer "+operatorToken)
	wantProblem(t, w, http.StatusUnauthorized, "unauthenticated")
}

// Who may approve is known by the tokens: one person is one approver.
func TestApprovers(t *testing.T) {
	got := server.Approvers([]server.Token{
		{Name: "jane", Role: server.RoleApprover, Groups: []string{"platform"}}, {Name: "jane-laptop", Role: server.RoleAdmin, Groups: []string{"leads"}},
		{Name: "dashboards", Role: server.RoleViewer}, {Name: "ann", Role: server.RoleOperator},
	}, []decide.Person{{Name: "jane", Aliases: []string{"jane-laptop", "jane-gh"}}})
	want := []decide.Person{{Name: "ann"}, {Name: "jane", Aliases: []string{"jane-laptop", "jane-gh"}, Groups: []string{"platform", "leads"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// Each refused token is on the log and counted, and the token itself is on neither.
func TestRefusedTokensAreLoggedAndCounted(t *testing.T) {
	r := newRig(t)
	r.get("/v1/runs", "gantry_wrong")
	r.send(http.MethodGet, "/v1/accounts", "", "X-Request-Id", "mine")
	lines := r.log.entries(t, "token refused")
	if len(lines) != 2 || lines[0]["reason"] != "unknown-token" || lines[0]["path"] != "/v1/runs" || lines[0]["source"] != "192.0.2.1" ||
		lines[1]["reason"] != "no-token" || lines[1]["requestId"] != "mine" {
		t.Errorf("logged %v", lines)
	}
	for _, l := range lines {
		if strings.Contains(show(l), "gantry_wrong") {
			t.Errorf("it logs the token: %v", l)
		}
	}
	want := map[string]float64{"reason=no-token": 1, "reason=unknown-token": 1, "reason=too-many-failures": 0}
	if diff := cmp.Diff(want, r.counter("gantry_api_refused_total")); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

// One source can't fill the log with refused tokens. Those who have a valid token behind
// the same address are served, and so are the notifications from it.
func TestRefusedTokensAreThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		for range 50 {
			wantProblem(t, r.get("/v1/runs", "gantry_wrong"), http.StatusUnauthorized, "unauthenticated")
		}
		for range 10 {
			w := r.get("/v1/runs", "gantry_wrong")
			p := wantProblem(t, w, http.StatusTooManyRequests, "too-many-failures")
			if w.Header().Get("Retry-After") != "1" || !strings.Contains(*p.Detail, "token") {
				t.Errorf("after %s seconds: %s", w.Header().Get("Retry-After"), *p.Detail)
			}
		}
		if n := len(r.log.entries(t, "token refused")); n != 50 {
			t.Errorf("%d lines are on the log", n)
		}
		if got := r.counter("gantry_api_refused_total"); got["reason=unknown-token"] != 50 || got["reason=too-many-failures"] != 10 {
			t.Errorf("counted %v", got)
		}
		if w := r.get("/v1/accounts", viewerToken); w.Code != http.StatusOK {
			t.Errorf("a valid token: %d %s", w.Code, w.Body)
		}
		wantProblem(t, r.deliver("guess", example(t, "run_tracked_queued")), http.StatusUnauthorized, "signature-mismatch")
		<-time.After(time.Second)
		wantProblem(t, r.get("/v1/runs", "gantry_wrong"), http.StatusUnauthorized, "unauthenticated")
	})
}
