package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/sdk/client"
	sdk "go.temporal.io/sdk/temporal"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/spacelift"
)

func TestRunsList(t *testing.T) {
	r := newAPIRig(t)
	r.executions.set(asking())
	r.wants([]string{"RUN", string(theRun.Run), "UNCONFIRMED"}, "runs", "list", "--account", "acme", "--phase", "waiting")
	list := printed[api.RunList](t, r.wants(nil, "runs", "list", "-o", "json"))
	if len(list.Runs) != 1 || list.Runs[0].Run != string(theRun.Run) || list.NextPageToken != nil {
		t.Errorf("listed %+v", list)
	}
	other := asking()
	other.Run.Run = "01OTHER"
	r.executions.set(other)
	if list := printed[api.RunList](t, r.wants(nil, "runs", "list", "--limit", "1", "-o", "json")); len(list.Runs) != 1 || list.NextPageToken == nil {
		t.Errorf("one of two is %+v", list)
	}
	r.refused(1, []string{"--phase", "did you mean applying?"}, "runs", "list", "--phase", "aplying")
}

// A limit above Gantry's page size is read page by page.
func TestListsAreReadPageByPage(t *testing.T) {
	var asked []string
	pages := fakeGantry(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		q := req.URL.Query()
		asked = append(asked, q.Get("pageSize")+" "+q.Get("pageToken"))
		var runs []string
		size := 0
		fmt.Sscan(q.Get("pageSize"), &size)
		for range size {
			runs = append(runs, `{"account":"a","stack":"s","run":"r"}`)
		}
		fmt.Fprintf(w, `{"runs":[%s],"nextPageToken":"after%d"}`, strings.Join(runs, ","), len(asked))
	}))
	defer pages.Close()
	r := newAPIRig(t)
	list := printed[api.RunList](t, r.wants(nil, "runs", "list", "--limit", "450", "-o", "json", "--url", pages.URL))
	if diff := cmp.Diff([]string{"200 ", "200 after1", "50 after2"}, asked); diff != "" || len(list.Runs) != 450 || *list.NextPageToken != "after3" {
		t.Errorf("%d runs, asked (-want +got):\n%s", len(list.Runs), diff)
	}
}

func TestRunsShow(t *testing.T) {
	r := newAPIRig(t)
	r.executions.set(asking())
	for _, name := range []string{theRunName, "https://acme.app.spacelift.io/stack/network-prod/run/01KDX3V4T8Q2M5N7P9R1S3T5V7"} {
		out := r.wants([]string{
			"To delete:", "aws_db_instance.main", "aws_subnet.a, aws_subnet.b", "1 more: gantry runs resources lists them",
			"UNCONFIRMED (state version 5)", "the plan deletes 1 resource", "3 to add, 0 to change, 1 to delete", "9f2c1d7e4 Widen subnets (Jane)",
			"1 of 2 of the group platform, not jdoe", "bob approve fine by me", "gantry:approvals=2", "bob approves",
		}, "runs", "show", name)
		if strings.Contains(out, "Widen subnets more") {
			t.Errorf("the whole commit message is shown:\n%s", out)
		}
	}
	if run := printed[api.Run](t, r.wants(nil, "runs", "show", theRunName, "-o", "json")); run.StateVersion != 5 {
		t.Errorf("state version %d", run.StateVersion)
	}
	long := asking()
	for i := range 30 {
		long.Timeline = append(long.Timeline, managed.TimelineEntry{At: began, Kind: managed.KindNote, Summary: fmt.Sprintf("note %d.", i)})
	}
	r.executions.set(long)
	if out := r.wants([]string{"note 29."}, "runs", "show", theRunName); strings.Contains(out, "note 5.") {
		t.Errorf("all of a long timeline is shown:\n%s", out)
	}
	r.wants([]string{"note 5."}, "runs", "show", theRunName, "--timeline")
	r.refused(exitRefused, []string{"Not found", "no execution for this run"}, "runs", "show", "acme/network-prod/01UNKNOWN")
	for _, name := range []string{"a//c", "a/b/c/d", "https://acme.app.spacelift.io/stack/x"} {
		r.refused(1, []string{"names no run"}, "runs", "show", name)
	}
}

// Text that others wrote can't control the reader's terminal.
func TestTextOfOthersIsHarmless(t *testing.T) {
	r := newAPIRig(t)
	hostile := asking()
	hostile.Commit.Message, hostile.StackName = "\x1b]0;owned\x07 hi", "\u202eevil\u009b2J"
	hostile.Timeline[0].Summary = "one\nRUN  forged"
	r.executions.set(hostile)
	out := r.wants([]string{"owned", "evil", "one RUN"}, "runs", "show", theRunName)
	if strings.ContainsAny(out, "\x1b\x07\u009b\u202e") || strings.Contains(out, "\nRUN") {
		t.Errorf("printed %q", out)
	}
}

