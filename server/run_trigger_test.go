package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/server"
	"github.com/gantryhq/gantry/spacelift"
)

const triggers = "/v1/accounts/acme/stacks/network-prod/runs"

// triggerRig is a rig whose account has the stack network-prod, and in which every
// trigger has an outcome.
func triggerRig(t *testing.T, outcome *managed.TriggerRunOutcome) *rig {
	t.Helper()
	r := newRig(t, func(c *server.Config) {
		c.Accounts[0].Stacks = &account{stacks: []spacelift.Stack{{Account: "acme", ID: "network-prod"}}}
	})
	r.temporal.trigger = outcome
	return r
}

// made is the outcome of a trigger that made a run.
func made() *managed.TriggerRunOutcome {
	o := &managed.TriggerRunOutcome{Run: theRun, URL: "https://acme/run"}
	o.Run.Run = "01KDX5N0R6T8W2Y4A6C8E0G2J4"
	return o
}

func TestTrigger(t *testing.T) {
	const commit = "9f2c1d7e4b8a06f35c21de90ab7741f6c3e85d12"
	for body, want := range map[string]managed.TriggerRunInput{
		``:                            {Type: spacelift.RunTypeTracked},
		`{"note":"it is back"}`:       {Type: spacelift.RunTypeTracked},
		`{"type":"PROPOSED"}`:         {Type: spacelift.RunTypeProposed},
		`{"commit":"` + commit + `"}`: {Type: spacelift.RunTypeTracked, Commit: commit},
	} {
		r := triggerRig(t, made())
		w := r.post(operatorToken, triggers, body)
		answer := api.Trigger{Account: "acme", Stack: "network-prod", Type: api.RunType(want.Type), Run: new("01KDX5N0R6T8W2Y4A6C8E0G2J4"), URL: new("https://acme/run")}
		if diff := cmp.Diff(answer, decode[api.Trigger](t, w)); diff != "" || w.Code != http.StatusCreated {
			t.Errorf("%s: %d, answer (-want +got):\n%s", body, w.Code, diff)
		}
		if got := w.Header().Get("Location"); got != "../../../../../v1/accounts/acme/stacks/network-prod/runs/01KDX5N0R6T8W2Y4A6C8E0G2J4" {
			t.Errorf("Location %s", got)
		}
		want.Account, want.Stack, want.By = "acme", "network-prod", "otto"
		if diff := cmp.Diff(want, r.temporal.triggers[0].input); diff != "" {
			t.Errorf("%s: input (-want +got):\n%s", body, diff)
		}
	}
}

// Each request without a key makes a run of its own; under one key there is one run,
// whichever answers were lost.
func TestTriggersUnderOneKey(t *testing.T) {
	r := triggerRig(t, nil) // Spacelift has not answered
	for range 2 {
		if w := r.post(operatorToken, triggers, ``, keyed("k")...); w.Code != http.StatusAccepted || decode[api.Trigger](t, w).Run != nil {
			t.Errorf("under way: %d %s", w.Code, w.Body)
		}
	}
	r.temporal.triggers[0].outcome = made()
	if w := r.post(operatorToken, triggers, ``, keyed("k")...); w.Code != http.StatusCreated {
		t.Errorf("answered: %d %s", w.Code, w.Body)
	}
	wantProblem(t, r.post(operatorToken, triggers, `{"type":"PROPOSED"}`, keyed("k")...), http.StatusUnprocessableEntity, "idempotency-key-reused")
	if n := len(r.temporal.triggers); n != 1 {
		t.Errorf("%d executions under one key", n)
	}
	r.post(adminToken, triggers, ``, keyed("k")...)
	r.post(operatorToken, triggers, ``)
	r.post(operatorToken, triggers, ``)
	if n := len(r.temporal.triggers); n != 4 {
		t.Errorf("%d executions, want one for the key, one for another person's and one for each request without a key", n)
	}
}

func TestRefusedTriggers(t *testing.T) {
	r := triggerRig(t, &managed.TriggerRunOutcome{Reason: "the stack network-prod is held: jane locked the stack in Spacelift"})
	p := wantProblem(t, r.post(operatorToken, triggers, ``), http.StatusConflict, "trigger-refused")
	if !strings.Contains(*p.Detail, "jane locked the stack") {
		t.Errorf("detail %q", *p.Detail)
	}
	wantProblem(t, r.post(operatorToken, strings.Replace(triggers, "network-prod", "nowhere", 1), ``), http.StatusNotFound, "not-found")
	for _, body := range []string{`{"type":"TASK"}`, `{"commit":"main"}`, `{"forceApply":true}`} {
		wantProblem(t, r.post(operatorToken, triggers, body), http.StatusBadRequest, "bad-request")
	}
	if n := len(r.temporal.triggers); n != 1 {
		t.Errorf("%d executions", n)
	}
}
