package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/web"
	"github.com/gantryhq/gantry/web/webtest"
)

const billing = "accounts/acme/stacks/billing-prod/runs/01M8J7QT000000000000000001"

// waitingRun is the run of the first card of usual, as its own page shows it.
func waitingRun() (api.Run, api.Explanation) {
	r := aRun("billing-prod", 1)
	at := func(minutes int) time.Time { return webtest.Now.Add(time.Duration(minutes) * time.Minute) }
	r.StackName, r.Branch, r.URL = new("billing / prod"), new("main"), new("https://acme.app.spacelift.io/stack/billing-prod/run/01M8J7QT000000000000000001")
	r.Commit = &api.Commit{Hash: new("8640f42aa0"), Message: new("Drop the ledger replica\n\nNobody reads it."), AuthorLogin: new("alice"), URL: new("https://github.com/acme/infra/commit/8640f42aa0")}
	r.Delta = &api.Delta{Added: 2, Deleted: 1, Resources: 61}
	r.Resources = &api.PlannedResources{StateVersion: 5, Total: 3, Deletes: new(1), First: []api.Resource{
		{Address: "module.ledger.aws_db_instance.replica", Change: "delete"}, {Address: "module.ledger.aws_cloudwatch_metric_alarm.lag", Change: "add"},
	}}
	r.WaitingFor = usual()[0].WaitingFor
	r.Approvals = usual()[0].Approvals
	r.Approvals.Decided[0].Note = new("as announced")
	r.Approvals.Excluded = []string{"alice"}
	r.CanDecide = usual()[0].CanDecide
	r.Enforcement = &api.Enforcement{Level: "advisory", Reason: "people may confirm in Spacelift"}
	r.States = []api.StateEntry{
		{State: "QUEUED", StateVersion: 0, At: at(-200)}, {State: "PLANNING", StateVersion: 3, At: at(-198)}, {State: "UNCONFIRMED", StateVersion: 5, At: at(-192)},
	}
	r.Timeline = []api.TimelineEntry{
		{At: at(-200), Kind: "event", Source: "webhook", Summary: "the run is QUEUED"},
		{At: at(-192), Kind: "event", Source: "webhook", Summary: "the run is UNCONFIRMED"},
		{At: at(-191), Kind: "action", Source: "gantry", Summary: "Gantry asked for two approvals in #deploys"},
		{At: at(-60), Kind: "person", Source: "gantry", Actor: new("bob"), Summary: "bob approved the plan: as announced"},
		{At: at(-45), Kind: "alarm", Source: "gantry", Summary: "the stack was unlocked by mallory"},
	}
	r.Followers = []string{"app-eu", "app-us"}
	r.Chains = []api.ChainRef{{Run: "01M8J7QT000000000000000001", Stack: "billing-prod", After: []string{}}}
	return r, api.Explanation{
		Account: "acme", Stack: "billing-prod", Run: r.Run, Phase: r.Phase, State: &r.State, Summary: "the plan (2 to add, 0 to change, 1 to delete) deletes 1 resource, so two people must approve; 1 of 2 approvals: bob approved",
		Unblock: []api.Unblock{{Who: "anyone whose token may approve, but not alice", How: "approve it through Gantry (1 approval to go), or reject it"}},
		Next:    []api.NextStep{{At: new(at(18)), What: "people are reminded"}, {At: new(at(48)), What: "Gantry discards the plan"}},
		Rules: []api.Rule{
			{Name: "confirm", Value: "no-deletes", Origin: "gantry:confirm=no-deletes", Effect: "asks", Detail: new("the plan deletes 1 resource")},
			{Name: "approvals", Value: "2", Origin: "rule production, locked", Effect: "asks", Detail: new("1 given")},
			{Name: "windows", Value: "business-hours", Origin: "profile standard", Effect: "allows", Detail: new("open until 18:00")},
			{Name: "freeze", Value: "01M8", Origin: "declared by dave", Effect: "forbids"},
		},
	}
}

// shows makes the API show a run.
func showsRun(s *webtest.Site, r api.Run, why api.Explanation) {
	s.Answer("GET /v1/"+billing, r)
	s.Answer("GET /v1/"+billing+"/explain", why)
	waits(s, usual())
	s.Stream("GET /v1/events")
}

