package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
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
	signIn   *signIn       // nil for none
	peers    *peers        // the other replicas, which learn of a sign-out
	self     func() string // id of this replica
	trusts   bool          // issuers, whose people aren't known in advance
	sources  sources
	failures *refusalLimiter // a bucket of its own: neither failed notifications nor failed calls use up the other's
	away     *lineLimit      // lines about issuers that are away: strangers can cause them
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
	k := &keyring{issuers: issuers, trusts: len(cfg.Issuers) > 0, sources: sources{cfg.TrustedProxies}, failures: newRefusalLimiter(cfg.Refusals), away: newLineLimit(1, 10), refused: m.refusedTokens, log: log, audit: cfg.Audit}
	k.rules.Store(rules)
	k.signIn, err = newSignIn(cfg, k)
	return k, err
}

// reload replaces the rules. The tokens in both keep their last use.
func (k *keyring) reload(rules *authority.Rules) {
	rules.KeepUse(k.rules.Load())
	k.rules.Store(rules)
}

// caller is the principal of a request, and a way to look them up again.
type caller struct {
	authority.Principal

	// again returns the caller by the configuration of now, or why their credentials no
	// longer count.
	again func(now time.Time) (authority.Principal, error)
}

// callerBy returns a caller, whom it looks up.
func callerBy(lookup func(now time.Time) (authority.Principal, error)) (caller, error) {
	p, err := lookup(time.Now())
	return caller{p, lookup}, err
}

type callerKey struct{}

// withCaller passes on the caller of a request.
func withCaller(r *http.Request, c caller) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), callerKey{}, c))
}

// principalOf returns the caller: who they are, and what they may do where.
func principalOf(ctx context.Context) authority.Principal {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c.Principal
}

// principalNow returns the caller as of now. A request that lasts, such as a stream, asks
// again: a session may have ended, a token may be revoked, and roles may have changed.
func principalNow(ctx context.Context) (authority.Principal, error) {
	c, ok := ctx.Value(callerKey{}).(caller)
	if !ok {
		return authority.Principal{}, errNoToken
	}
	return c.again(time.Now())
}

// personOf returns the person who makes the request, never a name from its body.
func personOf(ctx context.Context) decide.Person { return principalOf(ctx).Person }

// authenticate passes on requests with valid credentials.
func (k *keyring) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := k.find(w, r)
		if err != nil {
			k.refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, withCaller(r, c))
	})
}

