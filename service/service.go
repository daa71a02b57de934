// Package service is one running Gantry: configuration in; inbox, forwarder,
// worker and HTTP server out. `gantry serve` and the lab both run it.
package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/inbox"
	"github.com/gantryhq/gantry/server"
)

// Limits of the HTTP server. Notifications are small and come from machines: a
// client that is slower than this is broken or hostile.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
)

// shutdownGrace is how long requests and workflow tasks under way may take to
// end once the service is told to stop. What is cut off is taken up again by
// the next process: nothing that was accepted depends on it.
const shutdownGrace = 3 * time.Second

// Options are what Run needs beside the configuration.
type Options struct {
	Config   config.Config
	Temporal client.Options // how to reach Temporal; Gantry sets the logger
	Version  string
	Log      *slog.Logger

	// Listener serves HTTP when set, in place of Config.Listen.
	Listener net.Listener

	// Ready is called once requests are served, with the address.
	Ready func(addr net.Addr)
}

// Run does what the configured role asks until ctx ends, then stops in order:
// no more requests, no more tasks, inbox closed. Temporal need not be reachable
// at the start or stay so: events are accepted all the same.
func Run(ctx context.Context, o Options) (err error) {
	if err := o.Config.Validate(); err != nil {
		return fmt.Errorf("configuration:\n%w", err)
	}
	o.Temporal.HostPort = cmp.Or(o.Temporal.HostPort, client.DefaultHostPort) // as the SDK would, so that logs say where
	o.Temporal.Namespace = cmp.Or(o.Temporal.Namespace, client.DefaultNamespace)
	registry := prometheus.NewRegistry()
	accounts, err := openAccounts(o.Config.Accounts, o.Version, checkToAct(registry), o.Log)
	if err != nil {
		return err
	}
	rules, err := o.Config.Rules()
	if err != nil {
		return fmt.Errorf("configuration:\n%w", err)
	}
	channels, err := openChannels(o.Config.Channels, o.Version, o.Log)
	if err != nil {
		return err
	}
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	measure, err := temporalMetrics(registry, o.Log)
	if err != nil {
		return err
	}
	temporal, err := dial(o, measure)
	if err != nil {
		return err
	}
	defer temporal.Close()

	// What the process does beside serving HTTP.
	var parts []func(context.Context) error
	var polling atomic.Bool
	handler := workerHandler(o.Version, &polling, temporal, registry)
	if o.Config.Role != config.RoleWorker {
		var box *inbox.Inbox
		if box, err = openInbox(ctx, o, registry); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, box.Close()) }()
		tokens, people := o.Config.TokensAndPeople()
		handler, err = server.New(server.Config{
			Accounts: accounts.server, Tokens: tokens, People: people, Rules: rules, Reconcile: o.Config.Reconcile.Interval, Version: o.Version,
			TaskQueue: o.Config.Temporal.TaskQueue, Stopping: ctx.Done(),
		}, box, temporal, registry, o.Log)
		if err != nil {
			return err
		}
		parts = append(parts, inbox.NewForwarder(box, &inbox.TemporalTarget{Client: temporal, TaskQueue: o.Config.Temporal.TaskQueue},
			inbox.ForwarderOptions{MaxConcurrent: o.Config.Inbox.Concurrency}).Run)
	}
	if o.Config.Role != config.RoleAPI {
		acts := &activities.Activities{
			Accounts: accounts.clients, WebhookSecrets: accounts.secrets, Rules: rules, Notifier: channels, Temporal: temporal,
			OnConfirmedUnseen: confirmedUnseen(registry).Inc,
		}
		parts = append(parts, func(ctx context.Context) error { return work(ctx, temporal, acts, &polling, o) })
	}
	listener := o.Listener
	if listener == nil {
		if listener, err = new(net.ListenConfig).Listen(ctx, "tcp", o.Config.Listen); err != nil {
			return fmt.Errorf("serve HTTP on %s: %w; is another process using it? set listen to another address", o.Config.Listen, err)
		}
	}

	run, ctx := errgroup.WithContext(ctx)
	run.Go(func() error { return serveHTTP(ctx, listener, handler, o) })
	for _, part := range parts {
		run.Go(func() error { return part(ctx) })
	}
	if err := run.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func openInbox(ctx context.Context, o Options, registry *prometheus.Registry) (*inbox.Inbox, error) {
	box, err := inbox.Open(ctx, inbox.Options{
		Dir: o.Config.Data, Metrics: registry, Logger: o.Log, Linger: o.Config.Inbox.Linger,
		Entries: inbox.Budget{Count: o.Config.Inbox.EntryCount, Bytes: o.Config.Inbox.EntryBytes},
		Bodies:  inbox.Budget{Count: o.Config.Inbox.BodyCount, Bytes: o.Config.Inbox.BodyBytes},
		Ignored: inbox.Budget{Count: o.Config.Inbox.LogCount}, Refused: inbox.Budget{Count: o.Config.Inbox.LogCount},
	})
	if err != nil {
		return nil, fmt.Errorf("open the inbox in %s: %w", o.Config.Data, err)
	}
	return box, nil
}

func serveHTTP(ctx context.Context, l net.Listener, h http.Handler, o Options) error {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes, ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
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
	o.Log.InfoContext(ctx, "serving", "address", l.Addr().String(), "version", o.Version)
	if o.Ready != nil {
		o.Ready(l.Addr())
	}
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP: %w", err)
	}
	return <-stopped
}
