package server_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/authority/issuertest"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/server"
)

const signInURL = "https://gantry.example.com/tools"

// signsIn lets people sign in with the issuer that a server trusts.
func signsIn(c *server.Config) {
	c.SignIn = authority.SignIn{Issuer: "sso", ClientID: "gantry-web", Scopes: "openid", Idle: time.Hour, Lifetime: 12 * time.Hour}
	c.PublicURL, c.ClientSecret, c.SessionKey = signInURL, "secret", strings.Repeat("k", 32)
}

// browser is a browser that signs in: it keeps cookies, and follows no redirects.
type browser struct {
	*rig
	issuer  *issuertest.Issuer
	cookies map[string]string
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	i := issuertest.New(t)
	i.Claims = jane("dba")
	r := newRig(t, trusts(i), signsIn)
	r.temporal.set(asking())
	r.temporal.update = counts
	return &browser{rig: r, issuer: i, cookies: map[string]string{}}
}

// ask sends a request with the cookies, and keeps those of the answer.
func (b *browser) ask(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	b.t.Helper()
	var all []string
	for name, value := range b.cookies {
		all = append(all, name+"="+value)
	}
	if len(all) > 0 {
		headers = append(headers, "Cookie", strings.Join(all, "; "))
	}
	if body != "" && !strings.Contains(body, "csrf_token=") {
		headers = append(headers, "Content-Type", "application/json")
	}
	w := b.send(method, path, body, headers...)
	for _, c := range w.Result().Cookies() {
		if !c.Secure || c.Path != "/" || c.SameSite != http.SameSiteLaxMode || !strings.HasPrefix(c.Name, "__Host-gantry_") || c.HttpOnly == (c.Name == "__Host-gantry_csrf") {
			b.t.Errorf("cookie %s", c)
		}
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return w
}

// callback begins a sign-in, lets the issuer answer, and returns the path of its redirect.
func (b *browser) callback(back string) string {
	b.t.Helper()
	w := b.ask(http.MethodGet, "/sign-in/oidc?back="+url.QueryEscape(back), "")
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Get(w.Header().Get("Location"))
	if err != nil {
		b.t.Fatal(err)
	}
	defer answer.Body.Close()
	path, ok := strings.CutPrefix(answer.Header.Get("Location"), signInURL)
	if !ok {
		b.t.Fatalf("the issuer redirects to %q: %s", answer.Header.Get("Location"), answer.Status)
	}
	return path
}

func (b *browser) signIn() {
	b.t.Helper()
	if w := b.ask(http.MethodGet, b.callback("/docs"), ""); w.Code != http.StatusSeeOther || w.Header().Get("Location") != signInURL+"/docs" {
		b.t.Fatalf("%d %s %s", w.Code, w.Header(), w.Body)
	}
}

func (b *browser) csrf() string { return b.cookies["__Host-gantry_csrf"] }

// A person who signed in reads, approves from a page of Gantry's, and signs out; a copy
// of the cookie then counts no more.
func TestSignIn(t *testing.T) {
	b := newBrowser(t)
	wantProblem(t, b.ask(http.MethodGet, "/v1/me", ""), http.StatusUnauthorized, "unauthenticated")
	b.signIn()
	if c := decode[api.Caller](t, b.ask(http.MethodGet, "/v1/me", "")); c.Name != "jane@acme.example" || c.How != "session" || c.Grants[0].Role != "approver" {
		t.Errorf("the caller is %s", show(c))
	}
	w := b.ask(http.MethodPost, decisions, approve, "X-CSRF-Token", b.csrf(), "Sec-Fetch-Site", "same-origin")
	if w.Code != http.StatusOK || b.temporal.updates[0].Args[0].(managed.Decision).By.Name != "jane@acme.example" {
		t.Errorf("an approval: %d %s", w.Code, w.Body)
	}
	stolen, token := b.cookies["__Host-gantry_session"], b.csrf()
	if w := b.ask(http.MethodPost, "/sign-out", "csrf_token="+token, "Content-Type", "application/x-www-form-urlencoded"); w.Code != http.StatusSeeOther || len(b.cookies) != 0 {
		t.Errorf("sign out: %d %s, cookies %v", w.Code, w.Body, b.cookies)
	}
	lines := b.log.entries(t, "signed out")
	if len(lines) != 1 || lines[0]["by"] != "jane@acme.example" || lines[0]["with"] != "sso" || lines[0]["requestId"] == "" {
		t.Errorf("signing out logged %v", lines)
	}
	p := wantProblem(t, b.send(http.MethodGet, "/v1/me", "", "Cookie", "__Host-gantry_session="+stolen), http.StatusUnauthorized, "unauthenticated")
	if !strings.Contains(*p.Detail, "session has ended") {
		t.Errorf("detail %q", *p.Detail)
	}
}

// A change with a session takes the page's token, and comes from this server.
func TestAnotherSiteChangesNothing(t *testing.T) {
	b := newBrowser(t)
	b.signIn()
	for name, headers := range map[string][]string{
		"without the token":         {"Sec-Fetch-Site", "same-origin"},
		"with another token":        {"Sec-Fetch-Site", "same-origin", "X-CSRF-Token", "guess"},
		"from another site":         {"Sec-Fetch-Site", "cross-site", "X-CSRF-Token", b.csrf()},
		"from another origin":       {"Origin", "https://evil.example.com", "X-CSRF-Token", b.csrf()},
		"from a host of the domain": {"Sec-Fetch-Site", "same-site", "X-CSRF-Token", b.csrf()},
	} {
		t.Run(name, func(t *testing.T) {
			b.t = t
			wantProblem(t, b.ask(http.MethodPost, decisions, approve, headers...), http.StatusForbidden, "cross-site")
			wantProblem(t, b.ask(http.MethodPost, "/sign-out", "", headers...), http.StatusForbidden, "cross-site")
		})
	}
	b.t = t
	if len(b.temporal.updates) != 0 {
		t.Error("a change reached the run")
	}
	if got := b.counter("gantry_api_refused_total")["reason=cross-site"]; got != 5 {
		t.Errorf("counted %v", got)
	}
	// A page of the domain may be behind a proxy that changes the host.
	if w := b.ask(http.MethodPost, decisions, approve, "Origin", "https://gantry.example.com", "X-CSRF-Token", b.csrf()); w.Code != http.StatusOK {
		t.Errorf("from the configured address: %d %s", w.Code, w.Body)
	}
	// No browser sends a bearer token on its own, so it takes no more.
	if w := b.ask(http.MethodPost, decisions, approve, "Authorization", "Bearer "+approverToken, "Sec-Fetch-Site", "cross-site"); w.Code != http.StatusOK {
		t.Errorf("with a bearer token: %d %s", w.Code, w.Body)
	}
}

// A sign-in counts once, in the browser that began it, with the issuer's answer to it.
func TestSignInsThatDoNotCount(t *testing.T) {
	for name, prepare := range map[string]func(b *browser) (path string){
		"in another browser":    func(b *browser) string { path := b.callback("/"); clear(b.cookies); return path },
		"with another state":    func(b *browser) string { return b.callback("/") + "x" },
		"without a code":        func(b *browser) string { b.callback("/"); return "/sign-in/callback" },
		"refused by the issuer": func(b *browser) string { return b.callback("/") + "&error=access_denied" },
		"with another nonce":    func(b *browser) string { b.issuer.Nonce = "replaced"; return b.callback("/") },
		"of another issuer":     func(b *browser) string { b.issuer.Claims["iss"] = "https://evil.example.com"; return b.callback("/") },
		"expired": func(b *browser) string {
			b.issuer.Claims["azp"] = "x"
			b.issuer.Claims["exp"] = 1
			return b.callback("/")
		},
		"without a verified address": func(b *browser) string { b.issuer.Claims["email_verified"] = false; return b.callback("/") },
		"a second time": func(b *browser) string {
			path := b.callback("/")
			note := b.cookies["__Host-gantry_sign_in"]
			b.ask(http.MethodGet, path, "")
			clear(b.cookies)
			b.cookies["__Host-gantry_sign_in"] = note
			return path
		},
		"with a forged note": func(b *browser) string {
			path := b.callback("/")
			b.cookies["__Host-gantry_sign_in"] = "forged"
			return path
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBrowser(t)
			wantProblem(t, b.ask(http.MethodGet, prepare(b), ""), http.StatusUnauthorized, "unauthenticated")
			if b.cookies["__Host-gantry_session"] != "" {
				t.Error("there is a session")
			}
			wantProblem(t, b.ask(http.MethodGet, "/v1/me", ""), http.StatusUnauthorized, "unauthenticated")
		})
	}
}

