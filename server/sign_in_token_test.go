package server_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/server"
)

// keepsSessions lets people sign in with a token; there is no issuer.
func keepsSessions(c *server.Config) {
	c.SignIn = authority.SignIn{Idle: time.Hour, Lifetime: 12 * time.Hour}
	c.SessionKey = strings.Repeat("k", 32)
}

// page is a browser at a host of a server that has no address configured.
type page struct {
	*rig
	host    string
	https   bool
	cookies map[string]*http.Cookie
}

func at(r *rig, address string) *page {
	u, _ := url.Parse(address)
	return &page{r, u.Host, u.Scheme == "https", map[string]*http.Cookie{}}
}

// send sends a form, or nothing, with the cookies of the host, and keeps those of the
// answer.
func (p *page) send(method, path string, form url.Values, headers ...string) *httptest.ResponseRecorder {
	p.t.Helper()
	req := httptest.NewRequestWithContext(p.t.Context(), method, path, strings.NewReader(form.Encode()))
	req.Host, req.TLS = p.host, nil
	if p.https {
		req.TLS = &tls.ConnectionState{}
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	for _, c := range p.cookies {
		req.AddCookie(c)
	}
	w := httptest.NewRecorder()
	p.handler.ServeHTTP(w, req)
	for _, c := range w.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(p.cookies, c.Name)
		} else {
			p.cookies[c.Name] = c
		}
	}
	return w
}

func (p *page) paste(token string, headers ...string) *httptest.ResponseRecorder {
	p.t.Helper()
	return p.send(http.MethodPost, "/sign-in/token", url.Values{"token": {token}, "back": {"/runs?phase=waiting"}}, append(headers, "Sec-Fetch-Site", "same-origin")...)
}

// A person pastes a token, acts with the session as its bearer, and signs out. The cookie
// doesn't show the token.
func TestSignInWithAToken(t *testing.T) {
	for address, cookie := range map[string]string{
		"http://localhost:8080": "gantry_session", "http://127.0.0.1": "gantry_session", "http://[::1]:8080": "gantry_session",
		"https://localhost": "__Host-gantry_session", "https://gantry.example.com": "__Host-gantry_session", "http://gantry.example.com": "__Host-gantry_session",
	} {
		p := at(newRig(t, keepsSessions), address)
		if w := p.paste(" " + approverToken + "\n"); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "../runs?phase=waiting" {
			t.Fatalf("%s: %d %s %s", address, w.Code, w.Header(), w.Body)
		}
		c := p.cookies[cookie]
		if c == nil || c.Secure != strings.HasPrefix(cookie, "__Host-") || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || strings.Contains(c.Value, "approver") {
			t.Fatalf("%s: the cookies are %v", address, p.cookies)
		}
		me := decode[api.Caller](t, p.send(http.MethodGet, "/v1/me", nil))
		if me.Name != "Ann" || me.How != "session" || me.Credential != "ann" || me.Grants[0].Role != "approver" || me.ExpiresAt == nil {
			t.Errorf("%s: the caller is %s", address, show(me))
		}
		csrf := p.cookies[strings.Replace(cookie, "session", "csrf", 1)].Value
		wantProblem(t, p.send(http.MethodPost, "/sign-out", url.Values{}), http.StatusForbidden, "cross-site")
		if w := p.send(http.MethodPost, "/sign-out", url.Values{"csrf_token": {csrf}}); w.Code != http.StatusSeeOther || len(p.cookies) != 0 {
			t.Errorf("%s: sign out: %d, cookies %v", address, w.Code, p.cookies)
		}
		p.cookies[cookie] = c
		wantProblem(t, p.send(http.MethodGet, "/v1/me", nil), http.StatusUnauthorized, "unauthenticated")
	}
}

