// Package service is one running Gantry. It takes a configuration and wires the
// inbox, forwarder, worker and HTTP server. `gantry serve` and the lab both run
// it.
package service

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.temporal.io/sdk/client"
	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/audit"
	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/inbox"
	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/inbox/executions"
	"github.com/gantryhq/gantry/server"
	"github.com/gantryhq/gantry/spacelift"
)

// Limits of the HTTP server. Notifications are small and come from machines: a
// client that is slower than this is broken or hostile.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second
	writeTimeout      = 30 * time.Second
	profileTimeout    = 5 * time.Minute // to write an answer to operators: profiles take as long as they ask for
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 16 << 10
)

// shutdownGrace bounds the time that requests and workflow tasks under way take to
// end once the service is stopped. The next process takes up what is cut off:
// nothing that was accepted depends on it.
const shutdownGrace = 3 * time.Second

// Options holds the configuration and its surroundings for Run.
type Options struct {
	Config   config.Config
	Temporal client.Options // connection options; Gantry sets the logger
	Version  string
	Log      *slog.Logger

	// Source is the origin of the configuration. Without one, it never changes.
	Source Source

	// LockWait is the time that the inbox waits for the process that a rolling update
	// replaces; 0 means 30 s.
	LockWait time.Duration

	// Listener and OpsListener serve HTTP when set, in place of Config.Listen and
	// Config.OpsListen.
	Listener, OpsListener net.Listener

	// Ready is called once requests are served, with the address.
	Ready func(addr net.Addr)
}

// process is one running Gantry.
type process struct {
	Options
	accounts    accounts
	proxies     []netip.Prefix // whose clients are the sources of requests
	reloader    reloader
	surface     *server.Server      // nil for a worker
	certificate *config.Certificate // of the public listener; nil for plain HTTP
	registry    *prometheus.Registry
	temporal    client.Client
	polling     atomic.Bool // the worker takes tasks
	audit       *audit.Log

	configurationNote string // file that keeps the values for the next start

	outage outage // of Temporal
}

// Run runs the configured role until ctx ends, then stops in order: not ready, no
// more requests, no more tasks, inbox closed. Temporal may be away at the
// start or later: events are accepted even then.
func Run(ctx context.Context, o Options) (err error) {
	p, err := prepare(o)
	if err != nil {
		return err
	}
	defer p.temporal.Close()

	// The stages of a stop: readiness 503 once ctx ends, no more requests once draining
	// ends, no more tasks once working ends. A part that fails ends all of them.
	run, failed := errgroup.WithContext(context.WithoutCancel(ctx))
	draining, drain := context.WithCancel(failed)
	defer drain()
	working, stopWork := context.WithCancel(failed)
	defer stopWork()

	box, closeStores, err := p.openStores(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeStores()) }()
	handler, operations := p.probes(ctx)
	if box != nil {
		if p.surface, err = p.server(ctx, draining, box); err != nil {
			return err
		}
		handler, operations = p.surface, p.surface.Operations
	}
	listener, err := p.listen(ctx)
	if err != nil {
		return err
	}
	opsListener, err := p.listenForOperators(ctx)
	if err != nil {
		return errors.Join(err, listener.Close())
	}

	defer context.AfterFunc(ctx, func() {
		p.Log.InfoContext(ctx, "stopping", "shutdownDelay", p.Config.ShutdownDelay.String())
		time.AfterFunc(p.Config.ShutdownDelay, drain)
	})()
	run.Go(func() error {
		defer stopWork()
		return p.serveHTTP(draining, listener, handler)
	})
	if opsListener != nil {
		run.Go(func() error { return p.serveOperators(working, opsListener, operations) })
	}
	for _, part := range p.parts(box) {
		run.Go(func() error { return part(working) })
	}
	if err := run.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// openStores opens the inbox, unless the process is only a worker, and the audit log.
func (p *process) openStores(ctx context.Context) (box *inbox.Inbox, closeAll func() error, err error) {
	if p.Config.Role != config.RoleWorker {
		if box, err = p.openInbox(ctx); err != nil {
			return nil, nil, err
		}
	}
	closeAll = func() error {
		err := p.audit.Close()
		if box != nil {
			err = errors.Join(err, box.Close())
		}
		return err
	}
	if err = p.openAudit(ctx); err != nil {
		return nil, nil, errors.Join(err, closeAll())
	}
	return box, closeAll, nil
}

