package simulator_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

const confirmDocument = `mutation Confirm($stack: ID!, $run: ID!, $note: String) {
  runConfirm(stack: $stack, run: $run, note: $note) { id state }
}`

func confirmArgs(run spacelift.RunID) map[string]any {
	return map[string]any{"stack": "net", "run": run, "note": "go"}
}

func TestRunIsReadWithHistoryNewestFirst(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net", Labels: []string{"gantry:managed"}, Resources: 40})
	id := r.push("net", twoAdded)
	var got struct {
		Stack struct {
			Labels []string
			Run    struct {
				State         string
				Finished      bool
				NeedsApproval bool
				CanConfirm    bool
				TriggeredBy   *string
				Delta         map[string]int
				History       []struct {
					State        string
					StateVersion int
				}
			}
		}
	}
	r.graphql(`query ($stack: ID!, $run: ID!) { stack(id: $stack) { labels run(id: $run) {
		state finished needsApproval canConfirm triggeredBy delta { addCount changeCount deleteCount resources }
		history { state stateVersion } } } }`, map[string]any{"stack": "net", "run": id}, &got)
	run := got.Stack.Run
	if run.State != "UNCONFIRMED" || run.Finished || !run.CanConfirm || run.NeedsApproval || run.TriggeredBy != nil {
		t.Errorf("run %+v", run)
	}
	if diff := cmp.Diff(map[string]int{"addCount": 2, "changeCount": 0, "deleteCount": 0, "resources": 40}, run.Delta); diff != "" {
		t.Errorf("delta (-want +got)\n%s", diff)
	}
	if first := run.History[0]; first.State != "UNCONFIRMED" || first.StateVersion != 5 || len(run.History) != 6 {
		t.Errorf("history %+v", run.History)
	}
}

func TestMissingObjects(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net"})
	for _, document := range []string{`{ stack(id: "nope") { id } }`, `{ stack(id: "net") { run(id: "nope") { id } } }`} {
		if a := r.graphql(document, nil, nil); len(a.Errors) > 0 || !strings.Contains(string(a.Data), "null") {
			t.Errorf("%s: data %s, errors %v; want null without an error", document, a.Data, a.Errors)
		}
	}
	a := r.graphql(`{ namedWebhooksIntegration(id: "nope") { id } }`, nil, nil)
	if len(a.Errors) != 1 || !strings.Contains(a.Errors[0].Message, "not found") {
		t.Errorf("missing webhook: errors %v", a.Errors)
	}
}

func TestUnknownFieldIsRefusedInSpaceliftsWords(t *testing.T) {
	r := newRig(t)
	a := r.graphql(`{ stack(id: "net") { flavour } }`, nil, nil)
	if len(a.Errors) != 1 || !strings.HasPrefix(a.Errors[0].Message, `Cannot query field "flavour" on type "Stack"`) {
		t.Errorf("errors %v", a.Errors)
	}
	a = r.graphql(`mutation ($in: FancyInput!) { spaceCreate(input: $in) { id } }`, nil, nil)
	if len(a.Errors) == 0 || !strings.Contains(a.Errors[0].Message, "Unknown type") {
		t.Errorf("errors %v", a.Errors)
	}
}

