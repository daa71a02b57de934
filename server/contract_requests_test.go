package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/gantryhq/gantry/audit"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/openapi"
	"github.com/gantryhq/gantry/server"
	"github.com/gantryhq/gantry/spacelift"
)

// named returns what a problem says of a parameter, and fails if it does not name
// it.
func named(t *testing.T, p api.Problem, parameter string) string {
	t.Helper()
	for _, e := range p.Errors {
		if e.Parameter != nil && *e.Parameter == parameter {
			return e.Detail
		}
	}
	t.Errorf("it does not name %s: %s", parameter, show(p))
	return ""
}

// A filter with a typing error must not select everything.
func TestQueriesThatDoNotFit(t *testing.T) {
	for query, want := range map[string]struct{ parameter, says string }{
		"stak=app-prod":              {"stak", "use stack"},
		"Stack=app-prod":             {"Stack", "use stack"},
		"stacks=app-prod":            {"stacks", "use stack"},
		"page_size=10":               {"page_size", "use pageSize"},
		"limit=10":                   {"limit", "use one of account, stack, label, space, author, state, phase, ended, commit, run, chain, group, canDecide, waiting, held, bypassed, since, until, order, pageSize, pageToken"},
		"=x":                         {"", "is not a parameter"},
		"stack=a&stack=b":            {"stack", "more than once"},
		"pageSize=1&pageSize=2":      {"pageSize", "more than once"},
		"stack=":                     {"stack", "minimum"},
		"state=":                     {"state", "minimum"},
		"phase=":                     {"phase", ""},
		"pageToken=":                 {"pageToken", "minimum"},
		"stack=a;b":                  {"stack", "%3B"},
		"stack=%zz":                  {"stack", "%25"},
		"stack=a&state=FINISHED;x=y": {"state", "%3B"},
	} {
		t.Run(query, func(t *testing.T) {
			r := newRig(t)
			p := wantProblem(t, r.get("/v1/runs?"+query, viewerToken), http.StatusBadRequest, "bad-request")
			if got := named(t, p, want.parameter); !strings.Contains(got, want.says) {
				t.Errorf("it says %q of %s, want %q", got, want.parameter, want.says)
			}
			if r.temporal.asked != nil {
				t.Errorf("Temporal was asked for %s", r.temporal.asked.GetQuery())
			}
		})
	}
	// Each is named, and operations without any take none.
	r := newRig(t)
	p := wantProblem(t, r.get("/v1/runs?stak=a&pagesize=2&phase=asleep", viewerToken), http.StatusBadRequest, "bad-request")
	for _, name := range []string{"stak", "pagesize", "phase"} {
		named(t, p, name)
	}
	p = wantProblem(t, r.get("/v1/accounts?account=acme", viewerToken), http.StatusBadRequest, "bad-request")
	if says := named(t, p, "account"); !strings.Contains(says, "has none") {
		t.Errorf("it says %q", says)
	}
}

// TestEveryOperationKnowsItsParameters walks the contract.
func TestEveryOperationKnowsItsParameters(t *testing.T) {
	r := newRig(t)
	walked := 0
	for path, item := range contractOf(t).Paths.Map() {
		if !strings.HasPrefix(path, "/v1/") {
			continue
		}
		for method, op := range item.Operations() {
			w := r.send(method, filled(path, "acme")+"?nonsense=1", exampleBody(t, op), "Authorization", "Bearer "+operatorToken, "Content-Type", "application/json")
			named(t, wantProblem(t, w, http.StatusBadRequest, "bad-request"), "nonsense")
			walked++
		}
	}
	if walked < 20 {
		t.Errorf("only %d operations were asked", walked)
	}
	if len(r.temporal.updates) != 0 || r.temporal.asks != 0 {
		t.Error("something of it reached Temporal")
	}
}

