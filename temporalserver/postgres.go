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

// Names of the two databases unless [Postgres] names others. They are those of
// Temporal's own images, which can take over the databases and give them back.
const (
	DefaultDatabase           = "temporal"
	DefaultVisibilityDatabase = "temporal_visibility"
)

// Postgres says which PostgreSQL server to use, of version 12 or later. The
// connection is not encrypted.
type Postgres struct {
	Address  string // host:port
	User     string
	Password string

	// Databases that lack are created, which takes a user who may do so.
	Database           string
	VisibilityDatabase string
}

// postgresShards is what was measured to be as good as any number between 1
// and 512 on small machines, and leaves room for some processors more. It is
// also what Temporal's images set.
const postgresShards = 4

// Connections of each of Temporal's four services: at most 80 in all, because
// PostgreSQL takes 100 unless told otherwise.
const (
	mainConnections       = 15
	visibilityConnections = 5
)

// serverLock is the key of the advisory lock that a server holds in its
// database. The number is part of the contract between servers; it means
// nothing.
const serverLock = 7_233_700_001

// Waits between attempts to reach the database, and between reports of that.
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
		return nil, fmt.Errorf("use PostgreSQL at %s: %q is given for both databases, but their tables have the same names: give two", p.Address, p.Database)
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
			return nil, fmt.Errorf("bring the tables of database %s up to date: %w", database, err)
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

// ensureDatabase waits for PostgreSQL and creates the database when it lacks.
// A user who may not create databases can use one that is there.
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
		case code != "" && !passing(code):
			return err
		}
		if time.Since(reported) > reportEvery {
			reported = time.Now()
			log.slog.WarnContext(ctx, "PostgreSQL does not answer yet; trying again", "address", p.Address, "error", err)
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
	if codeOf(err) == "42P04" { // duplicate_database: another server was quicker
		return nil
	}
	return err
}

// codeOf returns what PostgreSQL answered, or nothing when there is no answer.
// https://www.postgresql.org/docs/current/errcodes-appendix.html
func codeOf(err error) string {
	if answer, ok := errors.AsType[*pgconn.PgError](err); ok {
		return answer.Code
	}
	return ""
}

// passing are answers that end by themselves: starting up, shutting down, too
// many connections.
func passing(code string) bool {
	return strings.HasPrefix(code, "57P") || strings.HasPrefix(code, "53")
}

// lock keeps other servers away: two on one database would take each shard from
// each other all the time. It is held by a connection, so a server that dies
// lets go of it, and one that lost its host does when PostgreSQL notices.
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
