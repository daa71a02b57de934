package authority_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide"
)

var now = time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)

func rules(t *testing.T, tokens []authority.Token, people []decide.Person, bindings ...authority.Binding) *authority.Rules {
	t.Helper()
	for i := range tokens {
		tokens[i].Hash = authority.TokenHash(tokens[i].Name)
	}
	r, err := authority.NewRules(tokens, people, bindings)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The tokens say who may approve: one person is one approver. An operator may not.
func TestApprovers(t *testing.T) {
	r := rules(t, []authority.Token{
		{Name: "jane", Role: authority.RoleApprover, Groups: []string{"platform"}}, {Name: "jane-laptop", Role: authority.RoleAdmin, Groups: []string{"leads"}},
		{Name: "dashboards", Role: authority.RoleViewer}, {Name: "ci", Role: authority.RoleOperator}, {Name: "ann", Groups: []string{"dba"}},
		{Name: "late", Role: authority.RoleApprover, Expires: "2026-01-01"}, {Name: "gone", Role: authority.RoleApprover, Revoked: "2026-01-01"},
	}, []decide.Person{{Name: "jane", Aliases: []string{"jane-laptop", "jane-gh"}, Groups: []string{"sre"}}},
		authority.Binding{Who: []string{"group:dba"}, Role: authority.RoleApprover, Where: authority.Where{Labels: []string{"db"}}})
	want := []decide.Person{{Name: "ann", Groups: []string{"dba"}}, {Name: "jane", Aliases: []string{"jane-laptop", "jane-gh"}, Groups: []string{"sre", "platform", "leads"}}}
	if diff := cmp.Diff(want, r.Approvers(now)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// A token counts until it expires or is revoked; its last use is known.
func TestTokenEnds(t *testing.T) {
	r := rules(t, []authority.Token{
		{Name: "day", Role: authority.RoleViewer, Expires: "2026-01-02"}, {Name: "hour", Role: authority.RoleViewer, Expires: "2026-01-01T11:00:00+01:00"},
		{Name: "revoked", Role: authority.RoleViewer, Revoked: "2025-12-01"}, {Name: "idle", Role: authority.RoleViewer},
	}, nil)
	for _, tt := range []struct {
		token string
		at    time.Time
		want  error
	}{
		{"day", now, nil}, {"day", now.Add(14 * time.Hour), authority.ErrExpiredToken},
		{"hour", now.Add(-time.Second), nil}, {"hour", now, authority.ErrExpiredToken},
		{"revoked", now, authority.ErrRevokedToken}, {"guess", now, authority.ErrUnknownToken}, {"", now, authority.ErrUnknownToken},
	} {
		p, err := r.OfToken(authority.TokenHash(tt.token), tt.at)
		if !errors.Is(err, tt.want) || p.Is() != (tt.want == nil) {
			t.Errorf("%s at %s: %v %v", tt.token, tt.at, p, err)
		}
	}
	var used []time.Time
	for _, k := range r.Tokens() {
		used = append(used, k.Used)
	}
	if diff := cmp.Diff([]time.Time{now, now.Add(-time.Second), {}, {}}, used); diff != "" {
		t.Errorf("last use (-want +got)\n%s", diff)
	}
}

// Names that a token of another issuer claims exclude from approvals, and give no role.
func TestClaimedNamesGiveNothing(t *testing.T) {
	r := rules(t, nil, []decide.Person{{Name: "jane", Aliases: []string{"jane@acme.example"}, Groups: []string{"dba"}}},
		authority.Binding{Who: []string{"user:jane"}, Role: authority.RoleAdmin}, authority.Binding{Who: []string{"group:dba"}, Role: authority.RoleApprover},
		authority.Binding{Who: []string{"token:jane@acme.example"}, Role: authority.RoleOperator})
	mallory := r.Of(authority.HowOIDC, authority.Identity{Issuer: "sso", Name: "mallory@acme.example", Aliases: []string{"jane", "jane@acme.example"}})
	if len(mallory.Grants) != 0 || !mallory.Person.IsCalled("jane") {
		t.Errorf("claimed: %+v", mallory)
	}
	jane := r.Of(authority.HowOIDC, authority.Identity{Issuer: "sso", Name: "JANE@acme.example", Aliases: []string{"jane-gh"}, Groups: []string{"sre"}})
	want := decide.Person{Name: "jane", Aliases: []string{"jane@acme.example", "jane-gh"}, Groups: []string{"dba", "sre"}}
	if diff := cmp.Diff(want, jane.Person); diff != "" || !cmp.Equal(jane.Roles(), []authority.Role{authority.RoleApprover, authority.RoleAdmin}) {
		t.Errorf("configured: %v (-want +got)\n%s", jane.Roles(), diff)
	}
}

// However a system composes the letters of a name, it names the person, group or token
// that the configuration means.
func TestNamesInOtherForms(t *testing.T) {
	const composed, parts = "Jos\u00e9", "Jose\u0301"
	bindings := []authority.Binding{
		{Who: []string{"user:" + parts}, Role: authority.RoleViewer}, {Who: []string{"group:" + parts}, Role: authority.RoleApprover},
		{Who: []string{"token:" + parts}, Role: authority.RoleOperator},
	}
	r := rules(t, []authority.Token{{Name: composed, Groups: []string{composed}}}, []decide.Person{{Name: composed, Groups: []string{parts}}}, bindings...)
	p, err := r.OfToken(authority.TokenHash(composed), now)
	if err != nil || !cmp.Equal(p.Roles(), []authority.Role{authority.RoleViewer, authority.RoleApprover, authority.RoleOperator}) {
		t.Errorf("by token: %+v %v", p, err)
	}
	want := decide.Person{Name: composed, Groups: []string{parts}}
	if diff := cmp.Diff(want, r.Of(authority.HowOIDC, authority.Identity{Name: parts, Groups: []string{composed}}).Person); diff != "" {
		t.Errorf("by an issuer (-want +got)\n%s", diff)
	}
}

func TestRoles(t *testing.T) {
	for _, tt := range []struct {
		role     authority.Role
		includes []authority.Role
	}{
		{authority.RoleViewer, []authority.Role{"viewer"}},
		{authority.RoleApprover, []authority.Role{"viewer", "approver"}},
		{authority.RoleOperator, []authority.Role{"viewer", "operator"}},
		{authority.RoleAdmin, authority.Roles},
		{"", nil}, {"owner", nil},
	} {
		var got []authority.Role
		for _, needed := range append([]authority.Role{"", "owner"}, authority.Roles...) {
			if tt.role.Includes(needed) {
				got = append(got, needed)
			}
		}
		if diff := cmp.Diff(tt.includes, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", tt.role, diff)
		}
	}
}

// Every problem is reported, with the setting that it concerns.
func TestInvalidRules(t *testing.T) {
	hash := authority.TokenHash("x")
	_, err := authority.NewRules([]authority.Token{
		{Name: "a", Role: "owner", Hash: hash}, {Name: "A", Role: authority.RoleViewer, Hash: hash}, {Name: "", Role: authority.RoleViewer, Hash: "zz"},
		{Name: "useless", Hash: authority.TokenHash("y")}, {Name: "late", Role: authority.RoleViewer, Hash: authority.TokenHash("z"), Expires: "tomorrow"},
		{Name: "last", Role: authority.RoleViewer, Hash: authority.TokenHash("w"), Expires: "9999-12-31T23:00:00-12:00"}, // in UTC, of a year that JSON can't hold
		{Name: "Jos\u00e9", Role: authority.RoleViewer, Hash: authority.TokenHash("1")}, {Name: "Jose\u0301", Role: authority.RoleViewer, Hash: authority.TokenHash("2")},
		{Name: "a\u200bnn", Role: authority.RoleViewer, Hash: authority.TokenHash("3"), Groups: []string{"dba\u202e"}},
	}, []decide.Person{{Name: "jane"}, {Name: "joe", Aliases: []string{"Jane", ""}}, {}, {Name: "bob", Aliases: []string{"ﬁona"}, Groups: []string{" "}}}, []authority.Binding{
		{Role: authority.RoleViewer}, {Who: []string{"jane", "group:"}, Role: "boss"},
		{Who: []string{"user:jane", "group:dba\u200b"}, Role: authority.RoleViewer, Where: authority.Where{Stacks: []string{"[a"}, Spaces: []string{""}}},
	})
	if err == nil {
		t.Fatal("it is accepted")
	}
	for _, want := range []string{
		`tokens[0].role: there is no role "owner"`, "tokens[1].name: it is configured twice", "tokens[1].hash: another token has it too", "tokens[2].name: it is missing",
		"tokens[2].hash: it is not 64 hex digits", "tokens[3].role: it is missing, and no binding is about",
		`tokens[4].expires: "tomorrow" is neither a day`, `tokens[5].expires: "9999-12-31T23:00:00-12:00" is neither a day`,
		"people[1].name: Jane is a name of jane too", "people[1].aliases: one is empty", "people[2].name: it is missing",
		"bindings[0].who: it is missing", `bindings[1].who: "jane" is not user:NAME`, `bindings[1].who: "group:" is not`, `bindings[1].role: there is no role "boss"`,
		"tokens[7].name: it is configured twice", `tokens[8].name: "a\u200bnn" can't be a name: it contains U+200B`, `tokens[8].groups: "dba\u202e" can't be a group: it contains U+202E`,
		`people[3].name: "\ufb01ona" can't be a name: it contains ﬁ (U+FB01), which stands for fi`, `people[3].groups: " " can't be a group`,
		`bindings[2].who: "dba\u200b" can't be a name`, "bindings[2].where: one of its values is empty",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("it lacks %q:\n%v", want, err)
		}
	}
}
