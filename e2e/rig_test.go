package e2e

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/e2e/program"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/client"
	"github.com/gantryhq/gantry/openapi/conformance"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

const (
	secret    = "e2e-webhook-secret"
	apiToken  = "gantry_e2e"
	keyID     = "01KDWKEY000000000000000001"
	keySecret = "e2e-api-key-secret"
)

// patience limits the wait for an expected event. Successful tests never use it up.
const patience = 60 * time.Second

// world is everything around one Gantry: Temporal, a Spacelift account, and
// the folder that outlives Gantry's process.
type world struct {
	t         *testing.T
	temporal  temporalServer
	spacelift *simulator.Simulator
	apiURL    string // Spacelift's
	port      int    // Gantry's
	opsPort   int    // of its operations listener
	dir       string
	client    *client.ClientWithResponses
	serves    string   // the account that Gantry is configured for; acme if empty
	env       []string // of Gantry, besides where Temporal is
}

// newWorld starts Temporal and Spacelift with the stacks, each routed to Gantry by
// the notification policy.
func newWorld(t *testing.T, stacks ...simulator.Stack) *world {
	t.Helper()
	w := newBareWorld(t)
	w.must(w.spacelift.AddNamedWebhook(simulator.NamedWebhook{
		ID: "gantry", Endpoint: w.url() + "/webhook", Secret: secret, Labels: []string{deploy.WebhookLabel}, RetryOnFailure: true,
	}))
	w.must(w.spacelift.AddPolicy(simulator.Policy{ID: "gantry", Engine: simulator.RegoV1, Body: deploy.Policy}))
	for _, s := range stacks {
		w.must(w.spacelift.AddStack(s))
	}
	return w
}

// newBareWorld starts Temporal and a Spacelift account that has only an API key.
func newBareWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), port: program.FreePort(t), opsPort: program.FreePort(t)}
	w.startTemporal()
	t.Cleanup(func() { w.temporal.Stop() })

	w.spacelift = simulator.New(simulator.Options{Account: "acme", Seed: 1, Phases: simulator.Instant(), RetrySpacing: 200 * time.Millisecond})
	t.Cleanup(w.spacelift.Close)
	api := httptest.NewServer(w.spacelift)
	t.Cleanup(api.Close)
	w.apiURL = api.URL

	w.spacelift.AddAPIKey(simulator.APIKey{ID: keyID, Secret: keySecret})
	w.connect(apiToken)
	return w
}

// connect makes the client use a token.
func (w *world) connect(token string) { w.client = w.bearer(token) }

// bearer returns a client that bears a token, and checks every answer against the
// contract.
func (w *world) bearer(token string) *client.ClientWithResponses {
	w.t.Helper()
	checked := &http.Client{Transport: conformance.Transport(w.t, http.DefaultTransport)}
	c, err := client.NewClientWithResponses(w.url(), client.WithHTTPClient(checked), client.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+token)
		return nil
	}))
	w.must(err)
	return c
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) url() string { return fmt.Sprintf("http://127.0.0.1:%d", w.port) }

// ops returns the URL of Gantry's operations listener.
func (w *world) ops() string { return fmt.Sprintf("http://127.0.0.1:%d", w.opsPort) }

// serve starts `gantry serve` and waits until it is ready.
func (w *world) serve() *process {
	w.t.Helper()
	return w.serveWith(withToken)
}

// withToken lets the world's client use the API.
var withToken = "tokens:\n  - {name: e2e, role: admin, hash: " + authority.TokenHash(apiToken) + "}\n"

// serveWith starts `gantry serve` with more configuration. Reconcile is off unless
// that switches it on: it would repair what a test breaks.
func (w *world) serveWith(more string) *process {
	w.t.Helper()
	p := w.launch(more)
	w.ready(p)
	return p
}

