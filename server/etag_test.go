package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/decide/managed"
)

// A client that polls transfers an answer once, and again when it has changed.
func TestAnswersThatHaveNotChanged(t *testing.T) {
	r, _, _ := scopesRig(t)
	r.lists(asking())
	r.temporal.set(asking())
	viewer := tokenFor("viewer", "everywhere")
	get := func(path, token, tags string) *answered {
		t.Helper()
		w := r.send(http.MethodGet, path, "", "Authorization", "Bearer "+token, "If-None-Match", tags)
		return &answered{w.Code, w.Header().Get("ETag"), w.Body.String(), w.Header()}
	}
	get("/v1/runs?space=net", viewer, "") // from here on it knows the stacks' spaces
	for _, path := range []string{
		"/v1/runs", "/v1/runs?waiting=any&order=oldest", runPath, runPath + "/timeline", runPath + "/explain", "/v1/accounts",
		"/v1/accounts/acme/chains/" + string(theRun.Run), "/v1/accounts/acme/freezes", "/v1/me",
	} {
		first := get(path, viewer, "")
		if first.status != http.StatusOK || len(first.etag) < 10 || !strings.Contains(first.header.Get("Cache-Control"), "private") {
			t.Errorf("%s: %d, ETag %q, %s", path, first.status, first.etag, first.header.Get("Cache-Control"))
			continue
		}
		for _, tags := range []string{first.etag, "W/" + first.etag, `"other", ` + first.etag, "*"} {
			if again := get(path, viewer, tags); again.status != http.StatusNotModified || again.body != "" || again.etag != first.etag {
				t.Errorf("%s with %s: %d %q, ETag %s", path, tags, again.status, again.body, again.etag)
			}
		}
		if other := get(path, viewer, `"`+strings.Repeat("0", 32)+`"`); other.status != http.StatusOK || other.body != first.body {
			t.Errorf("%s with another tag: %d", path, other.status)
		}
	}

	before := get(runPath, viewer, "")
	r.temporal.set(inState("APPLYING", managed.PhaseApplying))
	if after := get(runPath, viewer, before.etag); after.status != http.StatusOK || !strings.Contains(after.body, "APPLYING") {
		t.Errorf("a run that changed: %d %s", after.status, after.body)
	}
	// A tag proves nothing about its bearer.
	wantProblem(t, r.send(http.MethodGet, runPath, "", "If-None-Match", before.etag), http.StatusUnauthorized, "unauthenticated")
	if out := get(runPath, tokenFor("viewer", "other stacks"), before.etag); out.status != http.StatusForbidden {
		t.Errorf("out of scope: %d", out.status)
	}
	if w := r.send(http.MethodHead, "/v1/runs", "", "Authorization", "Bearer "+viewer); w.Header().Get("ETag") != get("/v1/runs", viewer, "").etag {
		t.Errorf("HEAD has the ETag %q", w.Header().Get("ETag"))
	}
	if gone := get("/v1/accounts/acme/stacks/network-prod/runs/none", viewer, "*"); gone.status != http.StatusNotFound || gone.etag != "" {
		t.Errorf("a problem: %d, ETag %q", gone.status, gone.etag)
	}
}

type answered struct {
	status     int
	etag, body string
	header     http.Header
}