// What begins no session is refused like a wrong token anywhere: logged and counted
// without the token, and limited. A browser is sent to the page, which gets the reason.
func TestSignInWithATokenThatDoesNotCount(t *testing.T) {
	expires := func(c *server.Config) {
		c.Tokens = append(c.Tokens,
			authority.Token{Name: "old", Role: authority.RoleViewer, Hash: authority.TokenHash("gantry_old"), Expires: "2020-01-01"},
			authority.Token{Name: "gone", Role: authority.RoleViewer, Hash: authority.TokenHash("gantry_gone"), Revoked: "2020-01-01"})
	}
	html := []string{"Accept", "text/html,*/*"}
	for token, reason := range map[string]string{"gantry_wrong": "unknown-token", "": "no-token", "gantry_old": "expired-token", "gantry_gone": "revoked-token"} {
		p := at(newRig(t, keepsSessions, expires), "http://localhost")
		wantProblem(t, p.paste(token), http.StatusUnauthorized, "unauthenticated")
		want := "../sign-in?" + url.Values{"back": {"/runs?phase=waiting"}, "refused": {reason}}.Encode()
		if w := p.paste(token, html...); w.Code != http.StatusSeeOther || w.Header().Get("Location") != want || len(p.cookies) != 0 {
			t.Errorf("%q: %d %s", token, w.Code, w.Header())
		}
		lines := p.log.entries(t, "token refused")
		if len(lines) != 2 || lines[0]["reason"] != reason || token != "" && strings.Contains(show(lines), token) || p.counter("gantry_api_refused_total")["reason="+reason] != 2 {
			t.Errorf("%q: logged %v", token, lines)
		}
	}
	p := at(newRig(t, keepsSessions), "http://gantry.example.com")
	wantProblem(t, p.paste(adminToken, "Origin", "http://gantry.example.com"), http.StatusUnauthorized, "unauthenticated")
	wantProblem(t, p.send(http.MethodPost, "/sign-in/token", url.Values{"token": {adminToken}}, "Sec-Fetch-Site", "cross-site"), http.StatusForbidden, "cross-site")
	if len(p.cookies) != 0 {
		t.Errorf("there are cookies %v", p.cookies)
	}
	synctest.Test(t, func(t *testing.T) {
		p := at(newRig(t, keepsSessions), "http://localhost")
		for range 50 {
			p.paste("gantry_wrong")
		}
		wantProblem(t, p.paste("gantry_wrong"), http.StatusTooManyRequests, "too-many-failures")
		if w := p.paste(viewerToken); w.Code != http.StatusSeeOther {
			t.Errorf("a valid token: %d", w.Code)
		}
	})
}

// A session ends with its token. It has the token's roles as they are now, and counts on
// each replica, at whatever host the browser reached the first.
func TestASessionFollowsItsToken(t *testing.T) {
	p := at(newRig(t, keepsSessions), "http://localhost")
	p.paste(approverToken)
	for name, tt := range map[string]struct {
		change func(*authority.Token)
		want   string
	}{
		"revoked":     {func(k *authority.Token) { k.Revoked = "2020-01-01" }, "was revoked"},
		"expired":     {func(k *authority.Token) { k.Expires = "2020-01-01" }, "has expired"},
		"replaced":    {func(k *authority.Token) { k.Hash = authority.TokenHash("other") }, "nobody has this token"},
		"as it was":   {func(*authority.Token) {}, "approver"},
		"with a role": {func(k *authority.Token) { k.Role = authority.RoleViewer }, "viewer"},
	} {
		replica := newRig(t, keepsSessions, func(c *server.Config) { tt.change(&c.Tokens[2]) })
		q := &page{replica, "gantry-headless:8080", false, p.cookies}
		w := q.send(http.MethodGet, "/v1/me", nil, "Gantry-Peer", "another")
		if !strings.Contains(w.Body.String(), tt.want) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if w := q.send(http.MethodGet, "/v1/me", nil); w.Code != http.StatusUnauthorized {
			t.Errorf("%s: at another host: %d", name, w.Code)
		}
	}
}