// parts returns the work of the process beside serving HTTP.
func (p *process) parts(box *inbox.Inbox) (all []func(context.Context) error) {
	if box != nil {
		all = append(all, p.forwarder(box).Run, p.watchTemporal)
	}
	if p.Config.Role != config.RoleAPI {
		all = append(all, p.worker())
	}
	if p.Source.Load != nil {
		all = append(all, p.watchFile)
	}
	if p.Config.Audit.Channel != "" {
		all = append(all, func(ctx context.Context) error { return p.audit.Ship(ctx, p.sendAudit) })
	}
	return all
}

// prepare makes everything that needs no cleanup but the client's connection.
func prepare(o Options) (*process, error) {
	if err := o.Config.Validate(); err != nil {
		return nil, fmt.Errorf("configuration:\n%w", err)
	}
	o.Temporal.HostPort = cmp.Or(o.Temporal.HostPort, client.DefaultHostPort) // the SDK's default, named so that logs show it
	o.Temporal.Namespace = cmp.Or(o.Temporal.Namespace, client.DefaultNamespace)
	p := &process{Options: o, registry: prometheus.NewRegistry()}
	var err error
	if p.accounts, err = openAccounts(o.Config.Accounts, o.Version, checkToAct(p.registry), o.Log); err != nil {
		return nil, err
	}
	if p.proxies, err = o.Config.Proxies(); err != nil {
		return nil, fmt.Errorf("configuration:\n%w", err)
	}
	if err = p.reloader.start(o.Config, o, p.registry); err != nil {
		return nil, err
	}
	if p.certificate, err = o.Config.TLS.Open(o.Log); err != nil {
		return nil, err
	}
	p.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	measure, err := temporalMetrics(p.registry, o.Log)
	if err != nil {
		return nil, err
	}
	p.temporal, err = dial(o, measure)
	return p, err
}

func (p *process) probes(ctx context.Context) (public, operations http.Handler) {
	return workerHandlers(ctx, p.Version, &p.polling, p.temporal, p.registry)
}

func (p *process) server(ctx, draining context.Context, box *inbox.Inbox) (*server.Server, error) {
	secrets, err := p.Config.SignInSecrets(p.Log)
	if err != nil {
		return nil, fmt.Errorf("signIn: %w", err)
	}
	return server.New(server.Config{
		Accounts: p.accounts.server, Tokens: p.Config.Tokens, People: p.Config.Persons(), Bindings: p.Config.Bindings, Issuers: p.Config.Issuers, SignIn: p.Config.SignIn, PublicURL: p.Config.PublicURL, TemporalUI: p.temporalUI(), ClientSecret: secrets.Client, SessionKey: secrets.Session, Policies: p.reloader.definitions, ConfigurationProblem: p.reloader.trouble, Reconcile: p.Config.Reconcile.Interval, Version: p.Version,
		TaskQueue: p.Config.Temporal.TaskQueue, TemporalAddress: p.Temporal.HostPort, Namespace: p.Temporal.Namespace, Stopping: draining.Done(), Leaving: ctx.Done(), TemporalProblem: p.outage.problem, TrustedProxies: p.proxies, Audit: p.audit,
		Replica: p.Config.Replica, Peers: p.Config.Peers,
	}, box, p.temporal, p.registry, p.Log)
}

func (p *process) forwarder(box *inbox.Inbox) *inbox.Forwarder {
	target := &executions.Target{Client: p.temporal, TaskQueue: p.Config.Temporal.TaskQueue, Pages: decide.Pages(p.Config.PublicURL)}
	return inbox.NewForwarder(box, target, inbox.ForwarderOptions{Decode: server.DecodeNotification, MaxConcurrent: p.Config.Inbox.Concurrency})
}

func (p *process) worker() func(context.Context) error {
	clients := map[spacelift.Account]activities.Spacelift{}
	for name, c := range p.accounts.clients {
		clients[name] = audited{c, name, p.audit}
	}
	acts := &activities.Activities{
		Accounts: clients, WebhookSecrets: p.accounts.secrets, Definitions: p.reloader.definitions, Notifier: &p.reloader, Pages: decide.Pages(p.Config.PublicURL), Temporal: p.temporal,
		Alarms: p.Config.Guardian.Notify, OnConfirmedUnseen: confirmedUnseen(p.registry).Inc, OnBypassed: p.onBypassed(),
	}
	return func(ctx context.Context) error { return work(ctx, p.temporal, acts, &p.polling, p.Options) }
}

