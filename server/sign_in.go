package server

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/gantryhq/gantry/audit"
	"github.com/gantryhq/gantry/authority"
)

// csrfHeader and csrfField carry the token that a page sends with each change.
const (
	csrfHeader = "X-CSRF-Token"
	csrfField  = "csrf_token"
)

// Names of cookies, before the prefix that keeps other hosts from setting them.
const (
	cookieSession = "gantry_session"
	cookieCSRF    = "gantry_csrf" // readable by pages
	cookieSignIn  = "gantry_sign_in"
)

// signIn signs people in with a browser. It is nil where nobody can.
type signIn struct {
	*authority.Sessions
	keys   *keyring
	guard  *http.CrossOriginProtection
	secure bool // cookies travel over https alone
}

// newSignIn returns nil if there is no issuer to sign in with.
func newSignIn(cfg Config, keys *keyring) (*signIn, error) {
	if cfg.SignIn.Issuer == "" {
		return nil, nil //nolint:nilnil // none is a valid choice
	}
	sessions, err := authority.NewSessions(cfg.SignIn, cfg.PublicURL, keys.issuers, cfg.ClientSecret, cfg.SessionKey)
	if err != nil {
		return nil, err
	}
	address, err := url.Parse(cfg.PublicURL)
	if err != nil {
		return nil, err
	}
	guard := http.NewCrossOriginProtection()
	if err := guard.AddTrustedOrigin(address.Scheme + "://" + address.Host); err != nil {
		return nil, err
	}
	return &signIn{Sessions: sessions, keys: keys, guard: guard, secure: address.Scheme == "https"}, nil
}

func (s *signIn) mount(r chi.Router) {
	if s == nil {
		return
	}
	r.Get("/sign-in", s.begin)
	r.Get("/sign-in/callback", s.complete)
	r.Post("/sign-out", s.end)
	if s.CLIClientID != "" {
		r.Get("/.well-known/oauth-protected-resource", s.describe)
	}
}

// describe names the issuer for gantry login (RFC 9728).
func (s *signIn) describe(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, "application/json", http.StatusOK, map[string]any{
		"resource": s.URL, "authorization_servers": []string{s.IssuerURL()}, "scopes_supported": strings.Fields(s.Scopes), "gantry_cli_client_id": s.CLIClientID,
	})
}

// begin sends the browser to the issuer.
func (s *signIn) begin(w http.ResponseWriter, r *http.Request) {
	address, note, err := s.Begin(r.Context(), localPath(r.URL.Query().Get("back")))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.set(w, cookieSignIn, note, 10*time.Minute, true)
	redirect(w, address)
}

// localPath returns a path of this server, never an address of another.
func localPath(back string) string {
	u, err := url.Parse(back)
	if err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(back, "/") || strings.HasPrefix(back, "//") || strings.ContainsAny(back, "\\\r\n") {
		return "/docs"
	}
	return back
}

