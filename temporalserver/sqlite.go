package temporalserver

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"sync/atomic"

	"github.com/jmoiron/sqlx"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/resolver"
	schema "go.temporal.io/server/schema/sqlite"
	driver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// fileName is the name of the database in Options.DataDir.
const fileName = "temporal.db"

// Names of the two schemas in the table of schema versions.
const (
	mainSchema       = "temporal"
	visibilitySchema = "temporal_visibility"
)

// opened counts the databases that this process opened.
var opened atomic.Int64

// SQLite's values of synchronous: what a commit waits for, in WAL mode.
const (
	untilWritten = "1" // NORMAL: the operating system has it
	untilOnDisk  = "2" // FULL: the disk has it
)

func openMemory() (*store, error) {
	s, err := connect(&config.SQL{
		PluginName:   sqlite.PluginName,
		DatabaseName: "gantry-temporalserver-" + strconv.FormatInt(opened.Add(1), 10),
		ConnectAttributes: map[string]string{
			"mode":  "memory",
			"cache": "shared",
		},
	})
	if err != nil {
		return nil, fmt.Errorf("open a database in memory: %w", err)
	}
	return s, nil
}

func openFile(dir, synchronous string) (*store, error) {
	path, err := prepareFile(dir)
	if err != nil {
		return nil, fmt.Errorf("use data directory %s: %w", dir, err)
	}
	s, err := connect(&config.SQL{
		PluginName:   sqlite.PluginName,
		DatabaseName: (&url.URL{Path: path}).EscapedPath(),
		ConnectAttributes: map[string]string{
			"mode": "rwc",
			// Five times the writes of the default journal; survives kill -9.
			"journal_mode": "wal",
			"synchronous":  synchronous,
			// Two servers on one database would both act as owner of its shard.
			"locking_mode": "exclusive",
			"busy_timeout": "500",
			// SQLite ignores this attribute. The plugin keeps every database it opened, by
			// its attributes, and would return an earlier, closed one of the same file.
			"gantry_opened": strconv.FormatInt(opened.Add(1), 10),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("use data directory %s: %w", dir, explain(err))
	}
	if err := ensureFileSchema(s.main); err != nil {
		s.close()
		return nil, fmt.Errorf("use data directory %s: %w", dir, explain(err))
	}
	return s, nil
}

// prepareFile creates the directory and the file, because the operating system's
// errors are clearer than SQLite's.
func prepareFile(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	path, err := filepath.Abs(filepath.Join(dir, fileName))
	if err != nil {
		return "", err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", err
	}
	return path, file.Close()
}

func connect(cfg *config.SQL) (*store, error) {
	db, err := sql.NewSQLDB(sqlplugin.DbKindMain, cfg, resolver.NewNoopResolver(), log.NewNoopLogger(), metrics.NoopMetricsHandler)
	if err != nil {
		return nil, err
	}
	raw, err := rawDB(db)
	if err != nil {
		return nil, err
	}
	// After close, parts of Temporal that still run get "database is closed".
	return &store{main: cfg, visibility: cfg, shards: 1, close: func() { _ = raw.Close() }}, nil
}

// rawDB returns the connection pool inside the plugin's database. The plugin never
// closes it: its Close only counts. If it stayed open, it would hold the lock on
// the file, or all data of a server in memory, until the process ends.
func rawDB(db sqlplugin.GenericDB) (*sqlx.DB, error) {
	if v := reflect.ValueOf(db); v.Kind() == reflect.Pointer {
		field := v.Elem().FieldByName("db")
		if field.IsValid() && field.Type() == reflect.TypeFor[*sqlx.DB]() {
			return (*sqlx.DB)(field.UnsafePointer()), nil
		}
	}
	return nil, fmt.Errorf("this version of temporal's sqlite plugin (%T) hides its database", db)
}

// ensureFileSchema creates the tables of a new database, all or none. It refuses a
// database of another version of Temporal, whose SQLite plugin has no migrations.
func ensureFileSchema(cfg *config.SQL) (err error) {
	db, err := sql.NewSQLAdminDB(sqlplugin.DbKindMain, cfg, resolver.NewNoopResolver(), log.NewNoopLogger(), metrics.NoopMetricsHandler)
	if err != nil {
		return fmt.Errorf("open %s: %w", fileName, err)
	}
	tables, err := db.ListTables("")
	if err != nil {
		return fmt.Errorf("list tables of %s: %w", fileName, err)
	}
	if len(tables) > 0 {
		return checkSchema(db)
	}

	// The plugin's pool has a single connection, so these statements share it.
	if err := db.Exec("BEGIN IMMEDIATE"); err != nil {
		return fmt.Errorf("create tables: %w", err)
	}
	defer func() {
		if err != nil {
			_ = db.Exec("ROLLBACK")
		}
	}()
	if err := schema.SetupSchemaOnDB(db); err != nil {
		return fmt.Errorf("create tables: %w", err)
	}
	if err := db.CreateSchemaVersionTables(); err != nil {
		return fmt.Errorf("create tables: %w", err)
	}
	for name, version := range schemaVersions() {
		if err := db.UpdateSchemaVersion(name, version, version); err != nil {
			return fmt.Errorf("record schema version: %w", err)
		}
	}
	if err := db.Exec("COMMIT"); err != nil {
		return fmt.Errorf("create tables: %w", err)
	}
	return nil
}

func schemaVersions() map[string]string {
	return map[string]string{mainSchema: schema.Version, visibilitySchema: schema.VisibilityVersion}
}

func checkSchema(db sqlplugin.AdminDB) error {
	for name, want := range schemaVersions() {
		have, err := db.ReadSchemaVersion(name)
		if err != nil {
			return fmt.Errorf("read schema version of %s, which this program did not create: %w", fileName, err)
		}
		if have != want {
			return fmt.Errorf("%s has version %s of schema %s and this program needs %s; use the program that created it, or another directory",
				fileName, have, name, want)
		}
	}
	return nil
}

// explain adds a remedy to the errors of SQLite that an operator can fix.
func explain(err error) error {
	code, ok := errors.AsType[*driver.Error](err)
	if !ok {
		return err
	}
	// The low byte is the primary code; the others refine it.
	switch code.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fmt.Errorf("another server is using it; stop that one, or choose another directory: %w", err)
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		return fmt.Errorf("%s is damaged or no database; move it away to start empty: %w", fileName, err)
	}
	return err
}
