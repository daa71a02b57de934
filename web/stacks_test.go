package web_test

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/web/webtest"
)

// policyOf returns a policy of the usual size.
func policyOf(values map[string]string) []api.PolicyValue {
	var all []api.PolicyValue
	for _, name := range []string{
		"profile", "confirm", "types", "drift", "approvals", "approvers", "selfApproval", "approvalTimeout", "onTimeout", "reminders", "escalation", "clock", "windows",
		"retries", "retryCauses", "retryBackoff", "retryAfterApply", "readLogs", "after", "oldPlans", "notify", "deadlines.queued", "deadlines.starting", "deadlines.planning", "deadlines.applying",
	} {
		v := api.PolicyValue{Name: name, Value: "none", Origin: "default"}
		if value := values[name]; value != "" {
			v.Value, v.Origin = value, "gantry:"+name+"="+value
		}
		all = append(all, v)
	}
	return all
}

func aStack(id, level string, values map[string]string) api.Stack {
	reason := map[string]string{
		"enforced": "the policy gantry-approval lets Spacelift confirm a plan only after Gantry's review",
		"advisory": "the policy gantry-approval is not attached, so people may confirm in Spacelift whatever Gantry decides",
		"void":     "autodeploy is on and the policy gantry-plan is not attached, so Spacelift applies plans without asking anyone",
	}[level]
	return api.Stack{
		Account: "acme", Stack: id, Name: strings.ReplaceAll(id, "-", " / "), Managed: true, Labels: []string{"gantry:managed"}, Policy: policyOf(values),
		Problems: []api.PolicyProblem{}, Enforcement: &api.Enforcement{Level: level, Reason: reason}, Gate: api.Gate{Open: true, At: noon},
	}
}

// manyStacks are 2,000 stacks of 500 services in four environments, a few of which break
// the pattern.
func manyStacks() []api.Stack {
	var all []api.Stack
	for i := range 500 {
		for k, environment := range []string{"dev", "stage", "prod-eu", "prod-us"} {
			values := map[string]string{"confirm": "auto"}
			if k > 1 {
				values = map[string]string{"profile": "production", "confirm": "no-deletes", "approvals": "2", "approvers": "platform", "windows": "business-hours", "after": "network-" + environment}
			}
			s := aStack(fmt.Sprintf("service%03d-%s", i, environment), "enforced", values)
			switch {
			case i%97 == 5 && k == 2:
				s.Problems = []api.PolicyProblem{{Label: "gantry:approval=2", Problem: "Gantry does not know this label", Remedy: "write gantry:approvals=2"}}
			case i%61 == 3 && k == 3:
				s = aStack(s.Stack, "void", map[string]string{"confirm": "no-deletes", "approvals": "1"})
			case i%31 == 0 && k == 0:
				s = aStack(s.Stack, "advisory", values)
			case i%41 == 7 && k == 2:
				s.Gate = api.Gate{At: noon, Reason: new("frozen by ann until Fri 2 Jan 08:00 UTC: end of year")}
			}
			all = append(all, s)
		}
	}
	return all
}

// listOf answers as the API does: by search, enforcement and problems, in pages.
func listOf(all ...api.Stack) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		list := api.StackList{Stacks: []api.Stack{}, At: noon, Counts: api.StackCounts{Total: len(all)}}
		for _, s := range all {
			switch s.Enforcement.Level {
			case "enforced":
				list.Counts.Enforced++
			case "advisory":
				list.Counts.Advisory++
			default:
				list.Counts.Void++
			}
			if len(s.Problems) > 0 {
				list.Counts.Problems++
			}
			if strings.Contains(s.Stack, strings.ToLower(q.Get("search"))) && (q.Get("enforcement") == "" || q.Get("enforcement") == s.Enforcement.Level) && (q.Get("problems") == "" || len(s.Problems) > 0) {
				list.Stacks = append(list.Stacks, s)
			}
		}
		if q.Get("order") == "problems" {
			slices.SortStableFunc(list.Stacks, func(a, b api.Stack) int {
				return cmp.Or(cmp.Compare(len(b.Problems), len(a.Problems)), -cmp.Compare(a.Enforcement.Level, b.Enforcement.Level))
			})
		}
		list.Total = len(list.Stacks)
		size, _ := strconv.Atoi(q.Get("pageSize"))
		from, _ := strconv.Atoi(q.Get("pageToken"))
		if from+size < list.Total {
			list.NextPageToken = new(strconv.Itoa(from + size))
		}
		list.Stacks = list.Stacks[min(from, list.Total):min(from+size, list.Total)]
		webtest.Write(w, http.StatusOK, list)
	}
}