// complete begins a session with the issuer's answer.
func (s *signIn) complete(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.set(w, cookieSignIn, "", -time.Second, true) // it counts once
	if q.Get("error") != "" {
		s.fail(w, r, &authority.InvalidJWTError{Why: s.Issuer + " refused the sign-in"})
		return
	}
	note, _ := s.get(r, cookieSignIn)
	session, back, err := s.Complete(r.Context(), note, q.Get("state"), q.Get("code"), time.Now())
	if err == nil {
		err = s.keep(w, session)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	p := s.keys.rules.Load().Of(authority.HowSession, session.Identity)
	s.keys.log.InfoContext(r.Context(), "signed in", "requestId", requestIDOf(w), "by", p.Person.Name, "issuer", s.Issuer)
	_ = s.keys.audit.Record(r.Context(), audit.Entry{ // which logs what can't be written
		By: p.Person.Name, Via: string(p.How) + " " + p.Credential, Source: sourceName(s.keys.sources.of(r), r), Action: audit.ActionToken, Result: audit.Done, RequestID: requestIDOf(w),
	})
	redirect(w, strings.TrimSuffix(s.URL, "/")+back)
}

// end ends the session, if the request comes from a page of this server.
func (s *signIn) end(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	session, err := s.session(r)
	if err == nil {
		err = s.genuine(r, session, r.PostFormValue(csrfField))
	}
	if errors.Is(err, errCrossSite) {
		p, _ := problemOf(err)
		writeProblem(w, p)
		return
	}
	if err == nil {
		s.End(session, time.Now())
	}
	for _, name := range []string{cookieSession, cookieCSRF} {
		s.set(w, name, "", -time.Second, name == cookieSession)
	}
	redirect(w, strings.TrimSuffix(s.URL, "/")+"/docs")
}

// errCrossSite reports a change that a page of this server didn't send.
var errCrossSite = errors.New("the request doesn't come from a page of this server")

// genuine refuses a change that another site may have made the browser send.
func (s *signIn) genuine(r *http.Request, session authority.Session, field string) error {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil
	}
	token := r.Header.Get(csrfHeader)
	if token == "" {
		token = field
	}
	if s.guard.Check(r) != nil || subtle.ConstantTimeCompare([]byte(token), []byte(session.CSRF)) != 1 {
		return errCrossSite
	}
	return nil
}

// principal returns the caller of a request with a session, and renews the session's
// cookie.
func (s *signIn) principal(w http.ResponseWriter, r *http.Request) (authority.Principal, error) {
	session, err := s.session(r)
	if err == nil {
		err = s.genuine(r, session, "")
	}
	if err != nil {
		return authority.Principal{}, err
	}
	if now := time.Now(); s.Stale(session, now) {
		session.Seen = now
		if err := s.keep(w, session); err != nil {
			return authority.Principal{}, err
		}
	}
	return s.keys.rules.Load().Of(authority.HowSession, session.Identity), nil
}

// session returns the live session of a request.
func (s *signIn) session(r *http.Request) (authority.Session, error) {
	value, ok := s.get(r, cookieSession)
	if !ok {
		return authority.Session{}, authority.ErrNoSession
	}
	return s.Open(value, time.Now())
}

// keep sets the cookies of a session.
func (s *signIn) keep(w http.ResponseWriter, session authority.Session) error {
	value, err := s.Seal(session)
	if err != nil {
		return err
	}
	left := time.Until(session.SignedIn.Add(s.Lifetime))
	s.set(w, cookieSession, value, left, true)
	s.set(w, cookieCSRF, session.CSRF, left, false)
	return nil
}

// fail answers a sign-in that didn't succeed.
func (s *signIn) fail(w http.ResponseWriter, r *http.Request, err error) { s.keys.refuse(w, r, err) }

// name returns the name of a cookie. The prefix keeps other hosts of the domain, and
// plain HTTP, from setting it.
func (s *signIn) name(cookie string) string {
	if s.secure {
		return "__Host-" + cookie
	}
	return cookie
}

func (s *signIn) set(w http.ResponseWriter, name, value string, life time.Duration, hidden bool) {
	w.Header().Set("Cache-Control", "no-store")
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // G124: pages read the token against other sites; without https there is no secure cookie
		Name: s.name(name), Value: value, Path: "/", MaxAge: int(life.Seconds()), Secure: s.secure, HttpOnly: hidden, SameSite: http.SameSiteLaxMode,
	})
}

// get returns a cookie. Of two with one name it is unclear which counts, so neither does.
func (s *signIn) get(r *http.Request, name string) (string, bool) {
	all := r.CookiesNamed(s.name(name))
	if len(all) != 1 {
		return "", false
	}
	return all[0].Value, true
}

func redirect(w http.ResponseWriter, address string) {
	w.Header().Set("Location", address)
	w.WriteHeader(http.StatusSeeOther)
}

// withPrincipal passes on the caller of a request.
func withPrincipal(r *http.Request, p authority.Principal) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), principalKey{}, p))
}
