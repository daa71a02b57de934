package server_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/server"
)

func TestGetCaller(t *testing.T) {
	r := newRig(t, func(c *server.Config) {
		c.Tokens[2].Expires = "2099-01-31"
		c.Bindings = []authority.Binding{{Who: []string{"user:acook"}, Role: authority.RoleOperator, Where: authority.Where{Accounts: []string{"acme"}, Labels: []string{"db"}}}}
	})
	want := api.Caller{
		Name: "Ann", Aliases: []string{"ann", "ann-laptop", "acook"}, Groups: []string{"platform"}, How: "token", Credential: "ann",
		ExpiresAt: new(time.Date(2099, 1, 31, 0, 0, 0, 0, time.UTC)),
		Grants:    []api.Grant{{Role: "approver"}, {Role: "operator", Accounts: []string{"acme"}, Labels: []string{"db"}}},
	}
	if diff := cmp.Diff(want, decode[api.Caller](t, r.get("/v1/me", approverToken))); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// Administrators see when each token was used last, and never the token or its hash.
// Expired and revoked ones are refused, with what became of them.
func TestListTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tomorrow := time.Now().Add(24 * time.Hour).UTC()
		r := newRig(t, func(c *server.Config) {
			c.Tokens = []authority.Token{
				{Name: "root", Role: authority.RoleAdmin, Hash: authority.TokenHash("root")},
				{Name: "ci", Role: authority.RoleViewer, Groups: []string{"bots"}, Hash: authority.TokenHash("ci"), Expires: authority.Instant(tomorrow.Format(time.RFC3339))},
				{Name: "old", Role: authority.RoleViewer, Hash: authority.TokenHash("old"), Revoked: "2025-12-01"},
			}
		})
		r.get("/v1/me", "ci")
		used := time.Now().UTC()
		<-time.After(time.Hour)
		w := r.get("/v1/tokens", "root")
		want := []api.Token{
			{Name: "root", Groups: []string{}, Grants: []api.Grant{{Role: "admin"}}, LastUsedAt: new(time.Now().UTC())},
			{Name: "ci", Groups: []string{"bots"}, Grants: []api.Grant{{Role: "viewer"}}, LastUsedAt: &used, ExpiresAt: new(tomorrow.Truncate(time.Second))},
			{Name: "old", Groups: []string{}, Grants: []api.Grant{{Role: "viewer"}}, RevokedAt: new(time.Date(2025, 12, 1, 0, 0, 0, 0, time.UTC))},
		}
		if diff := cmp.Diff(want, decode[api.TokenList](t, w).Tokens); diff != "" || strings.Contains(w.Body.String(), authority.TokenHash("ci")) {
			t.Errorf("(-want +got)\n%s", diff)
		}
		wantProblem(t, r.get("/v1/tokens", "ci"), http.StatusForbidden, "forbidden")
		p := wantProblem(t, r.get("/v1/me", "old"), http.StatusUnauthorized, "unauthenticated")
		if !strings.Contains(*p.Detail, "revoked") {
			t.Errorf("detail %q", *p.Detail)
		}
		<-time.After(23 * time.Hour)
		p = wantProblem(t, r.get("/v1/me", "ci"), http.StatusUnauthorized, "unauthenticated")
		if !strings.Contains(*p.Detail, "expired") {
			t.Errorf("detail %q", *p.Detail)
		}
		if got := r.counter("gantry_api_refused_total"); got["reason=expired-token"] != 1 || got["reason=revoked-token"] != 1 {
			t.Errorf("counted %v", got)
		}
	})
}
