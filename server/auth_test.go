package server_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/server"
)

// exampleBody returns a body that the contract shows for an operation, or
// nothing when it takes none.
func exampleBody(t *testing.T, op *openapi3.Operation) string {
	t.Helper()
	if op.RequestBody == nil {
		return ""
	}
	for _, e := range op.RequestBody.Value.Content["application/json"].Examples {
		b, err := json.Marshal(e.Value.Value)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	t.Fatalf("%s shows no body", op.OperationID)
	return ""
}

func TestWithoutTokensTheAPIIsClosed(t *testing.T) {
	r := newRig(t, func(c *server.Config) { c.Tokens = nil })
	p := wantProblem(t, r.get("/v1/runs", "gantry_admin"), http.StatusUnauthorized, "unauthenticated")
	if !strings.Contains(*p.Detail, "gantry token create") {
		t.Errorf("it does not say how to get a token: %s", *p.Detail)
	}
	if w := r.send(http.MethodGet, "/healthz", ""); w.Code != http.StatusOK {
		t.Errorf("healthz: %d", w.Code)
	}
}

func TestTwoTokensAreNone(t *testing.T) {
	w := newRig(t).send(http.MethodGet, "/v1/runs", "", "Authorization", "Bearer "+viewerToken, "Authorization", "Bearer "+operatorToken)
	wantProblem(t, w, http.StatusUnauthorized, "unauthenticated")
}

// Each refused token is on the log and counted, and the token itself is on neither.
func TestRefusedTokensAreLoggedAndCounted(t *testing.T) {
	r := newRig(t)
	r.get("/v1/runs", "gantry_wrong")
	r.send(http.MethodGet, "/v1/accounts", "", "X-Request-Id", "mine")
	lines := r.log.entries(t, "token refused")
	if len(lines) != 2 || lines[0]["reason"] != "unknown-token" || lines[0]["path"] != "/v1/runs" || lines[0]["source"] != "192.0.2.1" ||
		lines[1]["reason"] != "no-token" || lines[1]["requestId"] != "mine" {
		t.Errorf("logged %v", lines)
	}
	for _, l := range lines {
		if strings.Contains(show(l), "gantry_wrong") {
			t.Errorf("it logs the token: %v", l)
		}
	}
	want := map[string]float64{"reason=no-token": 1, "reason=unknown-token": 1, "reason=expired-token": 0, "reason=revoked-token": 0, "reason=invalid-jwt": 0, "reason=session-ended": 0, "reason=insecure": 0, "reason=cross-site": 0, "reason=too-many-failures": 0}
	if diff := cmp.Diff(want, r.counter("gantry_api_refused_total")); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

// A wrong token is recorded even where none is needed, and the answer is that for strangers.
func TestRefusedTokensOnPublicPaths(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{"/readyz", "/healthz"} {
		if w := r.get(path, "gantry_wrong"); w.Code != http.StatusOK {
			t.Errorf("%s answers a wrong token with %d", path, w.Code)
		}
		r.get(path, viewerToken)
		r.send(http.MethodGet, path, "")
		r.send(http.MethodGet, path, "", "Authorization", "Basic cHJveHk6c2VjcmV0")
	}
	if lines := r.log.entries(t, "token refused"); len(lines) != 2 || lines[0]["reason"] != "unknown-token" || lines[0]["path"] != "/readyz" {
		t.Errorf("logged %v", lines)
	}
	want := map[string]float64{"reason=no-token": 0, "reason=unknown-token": 2, "reason=too-many-failures": 0, "reason=expired-token": 0, "reason=invalid-jwt": 0, "reason=session-ended": 0, "reason=insecure": 0, "reason=cross-site": 0, "reason=revoked-token": 0}
	if diff := cmp.Diff(want, r.counter("gantry_api_refused_total")); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

// One source can't fill the log with refused tokens. Those who have a valid token behind
// the same address are served, and so are the notifications from it.
func TestRefusedTokensAreThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		for range 50 {
			wantProblem(t, r.get("/v1/runs", "gantry_wrong"), http.StatusUnauthorized, "unauthenticated")
		}
		for range 10 {
			w := r.get("/v1/runs", "gantry_wrong")
			p := wantProblem(t, w, http.StatusTooManyRequests, "too-many-failures")
			if w.Header().Get("Retry-After") != "1" || !strings.Contains(*p.Detail, "token") {
				t.Errorf("after %s seconds: %s", w.Header().Get("Retry-After"), *p.Detail)
			}
		}
		if n := len(r.log.entries(t, "token refused")); n != 50 {
			t.Errorf("%d lines are on the log", n)
		}
		if got := r.counter("gantry_api_refused_total"); got["reason=unknown-token"] != 50 || got["reason=too-many-failures"] != 10 {
			t.Errorf("counted %v", got)
		}
		if w := r.get("/v1/accounts", viewerToken); w.Code != http.StatusOK {
			t.Errorf("a valid token: %d %s", w.Code, w.Body)
		}
		wantProblem(t, r.deliver("guess", example(t, "run_tracked_queued")), http.StatusUnauthorized, "signature-mismatch")
		<-time.After(time.Second)
		wantProblem(t, r.get("/v1/runs", "gantry_wrong"), http.StatusUnauthorized, "unauthenticated")
	})
}
