package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gantryhq/gantry/e2e/program"
	"github.com/gantryhq/gantry/spacelift"
)

// alone is a running `gantry-dev simulator` and what it printed.
type alone struct {
	*world
	p            *process
	at, key, try string
}

func startAlone(t *testing.T, args ...string) *alone {
	t.Helper()
	a := &alone{world: &world{t: t}}
	if !strings.Contains(strings.Join(args, " "), "--listen") {
		args = append(args, "--listen", "127.0.0.1:0")
	}
	a.p = start(t, labBinary, nil, append([]string{"simulator", "--pace", "0"}, args...)...)
	a.eventually("the simulator is ready", func(context.Context) error {
		a.p.Lives()
		if out := a.p.Out.String(); !strings.Contains(out, "Ctrl-C stops") {
			return fmt.Errorf("it printed %q", out)
		}
		return nil
	})
	find := func(pattern string) string {
		m := regexp.MustCompile(pattern).FindStringSubmatch(a.p.Out.String())
		if m == nil {
			t.Fatalf("nothing like %s in\n%s", pattern, a.p.Out)
		}
		return m[1]
	}
	a.at, a.key, a.try = find(`URL +(\S+)`), find(`API key +(\S+)`), find(`(?m)^ +(curl .*)$`)
	return a
}

// control asks the control API; body is empty for a GET.
func (a *alone) control(path, body string) string {
	a.t.Helper()
	var status int
	var answer string
	if body == "" {
		status, answer = a.fetch(a.at + "/simulator/v1" + path)
	} else {
		status, answer = a.post(a.at+"/simulator/v1"+path, body)
	}
	if status >= 300 {
		a.t.Fatalf("%s: %d %s", path, status, answer)
	}
	return answer
}

func (a *alone) state(stack string, run runID, want spacelift.RunState) {
	a.t.Helper()
	a.eventually(fmt.Sprintf("run %s is %s", run, want), func(context.Context) error {
		if got := a.control("/stacks/"+stack+"/runs/"+string(run), ""); !strings.Contains(got, `"state":"`+string(want)+`","stateVersion"`) {
			return fmt.Errorf("it is %s", got)
		}
		return nil
	})
}

// signIn reports whether a key lets a client in.
func (a *alone) signIn(key string) bool {
	id, secret, _ := strings.Cut(key, ":")
	_, answer := a.post(a.at+"/graphql", fmt.Sprintf(`{"query":"mutation { apiKeyUser(id: \"%s\", secret: \"%s\") { jwt } }"}`, id, secret))
	return strings.Contains(answer, `"jwt":"`)
}

// saved reports whether a state lacks a text.
func saved(path, text string) func(context.Context) error {
	return func(context.Context) error {
		content, err := os.ReadFile(path)
		if err == nil && !strings.Contains(string(content), text) {
			err = fmt.Errorf("it holds %s", content)
		}
		return err
	}
}

// The simulator alone needs no arguments: it prints a URL, a working key and a
// working command, and ends immediately when asked to.
func TestSimulatorFromItsOwnInstructions(t *testing.T) {
	a := startAlone(t)
	if !a.signIn(a.key) {
		t.Errorf("the printed key %s lets nobody in", a.key)
	}
	if out, err := exec.CommandContext(t.Context(), "sh", "-c", a.try).CombinedOutput(); err != nil || !strings.Contains(string(out), `"id":"network"`) {
		t.Errorf("%s: %v\n%s", a.try, err, out)
	}
	run := a.runIn(a.control("/stacks/network/pushes", `{"plan":{"delta":{"added":1}}}`))
	a.state("network", run, spacelift.RunStateFinished)
	if took := a.p.interrupt(); took > 5*time.Second { // a delivery may take 10 s
		t.Errorf("Ctrl-C took %s", took)
	}
}