func stacksSite(t testing.TB) *webtest.Site {
	t.Helper()
	s := webtest.New(t)
	operator(s)
	all := manyStacks()
	s.Handle("GET /v1/accounts/acme/stacks", listOf(all...))
	for _, stack := range all[:100] {
		s.Answer("GET /v1/accounts/acme/stacks/"+stack.Stack+"/policy", stack)
	}
	s.Answer("GET /v1/runs", api.RunList{Runs: []api.RunSummary{
		{
			Account: "acme", Stack: "service005-prod-eu", Run: runID(1), Type: "TRACKED", Phase: "waiting", State: "UNCONFIRMED", StartedAt: noon.Add(-time.Hour), Execution: anExecution,
			Delta: &api.Delta{Added: 2, Deleted: 1, Resources: 9}, WaitingFor: &api.WaitingFor{What: "person", Reason: "1 of 2 approvals", Since: noon},
		},
		{Account: "acme", Stack: "service005-prod-eu", Run: runID(2), Type: "TRACKED", Phase: "done", State: "FINISHED", StartedAt: noon.Add(-30 * time.Hour), Execution: anExecution, Commit: &api.Commit{Message: new("Image 4.2.1")}},
	}})
	s.Answer("GET /v1/accounts/acme/stacks/service005-prod-eu/followers", api.FollowersPreview{
		Account: "acme", Stack: "service005-prod-eu", At: noon, Summary: "1 of 2 stacks that follow would be released",
		Followers: []api.PreviewedFollower{
			{Stack: "app", After: []string{"service005-prod-eu"}, Released: true, Stage: new(1), Reason: "it is triggered when service005-prod-eu has finished", Gate: &api.Gate{At: noon, Reason: new("the window business-hours is closed")}},
			{Stack: "dns", After: []string{"app"}, Reason: "the stack dns is held: ann locked the stack in Spacelift"},
		},
		Excluded: []api.ExcludedStacks{{Stacks: []string{"a", "b"}, Reason: "the labels lead in a circle: a → b → a"}},
		Native:   []string{"old"},
	})
	return s
}

func TestStacksWithProblemsComeFirst(t *testing.T) {
	d := stacksSite(t).Get("stacks")
	first, second := strings.Index(d.Text(), "service005-prod-eu"), strings.Index(d.Text(), "service003-prod-us")
	if first < 0 || second < first {
		t.Errorf("a label that can't be followed is at %d, and a void stack at %d", first, second)
	}
	shows(t, d, "6 stacks have problems", "Write gantry:approvals=2.", "Gantry confirms, unless something is deleted · 2 approvals from platform · in window business-hours · after network-prod-eu")
}

func TestStacksAreFound(t *testing.T) {
	s := stacksSite(t)
	for query, want := range map[string]int{"search=SERVICE123-prod": 2, "search=nothing-like-it": 0, "show=void": 9, "show=void&search=service003": 1, "show=problems": 6, "pageToken=1950": 50} {
		if n := strings.Count(s.Get("stacks?"+query).HTML, `href="./accounts/acme/stacks/`); n != want {
			t.Errorf("%s shows %d stacks, want %d", query, n, want)
		}
	}
}

func TestAStackShowsItsPolicyWithOrigins(t *testing.T) {
	s := stacksSite(t)
	stack := aStack("service005-prod-eu", "advisory", map[string]string{"approvals": "2"})
	stack.Policy[1].Overruled = []api.OverruledValue{{Value: "auto", Origin: "gantry:confirm=auto", Reason: "the rule production is locked, and manual is tighter"}}
	s.Answer("GET /v1/accounts/acme/stacks/service005-prod-eu/policy", stack)
	shows(t, s.Get("accounts/acme/stacks/service005-prod-eu"), "People can go around this policy in Spacelift.", "Approvals 2 gantry:approvals=2",
		"not auto, which gantry:confirm=auto asked for: the rule production is locked, and manual is tighter.", "23 defaults", "Unconfirmed", "1 of 2 approvals.", "Image 4.2.1")
}

