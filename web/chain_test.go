package web_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/web/webtest"
)

var noon = webtest.Now

const chainPath = "accounts/acme/stacks/network-prod/runs/01KDX3V4T8Q2M5N7P9R1S3T5V7/chain"

func runID(n int) string { return fmt.Sprintf("01KDX5N0R6T8W2Y4A6C8%06d", n) }

func node(stack, state, runState string, n int, reason string, after ...string) api.ChainNode {
	c := api.ChainNode{Stack: stack, State: state, After: append([]string{}, after...), Reason: reason, Runs: []string{}}
	if runState != "" {
		c.RunState, c.Run, c.Runs = new(runState), new(runID(n)), []string{runID(n)}
	}
	return c
}

// aChain is a chain in which one stack failed and one waits for people.
func aChain() api.Chain {
	at := func(m int) time.Time { return noon.Add(time.Duration(m-41) * time.Minute) }
	return api.Chain{
		Account: "acme", Stack: "network-prod", Run: "01KDX3V4T8Q2M5N7P9R1S3T5V7", Phase: "moving", StartedAt: at(0), Edges: []api.ChainEdge{},
		Summary: "3 of 7 runs finished; run " + runID(3) + " of vault is in progress",
		Nodes: []api.ChainNode{
			{Stack: "network-prod", After: []string{}, State: "finished", Reason: "run 01KDX3V4T8Q2M5N7P9R1S3T5V7 of network-prod finished", Run: new("01KDX3V4T8Q2M5N7P9R1S3T5V7"), RunState: new("FINISHED"), Runs: []string{"01KDX3V4T8Q2M5N7P9R1S3T5V7"}},
			node("dns-prod", "finished", "FINISHED", 1, "run "+runID(1)+" of dns-prod finished", "network-prod"),
			node("vault", "running", "UNCONFIRMED", 3, "run "+runID(3)+" is in progress: Gantry triggered it", "network-prod"),
			node("queue", "failed", "FAILED", 4, "run "+runID(4)+" of queue ended in FAILED: a quota was exceeded while planning", "network-prod"),
			node("app-prod", "waiting", "", 0, "run "+runID(3)+" of vault is in progress", "dns-prod", "vault"),
			node("worker", "waiting", "", 0, "run "+runID(4)+" of queue ended in FAILED", "queue"),
			node("edge", "waiting", "", 0, "app-prod has not run yet; worker has not run yet", "app-prod", "worker"),
		},
		Timeline: []api.ChainEntry{
			{At: at(0), Kind: "decision", Stack: new("dns-prod"), Summary: "dns-prod is released: run 01KDX3V4T8Q2M5N7P9R1S3T5V7 of network-prod finished"},
			{At: at(0), Kind: "action", Stack: new("dns-prod"), Run: new(runID(1)), Summary: "Gantry triggered run " + runID(1)},
			{At: at(7), Kind: "decision", Stack: new("queue"), Summary: "nothing behind queue is released: run " + runID(4) + " of queue ended in FAILED"},
			{At: at(12), Kind: "person", Stack: new("queue"), Actor: new("dave"), Summary: "dave retried run " + runID(4)},
		},
	}
}

// chainRun is the run that began the chain.
var chainRun = api.Run{
	Account: "acme", Stack: "network-prod", Run: "01KDX3V4T8Q2M5N7P9R1S3T5V7", State: "FINISHED", Type: "TRACKED", StateVersion: 9, Phase: "done",
	StartedAt: noon, LastEventAt: new(noon), Policy: []api.PolicyValue{}, States: []api.StateEntry{}, Timeline: []api.TimelineEntry{},
	Commit: &api.Commit{Hash: new("1c0ffee9"), Message: new("Bigger gateways\n\nmore"), AuthorLogin: new("jdoe")},
}

var anExecution = api.Execution{WorkflowID: "run/acme/x", TemporalRunID: "y", Status: "Running"}