// With --state an account survives a kill, even while a webhook's endpoint hangs
// and runs are in progress, and Ctrl-C is quick all the same.
func TestSimulatorKeepsItsState(t *testing.T) {
	arrived, answer := make(chan string, 100), make(chan struct{})
	release := sync.OnceFunc(func() { close(answer) })
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		arrived <- r.Header.Get("X-Signature-256")
		<-answer
	}))
	t.Cleanup(hook.Close)
	t.Cleanup(release)
	dir := t.TempDir()
	config, state := filepath.Join(dir, "account.yaml"), filepath.Join(dir, "account.json")
	if err := os.WriteFile(config, fmt.Appendf(nil, `
apiKeys: [{id: 01CI, secret: ci}]
stacks:
  - {id: net, plan: {delta: {added: 2}}}
stackWebhooks:
  - {stack: net, endpoint: %q, secret: hush}
`, hook.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"--config", config, "--state", state, "--account", "umbrella"}
	a := startAlone(t, args...)
	if !a.signIn("01CI:ci") || a.key != "01CI" {
		t.Errorf("the key of the configuration is printed as %s, or lets nobody in", a.key)
	}
	first, second := a.runIn(a.control("/stacks/net/triggers", `{}`)), a.runIn(a.control("/stacks/net/triggers", `{}`))
	a.state("net", first, spacelift.RunStateUnconfirmed)
	sent := []string{<-arrived, <-arrived} // one of each run, and no answer
	a.eventually("the account is saved", saved(state, "UNCONFIRMED"))
	if info, err := os.Stat(state); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("secrets are in a file of mode %s (%v)", info.Mode(), err)
	}
	a.p.Kill()

	a = startAlone(t, args...)
	a.state("net", first, spacelift.RunStateUnconfirmed)
	a.state("net", second, spacelift.RunStateQueued)
	for range sent {
		select {
		case again := <-arrived:
			if !slices.Contains(sent, again) {
				t.Errorf("the first things sent were signed %s, want those that were under way: %s", again, sent)
			}
		case <-time.After(patience):
			t.Error("what was under way was not sent again")
		}
	}
	a.control("/stacks/net/runs/"+string(first)+"/confirm", `{"by":"jane"}`)
	if took := a.p.interrupt(); took > 5*time.Second { // a delivery may take 10 s
		t.Errorf("Ctrl-C took %s", took)
	}

	release()
	a = startAlone(t, args...)
	a.state("net", first, spacelift.RunStateFinished)
	a.state("net", second, spacelift.RunStateUnconfirmed)
	if !a.signIn("01CI:ci") || !strings.Contains(a.control("/stacks/net/runs/"+string(first), ""), `"account":"umbrella"`) {
		t.Error("the key or the account's name is lost")
	}
	a.eventually("everything is delivered", func(context.Context) error {
		if log := a.control("/deliveries", ""); strings.Contains(log, `"outcome":"pending"`) || strings.Contains(log, `"outcome":"failed"`) {
			return fmt.Errorf("the log is %s", log)
		}
		return nil
	})
}

// Two processes on one file would overwrite each other's state.
func TestSimulatorsDoNotShareAState(t *testing.T) {
	state := filepath.Join(t.TempDir(), "account.json")
	first := startAlone(t, "--state", state)
	second := startAlone(t, "--state", state)
	second.control("/stacks", `{"id":"net"}`)
	second.eventually("the second has saved", saved(state, `"net"`))
	first.control("/stacks", `{"id":"app"}`)
	if err := first.p.Ends(patience); err == nil || !strings.Contains(first.p.Out.String(), "another process has written it") {
		t.Errorf("the first ended with %v:\n%s", err, first.p.Out)
	}
}

