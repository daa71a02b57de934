package server_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/decide/managed"
)

// A person without a session is led to the sign-in page and back, also below a path
// prefix; a program's token opens pages as well, and a wrong one is refused as ever.
func TestPagesNeedACaller(t *testing.T) {
	r := newRig(t, keepsSessions)
	p := at(r, "https://gantry.acme.example")
	for path, want := range map[string]string{
		"/":               "./sign-in",
		"/?show=mine&q=a": "./sign-in?back=%2F%3Fshow%3Dmine%26q%3Da",
	} {
		w := p.send(http.MethodGet, path, nil)
		if w.Code != http.StatusSeeOther || w.Header().Get("Location") != want {
			t.Errorf("%s: %d to %q, want %q", path, w.Code, w.Header().Get("Location"), want)
		}
	}
	if w := p.send(http.MethodGet, "/", nil, "HX-Request", "true"); w.Code != http.StatusNoContent || w.Header().Get("HX-Redirect") != "./sign-in" {
		t.Errorf("a part of a page: %d %s", w.Code, w.Header())
	}
	if w := p.send(http.MethodGet, "/sign-in", nil); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "Sign in to Gantry") {
		t.Errorf("the sign-in page: %d", w.Code)
	}
	wantProblem(t, p.send(http.MethodGet, "/", nil, "Authorization", "Bearer wrong"), http.StatusUnauthorized, "unauthenticated")
	if w := p.send(http.MethodGet, "/", nil, "Authorization", "Bearer "+viewerToken); !strings.Contains(w.Body.String(), "Nothing waits for you") {
		t.Errorf("a bearer: %d %s", w.Code, w.Body)
	}
	p.send(http.MethodPost, "/sign-in/token", url.Values{"token": {viewerToken}}, "Origin", "https://gantry.acme.example")
	if w := p.send(http.MethodGet, "/", nil); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "vera") {
		t.Errorf("a session: %d %s", w.Code, w.Body)
	}
}

// Browsers read that nothing is there, and programs get a problem, with one request id.
func TestNotFoundForPeople(t *testing.T) {
	r := newRig(t, keepsSessions)
	w := r.send(http.MethodGet, "/nowhere", "", "Accept", "text/html", "Authorization", "Bearer "+viewerToken, "X-Request-Id", "mine-1")
	for _, want := range []string{"There&#39;s nothing here", "mine-1", "vera"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%d: the page lacks %q: %s", w.Code, want, w.Body)
		}
	}
	wantProblem(t, r.send(http.MethodGet, "/nowhere", ""), http.StatusNotFound, "not-found")
	wantProblem(t, r.send(http.MethodGet, "/v1/nowhere", "", "Accept", "text/html", "Authorization", "Bearer "+viewerToken), http.StatusNotFound, "not-found")
}

// A form of a page decides as the person of the session, with the token of the page; a
// form of another site doesn't. The page shows the API's own refusal.
func TestDecideOnAPage(t *testing.T) {
	r := newRig(t, keepsSessions)
	r.temporal.set(asking())
	r.temporal.update = counts
	p := at(r, "http://localhost")
	page := strings.TrimPrefix(runPath, "/v1")
	form := url.Values{"do": {"approve"}, "run": {"acme/network-prod/" + runPath[strings.LastIndex(runPath, "/")+1:] + "/5"}, "key": {"k1"}}
	p.send(http.MethodPost, "/sign-in/token", url.Values{"token": {approverToken}}, "Origin", "http://localhost")
	if w := p.send(http.MethodPost, page, form, "Origin", "http://localhost"); w.Code != http.StatusForbidden || len(r.temporal.updates) != 0 {
		t.Errorf("without the page's token: %d %s", w.Code, w.Body)
	}
	form.Set("csrf_token", p.cookies["gantry_csrf"].Value)
	if w := p.send(http.MethodPost, page, form, "Origin", "https://evil.example"); w.Code != http.StatusForbidden || len(r.temporal.updates) != 0 {
		t.Errorf("from another site: %d %s", w.Code, w.Body)
	}
	if w := p.send(http.MethodPost, page, form, "Origin", "http://localhost"); w.Code != http.StatusSeeOther || len(r.temporal.updates) != 1 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if d := r.temporal.updates[0].Args[0].(managed.Decision); d.By.Name != "Ann" || *d.StateVersion != 5 {
		t.Errorf("the decision is %+v", d)
	}
	p.send(http.MethodPost, "/sign-in/token", url.Values{"token": {viewerToken}}, "Origin", "http://localhost")
	form.Set("csrf_token", p.cookies["gantry_csrf"].Value)
	if w := p.send(http.MethodPost, page, form, "Origin", "http://localhost"); w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "this needs approver") {
		t.Errorf("a viewer: %d %s", w.Code, w.Body)
	}
	lines := r.log.entries(t, "change")
	if len(lines) != 1 || lines[0]["by"] != "Ann" || lines[0]["requestId"] == "" {
		t.Errorf("the log has %v", lines)
	}
}

// Each page has the session's token masked anew, so that the length of compressed pages
// reveals nothing about it (BREACH). All of them count, for their session alone.
func TestPagesMaskTheirToken(t *testing.T) {
	r := newRig(t, keepsSessions)
	p := at(r, "http://localhost")
	p.send(http.MethodPost, "/sign-in/token", url.Values{"token": {approverToken}}, "Origin", "http://localhost")
	field := regexp.MustCompile(`name="csrf_token" value="([^"]+)"`)
	seen := map[string]bool{}
	for range 3 {
		body := p.send(http.MethodGet, "/", nil).Body.String()
		token := field.FindStringSubmatch(body)
		if token == nil || seen[token[1]] || strings.Contains(body, p.cookies["gantry_csrf"].Value) {
			t.Fatalf("the token %v after %v, of the session %s", token, seen, p.cookies["gantry_csrf"].Value)
		}
		seen[token[1]] = true
		if w := p.send(http.MethodPost, "/", url.Values{"csrf_token": {token[1]}, "verdict": {"approve"}}, "Origin", "http://localhost"); w.Code == http.StatusForbidden {
			t.Errorf("the masked token: %d %s", w.Code, w.Body)
		}
	}
	other := at(r, "http://localhost")
	other.send(http.MethodPost, "/sign-in/token", url.Values{"token": {approverToken}}, "Origin", "http://localhost")
	for token := range seen {
		for _, wrong := range []string{token, token[1:], token + token, "", strings.Repeat("A", len(token))} {
			if w := other.send(http.MethodPost, "/", url.Values{"csrf_token": {wrong}, "verdict": {"approve"}}, "Origin", "http://localhost"); w.Code != http.StatusForbidden {
				t.Errorf("%q counts for another session: %d", wrong, w.Code)
			}
		}
	}
}