func TestRunsExplain(t *testing.T) {
	r := newAPIRig(t)
	r.executions.set(asking())
	r.wants([]string{"one more of platform must approve", "platform without jdoe: approve or reject it", "the plan is discarded", "gantry:approvals=2"}, "runs", "explain", theRunName)
	if e := printed[api.Explanation](t, r.wants(nil, "runs", "explain", theRunName, "-o", "json")); len(e.Rules) != 1 {
		t.Errorf("rules %v", e.Rules)
	}
}

func TestRunsResources(t *testing.T) {
	r := newAPIRig(t)
	r.wants([]string{"CHANGE", "delete", "aws_db_instance.main", "aws_subnet.b (was aws_subnet.a)"}, "runs", "resources", theRunName)
	if list := printed[api.ResourceList](t, r.wants(nil, "runs", "resources", theRunName, "-o", "json")); len(list.Resources) != 2 || !list.Complete {
		t.Errorf("listed %+v", list)
	}
	r.refused(exitRefused, []string{"Not found", "no such stack or run"}, "runs", "resources", "acme/network-prod/01UNKNOWN")
}

// decisionSent returns the latest decision that reached the execution.
func (r *apiRig) decisionSent() managed.Decision {
	r.t.Helper()
	r.executions.mu.Lock()
	defer r.executions.mu.Unlock()
	if len(r.executions.updates) == 0 {
		r.t.Fatal("nothing was decided")
	}
	return r.executions.updates[len(r.executions.updates)-1].Args[0].(managed.Decision)
}

// A decision concerns the plan that the command saw, or the one that
// --state-version names.
func TestDecideCommands(t *testing.T) {
	r := newAPIRig(t)
	r.executions.set(asking())
	r.executions.decided = func(client.UpdateWorkflowOptions) (managed.RunStatus, error) { return asking(), nil }
	for _, tt := range []struct {
		args []string
		says string
		want managed.Decision
	}{
		{[]string{"approve", theRunName, "--note", "fine"}, "approved (3 to add, 0 to change, 1 to delete)", managed.Decision{Verdict: managed.Approve, Note: "fine", StateVersion: new(5)}},
		{[]string{"approve", theRunName, "--state-version", "3"}, "approved", managed.Decision{Verdict: managed.Approve, StateVersion: new(3)}},
		{[]string{"reject", theRunName}, "rejected", managed.Decision{Verdict: managed.Reject, StateVersion: new(5)}},
		{[]string{"revoke", theRunName}, "revoked", managed.Decision{Verdict: managed.Revoke, Known: &managed.StateKey{StateVersion: 5, State: "UNCONFIRMED"}}},
	} {
		r.wants([]string{theRunName + ": " + tt.says, "the plan deletes 1 resource"}, append([]string{"runs"}, tt.args...)...)
		got := r.decisionSent()
		if got.Key == "" {
			t.Errorf("%v was sent without a key", tt.args)
		}
		got.Key, tt.want.By = "", decide.Person{Name: "ann"}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tt.args, diff)
		}
	}
	if run := printed[api.Run](t, r.wants(nil, "runs", "approve", theRunName, "-o", "json")); run.Phase != api.PhaseWaiting {
		t.Errorf("run %+v", run)
	}
}

func TestRefusedDecisions(t *testing.T) {
	r := newAPIRig(t)
	r.executions.set(asking())
	r.executions.decided = func(client.UpdateWorkflowOptions) (managed.RunStatus, error) {
		return managed.RunStatus{}, sdk.NewNonRetryableApplicationError("ann wrote the commit", managed.ErrTypeSelfApproval, nil)
	}
	r.refused(exitRefused, []string{"You can't approve your own run: ann wrote the commit"}, "runs", "approve", theRunName)
	r.refused(exitRefused, []string{"Insufficient role", "approver"}, "runs", "stop", theRunName)
	r.refused(exitRefused, []string{"Invalid request", "note"}, "runs", "reject", theRunName, "--note", strings.Repeat("x", 1001))
}

// What may have counted is sent again under the same key, and counts once.
func TestUnansweredDecisionsAreSentAgain(t *testing.T) {
	r := newAPIRig(t)
	r.executions.set(asking())
	r.executions.decided = func(client.UpdateWorkflowOptions) (managed.RunStatus, error) { return asking(), nil }
	r.losing.Store(true)
	out, complaints, code := r.run("runs", "approve", theRunName)
	if code != 0 || !strings.Contains(out, "approved") || !strings.Contains(complaints, "(a change counts once)") {
		t.Errorf("exit code %d\n%s\n%s", code, out, complaints)
	}
	if u := r.executions.updates; len(u) != 2 || u[0].UpdateID == "" || u[0].UpdateID != u[1].UpdateID {
		t.Errorf("sent %+v", u)
	}
}

