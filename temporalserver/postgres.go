package temporalserver

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/postgresql"
)

// The default names of the two databases. Temporal's own images use the same, so
// they can take over the databases and give them back.
const (
	DefaultDatabase           = "temporal"
	DefaultVisibilityDatabase = "temporal_visibility"
)

// Postgres is a PostgreSQL server of version 12 or later. The connection isn't
// encrypted.
type Postgres struct {
	Address  string // host:port
	User     string
	Password string

	// Missing databases are created, if the user may do so.
	Database           string
	VisibilityDatabase string
}

// postgresShards is the number of history shards. On small machines, measurements
// showed no difference between 1 and 512; 4 leaves room for a few more processors,
// and Temporal's images use it too.
const postgresShards = 4

// The connections of each of Temporal's four services: at most 80 in all, because
// PostgreSQL accepts 100 by default.
const (
	mainConnections       = 15
	visibilityConnections = 5
)

// serverLock is the key of the advisory lock that a server holds in its database.
// The number has no meaning, but all servers must use the same.
const serverLock = 7_233_700_001

// The waits between attempts to reach the database, and between reports of them.
const (
	retryEvery  = 250 * time.Millisecond
	reportEvery = 10 * time.Second
)

func openPostgres(ctx context.Context, p Postgres, log *serverLog) (_ *store, err error) {
	if p.Database == "" {
		p.Database = DefaultDatabase
	}
	if p.VisibilityDatabase == "" {
		p.VisibilityDatabase = DefaultVisibilityDatabase
	}
	if p.Database == p.VisibilityDatabase {
		return nil, fmt.Errorf("use PostgreSQL at %s: %q is given for both databases, but their tables have the same names; give two names", p.Address, p.Database)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("use PostgreSQL at %s: %w", p.Address, err)
		}
	}()
	for _, database := range []string{p.Database, p.VisibilityDatabase} {
		if err := p.ensureDatabase(ctx, database, log); err != nil {
			return nil, err
		}
	}
	lock, err := p.lock(ctx, log)
	if err != nil {
		return nil, err
	}
	s := &store{
		main: p.config(p.Database, mainConnections), visibility: p.config(p.VisibilityDatabase, visibilityConnections), shards: postgresShards,
		// Temporal closes its own connections when it stops.
		close: func() { _ = lock.Close(context.WithoutCancel(ctx)) },
	}
	for database, schema := range map[string]string{p.Database: "temporal", p.VisibilityDatabase: "visibility"} {
		if err := p.migrate(ctx, database, "postgresql/v12/"+schema); err != nil {
			s.close()
			return nil, fmt.Errorf("migrate database %s: %w", database, err)
		}
	}
	return s, nil
}

func (p Postgres) config(database string, connections int) *config.SQL {
	return &config.SQL{
		PluginName: postgresql.PluginNamePGX, ConnectProtocol: "tcp", ConnectAddr: p.Address,
		User: p.User, Password: p.Password, DatabaseName: database,
		MaxConns: connections, MaxIdleConns: connections, MaxConnLifetime: time.Hour,
		ConnectAttributes: map[string]string{"application_name": "temporal-server"},
	}
}

func (p Postgres) connect(ctx context.Context, database string) (*pgx.Conn, error) {
	address := url.URL{
		Scheme: "postgres", User: url.UserPassword(p.User, p.Password), Host: p.Address, Path: "/" + database,
		RawQuery: url.Values{"sslmode": {"disable"}, "application_name": {"temporal-server"}, "connect_timeout": {"5"}}.Encode(),
	}
	return pgx.Connect(ctx, address.String())
}

// ensureDatabase waits for PostgreSQL and creates the database if it is missing. A
// user who may not create databases can use an existing one.
func (p Postgres) ensureDatabase(ctx context.Context, database string, log *serverLog) error {
	var reported time.Time
	for {
		conn, err := p.connect(ctx, database)
		if err == nil {
			return conn.Close(ctx)
		}
		switch code := codeOf(err); {
		case code == "3D000": // invalid_catalog_name
			if err := p.create(ctx, database); err != nil {
				return fmt.Errorf("create database %s: %w", database, err)
			}
			continue
		case code != "" && !temporary(code):
			return err
		}
		if time.Since(reported) > reportEvery {
			reported = time.Now()
			log.slog.WarnContext(ctx, "PostgreSQL does not answer yet; retrying", "address", p.Address, "error", err)
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(retryEvery):
		}
	}
}

func (p Postgres) create(ctx context.Context, database string) error {
	conn, err := p.connect(ctx, "postgres")
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{database}.Sanitize())
	if codeOf(err) == "42P04" { // duplicate_database: another server created it first
		return nil
	}
	return err
}

// codeOf returns the error code of PostgreSQL's answer, or "" if there is none.
// https://www.postgresql.org/docs/current/errcodes-appendix.html
func codeOf(err error) string {
	if answer, ok := errors.AsType[*pgconn.PgError](err); ok {
		return answer.Code
	}
	return ""
}

// temporary reports whether PostgreSQL refuses only for now: it is starting,
// shutting down or has too many connections.
func temporary(code string) bool {
	return strings.HasPrefix(code, "57P") || strings.HasPrefix(code, "53")
}

// lock waits until no other server uses the database, and keeps others away: two
// servers would keep taking the shards from each other. The returned connection
// holds the lock, so PostgreSQL releases it when a server dies, or when it notices
// that the server's host is gone.
func (p Postgres) lock(ctx context.Context, log *serverLog) (*pgx.Conn, error) {
	conn, err := p.connect(ctx, p.Database)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"); err != nil {
		return nil, errors.Join(fmt.Errorf("set keepalives: %w", err), conn.Close(ctx))
	}
	var reported time.Time
	for {
		var mine bool
		if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", serverLock).Scan(&mine); err != nil {
			return nil, errors.Join(fmt.Errorf("lock database %s: %w", p.Database, err), conn.Close(context.WithoutCancel(ctx)))
		}
		if mine {
			return conn, nil
		}
		if time.Since(reported) > reportEvery {
			reported = time.Now()
			log.slog.WarnContext(ctx, "another server uses the database; waiting until it ends", "address", p.Address, "database", p.Database)
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("another server uses database %s: %w", p.Database, context.Cause(ctx)), conn.Close(context.WithoutCancel(ctx)))
		case <-time.After(retryEvery):
		}
	}
}