// chainSite shows a chain to an operator.
func chainSite(t testing.TB, c api.Chain) *webtest.Site {
	t.Helper()
	s := webtest.New(t)
	operator(s)
	s.Answer("GET /v1/accounts/acme/chains/"+c.Run, c)
	s.Answer("GET /v1/accounts/acme/stacks/network-prod/runs/"+c.Run, chainRun)
	s.Answer("GET /v1/runs", api.RunList{Runs: []api.RunSummary{{
		Account: "acme", Stack: "vault", Run: runID(3), Type: "TRACKED", State: "UNCONFIRMED", Phase: "waiting", StartedAt: noon, Execution: anExecution,
		WaitingFor: &api.WaitingFor{What: "person", Reason: "the plan deletes 1 resource; 1 of 2 approvals: bob approved", Since: noon, Who: new("anyone in the group dba")},
	}}})
	return s
}

func operator(s *webtest.Site) {
	s.Answer("GET /v1/me", api.Caller{Name: "carol", Groups: []string{"platform", "dba"}, How: "session", Credential: "sso", Grants: []api.Grant{{Role: "operator"}}})
	s.Answer("GET /v1/accounts", api.AccountList{Accounts: []api.Account{{Name: "acme", Findings: []api.Finding{}}}})
	s.Handle("GET /v1/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
}

// largeChain is a chain of the largest size.
func largeChain() api.Chain {
	c := aChain()
	c.Nodes = c.Nodes[:1]
	for i := 1; i < 1000; i++ {
		parents := []string{c.Nodes[(i*7+3)%max(1, i-1)%max(1, i/2+1)].Stack}
		for k := range 4 {
			if p := c.Nodes[max(0, i-1-(i*(k+3))%60)].Stack; p != parents[0] {
				parents = append(parents, p)
			}
		}
		state, runState := "waiting", ""
		switch {
		case i < 400:
			state, runState = "finished", "FINISHED"
		case i == 400 || i == 405:
			state, runState = "failed", "FAILED"
		case i < 410:
			state, runState = "running", "APPLYING"
		}
		c.Nodes = append(c.Nodes, node(fmt.Sprintf("service-%03d-prod", i), state, runState, i, "a reason as a sentence of usual length", parents...))
	}
	return c
}

func shows(t *testing.T, d *webtest.Document, all ...string) {
	t.Helper()
	for _, want := range all {
		if !strings.Contains(d.Text(), want) {
			t.Errorf("the page lacks %q: %.5000s", want, d.Text())
		}
	}
}

func TestTheChainSaysWhoIsInTheWay(t *testing.T) {
	d := chainSite(t, aChain()).Get(chainPath)
	shows(t, d, "6 stacks follow network-prod", "queue failed, vault waits for people.", "2 stacks wait behind it.", "“Bigger gateways” by jdoe", "Its run ended in FAILED: a quota was exceeded while planning.",
		"1 of 2 approvals: bob approved; anyone in the group dba can decide.")
	if strings.Contains(d.Text(), "01KDX5N0R6T8W2Y4A6C8") {
		t.Error("the page makes people read ids of runs")
	}
}

// Without an answer about the runs, the states of the chain say as much as they can.
func TestAChainWithoutItsRuns(t *testing.T) {
	s := chainSite(t, aChain())
	s.Refuse("GET /v1/runs", http.StatusServiceUnavailable, "Temporal unavailable", "try again")
	s.Refuse("GET /v1/accounts/acme/stacks/network-prod/runs/"+chainRun.Run, http.StatusNotFound, "Not found", "it is older than the retention")
	shows(t, s.Get(chainPath), "queue failed, vault waits for people.", "its run is in progress: Gantry triggered it.")
}

// A person who listens to the page, or reads it on a phone, learns from the list what the graph
// shows, and each stack of the graph is a link with a name.
func TestTheGraphHasWords(t *testing.T) {
	d := chainSite(t, aChain()).Get(chainPath)
	boxes := d.All("a", "class", "box")
	if len(boxes) != 7 {
		t.Fatalf("the graph has %d stacks, want 7", len(boxes))
	}
	for _, b := range boxes {
		if b.Attr("aria-label") == "" || !strings.HasPrefix(b.Attr("href"), "?") {
			t.Errorf("a box is named %q and leads to %q", b.Attr("aria-label"), b.Attr("href"))
		}
	}
	if names := d.All("a", "class", "name"); len(names) != 7 || names[0].Text() != "queue" {
		t.Errorf("the list has %d stacks and begins with %s, want 7 and queue, which is most urgent", len(names), names[0].Text())
	}
}

func TestAStackOfTheChainIsPicked(t *testing.T) {
	shows(t, chainSite(t, aChain()).Get(chainPath+"?stack=queue"), "Follows network-prod", "Followed by worker")
}

func TestChangesOfAChain(t *testing.T) {
	const at = "/v1/accounts/acme"
	for do, want := range map[string]struct{ path, body, says string }{
		"skip":  {at + "/chains/" + chainRun.Run + "/skip", `{"note":"by hand","stack":"queue"}`, "You skipped queue."},
		"stop":  {at + "/chains/" + chainRun.Run + "/stop", `{"note":"by hand"}`, "You stopped the chain."},
		"retry": {at + "/stacks/queue/runs/" + runID(4) + "/retry", `{"note":"by hand"}`, "Spacelift retries queue."},
	} {
		t.Run(do, func(t *testing.T) {
			s := chainSite(t, aChain())
			s.Answer("POST "+want.path, aChain())
			if do == "retry" {
				s.Answer("POST "+want.path, api.Retry{Account: "acme", Stack: "queue", Run: runID(4), New: new(runID(9))})
			}
			d := s.Post(chainPath, url.Values{"do": {do}, "stack": {"queue"}, "run": {runID(4)}, "note": {"by hand"}, "key": {"a-key"}})
			shows(t, d, want.says)
			call := s.Calls()[0]
			if call.Path != want.path || strings.TrimSpace(call.Body) != want.body || call.Header.Get("Idempotency-Key") != "a-key" {
				t.Errorf("the API received %+v", call)
			}
		})
	}
}

// A refusal is shown where the button was, with what the person wrote.
func TestARefusalStaysAtItsButton(t *testing.T) {
	s := chainSite(t, aChain())
	s.Refuse("POST /v1/accounts/acme/chains/"+chainRun.Run+"/skip", http.StatusConflict, "Stack has an active run", "stop the run first")
	d := s.Post(chainPath, url.Values{"do": {"skip"}, "stack": {"queue"}, "note": {"done by hand"}})
	if d.Status != http.StatusConflict {
		t.Errorf("status %d", d.Status)
	}
	blocker := d.All("article", "class", "blocker")[0].Text()
	for _, want := range []string{"queue", "Stack has an active run.", "Stop the run first.", "done by hand"} {
		if !strings.Contains(blocker, want) {
			t.Errorf("the stack lacks %q: %s", want, blocker)
		}
	}
}

// A refusal is shown even where its button is gone, such as in a chain that has ended.
func TestARefusalWithoutItsButton(t *testing.T) {
	c := aChain()
	c.Phase, c.EndedAt = "done", new(noon)
	s := chainSite(t, c)
	s.Refuse("POST /v1/accounts/acme/chains/"+chainRun.Run+"/skip", http.StatusConflict, "Chain has ended", "nothing is left to skip")
	shows(t, s.Post(chainPath, url.Values{"do": {"skip"}, "stack": {"queue"}}), "Chain has ended. Nothing is left to skip.")
}

// A viewer is offered nothing that the API would refuse.
func TestAViewerHasNoButtons(t *testing.T) {
	s := chainSite(t, aChain())
	s.Answer("GET /v1/me", api.Caller{Name: "eve", Groups: []string{}, How: "session", Credential: "sso", Grants: []api.Grant{{Role: "viewer"}}})
	if forms := s.Get(chainPath).All("input", "name", "do"); len(forms) != 0 {
		t.Errorf("there are %d forms", len(forms))
	}
}

// hostile is text that would do harm in a page that trusts it.
const hostile = `<img src=x onerror=alert(1)>"'&` + "\u202egnp.exe`"

// harmless reports what of some text is markup.
func harmless(t *testing.T, d *webtest.Document) {
	t.Helper()
	if d.Status != http.StatusOK || len(d.All("img", "src", "x")) > 0 {
		t.Errorf("status %d, or the text is markup", d.Status)
	}
	for _, script := range d.All("script") {
		if script.Attr("src") == "" {
			t.Errorf("the text is a script: %s", script.Text())
		}
	}
}

func TestHostileTextOfAChain(t *testing.T) {
	c := aChain()
	c.Summary, c.Nodes[3].Reason = hostile, hostile+strings.Repeat("x", 10_000)
	c.Nodes[2].Stack, c.Nodes[4].After = "<script>alert(1)</script>", []string{"<script>alert(1)</script>"}
	c.Timeline[3].Actor = new(hostile)
	s := chainSite(t, c)
	for _, query := range []string{"", "?stack=" + url.QueryEscape(c.Nodes[2].Stack), "?show=" + url.QueryEscape(hostile), "?all&stack=%00"} {
		harmless(t, s.Get(chainPath+query))
	}
}

// The largest chain is folded to what matters now, unless somebody asks for all of it.
func TestTheLargestChainIsFolded(t *testing.T) {
	s := chainSite(t, largeChain())
	d := s.Get(chainPath)
	if boxes := d.All("a", "class", "box"); len(boxes) > 50 {
		t.Errorf("%d stacks are drawn", len(boxes))
	}
	shows(t, d, "999 stacks follow", "Draw all 1000", "545 stacks wait behind it.")
	for _, failed := range []string{`aria-label="service-400-prod failed. `, `aria-label="service-405-prod failed. `} {
		if !strings.Contains(d.HTML, failed) {
			t.Errorf("the graph lacks %q", failed)
		}
	}
	if len(d.HTML) > 150_000 {
		t.Errorf("the page has %d bytes", len(d.HTML))
	}
	if boxes := s.Get(chainPath+"?all").All("a", "class", "box"); len(boxes) != 1000 {
		t.Errorf("%d stacks are drawn, want all", len(boxes))
	}
}

func BenchmarkTheLargestChain(b *testing.B) {
	s := chainSite(b, largeChain())
	for b.Loop() {
		s.Get(chainPath)
	}
}

// chainList has a chain in each phase.
func chainList() api.ChainList {
	of := func(stack string, phase api.ChainPhase, ago time.Duration) api.ChainSummary {
		c := api.ChainSummary{Account: "acme", Stack: stack, Run: runID(1), Phase: phase, StartedAt: noon.Add(-ago), Execution: anExecution}
		if phase == "done" {
			c.EndedAt = new(noon)
		}
		if phase == "held" {
			c.Summary, c.InTheWay, c.HeldSince = new("run 01M8J7QT000000000000000009 of queue ended in FAILED: a quota was exceeded while planning"), []string{"queue"}, new(noon.Add(-time.Hour))
		}
		return c
	}
	return api.ChainList{Chains: []api.ChainSummary{of("new", "moving", time.Minute), of("over", "done", time.Hour), of("stuck", "held", 2*time.Hour)}}
}

func TestChainsThatAreHeldComeFirst(t *testing.T) {
	s := webtest.New(t)
	operator(s)
	s.Answer("GET /v1/accounts/acme/chains", chainList())
	d := s.Get("chains")
	var names []string
	for _, a := range d.All("a", "class", "name") {
		names = append(names, a.Text())
	}
	if got := strings.Join(names, " "); got != "stuck new over" {
		t.Errorf("the order is %s", got)
	}
	for _, want := range []string{"of queue ended in FAILED: a quota was exceeded while planning. held for 1 h · began 2 h ago", "began 1 h ago · took 1 h"} {
		if !strings.Contains(d.Text(), want) {
			t.Errorf("the list lacks %q: %s", want, d.Text())
		}
	}
	shows(t, d, "1 chain is held")
}

// With several accounts, the lists of all are one.
func TestChainsOfSeveralAccounts(t *testing.T) {
	s := webtest.New(t)
	s.Answer("GET /v1/accounts", api.AccountList{Accounts: []api.Account{{Name: "acme", Findings: []api.Finding{}}, {Name: "beta", Findings: []api.Finding{}}}})
	s.Answer("GET /v1/accounts/acme/chains", chainList())
	s.Answer("GET /v1/accounts/beta/chains", api.ChainList{Chains: []api.ChainSummary{}})
	if rows := s.Get("chains").All("a", "class", "name"); len(rows) != 3 {
		t.Errorf("%d chains", len(rows))
	}
	shows(t, s.Get("chains?account=beta&phase=held"), "No chain is held", "No chains here")
}