// A run's page says why it waits, who can move it on, and what happens otherwise.
func TestRunPage(t *testing.T) {
	s := webtest.New(t, func(c *web.Config) {
		c.TemporalUI = func(id string) string {
			return "https://temporal.acme.example/namespaces/default/workflows/" + url.PathEscape(id)
		}
	})
	r, why := waitingRun()
	showsRun(s, r, why)
	d := s.Get(billing)
	for _, want := range []string{
		"billing / prod: Drop the ledger replica", "alice · 8640f42", "on main", "tracked run", "advisory",
		"The plan (2 to add, 0 to change, 1 to delete) deletes 1 resource, so two people must approve; 1 of 2 approvals: bob approved.",
		"Anyone whose token may approve, but not alice: Approve it through Gantry (1 approval to go), or reject it.",
		"Queued 08:40 Planned 08:42 Waiting for people", "delete module.ledger.aws_db_instance.replica", "add module.ledger.aws_cloudwatch_metric_alarm.lag",
		"Show all 3", "bob approved “as announced”", "Not alice, who wrote or triggered it.", "in 48 min Gantry discards the plan",
		"confirm no-deletes", "gantry:confirm=no-deletes", "forbids", "Gantry asked for two approvals in #deploys", "Followed by app-eu and app-us",
		"Approve", "Reject…",
	} {
		if !strings.Contains(d.Text(), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(d.Text())
	}
	for _, without := range []string{"Stop…", "Retry…", "Revoke"} {
		if strings.Contains(d.Text(), without) {
			t.Errorf("an approver is offered %q", without)
		}
	}
	var links []string
	for _, a := range d.All("a") {
		links = append(links, a.Attr("href"))
	}
	for _, want := range []string{
		"https://acme.app.spacelift.io/stack/billing-prod/run/01M8J7QT000000000000000001", "https://github.com/acme/infra/commit/8640f42aa0",
		"https://temporal.acme.example/namespaces/default/workflows/run%2Facme%2Fbilling-prod%2F01M8J7QT000000000000000001",
		"./../../../../../" + billing + "/chain",
	} {
		if !strings.Contains(strings.Join(links, " "), want) {
			t.Errorf("no link to %s: %q", want, links)
		}
	}
}

// Operators stop a run, and retry a failed one; the page says the outcome first.
func TestFailedRun(t *testing.T) {
	s := webtest.New(t)
	s.Answer("GET /v1/me", api.Caller{Name: "otto", Groups: []string{}, How: "session", Credential: "sso", Grants: []api.Grant{{Role: "operator"}}})
	r, why := waitingRun()
	r.Phase, r.State, r.WaitingFor, r.Approvals, r.Outcome = api.PhaseDone, "FAILED", nil, nil, new("the apply failed: quota exceeded")
	r.Failure = &api.Failure{Cause: "capacity", ApplyBegan: true, Evidence: new("Error: quota exceeded"), Source: new("log")}
	r.States = append(r.States, api.StateEntry{State: "FAILED", StateVersion: 8, At: webtest.Now})
	why.Summary, why.Phase, why.State, why.Unblock, why.Next, why.WaitingFor = *r.Outcome, r.Phase, &r.State, []api.Unblock{}, []api.NextStep{}, nil
	showsRun(s, r, why)
	s.Answer("POST /v1/"+billing+"/retry", api.Retry{Account: "acme", Stack: "billing-prod", Run: r.Run, New: new("01M8J7QT000000000000000099")})
	d := s.Get(billing)
	for _, want := range []string{"The apply failed: quota exceeded.", "Cause: capacity.", "Retry…", "Failed"} {
		if !strings.Contains(d.Text(), want) {
			t.Errorf("the page lacks %q: %s", want, d.Text())
		}
	}
	if strings.Contains(d.Text(), "Stop…") {
		t.Error("a run that has ended can't be stopped")
	}
	values := form(t, d, "Retry the run")
	values.Set("note", "quota raised")
	if d := s.Post(billing, values, "HX-Request", "true"); d.Status != http.StatusOK || !strings.Contains(d.Text(), "Gantry asks Spacelift to retry the run.") {
		t.Errorf("%d %s", d.Status, d.Text())
	}
	if sent := posts(s); len(sent) != 1 || sent[0].Body != `{"note":"quota raised"}` {
		t.Errorf("%+v", sent)
	}
}

// A decision names the plan on the page. Its refusal is shown where the button was.
func TestDecideOnRunPage(t *testing.T) {
	s := webtest.New(t)
	r, why := waitingRun()
	showsRun(s, r, why)
	s.Answer("POST /v1/"+billing+"/decisions", r)
	values := form(t, s.Get(billing), "Approve")
	if d := s.Post(billing, values); d.Status != http.StatusSeeOther || d.Header.Get("Location") != "./01M8J7QT000000000000000001" {
		t.Errorf("%d %s", d.Status, d.Header)
	}
	if sent := posts(s); sent[0].Body != `{"stateVersion":5,"verdict":"approve"}` {
		t.Errorf("%s", sent[0].Body)
	}
	s.Refuse("POST /v1/"+billing+"/decisions", http.StatusConflict, "Already decided", "carol approved this plan at 12:00")
	d := s.Post(billing, values)
	if d.Status != http.StatusConflict || !strings.Contains(d.Text(), "Already decided. Carol approved this plan at 12:00.") {
		t.Errorf("%d %s", d.Status, d.Text())
	}
	if d := s.Post(billing, url.Values{"do": {"explode"}}); d.Status != http.StatusBadRequest {
		t.Errorf("%d", d.Status)
	}
}

// All resources are there on demand, and if Spacelift doesn't answer, the page says so.
func TestAllResources(t *testing.T) {
	s := webtest.New(t)
	r, why := waitingRun()
	showsRun(s, r, why)
	s.Answer("GET /v1/"+billing+"/resources", api.ResourceList{StateVersion: 5, Complete: true, Resources: []api.Resource{
		{Address: "a.b", Change: "delete"}, {Address: "c.d", PreviousAddress: new("e.f"), Change: "move"}, {Address: "g.h", Change: "add"},
	}})
	if d := s.Get(billing + "?resources=all"); !strings.Contains(d.Text(), "move c.d move was e.f") || strings.Contains(d.Text(), "Show all") {
		t.Errorf("%s", d.Text())
	}
	s.Refuse("GET /v1/"+billing+"/resources", http.StatusServiceUnavailable, "Spacelift unavailable", "send the request again in a moment")
	if d := s.Get(billing + "?resources=all"); d.Status != http.StatusOK || !strings.Contains(d.Text(), "Spacelift unavailable.") || !strings.Contains(d.Text(), "aws_db_instance.replica") {
		t.Errorf("%d %s", d.Status, d.Text())
	}
}

// The list of runs has filters, pages, and what the API says of a wrong filter.
func TestRunsPage(t *testing.T) {
	s := webtest.New(t)
	var asked url.Values
	s.Handle("GET /v1/runs", func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Query()
		webtest.Write(w, http.StatusOK, api.RunList{Runs: usual(), NextPageToken: new("next")})
	})
	d := s.Get("runs?phase=waiting&stack=app-*&author=&pageToken=first")
	if asked.Encode() != "pageToken=first&phase=waiting&stack=app-%2A" {
		t.Errorf("the page asks for %s", asked.Encode())
	}
	if rows := d.All("tr"); len(rows) != 8 || !strings.Contains(rows[7].Text(), "cache acme holding The stack is locked in Spacelift by dave.") {
		t.Errorf("%s", d.Text())
	}
	if more := d.All("a", "rel", "next"); len(more) != 1 || more[0].Attr("href") != "?author=&pageToken=next&phase=waiting&stack=app-%2A" {
		t.Errorf("%s", d.HTML)
	}
	s.Refuse("GET /v1/runs", http.StatusBadRequest, "Bad request", "errors names each mistake")
	if d := s.Get("runs?stack=!"); d.Status != http.StatusBadRequest || !strings.Contains(d.Text(), "Bad request. Errors names each mistake.") || d.All("input", "name", "stack")[0].Attr("value") != "!" {
		t.Errorf("%d %s", d.Status, d.Text())
	}
}
