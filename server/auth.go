package server

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/policy"
)

// Role is a set of rights of a token. Each role includes the rights of those before it.
type Role string

// The roles, weakest first.
const (
	RoleViewer   Role = "viewer"   // read
	RoleApprover Role = "approver" // decide on runs
	RoleOperator Role = "operator" // repair: redeliver
	RoleAdmin    Role = "admin"    // everything
)

// Roles lists every role, weakest first.
var Roles = []Role{RoleViewer, RoleApprover, RoleOperator, RoleAdmin}

// Includes reports whether a token with role r may do what needs the other role.
func (r Role) Includes(needed Role) bool {
	have, want := slices.Index(Roles, r), slices.Index(Roles, needed)
	return have >= 0 && want >= 0 && have >= want
}

// Token lets its bearer use the API. Only its hash is stored: tokens are 32
// random bytes, so a plain SHA-256 can't be guessed back. Its tags are those of the
// settings in package config.
type Token struct {
	Name   string   `setting:"name" doc:"Name of the person or machine that bears the token."`
	Role   Role     `setting:"role" doc:"viewer, approver, operator or admin."`
	Groups []string `setting:"groups" doc:"Groups the bearer belongs to."`
	Hash   string   `setting:"hash" secret:"true" doc:"Hash of the token, as gantry token create prints it."` // TokenHash
}

// TokenHash returns the hash of a token, which the configuration holds in its place.
func TokenHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// keyring knows the tokens. It limits, logs and counts requests without a valid one.
type keyring struct {
	keys     []key
	sources  sources
	failures *refusalLimiter // a bucket of its own: neither failed notifications nor failed calls use up the other's
	refused  *prometheus.CounterVec
	log      *slog.Logger
}

type key struct {
	hash      [sha256.Size]byte
	principal principal
}

// principal is the person who makes a request, and their token.
type principal struct {
	token  Token
	person decide.Person
}

// newKeyring fails only if CheckTokens does.
func newKeyring(cfg Config, m *metrics, log *slog.Logger) (*keyring, error) {
	if err := CheckTokens(cfg.Tokens, cfg.People); err != nil {
		return nil, err
	}
	k := &keyring{sources: sources{cfg.TrustedProxies}, failures: newRefusalLimiter(cfg.Refusals), refused: m.refusedTokens, log: log}
	for _, t := range cfg.Tokens {
		hash, _ := hashOf(t) // CheckTokens read it
		k.keys = append(k.keys, key{hash, principal{t, personOf(t, cfg.People)}})
	}
	return k, nil
}

// hashOf reads the hash of a token.
func hashOf(t Token) (hash [sha256.Size]byte, ok bool) {
	b, err := hex.DecodeString(t.Hash)
	if err != nil || len(b) != len(hash) {
		return hash, false
	}
	return [sha256.Size]byte(b), true
}

// personOf returns the bearer of a token. The groups are those of the token.
func personOf(t Token, people []decide.Person) decide.Person {
	for _, p := range people {
		if p.IsCalled(t.Name) {
			return decide.Person{Name: p.Name, Aliases: p.Aliases, Groups: t.Groups}
		}
	}
	return decide.Person{Name: t.Name, Groups: t.Groups}
}