func contractOf(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(openapi.Document)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// filled fills in the path of an operation.
func filled(path, account string) string {
	return strings.NewReplacer("{account}", account, "{stack}", "network-prod", "{run}", string(theRun.Run),
		"{freeze}", "01KDX4A7B3C5D7E9F1G3H5J7K9", "{delivery}", "01KDX4A7B3C5D7E9F1G3H5J7K9").Replace(path)
}

func TestBodiesThatDoNotFit(t *testing.T) {
	send := func(path, contentType, body string) (*rig, string) {
		t.Helper()
		r := newRig(t)
		r.temporal.update = counts
		w := r.send(http.MethodPost, path, body, "Authorization", "Bearer "+operatorToken, "Content-Type", contentType)
		if len(r.temporal.updates) != 0 {
			t.Errorf("%s: it was sent", body)
		}
		p := decode[api.Problem](t, w)
		return r, strings.TrimPrefix(p.Type, "urn:gantry:problem:") + ": " + *p.Detail
	}
	const asJSON = "application/json"
	for name, tt := range map[string]struct{ path, contentType, body, want string }{
		"a verdict and its opposite": {decisions, asJSON, `{"verdict":"approve","verdict":"reject"}`, `bad-request: the body has "verdict" more than once`},
		"deeper inside":              {freezes, asJSON, `{"reason":"x","stacks":[{"a":1,"a":2}]}`, `bad-request: the body has "a" more than once`},
		"two values":                 {decisions, asJSON, `{"verdict":"approve"}{"verdict":"reject"}`, "bad-request: the body holds more than one JSON value"},
		"a day that no year has":     {freezes, asJSON, `{"reason":"x","until":"2027-02-29T09:00:00Z"}`, `bad-request: the body can't be read: 2027-02-29T09:00:00Z is not a time; write it like 2026-01-31T09:00:00Z`},
		"something behind it":        {decisions, asJSON, `{"verdict":"approve"} and so on`, "bad-request: the body holds more than one JSON value"},
		"cut off":                    {decisions, asJSON, `{"verdict":`, "bad-request: the body can't be read: it is not JSON"},
		"nested without end":         {decisions, asJSON, strings.Repeat("[", 100_000), "bad-request: the body is nested deeper"},
		"a form":                     {decisions, "application/x-www-form-urlencoded", "verdict=approve", "unsupported-media-type: send JSON"},
		"JSON that says nothing":     {decisions, "", approve, "unsupported-media-type: send JSON"},
		"JSON that says text":        {decisions, "text/plain", approve, "unsupported-media-type: send JSON"},
		"where none is taken":        {"/v1/redeliveries", asJSON, `{"account":"acme"}`, "bad-request: this operation takes no body"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, got := send(tt.path, tt.contentType, tt.body); !strings.HasPrefix(got, tt.want) {
				t.Errorf("answered %s, want %s", got, tt.want)
			}
		})
	}
	r := newRig(t)
	r.temporal.update = counts
	if w := r.send(http.MethodPost, decisions, approve, "Authorization", "Bearer "+approverToken, "Content-Type", "application/json; charset=utf-8"); w.Code != http.StatusOK {
		t.Errorf("JSON with a charset: %d %s", w.Code, w.Body)
	}
}

func TestKeysThatAreTwo(t *testing.T) {
	r := newRig(t)
	r.temporal.update = counts
	p := wantProblem(t, r.post(approverToken, decisions, approve, append(keyed("a"), keyed("b")...)...), http.StatusBadRequest, "bad-request")
	if says := named(t, p, "Idempotency-Key"); !strings.Contains(says, "more than once") || len(r.temporal.updates) != 0 {
		t.Errorf("it says %q, sent %v", says, r.temporal.updates)
	}
}

// A page token means nothing in another list, nor with other filters.
func TestPageTokensOfOtherLists(t *testing.T) {
	record, err := audit.Open(t.Context(), audit.Options{Dir: t.TempDir(), Logger: discard()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = record.Close() })
	for range 2 {
		if err := record.Record(t.Context(), audit.Entry{By: "joe", Action: "stopRun", Account: "acme", Result: audit.Done}); err != nil {
			t.Fatal(err)
		}
	}
	managed := func(id string) spacelift.Stack {
		return spacelift.Stack{Account: "acme", ID: spacelift.StackID(id), Name: id, Labels: []string{spacelift.LabelManaged}}
	}
	r := newRig(t, func(c *server.Config) {
		c.Audit, c.Accounts[0].Stacks = record, &account{stacks: []spacelift.Stack{managed("app-prod"), managed("network-prod")}}
	})
	r.temporal.set(story(10))
	r.temporal.list = &workflowservice.ListWorkflowExecutionsResponse{NextPageToken: []byte("more")}
	for range 2 {
		r.receipt(example(t, "run_tracked_queued"))
	}
	lists := []string{
		"/v1/runs?pageSize=1", "/v1/runs?pageSize=1&stack=app-prod", "/v1/runs?pageSize=1&account=acme", "/v1/accounts/acme/chains?pageSize=1",
		"/v1/accounts/globex/chains?pageSize=1", "/v1/deliveries?pageSize=1", "/v1/deliveries?pageSize=1&account=acme",
		runPath + "/timeline?pageSize=1", runPath + "/timeline?pageSize=1&kind=decision",
		"/v1/audit?pageSize=1", "/v1/audit?pageSize=1&by=joe", "/v1/accounts/acme/stacks?pageSize=1", "/v1/accounts/acme/stacks?pageSize=1&search=prod",
	}
	for _, first := range lists {
		list := decode[struct{ NextPageToken string }](t, r.get(first, adminToken))
		if list.NextPageToken == "" {
			t.Fatalf("%s has no next page", first)
		}
		token := "&pageToken=" + url.QueryEscape(list.NextPageToken)
		if w := r.get(first+token, adminToken); w.Code != http.StatusOK {
			t.Errorf("the next page of %s: %d %s", first, w.Code, w.Body)
		}
		for _, other := range lists {
			if other == first {
				continue
			}
			p := wantProblem(t, r.get(other+token, adminToken), http.StatusBadRequest, "bad-request")
			if says := named(t, p, "pageToken"); !strings.Contains(says, "other filters") {
				t.Errorf("%s with a token of %s: %s", other, first, says)
			}
		}
	}
}
