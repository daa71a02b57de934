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
	hash  [sha256.Size]byte
	token Token
}

func newKeyring(tokens []Token) (*keyring, error) {
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
		case slices.ContainsFunc(k.keys, func(o key) bool { return o.token.Name == t.Name }):
			return nil, fmt.Errorf("token %s is configured twice", t.Name)
		}
		k.keys = append(k.keys, key{[sha256.Size]byte(hash), t})
	}
	return k, nil
}

type principalKey struct{}

// principalOf returns the token that made the request.
func principalOf(ctx context.Context) Token {
	t, _ := ctx.Value(principalKey{}).(Token)
	return t
}

// authenticate lets requests with a known token through.
func (k *keyring) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, ok := k.find(r.Header.Get("Authorization"))
		if !ok {
			w.Header().Set("WWW-Authenticate", `Bearer realm="gantry"`)
			writeProblem(w, problem(http.StatusUnauthorized, "unauthenticated", "No valid token came with the request",
				"send the header Authorization: Bearer <token>; an administrator makes one with gantry token create"))
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), principalKey{}, t)))
	})
}

// find compares with every token, so that its time says nothing of which fits.
func (k *keyring) find(authorization string) (Token, bool) {
	scheme, token, ok := strings.Cut(authorization, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return Token{}, false
	}
	hash := sha256.Sum256([]byte(strings.TrimSpace(token)))
	var found *Token
	for i := range k.keys {
		if subtle.ConstantTimeCompare(hash[:], k.keys[i].hash[:]) == 1 {
			found = &k.keys[i].token
		}
	}
	if found == nil {
		return Token{}, false
	}
	return *found, true
}