// Approvers returns the people whose tokens may approve, by name. A person with
// several tokens is one approver.
func Approvers(tokens []Token, people []decide.Person) []decide.Person {
	all := []decide.Person{}
	for _, t := range tokens {
		if !t.Role.Includes(RoleApprover) {
			continue
		}
		p := personOf(t, people)
		i := slices.IndexFunc(all, func(a decide.Person) bool { return strings.EqualFold(a.Name, p.Name) })
		if i < 0 {
			all = append(all, decide.Person{Name: p.Name, Aliases: p.Aliases})
			i = len(all) - 1
		}
		all[i].Groups = append(all[i].Groups, p.Groups...)
	}
	slices.SortFunc(all, func(a, b decide.Person) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// CheckTokens reports every problem with tokens and people that would make New fail.
// Each is a policy.Mistake.
func CheckTokens(tokens []Token, people []decide.Person) error {
	var problems []error
	for i, t := range tokens {
		bad := func(format string, args ...any) {
			problems = append(problems, policy.At(fmt.Sprintf("tokens[%d]", i), fmt.Errorf(format, args...)))
		}
		if t.Name == "" {
			bad("name: it is missing; name the person or machine that bears the token")
		}
		if slices.ContainsFunc(tokens[:i], func(o Token) bool { return t.Name != "" && strings.EqualFold(o.Name, t.Name) }) {
			bad("name: it is configured twice; names that differ only in case are the same")
		}
		if !slices.Contains(Roles, t.Role) {
			bad("role: there is no role %q; choose one of %v", t.Role, Roles)
		}
		if _, ok := hashOf(t); !ok {
			bad("hash: it is not 64 hex digits; create a token with gantry token create")
		}
	}
	return errors.Join(append(problems, peopleProblems(people)...)...)
}

// peopleProblems reports names that are empty or belong to two people: the bearer of
// such a name could approve as someone else.
func peopleProblems(people []decide.Person) (problems []error) {
	for i, p := range people {
		bad := func(format string, args ...any) {
			problems = append(problems, policy.At(fmt.Sprintf("people[%d]", i), fmt.Errorf(format, args...)))
		}
		if p.Name == "" {
			bad("name: it is missing; name the person")
		}
		if slices.Contains(p.Aliases, "") {
			bad("aliases: one is empty; remove it")
		}
		for _, name := range append([]string{p.Name}, p.Aliases...) {
			for _, other := range people[:i] {
				if name != "" && other.IsCalled(name) {
					bad("name: %s is a name of %s too; give each name to one person", name, other.Name)
				}
			}
		}
	}
	return problems
}

type principalKey struct{}

// principalOf returns the person who makes the request: the bearer of its token.
func principalOf(ctx context.Context) decide.Person {
	p, _ := ctx.Value(principalKey{}).(principal)
	return p.person
}

// tokenOf returns the token that came with the request.
func tokenOf(ctx context.Context) Token {
	p, _ := ctx.Value(principalKey{}).(principal)
	return p.token
}

// authenticate passes on requests with a known token.
func (k *keyring) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, ok := k.find(r.Header.Values("Authorization"))
		if !ok {
			k.refuse(w, r)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), principalKey{}, p)))
	})
}

// Reasons why a token is refused.
const (
	reasonNoToken      = "no-token"
	reasonUnknownToken = "unknown-token"
)

// refuse answers a request without a valid token. Beyond what its source may spend it
// leaves no trace but a counter, so that a flood can't fill the log. A valid token is
// never limited: others may share the address.
func (k *keyring) refuse(w http.ResponseWriter, r *http.Request) {
	source := k.sources.of(r)
	if wait := k.failures.spend(bucketKey{source: Neighborhood(source)}); wait > 0 {
		k.refused.WithLabelValues(reasonTooMany).Inc()
		writeProblemAfter(w, problem(reasonTooMany, "send a valid token: those are never slowed down"), wait)
		return
	}
	reason := reasonUnknownToken
	if r.Header.Get("Authorization") == "" {
		reason = reasonNoToken
	}
	k.refused.WithLabelValues(reason).Inc()
	k.log.WarnContext(r.Context(), "token refused", "requestId", requestIDOf(w), "reason", reason, "source", sourceName(source, r),
		"method", r.Method, "path", r.URL.Path)
	w.Header().Set("WWW-Authenticate", `Bearer realm="gantry"`)
	writeProblem(w, problem("unauthenticated",
		"send the header Authorization: Bearer <token>; an administrator creates tokens with gantry token create"))
}

// find compares with every token, so that its duration doesn't reveal which one
// matches. With two headers it is unclear which one counts, so neither does.
func (k *keyring) find(authorization []string) (principal, bool) {
	if len(authorization) != 1 {
		return principal{}, false
	}
	scheme, token, ok := strings.Cut(authorization[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return principal{}, false
	}
	hash := sha256.Sum256([]byte(strings.TrimSpace(token)))
	var found *principal
	for i := range k.keys {
		if subtle.ConstantTimeCompare(hash[:], k.keys[i].hash[:]) == 1 {
			found = &k.keys[i].principal
		}
	}
	if found == nil {
		return principal{}, false
	}
	return *found, true
}
