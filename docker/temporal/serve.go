package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/temporalserver"
)

type serveOptions struct {
	listen, ui, namespace string
	retention             time.Duration
	store, data           string
	postgres              temporalserver.Postgres
	passwordFile          string
}

func newServeCommand() *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve Temporal and its web interface",
		Long: `Serves Temporal and its web interface until SIGTERM. Databases and tables are
created where they lack and brought up to date where they are older; so are the
namespace and Gantry's search attributes.

Nobody is authenticated: listen where only Gantry and its operators can reach.`,
		Example: `  temporal-server serve --listen 0.0.0.0:7233 --ui 0.0.0.0:8233 --store sqlite --data /var/lib/temporal
  temporal-server serve --store postgres --postgres-address db:5432 --postgres-user temporal --postgres-password-file /run/secrets/pg`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), o, cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&o.listen, "listen", "127.0.0.1:7233", "address for clients")
	cmd.Flags().StringVar(&o.ui, "ui", "127.0.0.1:8233", "address of the web interface; empty for none")
	cmd.Flags().StringVar(&o.namespace, "namespace", temporalserver.DefaultNamespace, "namespace to make ready")
	cmd.Flags().DurationVar(&o.retention, "retention", 720*time.Hour, "how long the namespace keeps closed executions, and late notifications of their runs are known as such")
	cmd.Flags().StringVar(&o.store, "store", "sqlite", "sqlite or postgres")
	cmd.Flags().StringVar(&o.data, "data", "temporal-data", "folder of the SQLite file")
	cmd.Flags().StringVar(&o.postgres.Address, "postgres-address", "127.0.0.1:5432", "address of PostgreSQL")
	cmd.Flags().StringVar(&o.postgres.User, "postgres-user", "temporal", "user; may create databases, or finds them created")
	cmd.Flags().StringVar(&o.passwordFile, "postgres-password-file", "", "file with the user's password")
	cmd.Flags().StringVar(&o.postgres.Database, "postgres-database", temporalserver.DefaultDatabase, "database of executions")
	cmd.Flags().StringVar(&o.postgres.VisibilityDatabase, "postgres-visibility-database", temporalserver.DefaultVisibilityDatabase, "database of lists and searches")
	return cmd
}

// serve returns nil when ctx ended and the server stopped in order.
func serve(ctx context.Context, o serveOptions, logs io.Writer) error {
	log := slog.New(slog.NewJSONHandler(logs, nil))
	options, err := serverOptions(o, log)
	if err != nil {
		return err
	}
	server, err := temporalserver.Start(ctx, options)
	if err != nil {
		if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
			return nil // stopped while it was waiting for its database
		}
		return err
	}
	defer server.Stop()
	log.InfoContext(ctx, "serving", "address", o.listen, "ui", server.UIURL(), "namespace", o.namespace, "store", o.store, "version", version)
	select {
	case <-ctx.Done():
		log.InfoContext(ctx, "stopping")
		return nil
	case <-server.Failed():
		return fmt.Errorf("temporal failed: %w", server.Err())
	}
}

func serverOptions(o serveOptions, log *slog.Logger) (temporalserver.Options, error) {
	options := temporalserver.Options{
		Namespace: o.namespace, Retention: o.retention, SearchAttributes: temporalserver.Keywords(managed.SearchAttributes()...),
		Durable: true, Housekeeping: true, Logger: log,
	}
	var err error
	if options.FrontendHost, options.FrontendPort, err = splitAddress("listen", o.listen); err != nil {
		return options, err
	}
	if options.UI = o.ui != ""; options.UI {
		if options.UIHost, options.UIPort, err = splitAddress("ui", o.ui); err != nil {
			return options, err
		}
	}
	switch o.store {
	case "sqlite":
		if o.data == "" {
			return options, errors.New("--data: give the folder of the SQLite file")
		}
		options.DataDir = o.data
	case "postgres":
		if o.passwordFile != "" {
			password, err := os.ReadFile(o.passwordFile)
			if err != nil {
				return options, fmt.Errorf("read --postgres-password-file: %w", err)
			}
			o.postgres.Password = strings.TrimRight(string(password), "\r\n")
		}
		options.Postgres = &o.postgres
	default:
		return options, fmt.Errorf("--store: %q is neither sqlite nor postgres", o.store)
	}
	return options, nil
}

// splitAddress reads an address such as 127.0.0.1:7233 or :7233.
func splitAddress(flag, address string) (host string, port int, err error) {
	host, number, err := net.SplitHostPort(address)
	if err == nil {
		port, err = strconv.Atoi(number)
	}
	if err != nil {
		return "", 0, fmt.Errorf("--%s: %q is not an address such as 127.0.0.1:7233", flag, address)
	}
	return cmp.Or(host, "0.0.0.0"), port, nil
}