// Invalid arguments are refused before anything is served, with a remedy.
func TestSimulatorRefuses(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	acme := filepath.Join(dir, "acme.json")
	startAlone(t, "--state", acme).p.interrupt()
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"every address": {[]string{"--listen", ":0"}, "--listen :0 is not loopback, and the control API has no authentication: " +
			"anyone who reaches it controls the account; add --insecure-listen to allow that"},
		"another address":   {[]string{"--listen", "192.0.2.1:80"}, "--listen 192.0.2.1:80 is not loopback"},
		"a name":            {[]string{"--listen", "example.com:80"}, "--listen example.com:80 is not loopback"},
		"no port":           {[]string{"--listen", "localhost"}, "--listen: address localhost: missing port in address"},
		"a port in use":     {[]string{"--listen", taken.Addr().String()}, "address already in use"},
		"half a key":        {[]string{"--api-key", "a:b", "--api-key", "hush"}, "--api-key: number 2 is not of the form ID:SECRET"},
		"time backwards":    {[]string{"--pace", "-1"}, "--pace: write a number of at least 0, such as 0.05"},
		"time that is none": {[]string{"--pace", "NaN"}, "--pace: write a number of at least 0, such as 0.05"},
		"a strange account": {[]string{"--account", "a/b"}, "--account: it holds the character '/'"},
		"a strange level":   {[]string{"--log-level", "loud"}, `--log-level: "loud" is none of debug, info, warn and error`},
		"an argument":       {[]string{"fast"}, `unknown command "fast"`},
		"no file":           {[]string{"--config", dir + "/none.yaml"}, "none.yaml: no such file or directory"},
		"no YAML":           {[]string{"--config", file("no.yaml", "stacks: [")}, "no.yaml: yaml: "},
		"a misspelt list":   {[]string{"--config", file("stakcs.yaml", "stakcs: []")}, `stakcs.yaml: read set-up: json: unknown field "stakcs"`},
		"a bad entry": {
			[]string{"--config", file("twice.json", "{\n\t\"stacks\": [{\"id\": \"a\"}, {\"id\": \"a\"}]\n}")}, "twice.json: stacks[1]: stack a exists",
		},
		"no folder": {[]string{"--state", dir + "/none/state.json"}, "save the simulated account: open"},
		"an empty state": {[]string{"--state", file("empty.json", "")}, "restore the simulated account from " + dir +
			"/empty.json: the snapshot is empty; to start with a new account, move the file away"},
		"half a state":  {[]string{"--state", file("half.json", `{"format":"gantry simulated account","version":1,`)}, "the snapshot is damaged: unexpected end of JSON input"},
		"another file":  {[]string{"--state", file("other.json", `{"stacks":[]}`)}, "this is not the snapshot of a simulated account"},
		"other account": {[]string{"--state", acme, "--account", "umbrella"}, "the snapshot is of account acme, not of umbrella"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"simulator", "--listen", "127.0.0.1:0"}, c.args...)
			out, err := exec.CommandContext(t.Context(), labBinary, args...).CombinedOutput()
			if err == nil || !strings.HasPrefix(string(out), "gantry-dev: ") || !strings.Contains(string(out), c.want) {
				t.Errorf("ended with %v and said\n%swant it to say %s", err, out, c.want)
			}
			if strings.Contains(string(out), "hush") {
				t.Errorf("a secret is in %s", out)
			}
		})
	}
	if content, err := os.ReadFile(filepath.Join(dir, "empty.json")); err != nil || len(content) > 0 {
		t.Errorf("the refused state was overwritten with %s (%v)", content, err)
	}
}

func TestSimulatorListensElsewhereOnlyWithConsent(t *testing.T) {
	a := startAlone(t, "--listen", "0.0.0.0:0", "--insecure-listen", "--api-key", "01A:one", "--api-key", "01B:two")
	if !a.signIn("01A:one") || !a.signIn("01B:two") || a.signIn("01A:two") {
		t.Error("the keys don't do what they should")
	}
}

// The how-to's commands, run in order in one shell, print the documented output.
func TestHowToTestAgainstTheSimulator(t *testing.T) {
	text, err := os.ReadFile("../docs/how-to/test-against-the-simulator.md")
	if err != nil {
		t.Fatal(err)
	}
	var script, want strings.Builder
	block := map[string]*strings.Builder{"```sh\n": &script, "```\n": &want}
	var in *strings.Builder
	for line := range strings.Lines(string(text)) {
		switch {
		case in == nil && strings.HasPrefix(line, "```"):
			in = block[line]
		case line == "```\n":
			in = nil
		case in != nil:
			in.WriteString(line)
		}
	}
	address := fmt.Sprintf("127.0.0.1:%d", program.FreePort(t))
	commands := strings.NewReplacer("127.0.0.1:8090", address, "gantry-dev simulator ", "gantry-dev simulator --listen "+address+" ").Replace(script.String())
	if strings.Count(commands, address) < 4 {
		t.Fatalf("the how-to has changed: %s", commands)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cleanUp := `trap '[ -z "${simulator-}" ] || kill $simulator 2>/dev/null || :' EXIT` + "\n"
	shell := exec.CommandContext(ctx, "sh", "-eu", "-c", cleanUp+commands)
	shell.Dir = t.TempDir()
	shell.Env = append(os.Environ(), "PATH="+filepath.Dir(labBinary)+":"+os.Getenv("PATH"))
	out, err := shell.CombinedOutput()
	if err != nil || string(out) != want.String() {
		log, _ := os.ReadFile(filepath.Join(shell.Dir, "simulator.log"))
		t.Errorf("%v, it printed\n%s\nwant\n%s\nThe simulator said\n%s", err, out, want.String(), log)
	}
}
