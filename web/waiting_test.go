package web_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/web/webtest"
)

// plan returns a run whose plan waits for people, number n of its kind.
func plan(n int, stack string, edit func(*api.RunSummary)) api.RunSummary {
	run := fmt.Sprintf("01M8J7QT00000000000000%04d", n)
	r := api.RunSummary{
		Account: "acme", Stack: stack, Run: run, Type: "TRACKED", State: "UNCONFIRMED", StateVersion: new(5), Phase: api.PhaseWaiting,
		WaitingFor: &api.WaitingFor{What: "person", Reason: "the plan has changes and people decide (gantry:confirm=manual)", Since: webtest.Now.Add(-6 * time.Minute), Next: new("Gantry confirms the plan")},
		Approvals:  &api.Approvals{Needed: 1, Decided: []api.Decided{}},
		CanDecide:  []api.Verdict{api.VerdictApprove, api.VerdictReject},
		Delta:      &api.Delta{Changed: 1, Resources: 40},
		Commit:     &api.Commit{Hash: new("77ab310c4e"), Message: new("Image 4.2.1"), AuthorLogin: new("erin")},
		StartedAt:  webtest.Now.Add(-10 * time.Minute),
		Execution:  api.Execution{WorkflowID: "run/acme/" + stack + "/" + run, TemporalRunID: "019b78ab-0000-7000-8000-000000000000", Status: "Running"},
	}
	if edit != nil {
		edit(&r)
	}
	return r
}

// usual returns the runs that wait on a usual day.
func usual() []api.RunSummary {
	return []api.RunSummary{
		plan(1, "billing-prod", func(r *api.RunSummary) {
			r.WaitingFor.Reason = "the plan (+2 ~0 -1) deletes 1 resource, so two people must approve; 1 of 2 approvals: bob approved"
			r.WaitingFor.Since = webtest.Now.Add(-192 * time.Minute)
			r.WaitingFor.Until = new(webtest.Now.Add(48 * time.Minute))
			r.Delta = &api.Delta{Added: 2, Deleted: 1, Resources: 61}
			r.Resources = &api.PlannedResources{StateVersion: 5, Total: 3, Deletes: new(1), First: []api.Resource{
				{Address: "module.ledger.aws_db_instance.replica", Change: "delete"},
				{Address: "module.ledger.aws_cloudwatch_metric_alarm.lag", Change: "add"},
			}}
			r.Approvals = &api.Approvals{Needed: 2, Given: 1, Decided: []api.Decided{{Verdict: api.VerdictApprove, By: "bob", At: webtest.Now.Add(-time.Hour), State: "UNCONFIRMED", StateVersion: 5}}}
			r.Commit = &api.Commit{Hash: new("8640f42aa0"), Message: new("Drop the ledger replica"), AuthorLogin: new("alice")}
			r.StackName = new("billing / prod")
		}),
		plan(2, "network-prod", func(r *api.RunSummary) {
			r.WaitingFor.Reason = "the plan (+4 ~11 -2) replaces 2 resources under module.network, so one of dba must approve"
			r.WaitingFor.Since = webtest.Now.Add(-41 * time.Minute)
			r.WaitingFor.Until = new(webtest.Now.Add(5 * time.Hour))
			r.Delta = &api.Delta{Added: 4, Changed: 11, Deleted: 2, Resources: 340}
			r.Resources = &api.PlannedResources{StateVersion: 5, Total: 17, Replaces: new(8), First: []api.Resource{
				{Address: "module.network.aws_nat_gateway.this[0]", Change: "replace"}, {Address: "module.network.aws_nat_gateway.this[1]", Change: "replace"},
			}}
			r.Approvals = &api.Approvals{Needed: 2, Given: 1, Group: new("dba"), Decided: []api.Decided{{Verdict: api.VerdictApprove, By: "dave", At: webtest.Now.Add(-time.Minute), State: "UNCONFIRMED", StateVersion: 5}}}
			r.Commit = &api.Commit{Hash: new("1c0ffee111"), Message: new("Bigger gateways"), AuthorLogin: new("jdoe")}
			r.Enforcement = &api.Enforcement{Level: "enforced", Reason: "an APPROVAL policy of Gantry's is attached"}
		}),
		plan(3, "app-eu", nil), plan(4, "app-us", nil), plan(5, "app-ap", nil),
		plan(6, "dns", func(r *api.RunSummary) {
			r.CanDecide = nil
			r.WaitingFor.Who = new("anyone in the group network, but not carol")
			r.Approvals.Group = new("network")
			r.Commit.AuthorLogin = new("carol")
		}),
		plan(7, "cache", func(r *api.RunSummary) {
			r.CanDecide, r.Phase, r.Approvals = nil, api.PhaseHolding, nil
			r.WaitingFor = &api.WaitingFor{What: "stack", Reason: "the stack is locked in Spacelift by dave", Since: webtest.Now.Add(-3 * time.Hour), Who: new("dave, who locked it")}
		}),
	}
}

