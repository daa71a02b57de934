package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/authority/issuertest"
	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/server"
)

// trusts makes a server take tokens of an issuer, and gives its groups dba and bots roles.
func trusts(i *issuertest.Issuer) option {
	return func(c *server.Config) {
		c.Issuers = []authority.Issuer{{
			Name: "sso", URL: i.URL, Audiences: []string{"gantry"}, NameClaim: "email", NamePrefix: new(""), GroupsClaim: "groups", AliasClaims: []string{"login"},
		}}
		c.Bindings = append(c.Bindings,
			authority.Binding{Who: []string{"group:dba"}, Role: authority.RoleApprover, Where: authority.Where{Stacks: []string{"network-*"}}},
			authority.Binding{Who: []string{"group:bots"}, Role: authority.RoleOperator})
	}
}

func jane(groups ...string) map[string]any {
	return map[string]any{"sub": "1", "aud": "gantry", "email": "jane@acme.example", "email_verified": true, "login": "jane-gh", "groups": groups}
}

// A person whom an issuer vouches for approves like one with a token: with the groups of
// the issuer, and excluded from what any of their names triggered or wrote.
func TestAPersonOfAnIssuerApproves(t *testing.T) {
	i := issuertest.New(t)
	r := newRig(t, trusts(i), func(c *server.Config) {
		c.People = append(c.People, decide.Person{Name: "Jane", Aliases: []string{"jane@acme.example", "jdoe"}})
	})
	r.temporal.set(asking())
	r.temporal.update = counts
	if w := r.post(i.Sign(jane("dba")), decisions, approve); w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	want := decide.Person{Name: "Jane", Aliases: []string{"jane@acme.example", "jdoe", "jane-gh"}, Groups: []string{"dba"}}
	if diff := cmp.Diff(want, r.temporal.updates[0].Args[0].(managed.Decision).By); diff != "" {
		t.Errorf("the decision is by (-want +got)\n%s", diff)
	}
	wantProblem(t, r.post(i.Sign(jane("bots")), decisions, approve), http.StatusForbidden, "forbidden")
	wantProblem(t, r.post(i.Sign(jane()), decisions, approve), http.StatusForbidden, "forbidden")
	if c := decode[api.Caller](t, r.get("/v1/me", i.Sign(jane("dba", "bots")))); c.How != "oidc" || c.Credential != "sso" || c.ExpiresAt == nil || len(c.Grants) != 2 {
		t.Errorf("the caller is %s", show(c))
	}
}

// While an issuer is away nobody's token counts or is refused, so a flood of them must not
// fill the log.
func TestAnIssuerThatIsAwayDoesNotFillTheLog(t *testing.T) {
	i := issuertest.New(t)
	token := i.Sign(jane("dba"))
	i.Close()
	r := newRig(t, trusts(i))
	for range 50 {
		wantProblem(t, r.get("/v1/me", token), http.StatusServiceUnavailable, "issuer-unavailable")
	}
	if n := len(r.log.entries(t, "issuer unavailable")); n < 10 || n > 20 {
		t.Errorf("%d lines about 50 requests, want the first ten", n)
	}
}

// What doesn't count is refused, with a remedy for the caller and no secret on the log.
func TestTokensOfIssuersThatDoNotCount(t *testing.T) {
	i, another := issuertest.New(t), issuertest.New(t)
	r := newRig(t, trusts(i))
	other := jane("dba")
	other["aud"] = "somebody"
	for token, want := range map[string]string{i.Sign(other): "audience", another.Sign(jane("dba")): "no issuer", "gantry_x.y.z": "no issuer", "gantry_x": "nobody has this token"} {
		p := wantProblem(t, r.get("/v1/me", token), http.StatusUnauthorized, "unauthenticated")
		if !strings.Contains(*p.Detail, want) {
			t.Errorf("detail %q lacks %q", *p.Detail, want)
		}
	}
	lines := r.log.entries(t, "token refused")
	if len(lines) != 4 || r.counter("gantry_api_refused_total")["reason=invalid-jwt"] != 3 {
		t.Errorf("logged %v", lines)
	}
	for _, l := range lines {
		if strings.Contains(show(l), "eyJ") {
			t.Errorf("it logs the token: %v", l)
		}
	}
	// Gantry's own tokens still count, and those of issuers do only where one is trusted.
	if w := r.get("/v1/me", viewerToken); w.Code != http.StatusOK {
		t.Errorf("a token of Gantry's: %d", w.Code)
	}
	wantProblem(t, newRig(t).get("/v1/me", i.Sign(jane("dba"))), http.StatusUnauthorized, "unauthenticated")
}
