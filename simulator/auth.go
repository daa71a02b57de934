package simulator

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"time"
)

// Role is a set of rights of an API key.
type Role string

// The roles. The zero value is an admin key.
const (
	Admin  Role = "admin"
	Writer Role = "writer" // reads, and acts on runs, tasks and locks
	Reader Role = "reader" // reads and comments
)

// APIKey is an API key with which clients sign in.
type APIKey struct {
	ID     string `json:"id"`
	Secret string `json:"-"`
	Name   string `json:"name"` // ID when empty
	Role   Role   `json:"role,omitempty"`
}

// actor returns the key under the name that Spacelift shows for its actions
// (https://docs.spacelift.io/concepts/run/user-provided-metadata).
func (k APIKey) actor() actor {
	return actor{name: "api::" + k.ID, admin: k.Role == "" || k.Role == Admin, reads: k.Role == Reader, machine: true, title: k.Name}
}

// writerFields are the mutations a writer may send; a reader only runComment
// (https://docs.spacelift.io/concepts/authorization/rbac-system).
var writerFields = map[string]bool{
	"runTrigger": true, "runTriggerBatch": true, "runConfirm": true, "runDiscard": true, "runDiscardAll": true,
	"runCancel": true, "runStop": true, "runKill": true, "runRetry": true, "runPromote": true, "runReview": true,
	"runTargetedReplan": true, "runComment": true, "runPrioritizeSet": true, "taskCreate": true,
	"runExternalDependencyMarkAsCompleted": true, "stackLock": true, "stackUnlock": true,
	"stackSetCurrentCommit": true, "stackSyncCommit": true,
}

func (k APIKey) may(field string) bool {
	switch k.Role {
	case Reader:
		return field == "runComment"
	case Writer:
		return writerFields[field]
	}
	return true
}

// claims are those of Spacelift's tokens that its clients read.
type claims struct {
	Audience []string `json:"aud"`
	Expires  int64    `json:"exp"`
	Issued   int64    `json:"iat"`
	ID       string   `json:"jti"`
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
}

var jwtHeader = base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`))

// issue returns a token for the key. Its audience is the URL that the client has
// used, because the Terraform provider sends all further requests there.
// Called under the lock.
func (s *Simulator) issue(k APIKey, audience string) (token string, validUntil time.Time) {
	now := s.clock.Now()
	validUntil = now.Add(s.opts.TokenLife)
	payload := base64.RawURLEncoding.EncodeToString(encode(claims{
		Audience: []string{audience}, Expires: validUntil.Unix(), Issued: now.Unix(), ID: s.newID(),
		Issuer: s.baseURL(), Subject: "api::" + k.ID,
	}))
	unsigned := jwtHeader + "." + payload
	return unsigned + "." + s.tokenSignature(unsigned), validUntil
}

func (s *Simulator) tokenSignature(unsigned string) string {
	m := hmac.New(sha256.New, s.tokenKey)
	m.Write([]byte(unsigned))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// authenticate returns the key behind a request's bearer token.
func (s *Simulator) authenticate(r *http.Request) (APIKey, bool) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return APIKey{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	parts := strings.Split(token, ".")
	if len(parts) != 3 || !hmac.Equal([]byte(parts[2]), []byte(s.tokenSignature(parts[0]+"."+parts[1]))) {
		return APIKey{}, false
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return APIKey{}, false
	}
	var c claims
	if err := json.Unmarshal(raw, &c); err != nil || s.clock.Now().Unix() >= c.Expires {
		return APIKey{}, false
	}
	k, known := s.keys[strings.TrimPrefix(c.Subject, "api::")]
	return k, known
}

// RevokeTokens makes every token issued so far invalid, as if it had expired.
func (s *Simulator) RevokeTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokenKey = s.randomBytes(32)
	s.touch()
}

// origin returns the URL of a request without its path.
func origin(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// clientAddress returns the address of a request's client without its port.
func clientAddress(r *http.Request) string {
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		return host
	}
	return r.RemoteAddr
}
