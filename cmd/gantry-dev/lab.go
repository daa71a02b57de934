package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/notify/channels"
	"github.com/gantryhq/gantry/service"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/temporalserver"
)

// The setup of the lab. It serves loopback only, so these are no secrets: the
// documentation lists them.
const (
	labAccount       = "acme"
	labWebhook       = "gantry"
	labWebhookSecret = "lab-webhook-secret" //nolint:gosec // see above
	labToken         = "gantry_lab"
	labKeyID         = "01KDWKEY000000000000000001"
	labKeySecret     = "lab-api-key-secret" //nolint:gosec // see above
)

type labOptions struct {
	data                                               string
	port, opsPort, simulatorPort, temporalPort, uiPort int
	pace                                               float64
	logLevel                                           string
}

// check refuses a pace that means nothing and ports that no machine has; a port that is
// taken is replaced.
func (o labOptions) check() error {
	if !validPace(o.pace) {
		return errPace
	}
	for _, p := range []struct {
		flag string
		port int
	}{{"port", o.port}, {"ops-port", o.opsPort}, {"simulator-port", o.simulatorPort}, {"temporal-port", o.temporalPort}, {"temporal-ui-port", o.uiPort}} {
		if p.port < 0 || p.port > 65535 {
			return fmt.Errorf("--%s: %d is not within 0 and 65535; 0 is any free port", p.flag, p.port)
		}
	}
	return nil
}

// labPeople may approve runs, each with the token gantry_<name>.
var labPeople = []string{"alice", "bob", "carol"}

// labStacks are the stacks of the simulated account: one that Gantry confirms,
// one whose deletes two people must approve, one that Gantry only watches, and
// one that is not managed.
var labStacks = []simulator.Stack{
	{ID: "network-prod", Name: "network / prod", Labels: []string{"gantry:managed", "gantry:confirm=auto", "gantry:notify=" + labChannel}},
	{ID: "billing-prod", Name: "billing / prod", Labels: []string{"gantry:managed", "gantry:confirm=no-deletes", "gantry:approvals=2", "gantry:notify=" + labChannel}},
	{ID: "app-prod", Name: "app / prod", Labels: []string{"gantry:managed"}},
	{ID: "sandbox", Name: "sandbox", Labels: []string{"env:dev"}},
}

// runLab starts everything in order and serves until ctx ends.
func runLab(ctx context.Context, o labOptions, out, logs io.Writer) (err error) {
	progress := newProgress(logs)
	log, err := newLogger(o.logLevel, progress)
	if err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	data, cleanUp, err := dataFolder(o.data)
	if err != nil {
		return err
	}
	defer cleanUp()

	progress.start("Temporal")
	temporal, err := startTemporal(ctx, o, log)
	if err != nil {
		return err
	}
	defer temporal.Stop()

	progress.start("Spacelift simulator")
	listener, err := listen(ctx, o.port)
	if err != nil {
		return err
	}
	operators, err := listen(ctx, o.opsPort)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	gantryURL := "http://" + listener.Addr().String()
	account, err := openLabAccount(ctx, o, gantryURL, log)
	if err != nil {
		return errors.Join(err, listener.Close(), operators.Close())
	}
	defer account.close()

	progress.start("Gantry")
	// Gantry stops after Spacelift, so that it can still receive what Spacelift sends.
	gantry, stopGantry := context.WithCancel(context.WithoutCancel(ctx))
	defer stopGantry()
	run, ctx := errgroup.WithContext(ctx)
	run.Go(func() error {
		defer stopGantry()
		return account.serve(ctx)
	})
	run.Go(func() error {
		return service.Run(gantry, service.Options{
			Config: labConfig(data, gantryURL, account.url(), temporal.UIURL()), Version: version, Log: log, Listener: listener, OpsListener: operators,
			LockWait: time.Millisecond, // nothing replaces a lab, so one that has the folder stays
			Temporal: client.Options{HostPort: temporal.HostPort(), Namespace: temporalserver.DefaultNamespace},
			Ready: func(net.Addr) {
				progress.done()
				printWelcome(out, addresses{gantry: gantryURL, temporalUI: temporal.UIURL(), spacelift: account.url(), temporal: temporal.HostPort()})
			},
		})
	})
	<-ctx.Done()
	progress.done()
	return run.Wait()
}

// dataFolder returns the folder of the inbox. cleanUp removes a temporary one.
func dataFolder(data string) (folder string, cleanUp func(), err error) {
	if data != "" {
		return filepath.Join(data, "inbox"), func() {}, os.MkdirAll(data, 0o700)
	}
	folder, err = os.MkdirTemp("", "gantry-dev-")
	return folder, func() { _ = os.RemoveAll(folder) }, err
}

