package server

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/gantryhq/gantry/audit"
	"github.com/gantryhq/gantry/authority"
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
	keys  *keyring
	guard *http.CrossOriginProtection
	https bool // the configured address has it
}

// newSignIn returns nil without a session key.
func newSignIn(cfg Config, keys *keyring) (*signIn, error) {
	if cfg.SessionKey == "" {
		return nil, nil //nolint:nilnil // none is a valid choice
	}
	sessions, err := authority.NewSessions(cfg.SignIn, cfg.PublicURL, keys.issuers, cfg.ClientSecret, cfg.SessionKey)
	if err != nil {
		return nil, err
	}
	s := &signIn{Sessions: sessions, keys: keys, guard: http.NewCrossOriginProtection()}
	if cfg.PublicURL == "" {
		return s, nil
	}
	address, err := url.Parse(cfg.PublicURL)
	if err != nil {
		return nil, err
	}
	s.https = address.Scheme == "https"
	return s, s.guard.AddTrustedOrigin(address.Scheme + "://" + address.Host)
}

func (s *signIn) mount(r chi.Router) {
	if s == nil {
		return
	}
	r.Post("/sign-in/token", s.withToken)
	r.Post("/sign-out", s.end)
	if s.Issuer == "" {
		return
	}
	r.Get("/sign-in/oidc", s.begin)
	r.Get("/sign-in/callback", s.complete)
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
	s.set(w, r, cookieSignIn, note, 10*time.Minute, true)
	redirect(w, address)
}

// localPath returns a path of this server, never an address of another.
func localPath(back string) string {
	u, err := url.Parse(back)
	if err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(back, "/") || strings.HasPrefix(back, "//") || strings.ContainsAny(back, "\\\r\n") {
		return "/"
	}
	return back
}

// complete begins a session with the issuer's answer.
func (s *signIn) complete(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.set(w, r, cookieSignIn, "", -time.Second, true) // it counts once
	if q.Get("error") != "" {
		s.fail(w, r, &authority.InvalidJWTError{Why: s.Issuer + " refused the sign-in"})
		return
	}
	note, _ := s.get(r, cookieSignIn)
	session, back, err := s.Complete(r.Context(), note, q.Get("state"), q.Get("code"), time.Now())
	if err == nil {
		err = s.start(w, r, session)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	redirect(w, strings.TrimSuffix(s.URL, "/")+back)
}

// withToken begins a session with a token that a person pastes into a page of this
// server.
func (s *signIn) withToken(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	var err error
	switch token := r.PostFormValue("token"); {
	case s.guard.Check(r) != nil:
		err = errCrossSite
	case s.insecure(r):
		err = errInsecure
	case token == "":
		err = errNoToken
	default:
		err = s.start(w, r, authority.NewTokenSession(token, time.Now()))
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	redirect(w, relative(depth(r.Context()), localPath(r.PostFormValue("back"))[1:]))
}

// start begins a session, if there is still somebody whose it is.
func (s *signIn) start(w http.ResponseWriter, r *http.Request, session authority.Session) error {
	p, err := s.keys.rules.Load().OfSession(session, time.Now())
	if err == nil {
		err = s.keep(w, r, session)
	}
	if err != nil {
		return err
	}
	s.keys.log.InfoContext(r.Context(), "signed in", "requestId", requestIDOf(w), "by", p.Person.Name, "with", p.Credential)
	_ = s.keys.audit.Record(r.Context(), audit.Entry{ // which logs what can't be written
		By: p.Person.Name, Via: string(p.How) + " " + p.Credential, Source: sourceName(s.keys.sources.of(r), r), Action: audit.ActionToken, Result: audit.Done, RequestID: requestIDOf(w),
	})
	return nil
}

// insecure reports whether a page without https, elsewhere than on this machine, sent a
// request: its browser would drop the session's cookie without a word.
func (s *signIn) insecure(r *http.Request) bool {
	from, err := url.Parse(r.Header.Get("Origin"))
	return err == nil && from.Scheme == "http" && !isLocal(from.Host)
}

// end ends the session on all replicas, if the request comes from a page of this server.
func (s *signIn) end(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	session, err := s.session(r)
	if err == nil {
		err = s.genuine(r, session)
	}
	if errors.Is(err, errCrossSite) {
		p, _ := problemOf(err)
		writeProblem(w, p)
		return
	}
	if err == nil {
		s.End(session, time.Now())
		s.endElsewhere(w, r, session)
	}
	for _, name := range []string{cookieSession, cookieCSRF} {
		s.set(w, r, name, "", -time.Second, name == cookieSession)
	}
	redirect(w, relative(depth(r.Context()), "sign-in"))
}

// endElsewhere has the other replicas end a session. One that gives no answer takes a copy
// of its cookie until the session is idle; the log and the audit log name it.
func (s *signIn) endElsewhere(w http.ResponseWriter, r *http.Request, session authority.Session) {
	if r.Header.Get(peerHeader) != "" {
		return
	}
	r.Header.Set(csrfHeader, session.CSRF) // peers get no body
	var away []string
	for _, a := range s.keys.peers.ask(r.Context(), s.keys.self(), &call{request: r, requestID: requestIDOf(w)}) {
		if a.err != nil || a.status != http.StatusSeeOther {
			away = append(away, fmt.Sprintf("%s (%s)", a.address, a.problem()))
		}
	}
	e := audit.Entry{Source: sourceName(s.keys.sources.of(r), r), Action: audit.ActionSignOut, Result: audit.Done, RequestID: requestIDOf(w)}
	p, err := s.keys.rules.Load().OfSession(session, time.Now())
	if err == nil {
		e.By, e.Via = p.Person.Name, string(p.How)+" "+p.Credential
	} else {
		e.By = "unknown"
	}
	s.keys.log.InfoContext(r.Context(), "signed out", "requestId", e.RequestID, "by", e.By, "with", p.Credential)
	if len(away) > 0 {
		slices.Sort(away)
		e.Detail = "replicas without an answer: " + strings.Join(away, ", ")
		s.keys.log.WarnContext(r.Context(), "sign-out did not reach all replicas", "requestId", requestIDOf(w), "by", e.By, "replicas", away)
	}
	_ = s.keys.audit.Record(r.Context(), e) // which logs what can't be written
}

// Reasons why a request of a browser is refused.
var (
	errCrossSite = errors.New("the request doesn't come from a page of this server")
	errInsecure  = errors.New("the page has no https")
)

// genuine refuses a change that another site may have made the browser send.
func (s *signIn) genuine(r *http.Request, session authority.Session) error {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil
	}
	token := r.Header.Get(csrfHeader)
	if token == "" && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		r.Body = http.MaxBytesReader(nil, r.Body, maxAPIBody)
		token = r.PostFormValue(csrfField)
	}
	if s.guard.Check(r) != nil || !isToken(token, session.CSRF) {
		return errCrossSite
	}
	return nil
}