// A sign-in returns to a page of this server and to no other.
func TestSignInReturnsHere(t *testing.T) {
	for back, want := range map[string]string{
		"/runs?phase=waiting": "/runs?phase=waiting", "": "/", "https://evil.example.com": "/", "//evil.example.com": "/",
		`/\evil.example.com`: "/", "javascript:alert(1)": "/", "runs": "/",
	} {
		b := newBrowser(t)
		if w := b.ask(http.MethodGet, b.callback(back), ""); w.Header().Get("Location") != signInURL+want {
			t.Errorf("%q returns to %q", back, w.Header().Get("Location"))
		}
	}
}

// The pages of another replica know the session, those of a Gantry with another key
// don't; and where nobody can sign in, a cookie counts for nothing.
func TestSessionsOfReplicas(t *testing.T) {
	b := newBrowser(t)
	b.signIn()
	cookie := "__Host-gantry_session=" + b.cookies["__Host-gantry_session"]
	for key, want := range map[string]int{strings.Repeat("k", 32): http.StatusOK, strings.Repeat("x", 32): http.StatusUnauthorized, "": http.StatusUnauthorized} {
		r := newRig(t, trusts(b.issuer), func(c *server.Config) {
			if key != "" {
				c.SignIn = authority.SignIn{Issuer: "sso", ClientID: "gantry-web", Idle: time.Hour, Lifetime: 12 * time.Hour}
				c.PublicURL, c.ClientSecret, c.SessionKey = signInURL, "secret", key
			}
		})
		if w := r.send(http.MethodGet, "/v1/me", "", "Cookie", cookie); w.Code != want {
			t.Errorf("with the key %q: %d %s", key, w.Code, w.Body)
		}
		wantProblem(t, r.send(http.MethodGet, "/v1/me", "", "Cookie", cookie+"; "+cookie), http.StatusUnauthorized, "unauthenticated")
	}
}

