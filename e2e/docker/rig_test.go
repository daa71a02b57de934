package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/e2e/program"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/client"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// patience limits the wait for an expected event. Successful tests never use it up.
const patience = 2 * time.Minute

// stack is everything that docker/stack starts, under a name and on ports of
// its own.
type stack struct {
	t         *testing.T
	env       []string
	project   string
	secrets   string            // folder
	services  []string          // those that stay
	ids       map[string]string // of their containers
	spacelift string            // URL of the simulator
	client    *client.ClientWithResponses
}

// newStack starts the services, with the variables over those of its own, and
// takes everything away when the test ends.
func newStack(t *testing.T, services []string, variables ...string) *stack {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "docker", "info", "--format", "{{.ServerVersion}}").CombinedOutput(); err != nil {
		t.Fatalf("no Docker engine answers, and this can't be checked without one: %v\n%s", err, out)
	}
	s := &stack{
		t: t, project: fmt.Sprintf("gantry-check-%d", os.Getpid()), secrets: filepath.Join(t.TempDir(), "secrets"), services: services,
	}
	var ports [4]string
	for i := range ports {
		ports[i] = strconv.Itoa(program.FreePort(t))
	}
	s.spacelift = "http://127.0.0.1:" + ports[3]
	s.env = append(os.Environ(),
		"COMPOSE_PROJECT_NAME="+s.project, "SECRETS_DIR="+s.secrets,
		"HTTP_PORT="+ports[0], "TEMPORAL_PORT="+ports[1], "TEMPORAL_UI_PORT="+ports[2], "SIMULATOR_PORT="+ports[3],
		"GANTRY_ACCOUNT=", "TEMPORAL=sqlite", "TEMPORAL_IMAGE=gantry-temporal:local", "GANTRY_IMAGE=gantry:local", "SIMULATOR_IMAGE=gantry-dev:local")
	s.env = append(s.env, variables...)

	// What is lost while Gantry is dead is found by Reconcile; every 2 minutes
	// would be long for a test.
	s.command("../../docker/make-secrets", s.secrets)
	s.configure("reconcile: {interval: 5s}\n")
	t.Cleanup(s.tearDown)
	s.up()

	token, err := os.ReadFile(filepath.Join(s.secrets, "api-token"))
	s.must(err)
	s.client, err = client.NewClientWithResponses("http://127.0.0.1:"+ports[0], client.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+string(token))
		return nil
	}))
	s.must(err)
	return s
}

// configure adds to Gantry's configuration file.
func (s *stack) configure(more string) {
	s.t.Helper()
	file := filepath.Join(s.secrets, "gantry.yaml")
	content, err := os.ReadFile(file)
	s.must(err)
	s.must(os.Remove(file)) // it may only be read
	s.must(os.WriteFile(file, append(content, more...), 0o444))
}

// up starts what does not run, and learns the ids of the containers.
func (s *stack) up() {
	s.t.Helper()
	began := time.Now()
	out := s.command("../../docker/stack", "up")
	s.t.Logf("docker/stack up took %.1f s", time.Since(began).Seconds())
	if !strings.Contains(out, "Temporal accepts workflow definitions") {
		s.t.Fatalf("it does not say that it works:\n%s", out)
	}
	s.ids = map[string]string{}
	for _, service := range s.services {
		s.ids[service] = strings.TrimSpace(s.command("../../docker/stack", "ps", "-q", service))
	}
}

