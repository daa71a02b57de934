package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/gen/api"
)

// waitingRoom is a Gantry with runs that wait for the caller.
type waitingRoom struct {
	mu      sync.Mutex
	runs    []api.RunSummary
	more    bool   // runs than these
	problem string // that lists are answered with; empty for none
	queries []string
	decided []string // run, verdict, state version and note of each decision
}

func newWaitingRoom(t *testing.T, runs ...api.RunSummary) *waitingRoom {
	t.Helper()
	newAPIRig(t)
	g := &waitingRoom{runs: runs}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/runs", func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.queries = append(g.queries, r.URL.RawQuery)
		if g.problem != "" {
			w.WriteHeader(http.StatusUnauthorized)
			_ = json.NewEncoder(w).Encode(api.Problem{Type: "urn:gantry:problem:unauthenticated", Title: g.problem, Status: http.StatusUnauthorized})
			return
		}
		list := api.RunList{Runs: []api.RunSummary{}}
		for _, run := range g.runs {
			q := r.URL.Query()
			if strings.HasPrefix(run.Stack, strings.TrimSuffix(q.Get("stack"), "*")) && strings.HasPrefix(run.Run, q.Get("run")) && strings.HasPrefix(*run.Commit.Hash, q.Get("commit")) {
				list.Runs = append(list.Runs, run)
			}
		}
		if g.more {
			list.NextPageToken = new("more")
		}
		_ = json.NewEncoder(w).Encode(list)
	})
	mux.HandleFunc("GET /v1/accounts/{a}/stacks/{s}/runs/{r}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"account":"acme","stack":%q,"run":%q,"stateVersion":7,"url":"https://acme.app.spacelift.io/stack/%s/run/%s"}`,
			r.PathValue("s"), r.PathValue("r"), r.PathValue("s"), r.PathValue("r"))
	})
	mux.HandleFunc("GET /v1/accounts/{a}/stacks/{s}/runs/{r}/explain", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"summary":"the plan deletes 9 resources, so two people must approve it","unblock":[],"next":[],"rules":[]}`)
	})
	mux.HandleFunc("POST /v1/accounts/{a}/stacks/{s}/runs/{r}/decisions", func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		defer g.mu.Unlock()
		var body api.DecisionRequest
		_ = json.NewDecoder(r.Body).Decode(&body)
		if r.PathValue("s") == "changed" {
			w.WriteHeader(http.StatusConflict)
			fmt.Fprint(w, `{"type":"urn:gantry:problem:plan-changed","title":"Plan has changed","status":409}`)
			return
		}
		g.decided = append(g.decided, fmt.Sprintf("%s %s %d %s", r.PathValue("r"), body.Verdict, deref(body.StateVersion), deref(body.Note)))
		for i, run := range g.runs {
			if run.Run == r.PathValue("r") {
				g.runs = append(g.runs[:i:i], g.runs[i+1:]...)
				break
			}
		}
		fmt.Fprintf(w, `{"account":"acme","stack":%q,"run":%q,"delta":{"added":1,"changed":0,"deleted":0}}`, r.PathValue("s"), r.PathValue("r"))
	})
	server := fakeGantry(t, mux)
	t.Cleanup(server.Close)
	t.Setenv("GANTRY_URL", server.URL)
	return g
}

// turns changes what lists show.
func (g *waitingRoom) turns(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
}

func (g *waitingRoom) decisions() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string{}, g.decided...)
}

// waits returns a run that waits for the caller.
func waits(stack, run, commit string, stateVersion int) api.RunSummary {
	return api.RunSummary{
		Account: "acme", Stack: stack, Run: run, State: "UNCONFIRMED", Phase: api.PhaseWaiting, StateVersion: &stateVersion,
		CanDecide: []api.Verdict{api.VerdictApprove, api.VerdictReject}, Commit: &api.Commit{Hash: &commit, AuthorLogin: new("jdoe")},
		Delta: &api.Delta{Deleted: 9}, WaitingFor: &api.WaitingFor{What: "person", Reason: "the plan deletes 9 resources", Since: time.Now().Add(-time.Hour)},
	}
}

const (
	firstRun  = "01KDX3V4T8Q2M5N7P9R1S3T5V7"
	secondRun = "01KDX3V4T8Q2M5N7P9R1S3T5V8"
	thirdRun  = "01KDX4A7B3C5D7E9F1G3H5J7K9"
)

// A run is named by the beginning of its id or by its stack, if that says which.
func TestNamesOfRuns(t *testing.T) {
	g := newWaitingRoom(t, waits("network", firstRun, "9f2c", 3), waits("app", secondRun, "9f2c", 4), waits("app", thirdRun, "aaaa", 5))
	for name, want := range map[string]string{
		"01KDX4": thirdRun, "network": firstRun, "acme/network": firstRun, "app/01KDX3": secondRun, "https://acme.app.spacelift.io/stack/network/run/01X": "01X", "acme/network/01X": "01X",
	} {
		out, complaints, code := runProgram(t, "approve", name)
		if code != 0 || !strings.Contains(out, want+": approved") {
			t.Errorf("approve %s: exit code %d, %s%s", name, code, out, complaints)
		}
		g.runs = []api.RunSummary{waits("network", firstRun, "9f2c", 3), waits("app", secondRun, "9f2c", 4), waits("app", thirdRun, "aaaa", 5)}
	}
	for name, says := range map[string]string{
		"app": "several runs match; name one of them:\n  acme/app/" + secondRun, "01KDX": "no run of this stack waits", "01KDX3": "several runs match", "01KDX9": "no run begins so",
		"other": "no run of this stack waits for people", "a/b/c/d": "names no run", "": "names no run", "net*": "names no stack",
	} {
		_, complaints, code := runProgram(t, "approve", name)
		if code != 1 || !strings.Contains(complaints, says) {
			t.Errorf("approve %s: exit code %d: %s", name, code, complaints)
		}
	}
	if out, _, _ := runProgram(t, "__complete", "approve", "01K"); !strings.Contains(out, firstRun+"\tUNCONFIRMED network\n") || !strings.Contains(out, "\nnetwork\n") || !strings.Contains(g.queries[len(g.queries)-1], "canDecide=me") {
		t.Errorf("approve completes\n%s", out)
	}
	if out, _, code := runProgram(t, "runs", "open", "network"); code != 0 || out != "https://acme.app.spacelift.io/stack/network/run/"+firstRun+"\n" {
		t.Errorf("opens %s", out)
	}
	if out, _, _ := runProgram(t, "runs", "open", "network", "--gantry"); out != os.Getenv("GANTRY_URL")+"/accounts/acme/stacks/network/runs/"+firstRun+"\n" {
		t.Errorf("opens %s", out)
	}
	for _, args := range [][]string{{"runs", "stop", "network"}, {"runs", "retry", "network"}} {
		if _, complaints, code := runProgram(t, args...); code != 1 || !strings.Contains(complaints, "names no run") {
			t.Errorf("%v: exit code %d: %s", args, code, complaints)
		}
	}
}

func runProgram(t *testing.T, args ...string) (out, complaints string, code int) {
	t.Helper()
	var printed, complained strings.Builder
	code = run(t.Context(), args, strings.NewReader(""), &printed, &complained)
	return printed.String(), complained.String(), code
}

// Each of several runs is decided about by the plan that was listed.
func TestBulkDecisions(t *testing.T) {
	all := []api.RunSummary{waits("network", firstRun, "9f2c1d", 3), waits("changed", secondRun, "9f2c1d", 4), waits("app", thirdRun, "aaaa", 5)}
	g := newWaitingRoom(t, all...)
	out, complaints, code := runProgram(t, "approve", "--commit", "9f2c", "--label", "team=x", "--space", "prod", "--author", "jdoe", "--account", "acme", "--yes", "--note", "fine")
	if code != exitRefused || !strings.Contains(out, "acme/network/"+firstRun+": approved (1 to add") || !strings.Contains(complaints, "acme/changed/"+secondRun+": Plan has changed") {
		t.Errorf("exit code %d: %s%s", code, out, complaints)
	}
	if diff := cmp.Diff([]string{firstRun + " approve 3 fine"}, g.decisions()); diff != "" {
		t.Errorf("decided (-want +got):\n%s", diff)
	}
	if want := "account=acme&label=team%3Dx&space=prod&author=jdoe&commit=9f2c&canDecide=me&order=oldest&pageSize=200"; g.queries[0] != want {
		t.Errorf("asked %s", g.queries[0])
	}
	for _, tt := range []struct {
		args []string
		says string
	}{
		{[]string{"approve"}, "name a run, or a stack"},
		{[]string{"approve", "app", "--label", "x"}, "not both"},
		{[]string{"reject", "--stack", "app"}, "1 run is selected: add --yes to reject it"},
		{[]string{"reject", "--stack", "app", "--yes", "--wait"}, "for one run"},
		{[]string{"approve", "--stack", "none*", "--yes"}, "no selected run waits for you"},
		{[]string{"runs", "revoke"}, "name the run"},
	} {
		if _, complaints, code := runProgram(t, tt.args...); code != 1 || !strings.Contains(complaints, tt.says) {
			t.Errorf("%v: exit code %d: %s", tt.args, code, complaints)
		}
	}
	if out, _, _ := runProgram(t, "reject", "--stack", "ap*", "--yes", "-o", "name"); out != "acme/app/"+thirdRun+"\n" {
		t.Errorf("printed %s", out)
	}
}

// terminal is a person before a terminal of 100 columns and 24 lines.
type terminal struct {
	t      *testing.T
	tty    *os.File
	mu     sync.Mutex
	screen *vt.Emulator
	raw    strings.Builder // all that was printed
	more   chan struct{}   // something was printed
	done   chan int        // the exit code
}

// sits runs the program in a terminal.
func sits(t *testing.T, args ...string) *terminal {
	t.Helper()
	t.Setenv("TERM", "xterm-256color")
	tty, program, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(tty, &pty.Winsize{Rows: 24, Cols: 100}); err != nil {
		t.Fatal(err)
	}
	p := &terminal{t: t, tty: tty, screen: vt.NewEmulator(100, 24), more: make(chan struct{}, 1), done: make(chan int, 1)}
	go func() { _, _ = io.Copy(tty, p.screen) }() // answers to questions about the terminal
	go p.draw()
	go func() {
		p.done <- run(t.Context(), args, program, program, program)
		_ = program.Close()
	}()
	t.Cleanup(func() {
		_ = tty.Close()
		if input, ok := p.screen.InputPipe().(io.Closer); ok { // Close would race with the copy above
			_ = input.Close()
		}
	})
	return p
}

// draw puts on the screen what the program prints.
func (p *terminal) draw() {
	buffer := make([]byte, 4096)
	for {
		n, err := p.tty.Read(buffer)
		p.mu.Lock()
		_, _ = p.screen.Write(buffer[:n])
		p.raw.Write(buffer[:n])
		p.mu.Unlock()
		select {
		case p.more <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

func (p *terminal) shows() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.screen.String()
}

func (p *terminal) printed() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.raw.String()
}

// sees waits until the screen shows a text.
func (p *terminal) sees(text string) {
	p.t.Helper()
	p.awaits(text, true)
}

// misses waits until the screen no longer shows a text.
func (p *terminal) misses(text string) {
	p.t.Helper()
	p.awaits(text, false)
}

func (p *terminal) awaits(text string, shown bool) {
	p.t.Helper()
	late := time.After(20 * time.Second)
	for strings.Contains(p.shows(), text) != shown {
		select {
		case <-p.more:
		case <-late:
			p.t.Fatalf("whether the terminal shows %q is not %t but\n%s", text, shown, p.shows())
		}
	}
}

func (p *terminal) types(keys string) {
	p.t.Helper()
	if _, err := io.WriteString(p.tty, keys); err != nil {
		p.t.Fatal(err)
	}
}

// A person reads why runs wait, approves one, rejects one with a note, opens one, and leaves.
func TestWaitingOnATerminal(t *testing.T) {
	g := newWaitingRoom(t, waits("network", firstRun, "9f2c", 3), waits("app", secondRun, "9f2c", 4), waits("web", thirdRun, "9f2c", 5))
	g.runs[2].URL = new("https://acme.app.spacelift.io/stack/web/run/" + thirdRun)
	opened := filepath.Join(t.TempDir(), "opened")
	bin := t.TempDir()
	for _, name := range []string{"xdg-open", "open"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\necho \"$1\" >"+opened+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	hurry(t)

	p := sits(t, "waiting")
	p.sees("Waiting for you: 3")
	p.sees("acme/network")
	p.types("e")
	p.sees("so two people must approve it")
	p.types("q") // back
	p.sees("Waiting for you: 3")
	p.types("a")
	p.sees("Approve acme/network/" + firstRun + " with +0 ~0 -9?")
	p.types("n")
	p.sees("↑↓ choose")
	p.types("a")
	p.sees("y approve")
	p.types("y")
	p.sees("Waiting for you: 2")
	p.types("\x1b[B") // down
	p.sees("▶  acme/web")
	p.types("o")
	p.sees("opened https://acme.app.spacelift.io/stack/web")
	p.types("r")
	p.sees("enter reject")
	p.types("too larr\x7fge")
	p.sees("Why? too large▏")
	p.types("\r")
	p.sees("Waiting for you: 1")
	p.sees("acme/web/" + thirdRun + ": rejected")
	p.types("q")
	p.sees("acme/network/" + firstRun + ": approved")
	p.sees("acme/web/" + thirdRun + ": rejected")
	if code := <-p.done; code != 0 {
		t.Errorf("exit code %d", code)
	}
	if diff := cmp.Diff([]string{firstRun + " approve 3 ", thirdRun + " reject 5 too large"}, g.decisions()); diff != "" {
		t.Errorf("decided (-want +got):\n%s", diff)
	}
	if page, err := os.ReadFile(opened); err != nil || string(page) != "https://acme.app.spacelift.io/stack/web/run/"+thirdRun+"\n" {
		t.Errorf("opened %s; %v", page, err)
	}
}

// While a person reads and thinks, somebody else decides, a plan changes, and a session ends
// and is renewed.
func TestTheScreenKeepsUp(t *testing.T) {
	g := newWaitingRoom(t, waits("network", firstRun, "9f2c", 3), waits("app", secondRun, "9f2c", 4))
	hurry(t)
	p := sits(t, "waiting")
	p.sees("Waiting for you: 2")
	p.types("a")
	p.sees("Approve acme/network/" + firstRun)
	g.turns(func() { g.runs = g.runs[1:] })
	p.sees("acme/network/" + firstRun + " with +0 ~0 -9 no longer waits for you.")
	p.types("y") // too late: it means nothing here
	p.types("r")
	p.sees("Reject acme/app/" + secondRun)
	g.turns(func() { g.runs = []api.RunSummary{waits("app", secondRun, "9f2c", 6)} })
	p.sees("has another plan now.")
	g.turns(func() { g.problem, g.more = "Session expired", true })
	p.sees("Session expired")
	p.sees("acme/app") // what was known stays
	g.turns(func() { g.problem = "" })
	p.misses("Session expired")
	p.sees("Waiting for you: 50 and more")
	p.types("q")
	if code := <-p.done; code != 0 || len(g.decisions()) > 0 {
		t.Errorf("exit code %d, decided %v", code, g.decisions())
	}
}

// Texts of others can't control the terminal: neither those of a list, nor an explanation, a
// decision's outcome or a problem.
func TestHostileTextsOnATerminal(t *testing.T) {
	const shown = "b\ufffd[2Jc\ufffd[31md"
	newAPIRig(t)
	t.Setenv("GANTRY_URL", hostileGantry(t, http.StatusOK))
	list := sits(t, "waiting", "--everyone")
	list.sees("Waiting for anyone: 1")
	list.sees(shown)
	list.types("e")
	list.misses("Waiting for anyone: 1")
	list.sees(shown)
	list.types("q")
	list.sees("Waiting for anyone: 1")
	list.types("q")
	wantHarmless(t, list)

	run := waits("network", firstRun, "9f2c", 3)
	run.StackName, run.WaitingFor.Reason = new(hostile), hostile
	g := newWaitingRoom(t, run)
	hurry(t)
	p := sits(t, "waiting")
	p.sees(shown)
	g.turns(func() { g.problem = "Ended " + hostile })
	p.sees("Ended a\ufffd]0;title\ufffd" + shown)
	p.types("q")
	wantHarmless(t, p)
}

func wantHarmless(t *testing.T, p *terminal) {
	t.Helper()
	if code := <-p.done; code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, control := range []string{"\x1b]0;", "title\x07", "b\x1b[2J", "c\x1b[31m", "\u009b", "\u202e", "\x7f", "g\rh"} {
		if raw := p.printed(); strings.Contains(raw, control) {
			t.Errorf("it prints %q in\n%q", control, raw)
		}
	}
}

// Among the runs that wait for anyone there are some that the person can't approve.
func TestOthersRunsOnATerminal(t *testing.T) {
	g := newWaitingRoom(t, waits("network", firstRun, "9f2c", 3))
	g.runs[0].CanDecide = nil
	p := sits(t, "waiting", "--everyone")
	p.sees("Waiting for anyone: 1")
	p.types("a")
	p.sees("You can't approve acme/network/" + firstRun)
	p.types("\x03") // ctrl-c
	if code := <-p.done; code != 0 || len(g.decisions()) > 0 {
		t.Errorf("exit code %d, decided %v", code, g.decisions())
	}
}

// A question before several decisions is answered on the terminal.
func TestBulkQuestion(t *testing.T) {
	g := newWaitingRoom(t, waits("network", firstRun, "9f2c", 3), waits("app", secondRun, "9f2c", 4))
	p := sits(t, "approve", "--commit", "9f2c")
	p.sees("acme/network")
	p.sees("Approve these 2 runs? [y/N]")
	p.types("n\n")
	p.sees("nothing was decided")
	if code := <-p.done; code != 1 || len(g.decisions()) > 0 {
		t.Errorf("exit code %d, decided %v", code, g.decisions())
	}
	p = sits(t, "approve", "--commit", "9f2c")
	p.sees("[y/N]")
	p.types("yes\n")
	p.sees("acme/app/" + secondRun + ": approved")
	if code := <-p.done; code != 0 || len(g.decisions()) != 2 {
		t.Errorf("exit code %d, decided %v", code, g.decisions())
	}
}

// Without a terminal, or with --no-input, the list is printed.
func TestWaitingInAPipe(t *testing.T) {
	g := newWaitingRoom(t, waits("network", firstRun, "9f2c", 3))
	for _, args := range [][]string{nil, {"--asked"}, {"--everyone"}} {
		out, _, code := runProgram(t, append([]string{"waiting"}, args...)...)
		if code != 0 || !strings.Contains(out, "acme/network") || !strings.Contains(out, "+0 ~0 -9") || !strings.Contains(out, "jdoe") {
			t.Errorf("%v: exit code %d, %s", args, code, out)
		}
	}
	if diff := cmp.Diff([]string{"canDecide=me&order=oldest&pageSize=50", "author=me&waiting=any&order=oldest&pageSize=50", "waiting=any&order=oldest&pageSize=50"}, g.queries); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	if out, _, _ := runProgram(t, "approve", "network", "-o", "name"); out != "acme/network/"+firstRun+"\n" {
		t.Errorf("printed %q", out)
	}
	p := sits(t, "waiting", "--no-input")
	p.sees("no runs that wait")
	<-p.done
	g.runs = []api.RunSummary{waits("network", firstRun, "9f2c", 3)}
	p = sits(t, "waiting", "--no-input")
	p.sees("acme/network")
	if code := <-p.done; code != 0 {
		t.Errorf("exit code %d", code)
	}
}
