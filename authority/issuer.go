package authority

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/time/rate"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/untrusted"
)

// Issuer is an issuer of OpenID Connect whose tokens Gantry takes from tools and people.
// Its tags are those of the settings in package config.
type Issuer struct {
	Name        string      `setting:"name" doc:"Name of the issuer in Gantry, such as github."`
	URL         string      `setting:"url" doc:"Address of the issuer, exactly as its tokens name it (iss), such as https://token.actions.githubusercontent.com."`
	Audiences   []string    `setting:"audiences" doc:"Audiences (aud) of tokens that are meant for Gantry; a token must have one of them."`
	NameClaim   string      `setting:"nameClaim" doc:"Claim that names the caller; sub by default. With email, the issuer must say that it is verified."`
	NamePrefix  *string     `setting:"namePrefix" doc:"Text before that name, so that two issuers can't name the same person. The issuer's name and a colon by default; empty for an issuer that names people as people does."`
	AliasClaims []string    `setting:"aliasClaims" doc:"Claims with further names of the caller, such as their login in version control. They only exclude: nobody approves a run that one of their names triggered or wrote."`
	GroupsClaim string      `setting:"groupsClaim" doc:"Claim with the caller's groups. Without one, the issuer gives none."`
	Groups      []string    `setting:"groups" doc:"Groups of every caller of this issuer who meets require."`
	Require     []Condition `setting:"require" doc:"Conditions that a token's claims must all meet."`
}

// Condition is a condition for a claim. Its tags are those of the settings in package
// config.
type Condition struct {
	Claim  string   `setting:"claim" doc:"Name of the claim, such as repository."`
	Values []string `setting:"values" doc:"Values of which the claim must have one; * stands for any text."`
}

// ClockSkew is the most by which an issuer's clock may differ from Gantry's.
const ClockSkew = time.Minute

// Limits of calls to an issuer. A token with an unknown key makes Gantry read the
// issuer's keys again, so strangers must not make it do so without end.
const (
	issuerTimeout = 10 * time.Second
	callsAtOnce   = 5
	callEvery     = 2 * time.Second
	retryIssuer   = 5 * time.Second
)

// signingAlgorithms are those of public keys. A token signed with none, or with a shared
// secret, is refused.
var signingAlgorithms = []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA}

// InvalidJWTError explains why a token of an issuer doesn't count. Why is for the
// caller: it names no secret and no claim's value.
type InvalidJWTError struct{ Why string }

func (e *InvalidJWTError) Error() string { return e.Why }

// IssuerUnavailableError reports that an issuer's keys can't be read.
type IssuerUnavailableError struct {
	Issuer string
	err    error
}

func (e *IssuerUnavailableError) Error() string {
	return fmt.Sprintf("read keys of issuer %s: %v", e.Issuer, e.err)
}

func (e *IssuerUnavailableError) Unwrap() error { return e.err }

// Identity is a caller as an issuer vouches for them.
type Identity struct {
	Issuer  string // its name in Gantry
	Name    string
	Aliases []string
	Groups  []string
	Expires time.Time
}

// Issuers verifies tokens of several issuers. It reads their keys when they are needed.
type Issuers struct{ all []*issuer }

type issuer struct {
	Issuer
	client *http.Client

	mu       sync.Mutex
	provider *oidc.Provider
	keys     oidc.KeySet
	failed   time.Time // the last attempt to read the issuer's configuration
	err      error     // of it
}

// NewIssuers returns the configured issuers. It calls none of them.
func NewIssuers(configured []Issuer) (*Issuers, error) {
	if err := errors.Join(issuerProblems(configured)...); err != nil {
		return nil, err
	}
	i := &Issuers{}
	for _, c := range configured {
		i.all = append(i.all, &issuer{Issuer: c, client: &http.Client{
			Timeout: issuerTimeout, Transport: &limited{http.DefaultTransport, rate.NewLimiter(rate.Every(callEvery), callsAtOnce)},
		}})
	}
	return i, nil
}

// IsJWT reports whether a bearer token has the form of an issuer's.
func IsJWT(token string) bool { return strings.Count(token, ".") == 2 }