// A sign-out ends the session on the other replicas too; one that gives no answer is
// named.
func TestSignOutReachesPeers(t *testing.T) {
	b := newBrowser(t)
	b.signIn()
	stolen := "__Host-gantry_session=" + b.cookies["__Host-gantry_session"]
	other := b.rig
	peer := httptest.NewServer(other.handler)
	t.Cleanup(peer.Close)
	gone := httptest.NewServer(nil)
	gone.Close()
	b.rig = newRig(t, trusts(b.issuer), signsIn, func(c *server.Config) { c.Replica, c.Peers = "gantry-1", []string{peer.URL, gone.URL} })
	if w := other.send(http.MethodGet, "/v1/me", "", "Cookie", stolen); w.Code != http.StatusOK {
		t.Fatalf("before: %d %s", w.Code, w.Body)
	}
	b.ask(http.MethodPost, "/sign-out", "csrf_token="+b.csrf(), "Content-Type", "application/x-www-form-urlencoded")
	for _, r := range []*rig{b.rig, other} {
		wantProblem(t, r.send(http.MethodGet, "/v1/me", "", "Cookie", stolen), http.StatusUnauthorized, "unauthenticated")
	}
	if here, there := b.log.entries(t, "signed out"), other.log.entries(t, "signed out"); len(here) != 1 || len(there) != 0 {
		t.Errorf("logged %v, and by the other replica %v; want one line", here, there)
	}
	if lines := b.log.entries(t, "sign-out did not reach all replicas"); len(lines) != 1 || !strings.Contains(show(lines), strings.TrimPrefix(gone.URL, "http://")) || strings.Contains(show(lines), strings.TrimPrefix(peer.URL, "http://")) {
		t.Errorf("logged %v", lines)
	}
}

// A replica that asks another on behalf of a person with a session shows them its
// deliveries too.
func TestSessionsReachPeers(t *testing.T) {
	b := newBrowser(t)
	b.signIn()
	delivery := b.receipt(example(t, "run_tracked_queued")).Delivery
	peer := httptest.NewServer(b.handler)
	t.Cleanup(peer.Close)
	b.rig = newRig(t, trusts(b.issuer), signsIn, func(c *server.Config) { c.Replica, c.Peers = "gantry-1", []string{peer.URL} })
	list := decode[api.DeliveryList](t, b.ask(http.MethodGet, "/v1/deliveries", ""))
	if len(list.Deliveries) != 1 || list.Deliveries[0].ID != delivery {
		t.Errorf("it lists %s", show(list))
	}
}