// Before a run, a person sees what its end would release, and what not.
func TestAStackPreviewsItsFollowers(t *testing.T) {
	s := stacksSite(t)
	d := s.Get("accounts/acme/stacks/service005-prod-eu")
	shows(t, d, "1 of 2 stacks that follow would be released.", "ann locked the stack in Spacelift.", "The window business-hours is closed.", "a, b: the labels lead in a circle", "Spacelift itself starts runs of old")
	if boxes := d.All("a", "class", "box"); len(boxes) != 3 || boxes[1].Attr("href") != "../../../accounts/acme/stacks/app" && boxes[1].Attr("href") != "./../../../accounts/acme/stacks/app" {
		t.Errorf("the drawing has %d stacks", len(boxes))
	}
}

func TestARunIsTriggered(t *testing.T) {
	s := stacksSite(t)
	const path, stack = "/v1/accounts/acme/stacks/service005-prod-eu/runs", "accounts/acme/stacks/service005-prod-eu"
	s.Handle("POST "+path, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", path+"/"+runID(7))
		webtest.Write(w, http.StatusCreated, api.Trigger{Account: "acme", Stack: "service005-prod-eu", Type: "PROPOSED", Run: new(runID(7)), URL: new("https://acme.app.spacelift.io/x")})
	})
	d := s.Post(stack, url.Values{"type": {"PROPOSED"}, "commit": {""}, "note": {"a look"}, "key": {"a-key"}})
	shows(t, d, "Spacelift has made the run")
	call := s.Calls()[0]
	if strings.TrimSpace(call.Body) != `{"note":"a look","type":"PROPOSED"}` || call.Header.Get("Idempotency-Key") != "a-key" {
		t.Errorf("the API received %+v", call)
	}
	s.Refuse("POST "+path, http.StatusConflict, "Trigger refused", "ann locked the stack; unlock it first")
	d = s.Post(stack, url.Values{"type": {"TRACKED"}, "note": {"again"}})
	shows(t, d, "Trigger refused. Ann locked the stack; unlock it first.", "again")
}

// The stack that has another policy than most of its environment is found, and those that
// differ between environments on purpose are not.
func TestDriftFindsWhatBreaksThePattern(t *testing.T) {
	shows(t, stacksSite(t).Get("stacks/drift"), "31 services break the pattern", "Approvals default default 2 1 usually 2", "Who confirms auto auto no-deletes no-deletes", "Services that don't: 469.")
}

// Few stacks make no pattern: then every difference is shown.
func TestDriftWithFewStacks(t *testing.T) {
	s := webtest.New(t)
	operator(s)
	s.Handle("GET /v1/accounts/acme/stacks", listOf(aStack("app_live", "enforced", map[string]string{"approvals": "2"}), aStack("app_play", "enforced", nil), aStack("lonely", "enforced", nil)))
	shows(t, s.Get("stacks/drift?environments=play,+live"), "1 service differs between environments", "app-*", "Setting play live Approvals default 2", "Stacks without a sibling: 1.")
	shows(t, s.Get("stacks/drift"), "Stacks without a sibling: 3.")
}

func TestHostileTextOfAStack(t *testing.T) {
	stack := aStack("app", "enforced", map[string]string{"approvers": hostile, "after": hostile})
	stack.Name, stack.Labels, stack.Enforcement.Reason = hostile+strings.Repeat("y", 10_000), []string{hostile}, hostile
	stack.Problems = []api.PolicyProblem{{Label: hostile, Problem: hostile, Remedy: hostile}}
	s := webtest.New(t)
	operator(s)
	s.Handle("GET /v1/accounts/acme/stacks", listOf(stack))
	s.Answer("GET /v1/accounts/acme/stacks/app/policy", stack)
	s.Answer("GET /v1/runs", api.RunList{Runs: []api.RunSummary{}})
	for _, path := range []string{"stacks", "stacks?search=" + url.QueryEscape(hostile), "stacks/drift?environments=" + url.QueryEscape(hostile), "accounts/acme/stacks/app"} {
		harmless(t, s.Get(path))
	}
}

// TestStacksAreShownInTime holds the pages to their limits, with as many stacks as an
// account has: 150 KB, and time enough for a slow machine.
func TestStacksAreShownInTime(t *testing.T) {
	s := stacksSite(t)
	for _, path := range []string{"stacks", "stacks/drift"} {
		req, err := http.NewRequest(http.MethodGet, s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept-Encoding", "gzip")
		began := time.Now()
		answer, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		took := time.Since(began)
		zip, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := io.ReadAll(zip)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d bytes, %d unpacked, in %v", path, len(body), len(plain), took)
		if len(body) > 150_000 || took > 5*time.Second {
			t.Errorf("%s took %d bytes and %v", path, len(body), took)
		}
	}
}