// launch is serveWith that doesn't wait.
func (w *world) launch(more string) *process {
	w.t.Helper()
	if !strings.Contains(more, "reconcile:") {
		more += "reconcile: {interval: 0s}\n"
	}
	config := filepath.Join(w.dir, "gantry.yaml")
	w.must(os.WriteFile(config, fmt.Appendf(nil, `
listen: 127.0.0.1:%d
opsListen: 127.0.0.1:%d
data: %s
log: {format: text}
accounts:
  - name: %s
    endpoint: %s
    apiKeyId: %q
    apiKeySecret: %s
    webhookSecrets: [%s]
%s`, w.port, w.opsPort, filepath.Join(w.dir, "inbox"), cmp.Or(w.serves, "acme"), w.apiURL, keyID, keySecret, secret, more), 0o600))
	return start(w.t, gantryBinary, append(w.env, "TEMPORAL_ADDRESS="+w.temporal.HostPort()), "serve", "--config", config)
}

// gantry runs another command of the product with the configuration of serve,
// and returns what it printed and its exit code.
func (w *world) gantry(args ...string) (out string, code int) {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), gantryBinary, append(args, "--config", filepath.Join(w.dir, "gantry.yaml"))...)
	cmd.Env = []string{"HOME=" + w.dir, "TEMPORAL_ADDRESS=" + w.temporal.HostPort()}
	b, err := cmd.CombinedOutput()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		w.t.Fatal(err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

// ready waits until requests are served.
func (w *world) ready(p *process) {
	w.t.Helper()
	w.eventually("Gantry is ready", func(ctx context.Context) error {
		p.Lives()
		r, err := w.client.GetReadinessWithResponse(ctx)
		if err != nil {
			return err
		}
		if r.StatusCode() != http.StatusOK {
			return fmt.Errorf("readyz says %d %s", r.StatusCode(), r.Body)
		}
		return nil
	})
}

// process is a running program that stops at Ctrl-C.
type process struct {
	*program.Process
	t *testing.T
}

// start runs a program with nothing of the environment but what it needs.
func start(t *testing.T, binary string, env []string, args ...string) *process {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Env = append([]string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}, env...)
	return &process{program.Start(t, cmd), t}
}

// interrupt asks the process to stop, as Ctrl-C does, and returns how long that took.
func (p *process) interrupt() time.Duration {
	p.t.Helper()
	return p.AskToStop(syscall.SIGINT, patience)
}

// run asks Gantry for a run.
func (w *world) run(ctx context.Context, stack spacelift.StackID, id spacelift.RunID) (api.Run, error) {
	r, err := w.client.GetRunWithResponse(ctx, "acme", string(stack), string(id))
	if err != nil {
		return api.Run{}, err
	}
	if r.JSON200 == nil {
		return api.Run{}, fmt.Errorf("run %s: %d %s", id, r.StatusCode(), r.Body)
	}
	return *r.JSON200, nil
}

// phase waits until Gantry shows a run in one of the phases.
func (w *world) phase(stack spacelift.StackID, id spacelift.RunID, phases ...api.Phase) api.Run {
	w.t.Helper()
	var run api.Run
	w.eventually(fmt.Sprintf("run %s is %s", id, phases), func(ctx context.Context) (err error) {
		if run, err = w.run(ctx, stack, id); err == nil && !slices.Contains(phases, run.Phase) {
			err = fmt.Errorf("it is %s (%s)", run.Phase, run.State)
		}
		return err
	})
	return run
}

// push pushes a change with a plan to a stack.
func (w *world) push(stack spacelift.StackID, added int) spacelift.RunID {
	w.t.Helper()
	id, err := w.spacelift.Push(stack, simulator.Commit{AuthorLogin: "jdoe"}, simulator.Plan{Delta: spacelift.Delta{Added: added}})
	w.must(err)
	return id
}

// eventually waits until ok returns nil, as long as patience lasts.
func (w *world) eventually(what string, ok func(context.Context) error) {
	w.t.Helper()
	program.Eventually(w.t, patience, what, ok)
}

func mustPort(t *testing.T, address string) int {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// runID keeps tests short.
type runID = spacelift.RunID
