package server

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gantryhq/gantry/workflows"
)

// Role says what a token may do. Each role may also do what those before it may.
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

// Includes reports whether a bearer of r may do what needs the other role.
func (r Role) Includes(needed Role) bool {
	have, want := slices.Index(Roles, r), slices.Index(Roles, needed)
	return have >= 0 && want >= 0 && have >= want
}

// Token lets its bearer use the API. Only its hash is stored: tokens are 32
// random bytes, so a plain SHA-256 can't be guessed back.
type Token struct {
	Name   string   // who bears it: a person or a machine
	Role   Role     //
	Groups []string // groups the bearer belongs to
	Hash   string   // TokenHash of the token, in hex
}

// TokenHash is what the configuration holds in place of a token.
func TokenHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

type keyring struct{ keys []key }

type key struct {
	hash      [sha256.Size]byte
	principal principal
}

// principal is who makes a request, and what with.
type principal struct {
	token  Token
	person workflows.Person
}

func newKeyring(tokens []Token, people []Person) (*keyring, error) {
	if err := checkPeople(people); err != nil {
		return nil, err
	}
	k := &keyring{}
	for _, t := range tokens {
		hash, err := hex.DecodeString(t.Hash)
		switch {
		case t.Name == "":
			return nil, errors.New("a token has no name: give the person or machine that bears it")
		case err != nil || len(hash) != sha256.Size:
			return nil, fmt.Errorf("token %s: its hash is not 64 hex digits; make one with gantry token create", t.Name)
		case !slices.Contains(Roles, t.Role):
			return nil, fmt.Errorf("token %s: there is no role %q; there are %v", t.Name, t.Role, Roles)
		case slices.ContainsFunc(k.keys, func(o key) bool { return strings.EqualFold(o.principal.token.Name, t.Name) }):
			return nil, fmt.Errorf("token %s is configured twice; names that differ in case alone are the same", t.Name)
		}
		k.keys = append(k.keys, key{[sha256.Size]byte(hash), principal{t, personOf(t, people)}})
	}
	return k, nil
}

// personOf returns who bears a token. Its groups are those of the token.
func personOf(t Token, people []Person) workflows.Person {
	for _, p := range people {
		if p.known(t.Name) {
			return workflows.Person{Name: p.Name, Aliases: p.Aliases, Groups: t.Groups}
		}
	}
	return workflows.Person{Name: t.Name, Groups: t.Groups}
}

// known reports whether a person goes by a name, in any spelling of case.
func (p Person) known(name string) bool {
	return strings.EqualFold(p.Name, name) || slices.ContainsFunc(p.Aliases, func(a string) bool { return strings.EqualFold(a, name) })
}

// checkPeople reports names that belong to nobody or to two: whoever bore one
// could approve as somebody else.
func checkPeople(people []Person) error {
	for i, p := range people {
		if p.Name == "" {
			return errors.New("a person has no name")
		}
		for _, name := range append([]string{p.Name}, p.Aliases...) {
			if name == "" {
				return fmt.Errorf("person %s has an empty alias", p.Name)
			}
			for _, other := range people[:i] {
				if other.known(name) {
					return fmt.Errorf("%s is a name of both %s and %s: give each name to one person", name, other.Name, p.Name)
				}
			}
		}
	}
	return nil
}

type principalKey struct{}

// principalOf returns the person who makes the request: the bearer of its token.
func principalOf(ctx context.Context) workflows.Person {
	p, _ := ctx.Value(principalKey{}).(principal)
	return p.person
}

// tokenOf returns the token that came with the request.
func tokenOf(ctx context.Context) Token {
	p, _ := ctx.Value(principalKey{}).(principal)
	return p.token
}

// authenticate lets requests with a known token through.
func (k *keyring) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, ok := k.find(r.Header.Get("Authorization"))
		if !ok {
			w.Header().Set("WWW-Authenticate", `Bearer realm="gantry"`)
			writeProblem(w, problem(http.StatusUnauthorized, "unauthenticated", "No valid token came with the request",
				"send the header Authorization: Bearer <token>; an administrator makes one with gantry token create"))
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), principalKey{}, p)))
	})
}

// find compares with every token, so that its time says nothing of which fits.
func (k *keyring) find(authorization string) (principal, bool) {
	scheme, token, ok := strings.Cut(authorization, " ")
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