// Identify verifies a bearer token and returns whom it stands for. An error is an
// *InvalidJWTError or an *IssuerUnavailableError.
func (i *Issuers) Identify(ctx context.Context, token string) (Identity, error) {
	for _, one := range i.all {
		if one.URL == claimedIssuer(token) {
			return one.identify(ctx, token, one.Audiences, "")
		}
	}
	return Identity{}, &InvalidJWTError{"the token is of no issuer that Gantry knows"}
}

// claimedIssuer returns the issuer that a token names, before anything is verified.
func claimedIssuer(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if payload, err := base64.RawURLEncoding.DecodeString(parts[1]); err != nil || json.Unmarshal(payload, &claims) != nil {
		return ""
	}
	return claims.Issuer
}

// identify verifies a token for one of some audiences. A nonce, unless empty, must be
// the token's.
func (i *issuer) identify(ctx context.Context, token string, audiences []string, nonce string) (Identity, error) {
	_, keys, err := i.discover(ctx)
	if err != nil {
		return Identity{}, err
	}
	watched := &watchedKeys{KeySet: keys}
	verified, err := oidc.NewVerifier(i.URL, watched, &oidc.Config{
		SkipClientIDCheck: true, SupportedSigningAlgs: signingAlgorithms,
		Now: func() time.Time { return time.Now().Add(-ClockSkew) }, // an expired token counts for so long
	}).Verify(oidc.ClientContext(ctx, i.client), token)
	switch {
	case watched.unreachable != nil:
		return Identity{}, &IssuerUnavailableError{i.Name, watched.unreachable}
	case is[*oidc.TokenExpiredError](err):
		return Identity{}, &InvalidJWTError{"the token has expired; get a new one from " + i.Name}
	case err != nil:
		return Identity{}, &InvalidJWTError{"the token isn't validly signed by " + i.Name + ", or isn't valid yet"}
	case !overlap(verified.Audience, audiences):
		return Identity{}, &InvalidJWTError{"the token is for another audience; ask " + i.Name + " for one with an audience that Gantry takes"}
	case nonce != "" && verified.Nonce != nonce:
		return Identity{}, &InvalidJWTError{"the token answers another sign-in; sign in again"}
	}
	claims := map[string]any{}
	if err := verified.Claims(&claims); err != nil {
		return Identity{}, &InvalidJWTError{"the token's claims can't be read"}
	}
	// The library's own leeway for nbf is larger than ours.
	if nbf, ok := claims["nbf"].(float64); ok && time.Unix(int64(nbf), 0).After(time.Now().Add(ClockSkew)) {
		return Identity{}, &InvalidJWTError{"the token isn't valid yet; check the clocks of " + i.Name + " and Gantry"}
	}
	who, err := i.of(claims)
	who.Expires = verified.Expiry
	return who, err
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// of reads the caller from claims.
func (i *issuer) of(claims map[string]any) (Identity, error) {
	for _, c := range i.Require {
		if !slices.ContainsFunc(texts(claims[c.Claim]), func(v string) bool {
			return slices.ContainsFunc(c.Values, func(pattern string) bool { return fits(pattern, v) })
		}) {
			return Identity{}, &InvalidJWTError{fmt.Sprintf("the token's claim %s isn't one that Gantry takes from %s", c.Claim, i.Name)}
		}
	}
	names := texts(claims[i.nameClaim()])
	if len(names) != 1 || names[0] == "" {
		return Identity{}, &InvalidJWTError{fmt.Sprintf("the token's claim %s doesn't name one caller", i.nameClaim())}
	}
	if err := decide.CheckName(names[0]); err != nil {
		return Identity{}, &InvalidJWTError{fmt.Sprintf("the token's claim %s can't be a name: %v", i.nameClaim(), err)}
	}
	if verified, _ := claims["email_verified"].(bool); i.nameClaim() == "email" && !verified {
		return Identity{}, &InvalidJWTError{i.Name + " doesn't say that the e-mail address is verified"}
	}
	who := Identity{Issuer: i.Name, Name: i.prefix() + names[0], Groups: slices.Clone(i.Groups)}
	for _, claim := range i.AliasClaims {
		who.Aliases = union(who.Aliases, aliases(claims[claim]))
	}
	if i.GroupsClaim != "" {
		who.Groups = union(who.Groups, texts(claims[i.GroupsClaim]))
	}
	return who, nil
}

func (i *issuer) nameClaim() string {
	if i.NameClaim == "" {
		return "sub"
	}
	return i.NameClaim
}

func (i *issuer) prefix() string {
	if i.NamePrefix == nil {
		return i.Name + ":"
	}
	return *i.NamePrefix
}

// texts returns the values of a claim that has one or several.
func texts(claim any) (all []string) {
	switch v := claim.(type) {
	case string:
		return []string{v}
	case bool, float64:
		return []string{fmt.Sprint(v)}
	case []any:
		for _, one := range v {
			if s, ok := one.(string); ok {
				all = append(all, s)
			}
		}
	}
	return all
}

// aliases returns the names of a claim as messages and logs may show them. It leaves none
// out: they exclude their bearer from approvals, who must not get rid of one by a character
// in it.
func aliases(claim any) (names []string) {
	for _, name := range texts(claim) {
		if name = decide.Fit(untrusted.Line(name), decide.MaxName); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// discover reads the issuer's configuration, once it is reachable.
func (i *issuer) discover(ctx context.Context) (*oidc.Provider, oidc.KeySet, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.provider != nil {
		return i.provider, i.keys, nil
	}
	if i.err != nil && time.Since(i.failed) < retryIssuer {
		return nil, nil, i.err
	}
	// The library keeps the client of the context for later calls, not the context.
	ctx = oidc.ClientContext(context.WithoutCancel(ctx), i.client)
	provider, err := oidc.NewProvider(ctx, i.URL)
	var endpoints struct {
		Keys string `json:"jwks_uri"`
	}
	if err == nil {
		err = provider.Claims(&endpoints)
	}
	if err != nil {
		i.failed, i.err = time.Now(), &IssuerUnavailableError{i.Name, err}
		return nil, nil, i.err
	}
	i.provider, i.keys = provider, oidc.NewRemoteKeySet(ctx, endpoints.Keys)
	return i.provider, i.keys, nil
}

// watchedKeys notes whether the keys could be read: the verifier only says that the
// signature isn't valid.
type watchedKeys struct {
	oidc.KeySet
	unreachable error
}

func (w *watchedKeys) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	payload, err := w.KeySet.VerifySignature(ctx, jwt)
	if is[*url.Error](err) {
		w.unreachable = err
	}
	return payload, err
}

// limited bounds the calls to an issuer.
type limited struct {
	http.RoundTripper
	calls *rate.Limiter
}

// errTooManyCalls reports that the issuer was called too often to be called now.
var errTooManyCalls = errors.New("the issuer was called too often within a few seconds")

// RoundTrip implements http.RoundTripper.
func (l *limited) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet && !l.calls.Allow() {
		return nil, errTooManyCalls
	}
	return l.RoundTripper.RoundTrip(r)
}

// issuerProblems reports invalid issuers, each with the setting that it concerns.
func issuerProblems(issuers []Issuer) (problems []error) {
	for n, i := range issuers {
		bad := func(format string, args ...any) {
			problems = append(problems, policy.At(fmt.Sprintf("issuers[%d]", n), fmt.Errorf(format, args...)))
		}
		same := func(what func(Issuer) string) bool {
			return slices.ContainsFunc(issuers[:n], func(o Issuer) bool { return what(o) == what(i) })
		}
		if i.Name == "" || same(func(i Issuer) string { return i.Name }) {
			bad("name: it is missing or configured twice; give each issuer a name")
		}
		if !SecureURL(i.URL) {
			bad("url: %q is not an address such as https://accounts.example.com", i.URL)
		} else if same(func(i Issuer) string { return i.URL }) {
			bad("url: another issuer has it too; remove one")
		}
		if len(i.Audiences) == 0 || slices.Contains(i.Audiences, "") {
			bad("audiences: give the audience of tokens that are meant for Gantry; others are for other services")
		}
		if len(i.Groups) > 0 && len(i.Require) == 0 {
			bad("groups: everybody whom the issuer knows would have them; say in require whose tokens count")
		}
		if slices.ContainsFunc(i.Require, func(c Condition) bool { return c.Claim == "" || len(c.Values) == 0 || slices.Contains(c.Values, "") }) {
			bad("require: a condition lacks its claim or values; give both")
		}
		if slices.Contains(slices.Concat(i.AliasClaims, i.Groups), "") {
			bad("groups: one of groups and aliasClaims is empty; remove it")
		}
	}
	return problems
}

// SecureURL reports whether an address has https, or is on this machine.
func SecureURL(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
}
