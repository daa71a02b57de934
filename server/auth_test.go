package server_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

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
		c.Tokens = nil
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
