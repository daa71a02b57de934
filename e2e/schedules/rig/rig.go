package rig

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"github.com/gantryhq/gantry/authority/issuertest"
	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/e2e/program"
	"github.com/gantryhq/gantry/e2e/schedules/history"
	"github.com/gantryhq/gantry/e2e/schedules/script"
	"github.com/gantryhq/gantry/simulator"
)

// The account and the credentials of all rigs.
const (
	Account   = "acme"
	keyID     = "01KDWKEY000000000000000001"
	keySecret = "schedules-api-key-secret"
	Actor     = "api::" + keyID // Gantry's key, as Spacelift names it
)

// Programs are the binaries under test.
type Programs struct {
	Gantry, Temporal string

	// Clock is Gantry with a clock that can be moved; empty for no such mishaps.
	Clock string
}

// Build compiles the programs.
func Build() (p Programs, err error) {
	if p.Gantry, err = program.Build("cmd/gantry"); err != nil {
		return p, err
	}
	p.Temporal, err = program.Build("docker/temporal")
	return p, err
}

// BuildClock compiles Gantry with a clock that can be moved.
func (p *Programs) BuildClock() (err error) {
	p.Clock, err = program.BuildWithClock("cmd/gantry")
	return err
}

// Options say how a rig is built.
type Options struct {
	Programs Programs
	Dir      string // of data and logs; it must exist
	Seed     uint64
	Setup    history.Setup
	Timing   Timing
}

// Timing holds the intervals of a rig.
type Timing struct {
	Reconcile time.Duration    // between two ticks of Reconcile
	Phases    simulator.Phases // of runs in Spacelift
}

// Rig is everything around one batch.
type Rig struct {
	History   *history.Writer
	Spacelift *Spacelift
	Temporal  *Process
	Replicas  []*Gantry
	Worker    *Gantry
	Balancer  *Balancer
	Receiver  *Receiver
	Client    *Client
	Issuer    *issuertest.Issuer

	options  Options
	setup    history.Setup
	secrets  []string // of the webhook, the live one first
	address  string   // of Temporal
	ports    [2]int   // of the replicas
	executor client.Client
	stranger *issuertest.Issuer // signs in the name of the issuer, with another key
	servers  []*http.Server

	configuring sync.Mutex         // the processes get one configuration at a time
	stop        context.CancelFunc // ends the measuring of the machine
}

// Gantry is one process of the product.
type Gantry struct {
	*Process
	URL  string
	ops  string // URL of the operations listener
	role string
	dir  string
	port int
	opsP int

	ahead atomic.Int64 // seconds by which its clock is ahead
}

// SetClock moves the clock of the process from its next start on.
func (g *Gantry) SetClock(ahead time.Duration) { g.ahead.Store(int64(ahead / time.Second)) }

// New returns a rig to start. Close it, whether or not it could be started.
func New(h *history.Writer, o Options) *Rig {
	return &Rig{History: h, options: o, setup: o.Setup, secrets: []string{"schedules-secret-0"}}
}

// Start starts all of it, and returns when it is ready.
func (r *Rig) Start(ctx context.Context) error {
	if err := r.startTemporal(ctx); err != nil {
		return err
	}
	r.Issuer, r.stranger = issuertest.Start(), issuertest.Start()
	r.Receiver = newReceiver(r.History)
	receiverURL, err := r.serve(ctx, r.Receiver)
	if err != nil {
		return err
	}
	r.Receiver.url = receiverURL
	if err := r.startSpacelift(ctx); err != nil {
		return err
	}
	for i := range r.ports { // each names all of them
		if r.ports[i], err = program.Port(ctx); err != nil {
			return err
		}
	}
	for _, name := range []string{"replica-1", "replica-2"} {
		g, err := r.newGantry(ctx, name, replicaRole)
		if err != nil {
			return err
		}
		r.Replicas = append(r.Replicas, g)
	}
	if r.Worker, err = r.newGantry(ctx, "worker", "worker"); err != nil {
		return err
	}
	r.Balancer.replicas = r.Replicas
	r.Client = newClient(r.History, r.Replicas, r.bearer)
	for _, g := range r.Gantries() {
		if err := g.Start(ctx); err != nil {
			return err
		}
	}
	r.History.Add(history.Record{Setup: &r.setup})
	measuring, stop := context.WithCancel(ctx)
	r.stop = stop
	go measure(measuring, r.History)
	return nil
}

// Gantries returns every process of the product.
func (r *Rig) Gantries() []*Gantry { return append(append([]*Gantry{}, r.Replicas...), r.Worker) }