// listen returns a listener of a bounded number of connections.
func (p *process) listen(ctx context.Context) (net.Listener, error) {
	listener, err := listenOn(ctx, p.Listener, p.Config.Listen, "listen")
	if err != nil {
		return nil, err
	}
	listener = limitConnections(listener, p.proxies)
	if !p.Config.ProxyProtocol {
		return listener, nil
	}
	// Only proxies name a source; probes come without one.
	policy, err := proxyproto.PolicyFromRanges(p.Config.TrustedProxies, proxyproto.REQUIRE, proxyproto.SKIP)
	if err != nil {
		return nil, fmt.Errorf("trustedProxies: %w", err)
	}
	return &proxyproto.Listener{Listener: listener, ConnPolicy: policy, ReadHeaderTimeout: readHeaderTimeout}, nil
}

// maxOpsConnections bounds the connections of operators.
const maxOpsConnections = 64

// listenForOperators returns the operations listener, nil if there is none.
func (p *process) listenForOperators(ctx context.Context) (net.Listener, error) {
	if p.OpsListener == nil && p.Config.OpsListen == "" {
		return nil, nil //nolint:nilnil // none is a valid choice
	}
	listener, err := listenOn(ctx, p.OpsListener, p.Config.OpsListen, "opsListen")
	if err != nil {
		return nil, err
	}
	return netutil.LimitListener(listener, maxOpsConnections), nil
}

// listenOn returns the given listener, or a new one on the address.
func listenOn(ctx context.Context, given net.Listener, address, setting string) (net.Listener, error) {
	if given != nil {
		return given, nil
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("serve HTTP on %s: %w; is another process using it? set %s to another address", address, err, setting)
	}
	return listener, nil
}

func (p *process) openInbox(ctx context.Context) (*inbox.Inbox, error) {
	o := p.Options
	box, err := inbox.Open(ctx, inbox.Options{
		Dir: o.Config.Data, Metrics: p.registry, Logger: o.Log, Linger: o.Config.Inbox.Linger, LockWait: cmp.Or(o.LockWait, 30*time.Second),
		Bodies: archive.Budget{Count: o.Config.Inbox.BodyCount, Bytes: o.Config.Inbox.BodyBytes},
		Archive: archive.Budgets{
			Entries: archive.Budget{Count: o.Config.Inbox.EntryCount, Bytes: o.Config.Inbox.EntryBytes},
			Ignored: archive.Budget{Count: o.Config.Inbox.LogCount}, Refused: archive.Budget{Count: o.Config.Inbox.LogCount},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("open the inbox in %s: %w", o.Config.Data, err)
	}
	return box, nil
}

// newServer returns an HTTP server with Gantry's limits.
func (p *process) newServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes, ErrorLog: slog.NewLogLogger(p.Log.Handler(), slog.LevelDebug),
	}
}

// serveHTTP serves the public listener, as listen returns it, until ctx ends.
func (p *process) serveHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	p.Log.InfoContext(ctx, "serving", "address", l.Addr().String(), "tls", p.certificate != nil, "version", p.Version)
	if p.Ready != nil {
		p.Ready(l.Addr())
	}
	srv := p.newServer(h)
	if p.certificate != nil {
		srv.TLSConfig = &tls.Config{GetCertificate: p.certificate.Get, MinVersion: tls.VersionTLS12}
	}
	limitRequests(srv)
	return serveUntilDone(ctx, srv, l)
}

// serveOperators serves the operations listener until ctx ends.
func (p *process) serveOperators(ctx context.Context, l net.Listener, h http.Handler) error {
	srv := p.newServer(withProfiles(h))
	srv.WriteTimeout = profileTimeout
	p.Log.InfoContext(ctx, "serving operators", "address", l.Addr().String())
	return serveUntilDone(ctx, srv, l)
}

func serveUntilDone(ctx context.Context, srv *http.Server, l net.Listener) error {
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		err := srv.Shutdown(grace)
		if errors.Is(err, context.DeadlineExceeded) {
			err = srv.Close()
		}
		stopped <- err
	}()
	serve := srv.Serve
	if srv.TLSConfig != nil {
		serve = func(l net.Listener) error { return srv.ServeTLS(l, "", "") }
	}
	if err := serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP: %w", err)
	}
	return <-stopped
}

// temporalUI returns the address of the namespace in Temporal's UI; empty for none.
func (p *process) temporalUI() string {
	if p.Config.Temporal.UIURL == "" {
		return ""
	}
	return strings.TrimSuffix(p.Config.Temporal.UIURL, "/") + "/namespaces/" + url.PathEscape(p.Temporal.Namespace)
}
