package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/e2e/program"
	"github.com/gantryhq/gantry/gen/api"
)

// lab is a running gantry-dev and what it printed.
type lab struct {
	*world
	p                           *process
	docs, temporalUI, simulator string
	exports                     string // to be pasted into a terminal
}

func startLab(t *testing.T, args ...string) *lab {
	t.Helper()
	l := &lab{world: &world{t: t, dir: t.TempDir()}}
	args = append(args, "--pace", "0.002")
	for _, port := range []string{"--port", "--ops-port", "--simulator-port", "--temporal-port", "--temporal-ui-port"} {
		if !slices.Contains(args, port) {
			args = append(args, port, strconv.Itoa(program.FreePort(t)))
		}
	}
	l.p = start(t, labBinary, nil, args...)
	l.eventually("the lab is ready", func(context.Context) error {
		l.p.Lives()
		if out := l.p.Out.String(); !strings.Contains(out, "Ctrl-C stops") {
			return fmt.Errorf("it printed %q", out)
		}
		return nil
	})
	find := func(pattern string) string {
		m := regexp.MustCompile(pattern).FindStringSubmatch(l.p.Out.String())
		if m == nil {
			t.Fatalf("nothing like %s in\n%s", pattern, l.p.Out)
		}
		return m[1]
	}
	l.docs, l.temporalUI, l.simulator = find(`Swagger UI +(\S+)`), find(`Temporal UI +(\S+)`), find(`Spacelift +(\S+)`)
	l.exports = strings.Join(regexp.MustCompile(`(?m)^  export .*$`).FindAllString(l.p.Out.String(), -1), "\n")
	l.port = mustPort(t, find(`API +(\S+)`))
	l.connect(labToken)
	return l
}

// What the lab is set up with, as its welcome says.
const (
	labToken  = "gantry_lab"
	labSecret = "lab-webhook-secret"
)

// The lab needs nothing but its programs: it prints its addresses and lines to
// paste, and those lead to a run that Gantry confirms and that finishes.
func TestLabFromItsOwnInstructions(t *testing.T) {
	began := time.Now()
	l := startLab(t)
	t.Logf("ready after %s", time.Since(began).Round(time.Millisecond))
	for name, url := range map[string]string{"Swagger UI": l.docs, "Temporal UI": l.temporalUI} {
		if status, body := l.fetch(url); status != http.StatusOK || !strings.Contains(strings.ToLower(body), "<html") {
			t.Errorf("%s: %d", name, status)
		}
	}
	_, after, _ := strings.Cut(l.p.Out.String(), "push a change")
	m := regexp.MustCompile(`(?m)^  (gantry .*)$`).FindStringSubmatch(after)
	if m == nil {
		t.Fatalf("the lab prints no command to try:\n%s", l.p.Out)
	}
	if out := l.paste(m[1]); !strings.Contains(out, "FINISHED  done  the run finished and the plan was applied (2 added") {
		t.Errorf("%s printed\n%s", m[1], out)
	}
	if out := l.paste(`GANTRY_TOKEN=gantry_bob gantry runs list --stack network-prod; echo "$TEMPORAL_ADDRESS"`); !strings.Contains(out, "FINISHED") || !strings.Contains(out, "127.0.0.1:") {
		t.Errorf("bob's list, and Temporal's address, are\n%s", out)
	}
	if took := l.p.interrupt(); took > 20*time.Second {
		t.Errorf("Ctrl-C took %s", took)
	}
}

// paste runs commands in a shell in which the lab's exports were pasted before.
func (l *lab) paste(commands string) string {
	l.t.Helper()
	shell := exec.CommandContext(l.t.Context(), "bash", "-c", "set -eu\n"+l.exports+"\n"+commands)
	shell.Env = []string{"HOME=" + l.t.TempDir(), "PATH=" + os.Getenv("PATH")}
	out, err := shell.CombinedOutput()
	if err != nil {
		l.t.Errorf("%s: %v", commands, err)
	}
	return string(out)
}

// With --data everything survives a restart on other ports: the run that ended, the
// deliveries, and the run that waits for a person; Spacelift then accepts that
// person's decision and Gantry records it.
func TestLabKeepsItsData(t *testing.T) {
	data := t.TempDir()
	l := startLab(t, "--data", data)
	run := l.pushNetwork()
	l.phase("network-prod", run, api.PhaseDone)
	waiting := l.control("app-prod/pushes", `{"plan":{"delta":{"added":1}}}`)
	l.phase("app-prod", waiting, api.PhaseWaiting)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	second := exec.CommandContext(ctx, labBinary, "--data", data, "--port", "0", "--ops-port", "0", "--simulator-port", "0")
	second.Env = []string{"HOME=" + t.TempDir()}
	if out, err := second.CombinedOutput(); err == nil || ctx.Err() != nil || !strings.Contains(string(out), "another server is using it") {
		t.Errorf("a second lab with the same data: %v, %v\n%s", err, ctx.Err(), out)
	}
	l.phase("app-prod", waiting, api.PhaseWaiting)
	l.p.interrupt()

	l = startLab(t, "--data", data)
	if again := l.phase("network-prod", run, api.PhaseDone); again.State != "FINISHED" {
		t.Errorf("after the restart the run is %s", again.State)
	}
	r, err := l.client.ListDeliveriesWithResponse(t.Context(), &api.ListDeliveriesParams{Run: new(string(run))})
	l.must(err)
	if r.JSON200 == nil || len(r.JSON200.Deliveries) != 10 {
		t.Errorf("after the restart the log shows %s", r.Body)
	}
	l.phase("app-prod", waiting, api.PhaseWaiting)
	l.control("app-prod/runs/"+string(waiting)+"/confirm", `{"by":"jane"}`)
	if confirmed := l.phase("app-prod", waiting, api.PhaseDone); confirmed.State != "FINISHED" {
		t.Errorf("the run confirmed after the restart ended as %s", confirmed.State)
	}
	// And the next change is confirmed.
	l.phase("network-prod", l.pushNetwork(), api.PhaseDone)
}

// pushNetwork pushes a change that Gantry confirms.
func (l *lab) pushNetwork() runID {
	l.t.Helper()
	return l.control("network-prod/pushes", `{"plan":{"delta":{"added":2}}}`)
}

// runIn reads the run's id from an answer of the simulator's control API.
func (w *world) runIn(answer string) runID {
	w.t.Helper()
	var run struct {
		Ref struct {
			Run runID `json:"run"`
		} `json:"ref"`
	}
	if err := json.Unmarshal([]byte(answer), &run); err != nil || run.Ref.Run == "" {
		w.t.Fatalf("no run in the answer %s (%v)", answer, err)
	}
	return run.Ref.Run
}

// control does something to a simulated stack and returns the run that comes of it.
func (l *lab) control(path, body string) runID {
	l.t.Helper()
	status, answer := l.post(l.simulator+"/simulator/v1/stacks/"+path, body)
	if status >= 300 {
		l.t.Fatalf("%s: %d %s", path, status, answer)
	}
	return l.runIn(answer)
}

func (w *world) fetch(url string) (status int, body string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, url, nil)
	w.must(err)
	return w.do(req)
}

func (w *world) post(url, json string) (status int, body string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, url, strings.NewReader(json))
	w.must(err)
	req.Header.Set("Content-Type", "application/json")
	return w.do(req)
}

func (w *world) do(req *http.Request) (status int, body string) {
	w.t.Helper()
	res, err := http.DefaultClient.Do(req)
	w.must(err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	w.must(err)
	return res.StatusCode, string(b)
}