// Processes returns every process.
func (r *Rig) Processes() []*Process {
	all := []*Process{r.Temporal}
	for _, g := range r.Gantries() {
		all = append(all, g.Process)
	}
	return all
}

func (r *Rig) startTemporal(ctx context.Context) error {
	port, err := program.Port(ctx)
	if err != nil {
		return err
	}
	r.address = fmt.Sprintf("127.0.0.1:%d", port)
	binary := r.options.Programs.Temporal
	r.Temporal = &Process{
		Name: "temporal", history: r.History, log: filepath.Join(r.options.Dir, "temporal.log"),
		command: func() *exec.Cmd {
			return r.program(binary, nil, "serve", "--listen", r.address, "--ui", "", "--store", "sqlite", "--data", filepath.Join(r.options.Dir, "temporal"))
		},
		ready: func(ctx context.Context) error {
			out, err := exec.CommandContext(ctx, binary, "health", "--address", r.address).CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		},
	}
	if err := r.Temporal.Start(ctx); err != nil {
		return err
	}
	r.executor, err = client.NewLazyClient(client.Options{HostPort: r.address, Logger: log.NewStructuredLogger(discard())})
	return err
}

// program returns a command that inherits nothing of the environment but what it
// needs.
func (r *Rig) program(binary string, env []string, args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)                               //nolint:noctx // Close ends it
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // nothing outlives a driver that is killed
	// Programs that live for minutes spend memory, of which there is enough, rather than
	// processor time on collecting garbage.
	cmd.Env = append([]string{"HOME=" + r.options.Dir, "PATH=" + os.Getenv("PATH"), "GOMAXPROCS=2", "GOGC=400"}, env...)
	return cmd
}

func (r *Rig) startSpacelift(ctx context.Context) error {
	s := &Spacelift{
		history: r.History, shown: map[string]int{}, runs: map[string][]Run{}, stacks: map[string]simulator.StackStatus{}, glass: map[string]bool{},
		old: map[uint64]oldAnswer{}, random: rand.New(rand.NewPCG(r.options.Seed, 2)),
	}
	s.Simulator = simulator.New(simulator.Options{
		Account: Account, Seed: r.options.Seed, Phases: r.options.Timing.Phases,
		RetrySpacing: 500 * time.Millisecond, DeliveryTimeout: 5 * time.Second, StopLag: 100 * time.Millisecond, Observer: s,
	})
	r.Spacelift = s
	var err error
	if s.URL, err = r.serve(ctx, s); err != nil {
		return err
	}
	r.Balancer = newBalancer(r.History, r.options.Seed, r.secrets[0])
	webhook, err := r.serve(ctx, r.Balancer)
	if err != nil {
		return err
	}
	s.AddAPIKey(simulator.APIKey{ID: keyID, Secret: keySecret})
	for _, space := range script.Spaces {
		parent, _, nested := strings.Cut(space, "/")
		if !nested {
			parent = ""
		}
		err = errors.Join(err, s.AddSpace(simulator.Space{ID: space, Parent: parent, InheritEntities: true}))
	}
	for _, space := range script.Enforced {
		err = errors.Join(err, enforce(s, space))
	}
	return errors.Join(err,
		s.AddWorkerPool(simulator.WorkerPool{ID: "private", Name: "private"}),
		s.AddNamedWebhook(simulator.NamedWebhook{ID: "gantry", Endpoint: webhook + "/webhook", Secret: r.secrets[0], Labels: []string{deploy.WebhookLabel}, RetryOnFailure: true}),
		s.AddPolicy(simulator.Policy{ID: "gantry", Engine: simulator.RegoV1, Body: deploy.Policy}),
	)
}

// serve serves a handler on a free port, and returns its URL.
func (r *Rig) serve(ctx context.Context, h http.Handler) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{Handler: h, ErrorLog: silent()} //nolint:gosec // its clients are ours
	r.servers = append(r.servers, server)
	go func() { _ = server.Serve(l) }() // Close ends it
	return "http://" + l.Addr().String(), nil
}

// replicaRole is the role of the replicas; the worker has its own.
const replicaRole = "all"

func address(port int) string { return fmt.Sprintf("http://127.0.0.1:%d", port) }

