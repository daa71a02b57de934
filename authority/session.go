package authority

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/securecookie"
	"golang.org/x/oauth2"

	"github.com/gantryhq/gantry/decide/policy"
)

// SignIn holds the settings of signing in with a browser and with gantry login. Its tags
// are those of the settings in package config.
type SignIn struct {
	Issuer           string        `setting:"issuer" doc:"Name of the issuer, one of issuers, with which people sign in to Gantry's pages. It must allow /sign-in/callback below publicUrl as a redirect. Empty for sign-in by token alone."`
	ClientID         string        `setting:"clientId" doc:"Id of Gantry's client at the issuer, a confidential one."`
	ClientSecretFile string        `setting:"clientSecretFile" doc:"File with the secret of that client."`
	CLIClientID      string        `setting:"cliClientId" doc:"Id of the public client at the issuer with which gantry login signs people in; one of the issuer's audiences. Empty for no gantry login."`
	SessionKeyFile   string        `setting:"sessionKeyFile" doc:"File with the secret that encrypts and signs session cookies: at least 32 random characters, the same for all replicas. Another one ends all sessions. Without an issuer it may be empty; Gantry then derives the secret from the secret of the first account's API key."`
	Scopes           string        `setting:"scopes" doc:"Scopes to ask the issuer for, with spaces between."`
	Idle             time.Duration `setting:"idle" doc:"Time without a request after which a session ends: 1m to 24h."`
	Lifetime         time.Duration `setting:"lifetime" doc:"Time after which a session ends in any case: up to 168h."`
}

// Problems reports invalid settings.
func (s SignIn) Problems(issuers []Issuer) (problems []error) {
	bad := func(setting, format string, args ...any) {
		problems = append(problems, policy.At("signIn."+setting, fmt.Errorf(format, args...)))
	}
	if s.Idle < time.Minute || s.Idle > 24*time.Hour {
		bad("idle", "%s is not within 1m and 24h", s.Idle)
	}
	if s.Lifetime < s.Idle || s.Lifetime > 168*time.Hour {
		bad("lifetime", "%s is not within idle (%s) and 168h", s.Lifetime, s.Idle)
	}
	if s.Issuer == "" {
		return problems
	}
	known := false
	for _, i := range issuers {
		known = known || i.Name == s.Issuer
	}
	if !known {
		bad("issuer", "issuers has none of the name %s", s.Issuer)
	}
	if i := slices.IndexFunc(issuers, func(i Issuer) bool { return i.Name == s.Issuer }); s.CLIClientID != "" && i >= 0 && !slices.Contains(issuers[i].Audiences, s.CLIClientID) {
		bad("cliClientId", "it is none of the audiences of %s, so its tokens wouldn't count; add it to them", s.Issuer)
	}
	for setting, value := range map[string]string{"clientId": s.ClientID, "clientSecretFile": s.ClientSecretFile, "sessionKeyFile": s.SessionKeyFile} {
		if value == "" {
			bad(setting, "it is missing; signIn.issuer needs it")
		}
	}
	return problems
}

// Session is a person who signed in with a browser.
type Session struct {
	ID       string
	Identity Identity // as the issuer vouched for it; empty for a token
	Token    string   `json:",omitempty"` // TokenHash of the token that the person signed in with
	SignedIn time.Time
	Seen     time.Time
	CSRF     string // which a page must send with each change

	ends time.Time // however busy it is
}

// NewTokenSession returns the session of a person who signed in with a token. It holds
// the token's hash, by which Rules look the token up with each request.
func NewTokenSession(token string, now time.Time) Session {
	return newSession(Session{Token: TokenHash(strings.TrimSpace(token))}, now)
}

func newSession(s Session, now time.Time) Session {
	s.ID, s.CSRF, s.SignedIn, s.Seen = rand.Text(), rand.Text(), now, now
	return s
}

// Reasons why a session doesn't count.
var (
	ErrNoSession    = errors.New("no session")
	ErrSessionEnded = errors.New("the session has ended")
)

// Sessions signs people in. It keeps them in cookies that it encrypts and signs, and
// remembers only those who signed out, until their sessions would have ended.
type Sessions struct {
	SignIn
	URL    string  // of Gantry in browsers; empty if unknown
	issuer *issuer // nil for sign-in by token alone
	secret string  // of the client
	seal   *securecookie.SecureCookie
	begun  *securecookie.SecureCookie

	mu    sync.Mutex
	ended map[string]time.Time // by id: when the session would have ended
}

// minSessionKey is the shortest session key, in bytes.
const minSessionKey = 32

// maxSignIn is the time that a person has to sign in at the issuer.
const maxSignIn = 10 * time.Minute

// Names that the signatures of cookies cover, so that none passes for another.
const (
	sealedSession = "session"
	sealedSignIn  = "sign-in"
)