func TestTokens(t *testing.T) {
	viewer := func(r *rig) answer { return r.graphql(`{ viewer { id admin } }`, nil, nil) }
	unauthorized := func(a answer, status int) bool {
		return a.Status == status && len(a.Errors) == 1 && a.Errors[0].Message == "unauthorized"
	}

	t.Run("live until validUntil", func(t *testing.T) {
		r := newRig(t, func(o *simulator.Options) { o.TokenLife = time.Minute })
		if a := viewer(r); len(a.Errors) > 0 || string(a.Data) != `{"viewer":{"id":"api::01KEY","admin":true}}` {
			t.Fatalf("fresh token: %s %v", a.Data, a.Errors)
		}
		r.clock.Advance(time.Minute)
		if a := viewer(r); !unauthorized(a, http.StatusOK) {
			t.Errorf("token past its time: %+v", a)
		}
	})
	t.Run("say when they end", func(t *testing.T) {
		r := newRig(t, func(o *simulator.Options) { o.TokenLife = time.Minute })
		var got struct {
			APIKeyUser struct {
				JWT        string
				ValidUntil int64
			}
		}
		a := r.post(`mutation { apiKeyUser(id: "01KEY", secret: "s3cret") { jwt validUntil } }`, nil, nil)
		r.ok(json.Unmarshal(a.Data, &got))
		if want := epoch.Add(time.Minute).Unix(); got.APIKeyUser.ValidUntil != want || strings.Count(got.APIKeyUser.JWT, ".") != 2 {
			t.Errorf("got %+v, want validUntil %d", got, want)
		}
	})
	t.Run("die when revoked, with the status asked for", func(t *testing.T) {
		r := newRig(t, func(o *simulator.Options) { o.UnauthorizedStatus = http.StatusUnauthorized })
		viewer(r)
		r.RevokeTokens()
		if a := viewer(r); !unauthorized(a, http.StatusUnauthorized) {
			t.Errorf("revoked token: %+v", a)
		}
	})
	t.Run("need the right secret", func(t *testing.T) {
		r := newRig(t)
		a := r.post(`mutation { apiKeyUser(id: "01KEY", secret: "guess") { jwt } }`, nil, nil)
		if !unauthorized(a, http.StatusOK) {
			t.Errorf("wrong secret: %+v", a)
		}
	})
	t.Run("are needed", func(t *testing.T) {
		r := newRig(t)
		for name, header := range map[string]http.Header{
			"none": nil, "garbage": {"Authorization": {"Bearer a.b.c"}}, "empty": {"Authorization": {"Bearer "}},
		} {
			if a := r.post(`{ viewer { id } }`, nil, header); !unauthorized(a, http.StatusOK) {
				t.Errorf("%s: %+v", name, a)
			}
		}
	})
	t.Run("of another account are refused", func(t *testing.T) {
		stranger := newRig(t, func(o *simulator.Options) { o.Seed = 2 })
		r := newRig(t)
		a := r.post(`{ viewer { id } }`, nil, http.Header{"Authorization": {"Bearer " + stranger.exchange("01KEY", "s3cret")}})
		if !unauthorized(a, http.StatusOK) {
			t.Errorf("answer %+v", a)
		}
	})
	t.Run("carry the key's role", func(t *testing.T) {
		r := newRig(t)
		r.stack(simulator.Stack{ID: "net"})
		id := r.push("net", twoAdded)
		r.AddAPIKey(simulator.APIKey{ID: "01READER", Secret: "x", Role: simulator.Reader})
		r.token = r.exchange("01READER", "x")
		if a := viewer(r); len(a.Errors) > 0 {
			t.Errorf("a reader may look: %v", a.Errors)
		}
		if a := r.graphql(confirmDocument, confirmArgs(id), nil); !unauthorized(a, http.StatusOK) {
			t.Errorf("a reader confirmed: %+v", a)
		}
		if got := r.get("net", id).State; got != spacelift.RunStateUnconfirmed {
			t.Errorf("run is %s", got)
		}
	})
}

func TestConfirmIsRecordedOnceAndCarriesMetadata(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net"})
	id := r.push("net", twoAdded)
	r.graphql(`{ viewer { id } }`, nil, nil)
	a := r.post(confirmDocument, confirmArgs(id), http.Header{
		"Authorization": {"Bearer " + r.token}, "Spacelift-User-Provided-Run-Metadata": {"gantry:run/1"},
	})
	if string(a.Data) != `{"runConfirm":{"id":"`+string(id)+`","state":"CONFIRMED"}}` {
		t.Fatalf("answer %s %v", a.Data, a.Errors)
	}
	a = r.graphql(confirmDocument, confirmArgs(id), nil)
	if len(a.Errors) != 1 {
		t.Errorf("second confirm: %+v, want a refusal", a)
	}
	r.settle()
	run := r.get("net", id)
	if diff := cmp.Diff([]string{"gantry:run/1"}, run.Metadata); diff != "" {
		t.Errorf("metadata (-want +got)\n%s", diff)
	}
	if got := run.History[6]; got.Username != "api::01KEY" || got.Note != "go" {
		t.Errorf("CONFIRMED by %q with note %q", got.Username, got.Note)
	}
	sent := r.Mutations("runConfirm")
	if len(sent) != 1 {
		t.Fatalf("%d confirmations carried out, want 1", len(sent))
	}
	want := map[string]any{"stack": "net", "run": string(id), "note": "go"}
	if diff := cmp.Diff(want, sent[0].Arguments); diff != "" || sent[0].Actor != "api::01KEY" || sent[0].Operation != "Confirm" {
		t.Errorf("recorded %+v (-want +got)\n%s", sent[0], diff)
	}
}