// waits makes the API list runs that wait, and one bypassed run, with a stream without
// events.
func waits(s *webtest.Site, runs []api.RunSummary) {
	answerRuns(s, runs)
	s.Stream("GET /v1/events")
}

// answerRuns makes the API list runs that wait, and one bypassed run.
func answerRuns(s *webtest.Site, runs []api.RunSummary) {
	s.Handle("GET /v1/runs", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("bypassed") == "true" {
			webtest.Write(w, http.StatusOK, api.RunList{Runs: []api.RunSummary{plan(90, "legacy", func(r *api.RunSummary) {
				r.WaitingFor, r.Approvals, r.CanDecide, r.Phase, r.Bypassed = nil, nil, nil, api.PhaseApplying, new(true)
			})}})
			return
		}
		webtest.Write(w, http.StatusOK, api.RunList{Runs: slices.DeleteFunc(slices.Clone(runs), func(run api.RunSummary) bool { return !selects(r.URL.Query(), run) })})
	})
	n := func(query url.Values) (n int) {
		for _, r := range runs {
			if selects(query, r) {
				n++
			}
		}
		return n
	}
	s.Answer("GET /v1/runs/counts", api.RunCounts{
		Waiting: n(nil), CanDecide: n(url.Values{"canDecide": {"me"}}), Group: n(url.Values{"group": {"me"}}), Author: n(url.Values{"author": {"me"}}), Held: n(url.Values{"held": {"true"}}), Bypassed: 1,
	})
}

// selects reports whether a list has a run for carol of the group dba.
func selects(query url.Values, r api.RunSummary) bool {
	return (!query.Has("canDecide") || slices.Contains(r.CanDecide, api.VerdictApprove)) &&
		(!query.Has("group") || r.Approvals != nil && r.Approvals.Group != nil && *r.Approvals.Group == "dba") &&
		(!query.Has("author") || *r.Commit.AuthorLogin == "carol") && (!query.Has("held") || r.Phase == api.PhaseHolding)
}

// The page says first how many plans wait for the caller; each card says all that a
// decision takes.
func TestWaiting(t *testing.T) {
	s := webtest.New(t)
	waits(s, usual())
	d := s.Get("")
	if d.Status != http.StatusOK || d.All("h1")[0].Text() != "5 plans wait for you" || d.All("title")[0].Text() != "(5) Waiting · Gantry" {
		t.Errorf("%d, %q, %q", d.Status, d.All("h1")[0].Text(), d.All("title")[0].Text())
	}
	cards := d.All("article")
	if len(cards) != 3 {
		t.Fatalf("%d cards: %s", len(cards), d.Text())
	}
	for i, wants := range [][]string{
		{"billing / prod", "The plan (+2 ~0 -1) deletes 1 resource, so two people must approve; 1 of 2 approvals: bob approved.", "delete module.ledger.aws_db_instance.replica", "1 of 2 by bob", "alice · 8640f42 “Drop the ledger replica”", "waits 3 h 12 min", "next deadline in 48 min", "Approve", "Reject…"},
		{"network-prod", "enforced", "and 6 more", "1 of 2 by dave"},
		{"app-eu, app-us, app-ap", "3 identical plans of one commit", "Approve all 3", "One by one"},
	} {
		for _, want := range wants {
			if !strings.Contains(cards[i].Text(), want) {
				t.Errorf("card %d lacks %q: %s", i, want, cards[i].Text())
			}
		}
	}
	if strings.Contains(cards[0].Text(), "alarm.lag") {
		t.Error("what is added is no danger")
	}
	if !strings.Contains(d.Text(), "The oldest waits for 3 h 12 min · 2 more wait for others") {
		t.Errorf("the lead: %s", d.Text())
	}
}