func startTemporal(ctx context.Context, o labOptions, log *slog.Logger) (*temporalserver.Server, error) {
	options := temporalserver.Options{
		UI: true, FrontendPort: freePort(ctx, o.temporalPort), UIPort: freePort(ctx, o.uiPort),
		SearchAttributes: temporalserver.Keywords(managed.SearchAttributes()...), Logger: log,
	}
	if o.data != "" {
		options.DataDir = filepath.Join(o.data, "temporal")
	}
	return temporalserver.Start(ctx, options)
}

// labConfig returns the configuration of `gantry serve` for this lab.
func labConfig(data, gantryURL, spaceliftURL, temporalUI string) config.Config {
	c := config.Default()
	c.Data, c.PublicURL, c.Temporal.UIURL = data, gantryURL, temporalUI
	c.Channels = []config.Channel{{Name: labChannel, Kind: string(channels.Slack), URL: spaceliftURL + messagesPath, AllowPrivate: true}}
	c.Guardian.Notify = []string{labChannel}
	c.Accounts = []config.Account{{
		Name: labAccount, Endpoint: spaceliftURL, APIKeyID: labKeyID, APIKeySecret: labKeySecret, WebhookSecrets: []string{labWebhookSecret},
	}}
	c.Tokens = []authority.Token{{Name: "lab", Role: authority.RoleAdmin, Hash: authority.TokenHash(labToken)}}
	for _, name := range labPeople {
		c.Tokens = append(c.Tokens, authority.Token{
			Name: name, Role: authority.RoleApprover, Groups: []string{"platform"}, Hash: authority.TokenHash(labTokenOf(name)),
		})
	}
	return c
}

func labTokenOf(person string) string { return "gantry_" + person }

// openLabAccount opens the account of a lab whose Gantry has this URL.
func openLabAccount(ctx context.Context, o labOptions, gantryURL string, log *slog.Logger) (*account, error) {
	options := simulator.Options{
		Account: labAccount, Seed: uint64(time.Now().UnixNano()), Phases: simulator.RealisticPhases().Scaled(o.pace),
		// Notifications that a restored account still has to send wait for Gantry.
		DeliveryTimeout: time.Minute,
		Logger:          log.With("component", "spacelift"),
	}
	path, webhook := "", gantryURL+"/webhook"
	if o.data != "" {
		path = filepath.Join(o.data, "spacelift.json")
	}
	listener, err := listen(ctx, o.simulatorPort)
	if err != nil {
		return nil, err
	}
	a, _, err := openAccount(path, options,
		func(s *simulator.Simulator) error { return setUp(s, webhook) },
		func(s *simulator.Simulator) error { return updateWebhook(s, webhook) })
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	a.listener = listener
	routes := http.NewServeMux()
	routes.Handle(messagesPath, &slack{})
	routes.Handle("/", a.simulator)
	a.handler = routes
	return a, nil
}

// setUp configures Spacelift as a user of the real one does once.
func setUp(sim *simulator.Simulator, webhook string) error {
	sim.AddAPIKey(simulator.APIKey{ID: labKeyID, Secret: labKeySecret, Name: "gantry"})
	problems := []error{
		sim.AddNamedWebhook(simulator.NamedWebhook{
			ID: labWebhook, Endpoint: webhook, Secret: labWebhookSecret, Labels: []string{deploy.WebhookLabel}, RetryOnFailure: true,
		}),
		sim.AddPolicy(simulator.Policy{ID: "gantry", Engine: simulator.RegoV1, Body: deploy.Policy}),
	}
	for _, s := range labStacks {
		problems = append(problems, sim.AddStack(s))
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("set up the simulated account: %w", err)
	}
	return nil
}

// updateWebhook points a restored account's webhook at this Gantry. A webhook that
// the user deleted stays deleted.
func updateWebhook(sim *simulator.Simulator, webhook string) error {
	err := sim.SetWebhookEndpoint(labWebhook, webhook)
	if errors.Is(err, simulator.ErrNotFound) {
		return nil
	}
	return err
}

// listen listens on a loopback port, or on a free one if that is taken.
func listen(ctx context.Context, port int) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", loopback(port))
	if err != nil {
		l, err = lc.Listen(ctx, "tcp", loopback(0))
	}
	return l, err
}

// freePort returns the port if it is free, else 0 for any.
func freePort(ctx context.Context, port int) int {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", loopback(port))
	if err != nil {
		return 0
	}
	_ = l.Close()
	return port
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