// tearDown removes everything and makes sure of it. When the test failed, the
// containers say first what they know.
func (s *stack) tearDown() {
	ctx, cancel := context.WithTimeout(context.Background(), patience) // the test's is done
	defer cancel()
	run := func(name string, args ...string) string {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Env = s.env
		out, err := cmd.CombinedOutput()
		if err != nil {
			s.t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	if s.t.Failed() {
		s.t.Log(run("../../docker/stack", "logs", "--tail", "60"))
	}
	run("../../docker/stack", "down", "-v", "-t", "2")
	mine := "label=com.docker.compose.project=" + s.project
	for _, list := range [][]string{
		{"ps", "--all", "--quiet", "--filter", mine}, {"volume", "ls", "--quiet", "--filter", mine}, {"network", "ls", "--quiet", "--filter", mine},
	} {
		if left := run("docker", list...); left != "" {
			s.t.Errorf("docker %s: left behind: %s", strings.Join(list, " "), left)
		}
	}
}

// command runs a program with the stack's environment and returns what it
// prints on standard output.
func (s *stack) command(name string, args ...string) string {
	s.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(s.t.Context(), name, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = s.env, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		s.t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

func (s *stack) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// kill ends a container as a crash of its machine would.
func (s *stack) kill(service string) {
	s.t.Helper()
	s.command("docker", "kill", s.ids[service])
}

// start starts a killed container again and waits until it is healthy.
func (s *stack) start(service string) {
	s.t.Helper()
	s.command("docker", "start", s.ids[service])
	s.eventually(service+" is healthy", func(context.Context) error {
		if health := strings.TrimSpace(s.command("docker", "inspect", "--format", "{{.State.Health.Status}}", s.ids[service])); health != "healthy" {
			return errors.New(health)
		}
		return nil
	})
}

// eventually waits until ok returns nil, as long as patience lasts.
func (s *stack) eventually(what string, ok func(context.Context) error) {
	s.t.Helper()
	program.Eventually(s.t, patience, what, ok)
}

// control asks the simulator's control API.
func (s *stack) control(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.spacelift+simulator.Control+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s %s", method, path, res.Status, answer)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}

// addStacks adds managed stacks whose plans Gantry confirms automatically.
func (s *stack) addStacks(n int) []spacelift.StackID {
	s.t.Helper()
	ids := make([]spacelift.StackID, n)
	for i := range ids {
		ids[i] = spacelift.StackID(fmt.Sprintf("check-%d", i))
		s.must(s.control(s.t.Context(), http.MethodPost, "/stacks", simulator.Stack{
			ID: ids[i], Name: string(ids[i]), Labels: []string{"gantry:managed", "gantry:confirm=auto"},
		}, nil))
	}
	return ids
}

// push pushes a change to each stack and returns the runs.
func (s *stack) push(stacks []spacelift.StackID, phases simulator.Phases) []spacelift.RunRef {
	s.t.Helper()
	runs := make([]spacelift.RunRef, len(stacks))
	for i, id := range stacks {
		var run simulator.Run
		s.must(s.control(s.t.Context(), http.MethodPost, "/stacks/"+string(id)+"/pushes",
			map[string]any{"plan": simulator.Plan{Delta: spacelift.Delta{Added: 1}, Phases: phases}}, &run))
		runs[i] = run.Ref
	}
	return runs
}

// inSpacelift waits until every run is in one of the states there.
func (s *stack) inSpacelift(runs []spacelift.RunRef, states ...spacelift.RunState) {
	s.t.Helper()
	for _, r := range runs {
		s.eventually(fmt.Sprintf("run %s is %v in Spacelift", r, states), func(ctx context.Context) error {
			var now simulator.Run
			if err := s.control(ctx, http.MethodGet, "/stacks/"+string(r.Stack)+"/runs/"+string(r.Run), nil, &now); err != nil {
				return err
			}
			if !slices.Contains(states, now.State) {
				return fmt.Errorf("it is %s", now.State)
			}
			return nil
		})
	}
}

// done waits until Gantry shows every run as finished.
func (s *stack) done(runs []spacelift.RunRef) {
	s.t.Helper()
	for _, r := range runs {
		s.eventually(fmt.Sprintf("run %s is done in Gantry", r), func(ctx context.Context) error {
			run, err := s.run(ctx, r)
			if err == nil && (run.Phase != api.PhaseDone || run.State != string(spacelift.RunStateFinished)) {
				err = fmt.Errorf("it is %s (%s)", run.Phase, run.State)
			}
			return err
		})
	}
}

// run asks Gantry for a run.
func (s *stack) run(ctx context.Context, r spacelift.RunRef) (api.Run, error) {
	answer, err := s.client.GetRunWithResponse(ctx, string(r.Account), string(r.Stack), string(r.Run))
	if err != nil {
		return api.Run{}, err
	}
	if answer.JSON200 == nil {
		return api.Run{}, fmt.Errorf("run %s: %s %s", r, answer.Status(), answer.Body)
	}
	return *answer.JSON200, nil
}