// Each view counts what it has, and shows that alone.
func TestWaitingViews(t *testing.T) {
	s := webtest.New(t)
	waits(s, usual())
	for view, want := range map[string]struct{ headline, shows string }{
		"groups": {"1 plan waits for your groups", "network-prod"}, "asked": {"1 run of yours waits", "dns"}, "held": {"1 run is held", "cache"},
		"bypassed": {"1 run was bypassed", "legacy"}, "all": {"7 runs wait", "for anyone in the group network, but not carol"}, "nonsense": {"5 plans wait for you", "billing"},
	} {
		d := s.Get("?show=" + view)
		if d.All("h1")[0].Text() != want.headline || !strings.Contains(d.Text(), want.shows) {
			t.Errorf("%s: %q", view, d.Text())
		}
		if chips := d.All("nav", "aria-label", "Show")[0].Text(); chips != "For me 5 My groups 1 Asked by me 1 Held 1 Bypassed 1 All 7" {
			t.Errorf("%s: the views are %q", view, chips)
		}
	}
}

// The page reads the numbers and the runs that it shows, however many wait; the next ones
// are a page away.
func TestWaitingReadsWhatItShows(t *testing.T) {
	s := webtest.New(t)
	waits(s, usual())
	s.Answer("GET /v1/runs", api.RunList{Runs: usual()[:2], NextPageToken: new("next")})
	d := s.Get("?show=asked&pageToken=one")
	var asked []string
	for _, c := range s.Calls() {
		asked = append(asked, c.Path+"?"+c.Query.Encode())
	}
	want := "/v1/runs/counts? /v1/runs?author=me&order=oldest&pageSize=50&pageToken=one&waiting=any"
	if got := strings.Join(asked, " "); got != want {
		t.Errorf("it asks for %s, want %s", got, want)
	}
	if more := d.All("a", "rel", "next"); len(more) != 1 || more[0].Attr("href") != "?pageToken=next&show=asked" {
		t.Errorf("the next runs: %v", more)
	}
	if strings.Contains(d.Text(), "The oldest waits") {
		t.Error("the oldest run is on the first page")
	}
}

// Nothing to do is good news.
func TestNothingWaits(t *testing.T) {
	s := webtest.New(t)
	waits(s, usual()[5:])
	if d := s.Get(""); d.All("h1")[0].Text() != "Nothing waits for you" || !strings.Contains(d.Text(), "All is well 2 runs wait for others.") || d.All("title")[0].Text() != "Waiting · Gantry" {
		t.Errorf("%s", d.Text())
	}
	waits(s, []api.RunSummary{})
	if d := s.Get(""); !strings.Contains(d.Text(), "No run waits for anybody.") {
		t.Errorf("%s", d.Text())
	}
}

// form returns the fields of the form with a button.
func form(t *testing.T, d *webtest.Document, button string) url.Values {
	t.Helper()
	for _, f := range d.All("form") {
		if !strings.Contains(f.Text(), button) {
			continue
		}
		values := url.Values{}
		for _, in := range f.All("input") {
			values.Add(in.Attr("name"), in.Attr("value"))
		}
		return values
	}
	t.Fatalf("no form has %q: %s", button, d.Text())
	return nil
}

