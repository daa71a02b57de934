package authority_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/authority/issuertest"
)

// trusting returns the issuers of a configuration with one.
func trusting(t *testing.T, i *issuertest.Issuer, edit func(*authority.Issuer)) *authority.Issuers {
	t.Helper()
	one := authority.Issuer{Name: "sso", URL: i.URL, Audiences: []string{"gantry"}}
	if edit != nil {
		edit(&one)
	}
	all, err := authority.NewIssuers([]authority.Issuer{one})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// unsigned returns a token with the algorithm none.
func unsigned(t *testing.T, claims map[string]any) string {
	t.Helper()
	b, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString(b) + "."
}

// signedByPublicKey returns a token with a MAC whose key is the issuer's public key.
func signedByPublicKey(t *testing.T, i *issuertest.Issuer, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: i.PublicKey()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(b)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// Only a live token that the issuer signed, for Gantry, that meets the conditions counts.
func TestBearerTokensOfIssuers(t *testing.T) {
	i, another := issuertest.New(t), issuertest.New(t)
	good := map[string]any{"sub": "repo:acme/infra:ref:refs/heads/main", "aud": []string{"other", "gantry"}, "repository": "acme/infra", "ref": "refs/heads/main", "actor": "jane-gh"}
	with := func(name string, value any) map[string]any {
		claims := maps.Clone(good)
		claims[name] = value
		return claims
	}
	whole := maps.Clone(good)
	maps.Copy(whole, map[string]any{"iss": i.URL, "exp": time.Now().Add(time.Hour).Unix()})
	tampered := strings.Split(i.Sign(good), ".")
	tampered[1] = strings.Split(i.Sign(with("sub", "somebody")), ".")[1]
	inMinutes := func(n float64) int64 { return time.Now().Add(time.Duration(n * float64(time.Minute))).Unix() }
	issuers := trusting(t, i, func(c *authority.Issuer) {
		c.Require = []authority.Condition{{Claim: "repository", Values: []string{"acme/*"}}, {Claim: "ref", Values: []string{"refs/heads/main", "refs/tags/*"}}}
		c.Groups, c.AliasClaims = []string{"deployers"}, []string{"actor"}
	})
	for name, tt := range map[string]struct{ token, refused string }{
		"good":                             {i.Sign(good), ""},
		"just expired":                     {i.Sign(with("exp", inMinutes(-0.5))), ""},
		"expired":                          {i.Sign(with("exp", inMinutes(-2))), "has expired"},
		"valid in a moment":                {i.Sign(with("nbf", inMinutes(0.5))), ""},
		"not valid yet":                    {i.Sign(with("nbf", inMinutes(2))), "valid yet"},
		"not valid for long":               {i.Sign(with("nbf", inMinutes(60))), "valid yet"},
		"for somebody else":                {i.Sign(with("aud", "other")), "another audience"},
		"for nobody":                       {i.Sign(with("aud", []string{})), "another audience"},
		"of another issuer":                {another.Sign(good), "of no issuer"},
		"of another issuer under its name": {another.Sign(with("iss", i.URL)), "isn't validly signed"},
		"without a signature":              {unsigned(t, whole), "isn't validly signed"},
		"signed with the public key":       {signedByPublicKey(t, i, whole), "isn't validly signed"},
		"tampered with":                    {strings.Join(tampered, "."), "isn't validly signed"},
		"another repository":               {i.Sign(with("repository", "mallory/acme")), "claim repository"},
		"another branch":                   {i.Sign(with("ref", "refs/heads/mainly")), "claim ref"},
		"without a condition's claim":      {i.Sign(with("ref", nil)), "claim ref"},
		"without a name":                   {i.Sign(with("sub", "")), "doesn't name one caller"},
		"with a name that controls":        {i.Sign(with("sub", "jane\n\x1b[2J")), "claim sub can't be a name"},
		"with two names":                   {i.Sign(with("sub", []string{"a", "b"})), "isn't validly signed"},
		"no token":                         {"a.b.c", "of no issuer"},
	} {
		t.Run(name, func(t *testing.T) {
			who, err := issuers.Identify(t.Context(), tt.token)
			if tt.refused == "" {
				want := authority.Identity{Issuer: "sso", Name: "sso:repo:acme/infra:ref:refs/heads/main", Aliases: []string{"jane-gh"}, Groups: []string{"deployers"}}
				if diff := cmp.Diff(want, who, cmpopts.IgnoreFields(who, "Expires")); diff != "" || err != nil {
					t.Errorf("%v (-want +got)\n%s", err, diff)
				}
				return
			}
			invalid, ok := errors.AsType[*authority.InvalidJWTError](err)
			if !ok || !strings.Contains(invalid.Why, tt.refused) || who.Name != "" {
				t.Errorf("%+v: %v", who, err)
			}
		})
	}
}

// A rotated key counts immediately, and the one before it no more. A flood of tokens with
// unknown keys makes a bounded number of calls.
func TestKeysRotate(t *testing.T) {
	i := issuertest.New(t)
	issuers := trusting(t, i, nil)
	claims := map[string]any{"sub": "jane", "aud": "gantry"}
	old := i.Sign(claims)
	if _, err := issuers.Identify(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	i.Rotate()
	if _, err := issuers.Identify(t.Context(), i.Sign(claims)); err != nil {
		t.Errorf("the new key: %v", err)
	}
	if _, err := issuers.Identify(t.Context(), old); err == nil {
		t.Error("the old key still counts")
	}
	for range 50 {
		_, _ = issuers.Identify(t.Context(), old)
	}
	if n := i.Calls("/keys"); n > 6 {
		t.Errorf("the keys were read %d times", n)
	}
	if _, err := issuers.Identify(t.Context(), i.Sign(claims)); err != nil {
		t.Errorf("the new key after a flood: %v", err)
	}
}

// An issuer that is away is reported as that, and asked again.
func TestIssuerIsAway(t *testing.T) {
	i := issuertest.New(t)
	issuers := trusting(t, i, nil)
	token := i.Sign(map[string]any{"sub": "jane", "aud": "gantry"})
	i.Close()
	for range 3 {
		_, err := issuers.Identify(t.Context(), token)
		if _, ok := errors.AsType[*authority.IssuerUnavailableError](err); !ok {
			t.Errorf("got %v", err)
		}
	}
}

func TestNamesOfIssuers(t *testing.T) {
	i := issuertest.New(t)
	for name, tt := range map[string]struct {
		edit    func(*authority.Issuer)
		claims  map[string]any
		want    authority.Identity
		refused string
	}{
		"an e-mail address": {
			func(c *authority.Issuer) { c.NameClaim, c.NamePrefix, c.GroupsClaim = "email", new(""), "groups" },
			map[string]any{"email": "jane@acme.example", "email_verified": true, "groups": []string{"dba", "sre"}},
			authority.Identity{Name: "jane@acme.example", Groups: []string{"dba", "sre"}}, "",
		},
		"not verified": {
			func(c *authority.Issuer) { c.NameClaim = "email" }, map[string]any{"email": "jane@acme.example", "email_verified": false}, authority.Identity{}, "verified",
		},
		"perhaps verified": {
			func(c *authority.Issuer) { c.NameClaim = "email" }, map[string]any{"email": "jane@acme.example"}, authority.Identity{}, "verified",
		},
		"aliases that nobody gets rid of": {
			func(c *authority.Issuer) { c.AliasClaims = []string{"login"} }, map[string]any{"login": []string{"jane\u202e-gh ", "", "ｊａｎｅ"}},
			authority.Identity{Name: "sso:jane", Aliases: []string{"jane\ufffd-gh", "ｊａｎｅ"}}, "",
		},
		"a name that another system may give somebody else": {nil, map[string]any{"sub": "ｊａｎｅ"}, authority.Identity{}, "claim sub can't be a name: it contains"},
		"a name with what nobody sees":                      {nil, map[string]any{"sub": "ja\u200bne"}, authority.Identity{}, "U+200B"},
		"one group": {
			func(c *authority.Issuer) { c.GroupsClaim = "team" }, map[string]any{"team": "dba"}, authority.Identity{Name: "sso:jane", Groups: []string{"dba"}}, "",
		},
		"groups that nobody asked for": {
			nil, map[string]any{"groups": []string{"admins"}}, authority.Identity{Name: "sso:jane"}, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			claims := map[string]any{"sub": "jane", "aud": "gantry"}
			maps.Copy(claims, tt.claims)
			who, err := trusting(t, i, tt.edit).Identify(t.Context(), i.Sign(claims))
			if tt.refused != "" {
				if err == nil || !strings.Contains(err.Error(), tt.refused) {
					t.Errorf("%+v: %v", who, err)
				}
				return
			}
			tt.want.Issuer = "sso"
			if diff := cmp.Diff(tt.want, who, cmpopts.IgnoreFields(who, "Expires")); diff != "" || err != nil {
				t.Errorf("%v (-want +got)\n%s", err, diff)
			}
		})
	}
}

func TestInvalidIssuers(t *testing.T) {
	_, err := authority.NewIssuers([]authority.Issuer{
		{Name: "a", URL: "http://accounts.example.com", Audiences: []string{"gantry"}},
		{Name: "a", URL: "https://b.example.com", Groups: []string{"dba"}},
		{Name: "c", URL: "https://b.example.com", Audiences: []string{""}, Require: []authority.Condition{{Claim: "x"}}},
	})
	if err == nil {
		t.Fatal("they are accepted")
	}
	for _, want := range []string{
		"issuers[0].url:", "issuers[1].name:", "issuers[1].audiences:", "issuers[1].groups: everybody", "issuers[2].url: another", "issuers[2].audiences:", "issuers[2].require:",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("it lacks %q:\n%v", want, err)
		}
	}
}

func TestPatterns(t *testing.T) {
	for _, tt := range []struct {
		pattern, id string
		want        bool
	}{
		{"network-prod", "network-prod", true}, {"network-prod", "network-prod2", false}, {"network-*", "network-", true}, {"*-prod", "a-prod", true},
		{"*-prod", "a-prod-b", false}, {"a*b*c", "abbc", true}, {"a*b*c", "acb", false}, {"*", "", true}, {"ab*ba", "aba", false}, {"[a", "[a", true},
	} {
		p := authority.Principal{Grants: []authority.Grant{{Role: authority.RoleViewer, Where: authority.Where{Stacks: []string{tt.pattern}}}}}
		if got := p.May(authority.RoleViewer, authority.Stack{Account: "acme", ID: tt.id}); got != tt.want {
			t.Errorf("%s fits %s: %t", tt.pattern, tt.id, got)
		}
	}
}
