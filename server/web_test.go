package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
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
	if w := p.send(http.MethodGet, "/", nil, "Authorization", "Bearer "+viewerToken); w.Header().Get("Location") != "./docs" {
		t.Errorf("a bearer: %d %s", w.Code, w.Header())
	}
	p.send(http.MethodPost, "/sign-in/token", url.Values{"token": {viewerToken}}, "Origin", "https://gantry.acme.example")
	if w := p.send(http.MethodGet, "/", nil); w.Header().Get("Location") != "./docs" {
		t.Errorf("a session: %d %s", w.Code, w.Header())
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