// caller returns the caller of a request with a session, and renews the session's
// cookie.
func (s *signIn) caller(w http.ResponseWriter, r *http.Request) (caller, error) {
	session, err := s.session(r)
	if err == nil {
		err = s.genuine(r, session)
	}
	if err != nil {
		return caller{}, err
	}
	if now := time.Now(); s.Stale(session, now) {
		session.Seen = now
		if err := s.keep(w, r, session); err != nil {
			return caller{}, err
		}
	}
	return callerBy(func(now time.Time) (authority.Principal, error) {
		if !s.Live(session, now) {
			return authority.Principal{}, authority.ErrSessionEnded
		}
		return s.keys.rules.Load().OfSession(session, now)
	})
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
func (s *signIn) keep(w http.ResponseWriter, r *http.Request, session authority.Session) error {
	value, err := s.Seal(session)
	if err != nil {
		return err
	}
	left := time.Until(session.SignedIn.Add(s.Lifetime))
	s.set(w, r, cookieSession, value, left, true)
	s.set(w, r, cookieCSRF, session.CSRF, left, false)
	return nil
}

// fail answers a sign-in that didn't succeed: a person with the page to sign in at, which
// explains the reason in its address, and a program with a problem.
func (s *signIn) fail(w http.ResponseWriter, r *http.Request, err error) {
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		s.keys.refuse(w, r, err)
		return
	}
	reason := s.keys.record(w, r, err).reason
	back := r.FormValue("back")
	redirect(w, relative(depth(r.Context()), "sign-in?"+url.Values{"back": {localPath(back)}, "refused": {reason}}.Encode()))
}

// secure reports whether cookies of a request's host travel over https alone. They do
// everywhere but on this machine.
func (s *signIn) secure(r *http.Request) bool {
	if s.URL != "" {
		return s.https
	}
	return r.TLS != nil || !isLocal(r.Host)
}

// isLocal reports whether a host, perhaps with a port, is this machine.
func isLocal(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	address, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && address.IsLoopback()
}

// cookieName returns the name of a cookie. The prefix keeps other hosts of the domain,
// and plain HTTP, from setting it.
func cookieName(cookie string, secure bool) string {
	if secure {
		return "__Host-" + cookie
	}
	return cookie
}

func (s *signIn) set(w http.ResponseWriter, r *http.Request, name, value string, life time.Duration, hidden bool) {
	w.Header().Set("Cache-Control", "no-store")
	secure := s.secure(r)
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // G124: pages read the token against other sites; without https there is no secure cookie
		Name: cookieName(name, secure), Value: value, Path: "/", MaxAge: int(life.Seconds()), Secure: secure, HttpOnly: hidden, SameSite: http.SameSiteLaxMode,
	})
}

// get returns a cookie. Of two with one name it is unclear which counts, so neither does.
func (s *signIn) get(r *http.Request, name string) (string, bool) {
	all := r.CookiesNamed(cookieName(name, s.secure(r)))
	if len(all) == 0 && r.Header.Get(peerHeader) != "" { // the browser knows the other replica by another host
		all = r.CookiesNamed(cookieName(name, !s.secure(r)))
	}
	if len(all) != 1 {
		return "", false
	}
	return all[0].Value, true
}

func redirect(w http.ResponseWriter, address string) {
	w.Header().Set("Location", address)
	w.WriteHeader(http.StatusSeeOther)
}