// NewSessions returns the sessions of people who sign in with a token or, if the settings
// name one of the issuers, with that. The address is that of Gantry in browsers; only an
// issuer needs one.
func NewSessions(s SignIn, publicURL string, issuers *Issuers, clientSecret, sessionKey string) (*Sessions, error) {
	sessions := &Sessions{SignIn: s, URL: publicURL, secret: clientSecret, ended: map[string]time.Time{}}
	for _, i := range issuers.all {
		if i.Name == s.Issuer {
			sessions.issuer = i
		}
	}
	switch {
	case s.Issuer != "" && sessions.issuer == nil:
		return nil, fmt.Errorf("sign in: there is no issuer %s", s.Issuer)
	case s.Issuer != "" && clientSecret == "":
		return nil, errors.New("sign in: the secret of the client is empty")
	case len(sessionKey) < minSessionKey:
		return nil, fmt.Errorf("sign in: the session key has fewer than %d characters; create one with openssl rand -base64 48", minSessionKey)
	}
	keys, err := hkdf.Key(sha256.New, []byte(sessionKey), nil, "gantry session cookies", 64)
	if err != nil {
		return nil, fmt.Errorf("sign in: %w", err)
	}
	newSeal := func(life time.Duration) *securecookie.SecureCookie {
		return securecookie.New(keys[:32], keys[32:]).MaxAge(int(life.Seconds())).SetSerializer(securecookie.JSONEncoder{})
	}
	sessions.seal, sessions.begun = newSeal(s.Lifetime), newSeal(maxSignIn)
	return sessions, nil
}

// IssuerURL returns the address of the issuer.
func (s *Sessions) IssuerURL() string { return s.issuer.URL }

// begun is a sign-in that waits for the issuer's answer.
type begun struct {
	State, Nonce, Verifier string
	Back                   string // path to return to
}

// Begin returns the issuer's address to send a browser to, and a sealed note of the
// sign-in for a cookie.
func (s *Sessions) Begin(ctx context.Context, back string) (address, note string, err error) {
	client, err := s.client(ctx)
	if err != nil {
		return "", "", err
	}
	b := begun{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Back: back}
	if note, err = s.begun.Encode(sealedSignIn, b); err != nil {
		return "", "", fmt.Errorf("seal sign-in: %w", err)
	}
	return client.AuthCodeURL(b.State, oauth2.S256ChallengeOption(b.Verifier), oauth2.SetAuthURLParam("nonce", b.Nonce)), note, nil
}

// Complete exchanges the issuer's answer for a session. It returns the path that the
// sign-in began at.
func (s *Sessions) Complete(ctx context.Context, note, state, code string, now time.Time) (session Session, back string, err error) {
	var b begun
	if err := s.begun.Decode(sealedSignIn, note, &b); err != nil || subtle.ConstantTimeCompare([]byte(b.State), []byte(state)) != 1 {
		return Session{}, "", &InvalidJWTError{"this browser didn't begin this sign-in, or more than ten minutes ago; sign in again"}
	}
	client, err := s.client(ctx)
	if err != nil {
		return Session{}, "", err
	}
	token, err := client.Exchange(context.WithValue(ctx, oauth2.HTTPClient, s.issuer.client), code, oauth2.VerifierOption(b.Verifier))
	if err != nil {
		if is[*oauth2.RetrieveError](err) {
			return Session{}, "", &InvalidJWTError{s.issuer.Name + " doesn't accept the code of this sign-in; sign in again"}
		}
		return Session{}, "", &IssuerUnavailableError{s.issuer.Name, err}
	}
	identity, _ := token.Extra("id_token").(string)
	who, err := s.issuer.identify(ctx, identity, []string{s.ClientID}, b.Nonce)
	if err != nil {
		return Session{}, "", err
	}
	return newSession(Session{Identity: who}, now), b.Back, nil
}

// client returns Gantry as a client of the issuer.
func (s *Sessions) client(ctx context.Context) (*oauth2.Config, error) {
	provider, _, err := s.issuer.discover(ctx)
	if err != nil {
		return nil, err
	}
	return &oauth2.Config{
		ClientID: s.ClientID, ClientSecret: s.secret, Endpoint: provider.Endpoint(), RedirectURL: strings.TrimSuffix(s.URL, "/") + "/sign-in/callback",
		Scopes: strings.Fields(s.Scopes),
	}, nil
}

// Seal returns a session as the value of a cookie. It fails if the session is too large
// for one.
func (s *Sessions) Seal(session Session) (string, error) {
	value, err := s.seal.Encode(sealedSession, session)
	if err != nil {
		return "", fmt.Errorf("seal session: %w; does the issuer send too many groups for a cookie?", err)
	}
	return value, nil
}

// Open returns the session in the value of a cookie, if it is live.
func (s *Sessions) Open(value string, now time.Time) (Session, error) {
	var session Session
	if err := s.seal.Decode(sealedSession, value, &session); err != nil {
		return Session{}, ErrNoSession
	}
	session.ends = session.SignedIn.Add(s.Lifetime)
	if !s.Live(session, now) {
		return Session{}, ErrSessionEnded
	}
	return session, nil
}

// Live reports whether a session that was opened still counts.
func (s *Sessions) Live(session Session, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ended := s.ended[session.ID]
	return !ended && now.Before(session.Seen.Add(s.Idle)) && now.Before(session.ends)
}

// Stale reports whether the session was seen long enough ago for the cookie to be
// renewed.
func (s *Sessions) Stale(session Session, now time.Time) bool {
	return now.Sub(session.Seen) > s.Idle/10
}

// End ends a session: its cookie no longer counts in this process, and no copy of it does.
func (s *Sessions) End(session Session, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.ended, func(_ string, until time.Time) bool { return now.After(until) })
	s.ended[session.ID] = session.SignedIn.Add(s.Lifetime)
}