// newGantry prepares a process of the product.
func (r *Rig) newGantry(ctx context.Context, name, role string) (g *Gantry, err error) {
	g = &Gantry{role: role, dir: filepath.Join(r.options.Dir, name)}
	if role == replicaRole {
		g.port = r.ports[len(r.Replicas)]
	} else if g.port, err = program.Port(ctx); err != nil {
		return nil, err
	}
	if g.opsP, err = program.Port(ctx); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(g.dir, 0o700); err != nil {
		return nil, fmt.Errorf("prepare %s: %w", name, err)
	}
	g.URL, g.ops = address(g.port), address(g.opsP)
	if err := r.configure(g, r.setup); err != nil {
		return nil, err
	}
	g.Process = &Process{
		Name: name, history: r.History, log: filepath.Join(g.dir, "log"),
		command: func() *exec.Cmd {
			binary, env := r.options.Programs.Gantry, []string{"TEMPORAL_ADDRESS=" + r.address}
			if ahead := g.ahead.Load(); ahead != 0 {
				binary, env = r.options.Programs.Clock, append(env, fmt.Sprintf("%s=%d", program.ClockVariable, ahead))
			}
			return r.program(binary, env, "serve", "--config", filepath.Join(g.dir, "gantry.yaml"))
		},
		ready: func(ctx context.Context) error { return get(ctx, g.URL+"/healthz") },
	}
	return g, nil
}

// get returns nil if a GET is answered with 200.
func get(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // only the status counts
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, res.Status)
	}
	return nil
}

// Reconfigure gives the processes another configuration, and starts each again
// to read it, one after the other.
func (r *Rig) Reconfigure(ctx context.Context, setup history.Setup) error {
	r.configuring.Lock()
	defer r.configuring.Unlock()
	began := r.History.Now()
	for _, g := range r.Gantries() {
		if err := r.configure(g, setup); err != nil {
			return err
		}
		g.Stop()
		if err := g.Start(ctx); err != nil {
			return err
		}
	}
	r.setup = setup
	r.History.AddSince(began, history.Record{Setup: &setup})
	return nil
}

// reloadWithin is the time in which Gantry takes over another configuration file, with some
// more for a busy machine (docs/operations.md, "Configuration").
const reloadWithin = 10 * time.Second

// Reload gives the processes another configuration while they run.
func (r *Rig) Reload(ctx context.Context, setup history.Setup) error {
	r.configuring.Lock()
	defer r.configuring.Unlock()
	began := r.History.Now()
	for _, g := range r.Gantries() {
		if err := r.configure(g, setup); err != nil {
			return err
		}
		g.Hangup()
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(reloadWithin):
	}
	r.setup = setup
	r.History.AddSince(began, history.Record{Setup: &setup})
	return nil
}

// RotateSecret gives the webhook another secret: first to Gantry, then to
// Spacelift. The issuer gets another key.
func (r *Rig) RotateSecret() error {
	r.Issuer.Rotate()
	secret := fmt.Sprintf("schedules-secret-%d", len(r.secrets))
	r.secrets = append([]string{secret}, r.secrets...)
	for _, g := range r.Gantries() {
		if err := r.writeSecrets(g); err != nil {
			return err
		}
	}
	r.Balancer.setSecret(secret)
	return r.Spacelift.SetWebhookSecret("gantry", secret)
}

// RecordUsage records what each process uses now.
func (r *Rig) RecordUsage() {
	for _, p := range r.Processes() {
		p.recordUsage()
	}
}

// Spent returns the processor time that each process has used so far, as text, with
// that of the driver.
func (r *Rig) Spent() (all time.Duration, each string) {
	var parts []string
	add := func(name string, spent time.Duration) {
		all += spent
		parts = append(parts, fmt.Sprintf("%s %s", name, spent.Round(100*time.Millisecond)))
	}
	for _, p := range r.Processes() {
		add(p.Name, p.Spent())
	}
	add("driver", processorTime(os.Getpid()))
	return all, strings.Join(parts, ", ")
}

// Close ends everything.
func (r *Rig) Close() {
	if r.stop != nil {
		r.stop()
	}
	for _, g := range append(append([]*Gantry{}, r.Replicas...), r.Worker) {
		if g != nil && g.Process != nil {
			g.Kill()
		}
	}
	if r.executor != nil {
		r.executor.Close()
	}
	if r.Temporal != nil {
		r.Temporal.Kill()
	}
	if r.Spacelift != nil {
		r.Spacelift.Close()
	}
	for _, i := range []*issuertest.Issuer{r.Issuer, r.stranger} {
		if i != nil {
			i.Close()
		}
	}
	for _, s := range r.servers {
		_ = s.Close()
	}
}