// An approval names the plan that the page showed, and counts once however often the form
// is sent.
func TestApproveOnWaiting(t *testing.T) {
	s := webtest.New(t)
	waits(s, usual())
	s.Answer("POST "+runAPI("billing-prod", 1)+"/decisions", aRun("billing-prod", 1))
	values := form(t, s.Get(""), "Approve billing / prod")
	for range 2 {
		if d := s.Post("?show=", values); d.Status != http.StatusSeeOther || d.Header.Get("Location") != "?show=" {
			t.Errorf("%d %s", d.Status, d.Header)
		}
	}
	sent := posts(s)
	if len(sent) != 2 || sent[0].Body != `{"stateVersion":5,"verdict":"approve"}` || sent[0].Header.Get("Idempotency-Key") == "" || sent[0].Header.Get("Idempotency-Key") != sent[1].Header.Get("Idempotency-Key") {
		t.Errorf("%+v", sent)
	}
	if sent[0].Header.Get("X-Request-Id") != "request-1" {
		t.Errorf("the request id of the page isn't passed on: %v", sent[0].Header)
	}
}

// A rejection takes a note.
func TestRejectOnWaiting(t *testing.T) {
	s := webtest.New(t)
	waits(s, usual())
	s.Answer("POST "+runAPI("billing-prod", 1)+"/decisions", aRun("billing-prod", 1))
	values := form(t, s.Get(""), "Reject the plan")
	values.Set("note", " It drops the wrong replica ")
	d := s.Post("", values, "HX-Request", "true")
	if d.Status != http.StatusOK || !strings.Contains(d.Text(), "You rejected billing-prod.") {
		t.Errorf("%d %s", d.Status, d.Text())
	}
	var body api.DecisionRequest
	if err := json.Unmarshal([]byte(posts(s)[0].Body), &body); err != nil || body.Verdict != api.VerdictReject || *body.Note != "It drops the wrong replica" {
		t.Errorf("%s", posts(s)[0].Body)
	}
}

// Plans of one commit that destroy different resources aren't identical, however alike
// their counts are; a shared card names what its plans destroy.
func TestPlansThatDestroyOthersAreNotIdentical(t *testing.T) {
	destroys := func(n int, stack string, addresses ...string) api.RunSummary {
		return plan(n, stack, func(r *api.RunSummary) {
			r.Delta = &api.Delta{Deleted: 1, Resources: 40}
			r.Resources = &api.PlannedResources{StateVersion: 5, Total: 1, Deletes: new(1), First: []api.Resource{}}
			for _, a := range addresses {
				r.Resources.First = append(r.Resources.First, api.Resource{Address: a, Change: "delete"})
			}
		})
	}
	for name, story := range map[string]struct {
		runs  []api.RunSummary
		cards int
	}{
		"the same":  {[]api.RunSummary{destroys(1, "app-eu", "aws_instance.old"), destroys(2, "app-us", "aws_instance.old")}, 1},
		"others":    {[]api.RunSummary{destroys(1, "app-eu", "aws_instance.old"), destroys(2, "app-us", "aws_db_instance.ledger")}, 2},
		"not shown": {[]api.RunSummary{destroys(1, "app-eu"), destroys(2, "app-us")}, 2},
	} {
		s := webtest.New(t)
		waits(s, story.runs)
		cards := s.Get("").All("article", "class", "item")
		if len(cards) != story.cards {
			t.Errorf("%s: %d cards, want %d", name, len(cards), story.cards)
		}
		if name == "the same" && !strings.Contains(cards[0].Text(), "delete aws_instance.old") {
			t.Errorf("the shared card hides what is deleted: %s", cards[0].Text())
		}
	}
}

// Identical plans are approved together; one refusal among them is shown, and the others
// count.
func TestApproveIdenticalPlans(t *testing.T) {
	s := webtest.New(t)
	waits(s, usual())
	for i, stack := range []string{"app-eu", "app-us"} {
		s.Answer("POST "+runAPI(stack, 3+i)+"/decisions", aRun(stack, 3+i))
	}
	s.Refuse("POST "+runAPI("app-ap", 5)+"/decisions", http.StatusConflict, "Plan has changed", "the run was planned again; review the new plan")
	d := s.Post("", form(t, s.Get(""), "Approve all 3"))
	if d.Status != http.StatusConflict || !strings.Contains(d.Text(), "You approved app-eu and app-us.") || !strings.Contains(d.Text(), "Plan has changed. The run was planned again; review the new plan.") {
		t.Errorf("%d %s", d.Status, d.Text())
	}
	keys := map[string]bool{}
	for _, p := range posts(s) {
		keys[p.Header.Get("Idempotency-Key")] = true
	}
	if len(keys) != 3 {
		t.Errorf("the requests share keys: %v", keys)
	}
}

