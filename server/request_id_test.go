package server_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
)

const requestID = "X-Request-Id"

// Every answer names its request, and so does a problem.
func TestEveryAnswerHasARequestID(t *testing.T) {
	r := newRig(t)
	seen := map[string]bool{}
	for _, path := range []string{"/healthz", "/metrics", "/docs", "/nowhere", "/webhook", "/v1/nowhere", "/v1/runs?stak=x", runPath, "/v1/accounts"} {
		w := r.get(path, viewerToken)
		id := w.Header().Get(requestID)
		if len(id) < 20 || seen[id] {
			t.Errorf("%s: the request id is %q", path, id)
		}
		seen[id] = true
		if w.Code >= http.StatusBadRequest {
			if p := wantProblem(t, w, w.Code, strings.TrimPrefix(decode[struct{ Type string }](t, w).Type, "urn:gantry:problem:")); p.RequestID == nil || *p.RequestID != id {
				t.Errorf("%s: the problem of request %s is %s", path, id, w.Body)
			}
		}
	}
	if w := r.deliver(acmeSecret, example(t, "run_tracked_queued")); w.Header().Get(requestID) == "" {
		t.Error("a notification has none")
	}
}

func TestRequestIDsOfCallers(t *testing.T) {
	r := newRig(t)
	for id, kept := range map[string]bool{
		"4bf92f35-77b3/4da6:a3ce_929d.0e0e+4736==": true, strings.Repeat("a", 128): true,
		strings.Repeat("a", 129): false, "": false, "two words": false, "<b>": false, "a\x1b[2J": false, "ä": false,
	} {
		w := r.send(http.MethodGet, "/v1/nowhere", "", requestID, id, "Authorization", "Bearer "+viewerToken)
		if got := w.Header().Values(requestID); len(got) != 1 || got[0] == "" || (got[0] == id) != kept {
			t.Errorf("%q is answered as %q", id, got)
		}
	}
	if got := r.send(http.MethodGet, "/healthz", "", requestID, "a", requestID, "b").Header().Values(requestID); len(got) != 1 || got[0] == "a" || got[0] == "b" {
		t.Errorf("of two it takes %q", got)
	}
}

// A log line about a request has its id: a change, a failure, a panic, and a change that
// may still count.
func TestLogLinesNameTheRequest(t *testing.T) {
	r := newRig(t)
	named := func(message, id string) {
		t.Helper()
		if lines := r.log.entries(t, message); len(lines) != 1 || lines[0]["requestId"] != id {
			t.Errorf("%s: %v", message, lines)
		}
	}
	decide := func(id string) { r.post(approverToken, decisions, approve, requestID, id) }
	r.temporal.update = counts
	decide("change-1")
	named("change", "change-1")
	r.temporal.update = func(client.UpdateWorkflowOptions) (any, error) { return nil, errors.New("unplanned") }
	decide("change-2")
	named("request failed", "change-2")
	r.temporal.update = func(client.UpdateWorkflowOptions) (any, error) { panic("bug") }
	decide("change-3")
	named("request panicked", "change-3")
	named("change", "change-1")
}

// A change that may still count is on the log, though it has no answer yet.
func TestUnansweredChangesAreLogged(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.temporal.update = func(client.UpdateWorkflowOptions) (any, error) { return nil, serviceerror.NewUnavailable("down") }
		wantProblem(t, r.post(approverToken, decisions, approve, requestID, "change-4"), http.StatusServiceUnavailable, "unanswered")
		lines := r.log.entries(t, "change unanswered")
		if len(lines) != 1 || lines[0]["requestId"] != "change-4" || lines[0]["by"] != "Ann" || lines[0]["operation"] != "DecideRun" || lines[0]["run"] == nil {
			t.Errorf("logged %v", lines)
		}
	})
}
