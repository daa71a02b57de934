package temporalserver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/tools/common/schema"
)

// migrate updates a database, empty or with any older version of the schema, to
// the version that this program needs, in one transaction. It doesn't change a
// database with a newer schema: Temporal works with it.
func (p Postgres) migrate(ctx context.Context, database, name string) (err error) {
	conn, err := p.connect(ctx, database)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	tx, err := conn.Begin(ctx)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() {
		if err != nil {
			_ = tx.Rollback(context.WithoutCancel(ctx)) // the connection ends anyway
		}
	}()
	m := &migration{ctx: ctx, tx: tx, database: database}
	if err := schema.NewSetupSchemaTask(m, &schema.SetupConfig{InitialVersion: "0.0"}, log.NewNoopLogger()).Run(); err != nil {
		return err
	}
	if err := schema.NewUpdateSchemaTask(m, &schema.UpdateConfig{SchemaName: name}, log.NewNoopLogger()).Run(); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// migration runs Temporal's schema tool inside a transaction. Without one, the tool
// commits each statement, and a migration that is killed can leave the database
// between two versions, where it can't be repeated.
type migration struct {
	ctx      context.Context //nolint:containedctx // schema.DB has none, and a migration is one call
	tx       pgx.Tx
	database string
}

var _ schema.DB = (*migration)(nil)

// Exec runs a statement. Indexes are created inside the transaction, so not
// "concurrently"; no server uses the tables meanwhile.
func (m *migration) Exec(statement string, args ...any) error {
	statement = strings.Replace(statement, "CREATE INDEX CONCURRENTLY ", "CREATE INDEX ", 1)
	statement = strings.Replace(statement, "DROP INDEX CONCURRENTLY ", "DROP INDEX ", 1)
	_, err := m.tx.Exec(m.ctx, statement, args...)
	return err
}

// CreateSchemaVersionTables creates the tables as Temporal's plugin does
// (common/persistence/sql/sqlplugin/postgresql/admin.go).
func (m *migration) CreateSchemaVersionTables() error {
	return errors.Join(
		m.Exec(`CREATE TABLE IF NOT EXISTS schema_version(
			version_partition INT not null, db_name VARCHAR(255) not null, creation_time TIMESTAMP,
			curr_version VARCHAR(64), min_compatible_version VARCHAR(64),
			PRIMARY KEY (version_partition, db_name))`),
		m.Exec(`CREATE TABLE IF NOT EXISTS schema_update_history(
			version_partition INT not null, year int not null, month int not null, update_time TIMESTAMP not null,
			description VARCHAR(255), manifest_md5 VARCHAR(64), new_version VARCHAR(64), old_version VARCHAR(64),
			PRIMARY KEY (version_partition, year, month, update_time))`))
}

func (m *migration) ReadSchemaVersion() (version string, err error) {
	err = m.tx.QueryRow(m.ctx, "SELECT curr_version FROM schema_version WHERE version_partition = 0 AND db_name = $1", m.database).Scan(&version)
	return version, err
}

func (m *migration) UpdateSchemaVersion(version, minCompatible string) error {
	return m.Exec(`INSERT INTO schema_version(version_partition, db_name, creation_time, curr_version, min_compatible_version)
		VALUES (0, $1, $2, $3, $4) ON CONFLICT (version_partition, db_name) DO UPDATE SET creation_time = excluded.creation_time,
		curr_version = excluded.curr_version, min_compatible_version = excluded.min_compatible_version`,
		m.database, time.Now().UTC(), version, minCompatible)
}

func (m *migration) WriteSchemaUpdateLog(before, after, md5, description string) error {
	now := time.Now().UTC()
	return m.Exec(`INSERT INTO schema_update_history(version_partition, year, month, update_time, old_version, new_version, manifest_md5, description)
		VALUES (0, $1, $2, $3, $4, $5, $6, $7)`, now.Year(), int(now.Month()), now, before, after, md5, description)
}

func (m *migration) DropAllTables() error { return errors.New("drop tables: not supported") }
func (m *migration) Close()               {} // migrate closes the connection
func (m *migration) Type() string         { return "sql" }