// recognize passes on every request, with the caller if they are known. It records a
// wrong token, although the request needs none.
func (k *keyring) recognize(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := k.find(w, r); err == nil {
			r = withCaller(r, c)
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
	reasonInsecure     = "insecure"
	reasonUnavailable  = "issuer-unavailable"
)

// errNoToken reports a request without a token.
var errNoToken = errors.New("no token")

// remedies explains each reason to the caller. Only the bearer of a token that was valid
// learns what became of it.
var remedies = map[string]string{
	reasonNoToken:      "send the header Authorization: Bearer <token>; an administrator creates tokens with gantry token create",
	reasonUnknownToken: "nobody has this token; an administrator creates tokens with gantry token create",
	reasonExpiredToken: "the token has expired; an administrator creates another with gantry token create",
	reasonRevokedToken: "the token was revoked; an administrator creates another with gantry token create",
	reasonSessionEnded: "the session has ended; sign in again",
	reasonInsecure:     "sign in over https or on this machine: browsers keep no session elsewhere",
}

// whyRefused returns the reason for the log, and the remedy for the caller.
func whyRefused(err error) (reason, remedy string) {
	if invalid, ok := errors.AsType[*authority.InvalidJWTError](err); ok {
		return reasonInvalidJWT, invalid.Why
	}
	for reason, of := range map[string][]error{
		reasonSessionEnded: {authority.ErrSessionEnded}, reasonNoToken: {errNoToken, authority.ErrNoSession}, reasonExpiredToken: {authority.ErrExpiredToken},
		reasonRevokedToken: {authority.ErrRevokedToken}, reasonInsecure: {errInsecure},
	} {
		if slices.ContainsFunc(of, func(target error) bool { return errors.Is(err, target) }) {
			return reason, remedies[reason]
		}
	}
	return reasonUnknownToken, remedies[reasonUnknownToken]
}

// refuse answers a request without valid credentials.
func (k *keyring) refuse(w http.ResponseWriter, r *http.Request, err error) {
	why := k.record(w, r, err)
	switch {
	case why.reason == reasonUnavailable, why.reason == reasonCrossSite:
		p, after := problemOf(err)
		writeProblemAfter(w, p, after)
	case why.wait > 0:
		writeProblemAfter(w, problem(reasonTooMany, "send a valid token: those are never slowed down"), why.wait)
	default:
		w.Header().Set("WWW-Authenticate", `Bearer realm="gantry"`)
		writeProblem(w, problem("unauthenticated", why.remedy))
	}
}

// refusedCaller explains why a request has no valid credentials.
type refusedCaller struct {
	reason, remedy string
	wait           time.Duration // that its source has to wait; 0 for none
}

// record logs and counts a request without valid credentials. Beyond what its source may
// spend, the request leaves no trace but a counter, so that a flood can't fill the log. A
// valid token is never limited: others may share the address.
func (k *keyring) record(w http.ResponseWriter, r *http.Request, err error) refusedCaller {
	switch {
	case is[*authority.IssuerUnavailableError](err):
		if k.away.allow(r.Context(), k.log, slog.LevelWarn, "requests without a line of their own: the issuer of their token is unavailable") {
			k.log.WarnContext(r.Context(), "issuer unavailable", "requestId", requestIDOf(w), "error", err)
		}
		return refusedCaller{reason: reasonUnavailable}
	case errors.Is(err, errCrossSite):
		k.refused.add(reasonCrossSite)
		return refusedCaller{reason: reasonCrossSite}
	}
	source := k.sources.of(r)
	if wait := k.failures.spend(bucketKey{source: Neighborhood(source)}); wait > 0 {
		k.refused.add(reasonTooMany)
		return refusedCaller{reason: reasonTooMany, wait: wait}
	}
	reason, remedy := whyRefused(err)
	k.refused.add(reason)
	k.log.WarnContext(r.Context(), "token refused", "requestId", requestIDOf(w), "reason", reason, "why", remedy, "source", sourceName(source, r),
		"method", r.Method, "path", r.URL.Path)
	_ = k.audit.Record(r.Context(), audit.Entry{ // which logs what can't be written
		By: "unknown", Source: sourceName(source, r), Action: audit.ActionToken, On: r.Method + " " + r.URL.Path,
		Result: audit.Refused, Detail: reason, RequestID: requestIDOf(w),
	})
	return refusedCaller{reason: reason, remedy: remedy}
}

// isBearer reports whether a header Authorization is meant to hold a token.
func isBearer(authorization string) bool {
	scheme, _, ok := strings.Cut(authorization, " ")
	return ok && strings.EqualFold(scheme, "Bearer")
}

// find returns the caller. With two headers it is unclear which one counts, so neither
// does.
func (k *keyring) find(w http.ResponseWriter, r *http.Request) (caller, error) {
	headers := r.Header.Values("Authorization")
	switch {
	case len(headers) == 0 && k.signIn != nil:
		return k.signIn.caller(w, r)
	case len(headers) == 0:
		return caller{}, errNoToken
	}
	if len(headers) > 1 || !isBearer(headers[0]) {
		return caller{}, authority.ErrUnknownToken
	}
	_, token, _ := strings.Cut(headers[0], " ")
	token = strings.TrimSpace(token)
	hash := authority.TokenHash(token)
	c, err := callerBy(func(now time.Time) (authority.Principal, error) { return k.rules.Load().OfToken(hash, now) })
	if !errors.Is(err, authority.ErrUnknownToken) || !k.trusts || !authority.IsJWT(token) {
		return c, err
	}
	who, err := k.issuers.Identify(r.Context(), token)
	if err != nil {
		return caller{}, err
	}
	return callerBy(func(now time.Time) (authority.Principal, error) {
		if now.After(who.Expires.Add(authority.ClockSkew)) {
			return authority.Principal{}, authority.ErrExpiredToken
		}
		return k.rules.Load().Of(authority.HowOIDC, who), nil
	})
}

// approvers returns the people who may approve; nil if issuers name people who aren't
// known in advance.
func (k *keyring) approvers() []decide.Person {
	if k.trusts {
		return nil
	}
	return k.rules.Load().Approvers(time.Now())
}