func TestSecretsAreNotRecorded(t *testing.T) {
	r := newRig(t)
	r.graphql(`mutation ($in: NamedWebhooksIntegrationInput!) { namedWebhooksIntegrationCreate(input: $in) { id } }`, map[string]any{
		"in": map[string]any{"enabled": true, "endpoint": "https://e.example", "space": "root", "name": "G", "secret": "topsecret"},
	}, nil)
	r.graphql(`mutation { namedWebhooksIntegrationSetHeaders(id: "g", input: {entries: [{key: "X-K", value: "topsecret"}]}) { id } }`, nil, nil)
	for _, req := range r.Requests() {
		text, err := json.Marshal(req)
		r.ok(err)
		if strings.Contains(string(text), "topsecret") || strings.Contains(string(text), "s3cret") {
			t.Errorf("a secret was recorded: %s", text)
		}
	}
	if n := len(r.Requests()); n != 3 {
		t.Errorf("%d requests recorded, want 3", n)
	}
}

func TestAPIFaults(t *testing.T) {
	setup := func(t *testing.T, f simulator.APIFault) (*rig, spacelift.RunID) {
		r := newRig(t)
		r.stack(simulator.Stack{ID: "net"})
		id := r.push("net", twoAdded)
		r.graphql(`{ viewer { id } }`, nil, nil)
		_, err := r.InjectAPI(f)
		r.ok(err)
		return r, id
	}
	t.Run("answers that say nothing happened", func(t *testing.T) {
		for kind, status := range map[simulator.APIFaultKind]int{
			simulator.RateLimited: 429, simulator.ServerError: 502, simulator.Unauthorized: 200, simulator.NotExecutable: 200,
		} {
			r, id := setup(t, simulator.APIFault{Kind: kind, Field: "runConfirm", Times: 1})
			if a := r.graphql(`{ viewer { id } }`, nil, nil); len(a.Errors) > 0 {
				t.Errorf("%s struck another field", kind)
			}
			a := r.graphql(confirmDocument, confirmArgs(id), nil)
			if a.Status != status || status == 200 && len(a.Errors) != 1 {
				t.Errorf("%s: %+v", kind, a)
			}
			if got := r.get("net", id).State; got != spacelift.RunStateUnconfirmed {
				t.Errorf("%s: run is %s", kind, got)
			}
			if a := r.graphql(confirmDocument, confirmArgs(id), nil); len(a.Errors) > 0 || a.Status != 200 {
				t.Errorf("%s is not used up: %+v", kind, a)
			}
		}
	})
	t.Run("a lost response did happen", func(t *testing.T) {
		r, id := setup(t, simulator.APIFault{Kind: simulator.LostResponse, Field: "runConfirm"})
		srv := httptest.NewServer(r)
		defer srv.Close()
		body, err := json.Marshal(map[string]any{"query": confirmDocument, "variables": confirmArgs(id)})
		r.ok(err)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/graphql", strings.NewReader(string(body)))
		r.ok(err)
		req.Header.Set("Authorization", "Bearer "+r.token)
		resp, err := srv.Client().Do(req)
		if err == nil {
			resp.Body.Close()
			t.Fatalf("got an answer: %s", resp.Status)
		}
		if got := r.get("net", id).State; got != spacelift.RunStateConfirmed {
			t.Errorf("run is %s, want CONFIRMED", got)
		}
		if n := len(r.Mutations("runConfirm")); n != 1 {
			t.Errorf("%d confirmations recorded", n)
		}
	})
	t.Run("nonsense is refused", func(t *testing.T) {
		r := newRig(t)
		for _, f := range []simulator.APIFault{
			{Kind: "gremlins"}, {Kind: simulator.Slow, Probability: 2}, {Kind: simulator.Slow, Times: -1},
			{Kind: simulator.ServerError, Status: 204},
		} {
			if _, err := r.InjectAPI(f); err == nil {
				t.Errorf("%+v was taken", f)
			}
		}
	})
}

func TestMalformedRequests(t *testing.T) {
	r := newRig(t)
	for body, want := range map[string]int{"": 400, "{": 400, `"x"`: 400, `{"query": "{"}`: 200, strings.Repeat("x", 2<<20): 400} {
		w := httptest.NewRecorder()
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/graphql", strings.NewReader(body))
		r.graphql(`{ viewer { id } }`, nil, nil)
		req.Header.Set("Authorization", "Bearer "+r.token)
		r.ServeHTTP(w, req)
		if w.Code != want || !strings.Contains(w.Body.String(), "errors") {
			t.Errorf("%.20q: %d %s", body, w.Code, w.Body)
		}
	}
}