// A refusal is shown on the card of the run, with what to do.
func TestRefusedOnWaiting(t *testing.T) {
	s := webtest.New(t)
	waits(s, usual())
	s.Refuse("POST "+runAPI("billing-prod", 1)+"/decisions", http.StatusForbidden, "You can't approve your own run", "carol wrote the commit; ask somebody else")
	d := s.Post("", form(t, s.Get(""), "Approve billing / prod"))
	alert := d.All("article")[0].All("p", "role", "alert")
	if d.Status != http.StatusForbidden || len(alert) != 1 || alert[0].Text() != "You can't approve your own run. Carol wrote the commit; ask somebody else." {
		t.Errorf("%d %s", d.Status, d.Text())
	}
	waits(s, []api.RunSummary{})
	d = s.Post("", url.Values{"verdict": {"approve"}, "run": {"acme/billing-prod/01M8J7QT000000000000000001/5"}})
	if !strings.Contains(d.Text(), "billing-prod: ") {
		t.Errorf("a refusal about a run that waits no more is lost: %s", d.Text())
	}
	if d := s.Post("", url.Values{"verdict": {"approve"}, "run": {"nonsense"}}); d.Status != http.StatusBadRequest || !strings.Contains(d.Text(), "Invalid form") {
		t.Errorf("%d %s", d.Status, d.Text())
	}
}

// What the API can't answer is a page of its own.
func TestWaitingWithoutTemporal(t *testing.T) {
	s := webtest.New(t)
	s.Refuse("GET /v1/runs/counts", http.StatusServiceUnavailable, "Temporal unavailable", "send the request again in a moment")
	if d := s.Get(""); d.Status != http.StatusServiceUnavailable || !strings.Contains(d.Text(), "Gantry can't answer right now") {
		t.Errorf("%d %s", d.Status, d.Text())
	}
}

// Text that others wrote is text, whatever is in it.
func TestHostileText(t *testing.T) {
	const evil = "<script>alert(1)</script><img src=x onerror=alert(2)>\u202egnp.exe\u2066 \"'><b>"
	s := webtest.New(t)
	waits(s, []api.RunSummary{plan(1, "s", func(r *api.RunSummary) {
		r.StackName, r.Commit.Message, r.Commit.AuthorLogin = new(evil), new(evil+strings.Repeat("x", 10_000)), new(evil)
		r.WaitingFor.Reason = strings.Repeat("w", 10_000) + evil
		r.URL = new("javascript:alert(3)")
	})})
	d := s.Get("")
	if len(d.All("img")) != 1 || len(d.All("script")) != 3 || strings.Contains(d.HTML, "<b>") || strings.Contains(d.HTML, "javascript:") {
		t.Errorf("the text is markup: %s", d.HTML)
	}
	if len(d.HTML) > 60_000 {
		t.Errorf("the page has %d bytes", len(d.HTML))
	}
}

func runAPI(stack string, n int) string {
	return fmt.Sprintf("/v1/accounts/acme/stacks/%s/runs/01M8J7QT00000000000000%04d", stack, n)
}

// aRun returns a run as the API shows it after a decision.
func aRun(stack string, n int) api.Run {
	return api.Run{
		Account: "acme", Stack: stack, Run: fmt.Sprintf("01M8J7QT00000000000000%04d", n), State: "UNCONFIRMED", Type: "TRACKED", StateVersion: 5, Phase: api.PhaseWaiting, Managed: true,
		Policy: []api.PolicyValue{}, States: []api.StateEntry{}, Timeline: []api.TimelineEntry{}, StartedAt: webtest.Now.Add(-time.Hour),
	}
}

// posts returns the changes that pages sent to the API.
func posts(s *webtest.Site) (all []webtest.Call) {
	for _, c := range s.Calls() {
		if c.Method == http.MethodPost {
			all = append(all, c)
		}
	}
	return all
}