// The exit code says how a run ended.
func TestExitCodes(t *testing.T) {
	r := newAPIRig(t)
	for state, code := range map[spacelift.RunState]int{
		"FINISHED": 0, "FAILED": 10, "DISCARDED": 11, "CANCELED": 12, "STOPPED": 13, "SKIPPED": 14, "APPLYING": 19,
	} {
		r.executions.set(ended(state))
		out, complaints, got := r.run("runs", "watch", theRunName)
		if got != code || !strings.Contains(out, string(state)) || code != 0 && !strings.Contains(complaints, "it is over") {
			t.Errorf("%s: exit code %d, want %d\n%s%s", state, got, code, out, complaints)
		}
	}
	r.executions.set(asking())
	r.refused(exitNotInTime, []string{"not ended in time"}, "runs", "watch", theRunName, "--timeout", "100ms")
}

// A run that was pushed a moment ago is awaited, and one that never appears is refused.
func TestWatchAwaitsARunThatGantryDoesNotKnowYet(t *testing.T) {
	calls := 0
	early := fakeGantry(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if calls++; calls < 3 {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"type":"urn:gantry:problem:not-found","title":"no such run","status":404}`)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "event: end\ndata: {\"state\":\"FINISHED\",\"phase\":\"done\",\"startedAt\":\"2026-01-01T10:00:00Z\"}\n\n")
	}))
	defer early.Close()
	r := newAPIRig(t)
	out, complaints, code := r.run("runs", "watch", theRunName, "--url", early.URL)
	if code != 0 || !strings.Contains(out, "FINISHED") || strings.Count(complaints, "does not know "+theRunName+" yet; waiting up to 30s") != 1 {
		t.Errorf("exit code %d\n%s%s", code, out, complaints)
	}

	before := appearance
	t.Cleanup(func() { appearance = before })
	appearance = 0
	r.refused(exitRefused, []string{"no execution for this run"}, "runs", "watch", "acme/network-prod/01UNKNOWN")
}

func TestWatchUntilAPhase(t *testing.T) {
	r := newAPIRig(t)
	r.executions.set(asking())
	r.wants([]string{"UNCONFIRMED  waiting  the plan deletes 1 resource"}, "runs", "watch", theRunName, "--until", "waiting")
	r.executions.set(ended("FAILED"))
	r.refused(exitOfState["FAILED"], []string{"it is over"}, "runs", "watch", theRunName, "--until", "waiting")
	r.refused(1, []string{`there is no "asleep"; choose one of queued`, "queued, planning, waiting"}, "runs", "watch", theRunName, "--until", "asleep")
}

func TestDecideAndWait(t *testing.T) {
	r := newAPIRig(t)
	for state, code := range map[spacelift.RunState]int{"FINISHED": 0, "FAILED": 10} {
		r.executions.set(asking())
		r.executions.decided = func(client.UpdateWorkflowOptions) (managed.RunStatus, error) {
			r.executions.runs[managed.ManageRunID(theRun)] = ended(state)
			return asking(), nil
		}
		out, _, got := r.run("runs", "approve", theRunName, "--wait")
		if got != code || !strings.Contains(out, "approved") || !strings.Contains(out, string(state)) {
			t.Errorf("%s: exit code %d, want %d\n%s", state, got, code, out)
		}
		r.executions.set(asking())
		out, _, got = r.run("runs", "approve", theRunName, "--wait", "-o", "json")
		if run := printed[api.Run](t, out); got != code || run.State != string(state) {
			t.Errorf("%s: exit code %d, want %d, run %s", state, got, code, run.State)
		}
	}
	r.executions.set(asking())
	r.executions.decided = func(client.UpdateWorkflowOptions) (managed.RunStatus, error) { return asking(), nil }
	r.refused(exitNotInTime, []string{"not ended in time"}, "runs", "approve", theRunName, "--wait", "--timeout", "100ms")
}

// Watching continues while Gantry restarts, after the last change that was printed.
func TestWatchOutlivesABrokenStream(t *testing.T) {
	event := func(w http.ResponseWriter, name, state string) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "retry: 1\n\nevent: %[1]s\nid: after-%[2]s\ndata: {\"state\":%[2]q,\"phase\":\"applying\",\"startedAt\":\"2026-01-01T10:00:00Z\"}\n\n", name, state)
	}
	calls, resumed := 0, []string{}
	broken := fakeGantry(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		resumed = append(resumed, req.Header.Get("Last-Event-ID"))
		switch calls++; calls {
		case 1:
			event(w, "run", "PLANNING") // and cut off
		case 2:
			w.WriteHeader(http.StatusBadGateway) // a proxy
		default:
			event(w, "end", "FINISHED")
		}
	}))
	defer broken.Close()
	r := newAPIRig(t)
	r.wants([]string{"PLANNING", "FINISHED"}, "runs", "watch", theRunName, "--url", broken.URL)
	if diff := cmp.Diff([]string{"", "after-PLANNING", "after-PLANNING"}, resumed); diff != "" {
		t.Errorf("connected after (-want +got):\n%s", diff)
	}
}

// A request that Gantry logs as failed is printed with its id, by which the log names it.
func TestProblemsNameTheirRequest(t *testing.T) {
	r := newAPIRig(t)
	named := regexp.MustCompile(`\(request [A-Z0-9]+-\d+\)\n`)
	if _, complaints, _ := r.run("runs", "show", "acme/network-prod/01UNKNOWN"); named.MatchString(complaints) {
		t.Errorf("a run that Gantry doesn't know:\n%s", complaints)
	}
	r.as("gantry_wrong")
	if _, complaints, code := r.run("runs", "list"); code != exitRefused || !named.MatchString(complaints) {
		t.Errorf("a wrong token: exit code %d\n%s", code, complaints)
	}
}

func TestRetry(t *testing.T) {
	r := newAPIRig(t)
	r.as(ottoToken)
	r.refused(exitRefused, nil, "runs", "retry", "acme/network-prod/01UNKNOWN")
	r.executions.set(asking())
	r.refused(exitRefused, []string{"Run not retryable"}, "runs", "retry", theRunName)

	r.executions.set(ended("FAILED"))
	r.executions.retry = &managed.RetryRunOutcome{New: spacelift.RunRef{Account: "acme", Stack: "network-prod", Run: "01AGAIN"}}
	again := ended("FINISHED")
	again.Run.Run = "01AGAIN"
	r.executions.set(again)
	r.wants([]string{"is retried as acme/network-prod/01AGAIN", "FINISHED"}, "runs", "retry", theRunName, "--wait", "--note", "now")
	r.refused(exitRefused, []string{"Already retried", "01AGAIN"}, "runs", "retry", theRunName)
}

func TestRetryThatIsUnderWay(t *testing.T) {
	r := newAPIRig(t)
	r.as(ottoToken)
	r.executions.set(ended("FAILED"))
	r.wants([]string{"the retry is in progress"}, "runs", "retry", theRunName)
	r.executions.retries = nil
	r.refused(exitNotInTime, []string{"not ended in time"}, "runs", "retry", theRunName, "--wait", "--timeout", "100ms")
}

func TestStop(t *testing.T) {
	r := newAPIRig(t)
	r.as(ottoToken)
	r.executions.set(asking())
	r.executions.decided = func(client.UpdateWorkflowOptions) (managed.RunStatus, error) { return ended("DISCARDED"), nil }
	r.wants([]string{"stop requested", "DISCARDED"}, "runs", "stop", theRunName, "--note", "wrong branch")
	if got := r.executions.updates[0].Args[0].(managed.StopRequest); got.Note != "wrong branch" || got.By.Name != "otto" {
		t.Errorf("sent %+v", got)
	}
}

func TestWithoutAGantry(t *testing.T) {
	r := newAPIRig(t)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }))
	defer page.Close()
	elsewhere := httptest.NewServer(http.RedirectHandler(r.server.URL, http.StatusFound))
	defer elsewhere.Close()
	r.refused(1, []string{"not an answer of Gantry", "--url"}, "runs", "list", "--url", page.URL)
	r.refused(1, []string{"302", "--url"}, "runs", "list", "--url", elsewhere.URL)
	for _, args := range [][]string{{"runs", "list"}, {"runs", "watch", theRunName}, {"runs", "approve", theRunName}} {
		r.refused(1, []string{"call Gantry: ", "refused", "check that Gantry runs and that --url or GANTRY_URL is right"}, append(args, "--url", "http://127.0.0.1:1")...)
	}
	r.refused(1, []string{"is not an address"}, "runs", "list", "--url", "gantry.example.com")
	r.refused(1, []string{"choose one of table, wide, json"}, "runs", "list", "-o", "xml")
}

func TestTokens(t *testing.T) {
	r := newAPIRig(t)
	r.as("gantry_wrong")
	r.refused(exitRefused, []string{"invalid token"}, "runs", "list")

	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(annToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.wants(nil, "runs", "list", "--token-file", file)
	t.Setenv("GANTRY_TOKEN_FILE", file)
	r.refused(1, []string{"unset one"}, "runs", "list")
	os.Unsetenv("GANTRY_TOKEN")
	r.wants(nil, "runs", "list")
	os.Unsetenv("GANTRY_TOKEN_FILE")
	r.refused(1, []string{"no token", "gantry token create"}, "runs", "list")
	r.refused(1, []string{"read token"}, "runs", "list", "--token-file", file+"-gone")
}
