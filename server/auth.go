package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gantryhq/gantry/audit"
	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide"
)

// keyring knows the callers. It limits, logs and counts requests without valid
// credentials.
type keyring struct {
	rules    atomic.Pointer[authority.Rules]
	issuers  *authority.Issuers
	signIn   *signIn // nil for none
	trusts   bool    // issuers, whose people aren't known in advance
	sources  sources
	failures *refusalLimiter // a bucket of its own: neither failed notifications nor failed calls use up the other's
	refused  reasonCounters
	log      *slog.Logger
	audit    *audit.Log
}

// newKeyring fails only if the rules are invalid.
func newKeyring(cfg Config, m *metrics, log *slog.Logger) (*keyring, error) {
	rules, err := authority.NewRules(cfg.Tokens, cfg.People, cfg.Bindings)
	if err != nil {
		return nil, err
	}
	issuers, err := authority.NewIssuers(cfg.Issuers)
	if err != nil {
		return nil, err
	}
	k := &keyring{issuers: issuers, trusts: len(cfg.Issuers) > 0, sources: sources{cfg.TrustedProxies}, failures: newRefusalLimiter(cfg.Refusals), refused: m.refusedTokens, log: log, audit: cfg.Audit}
	k.rules.Store(rules)
	k.signIn, err = newSignIn(cfg, k)
	return k, err
}

type principalKey struct{}

// principalOf returns the caller: who they are, and what they may do where.
func principalOf(ctx context.Context) authority.Principal {
	p, _ := ctx.Value(principalKey{}).(authority.Principal)
	return p
}

// personOf returns the person who makes the request, never a name from its body.
func personOf(ctx context.Context) decide.Person { return principalOf(ctx).Person }

// authenticate passes on requests with valid credentials.
func (k *keyring) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := k.find(w, r)
		if err != nil {
			k.refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, withPrincipal(r, p))
	})
}

// recognize passes on every request, with the caller if they are known. It records a
// wrong token, although the request needs none.
func (k *keyring) recognize(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p, err := k.find(w, r); err == nil {
			r = withPrincipal(r, p)
		} else if isBearer(r.Header.Get("Authorization")) && !is[*authority.IssuerUnavailableError](err) { // a proxy may pass on its own credentials
			k.record(w, r, err)
		}
		next.ServeHTTP(w, r)
	})
}

// Reasons why a token is refused.
const (
	reasonNoToken      = "no-token"
	reasonUnknownToken = "unknown-token"
	reasonExpiredToken = "expired-token"
	reasonRevokedToken = "revoked-token"
	reasonInvalidJWT   = "invalid-jwt"
	reasonSessionEnded = "session-ended"
	reasonCrossSite    = "cross-site"
)

// errNoToken reports a request without a token.
var errNoToken = errors.New("no token")

// whyRefused returns the reason for the log, and the remedy for the caller. Only the
// bearer of a token that was valid learns what became of it.
func whyRefused(err error) (reason, remedy string) {
	switch {
	case errors.Is(err, authority.ErrSessionEnded):
		return reasonSessionEnded, "the session has ended; sign in again"
	case errors.Is(err, errNoToken), errors.Is(err, authority.ErrNoSession):
		return reasonNoToken, "send the header Authorization: Bearer <token>; an administrator creates tokens with gantry token create"
	case errors.Is(err, authority.ErrExpiredToken):
		return reasonExpiredToken, "the token has expired; an administrator creates another with gantry token create"
	case errors.Is(err, authority.ErrRevokedToken):
		return reasonRevokedToken, "the token was revoked; an administrator creates another with gantry token create"
	}
	if invalid, ok := errors.AsType[*authority.InvalidJWTError](err); ok {
		return reasonInvalidJWT, invalid.Why
	}
	return reasonUnknownToken, "nobody has this token; an administrator creates tokens with gantry token create"
}

// refuse answers a request without valid credentials.
func (k *keyring) refuse(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case is[*authority.IssuerUnavailableError](err):
		k.log.WarnContext(r.Context(), "issuer unavailable", "requestId", requestIDOf(w), "error", err)
		p, after := problemOf(err)
		writeProblemAfter(w, p, after)
		return
	case errors.Is(err, errCrossSite):
		k.refused.add(reasonCrossSite)
		p, _ := problemOf(err)
		writeProblem(w, p)
		return
	}
	remedy, wait := k.record(w, r, err)
	if wait > 0 {
		writeProblemAfter(w, problem(reasonTooMany, "send a valid token: those are never slowed down"), wait)
		return
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="gantry"`)
	writeProblem(w, problem("unauthenticated", remedy))
}

// record logs and counts a request without valid credentials, and returns the remedy.
// Beyond what its source may spend, for the time that it returns, the request leaves no
// trace but a counter, so that a flood can't fill the log. A valid token is never
// limited: others may share the address.
func (k *keyring) record(w http.ResponseWriter, r *http.Request, err error) (remedy string, wait time.Duration) {
	source := k.sources.of(r)
	if wait = k.failures.spend(bucketKey{source: Neighborhood(source)}); wait > 0 {
		k.refused.add(reasonTooMany)
		return "", wait
	}
	reason, remedy := whyRefused(err)
	k.refused.add(reason)
	k.log.WarnContext(r.Context(), "token refused", "requestId", requestIDOf(w), "reason", reason, "why", remedy, "source", sourceName(source, r),
		"method", r.Method, "path", r.URL.Path)
	_ = k.audit.Record(r.Context(), audit.Entry{ // which logs what can't be written
		By: "unknown", Source: sourceName(source, r), Action: audit.ActionToken, On: r.Method + " " + r.URL.Path,
		Result: audit.Refused, Detail: reason, RequestID: requestIDOf(w),
	})
	return remedy, 0
}

// isBearer reports whether a header Authorization is meant to hold a token.
func isBearer(authorization string) bool {
	scheme, _, ok := strings.Cut(authorization, " ")
	return ok && strings.EqualFold(scheme, "Bearer")
}

// find returns the caller. With two headers it is unclear which one counts, so neither
// does.
func (k *keyring) find(w http.ResponseWriter, r *http.Request) (authority.Principal, error) {
	headers := r.Header.Values("Authorization")
	switch {
	case len(headers) == 0 && k.signIn != nil:
		return k.signIn.principal(w, r)
	case len(headers) == 0:
		return authority.Principal{}, errNoToken
	}
	if len(headers) > 1 || !isBearer(headers[0]) {
		return authority.Principal{}, authority.ErrUnknownToken
	}
	_, token, _ := strings.Cut(headers[0], " ")
	token = strings.TrimSpace(token)
	p, err := k.rules.Load().OfToken(token, time.Now())
	if !errors.Is(err, authority.ErrUnknownToken) || !k.trusts || !authority.IsJWT(token) {
		return p, err
	}
	who, err := k.issuers.Identify(r.Context(), token)
	if err != nil {
		return authority.Principal{}, err
	}
	return k.rules.Load().Of(authority.HowOIDC, who), nil
}

// approvers returns the people who may approve; nil if issuers name people who aren't
// known in advance.
func (k *keyring) approvers() []decide.Person {
	if k.trusts {
		return nil
	}
	return k.rules.Load().Approvers(time.Now())
}
