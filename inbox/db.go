package inbox

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// fileName is the database; SQLite keeps its write-ahead log beside it.
const (
	fileName  = "inbox.db"
	walSuffix = "-wal"

	pageSize      = 8192
	schemaVersion = 1
)

// Tables are made in this order, so that their root pages are the same in every
// file: a salvage relies on it. Seq 0 is never a row's: see probe.
const schema = `
CREATE TABLE batches (seq INTEGER PRIMARY KEY, entries BLOB NOT NULL, bodies BLOB);
CREATE TABLE marks (seq INTEGER PRIMARY KEY, marks BLOB NOT NULL);
CREATE TABLE log (seq INTEGER PRIMARY KEY, class INTEGER NOT NULL, entries BLOB NOT NULL);
CREATE TABLE owner (token BLOB NOT NULL);
`

// table is where rows lie.
type table uint8

const (
	tableBatches table = iota
	tableLog
)

// Statements that are prepared once.
const (
	stBegin = iota
	stCommit
	stRollback
	stAddBatch
	stAddMarks
	stAddLog
	stDropBodies
	stDropBatches
	stDropMarks
	stDropLog
	stReplace
	stRecords
	stLog
	stBodies
	statements
)

var statementText = [statements]string{
	stBegin:       "BEGIN IMMEDIATE",
	stCommit:      "COMMIT",
	stRollback:    "ROLLBACK",
	stAddBatch:    "INSERT INTO batches (seq, entries, bodies) VALUES (?, ?, ?)",
	stAddMarks:    "INSERT INTO marks (seq, marks) VALUES (?, ?) ON CONFLICT DO UPDATE SET marks = excluded.marks",
	stAddLog:      "INSERT INTO log (seq, class, entries) VALUES (?, ?, ?)",
	stDropBodies:  "UPDATE batches SET bodies = NULL WHERE seq BETWEEN ? AND ? AND bodies IS NOT NULL",
	stDropBatches: "DELETE FROM batches WHERE seq BETWEEN ? AND ?",
	stDropMarks:   "DELETE FROM marks WHERE seq BETWEEN ? AND ?",
	stDropLog:     "DELETE FROM log WHERE seq BETWEEN ? AND ? AND class = ?",
	stReplace:     "UPDATE batches SET entries = ?2, bodies = ?3 WHERE seq = ?1",
	stRecords:     "SELECT entries FROM batches WHERE seq = ?",
	stLog:         "SELECT entries FROM log WHERE seq = ?",
	stBodies:      "SELECT bodies FROM batches WHERE seq = ?",
}

// store is the database. It has one connection, which locks the file against
// other processes; reads take their turn between commits.
type store struct {
	path  string
	token [16]byte // of the process that opened the file last

	mu    sync.Mutex
	db    *sql.DB // nil while it could not be opened again
	stmts [statements]*sql.Stmt
	cache cache
}

// dsn names a file that must exist.
func dsn(path string) string {
	u := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: "mode=rw"}
	return u.String()
}

var errInUse = errors.New("another process uses it")

// openStore opens the database file, which must exist.
func openStore(path string) (*store, error) {
	s := &store{path: path}
	return s, s.open()
}

func (s *store) open() (err error) {
	db, err := sql.Open("sqlite", dsn(s.path))
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	db.SetMaxOpenConns(1)
	ctx := context.Background()
	for _, pragma := range []string{
		"locking_mode = EXCLUSIVE",      // first, so that no other process can be in between
		"journal_mode = WAL",            //
		"synchronous = FULL",            // COMMIT returns when the log is flushed
		"wal_autocheckpoint = 1000",     // pages; see doc.go
		"journal_size_limit = 33554432", // a log that grew beyond it is cut
		"cache_size = -4096",            // KiB
		"temp_store = MEMORY",           //
		"trusted_schema = OFF",          // a damaged file is not to be believed
		"cell_size_check = ON",          //
		"busy_timeout = 0",              //
		"user_version",                  //
	} {
		if _, err := db.ExecContext(ctx, "PRAGMA "+pragma); err != nil {
			return explain(err)
		}
	}
	var version int
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return explain(err)
	}
	if version > schemaVersion {
		return fmt.Errorf("%s was written by a newer version of Gantry (format %d, this one reads %d)", s.path, version, schemaVersion)
	}
	for i, text := range statementText {
		if s.stmts[i], err = db.PrepareContext(ctx, text); err != nil {
			return explain(err)
		}
	}
	s.db = db
	// The lock comes with the first transaction.
	return s.transact(func() error { return nil })
}

// createStore makes a new database. It gets its name when it is complete, so
// that an empty file under that name is damage.
func createStore(path string) error {
	tmp := path + ".new"
	for _, name := range []string{tmp, tmp + walSuffix} {
		if err := removeFile(name); err != nil {
			return err
		}
	}
	if err := writeEmpty(tmp); err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// writeEmpty makes a database with the schema and nothing in it.
func writeEmpty(path string) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", dsn(path))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	_, err = db.ExecContext(context.Background(), fmt.Sprintf("PRAGMA page_size = %d; PRAGMA synchronous = FULL; BEGIN; %s PRAGMA user_version = %d; COMMIT;", pageSize, schema, schemaVersion))
	return err
}

func (s *store) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		return nil
	}
	db := s.db
	s.db = nil
	return db.Close()
}

// check looks for damage to the file's structure.
func (s *store) check(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found string
	if err := s.db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&found); err != nil {
		return explain(err)
	}
	if found != "ok" {
		return fmt.Errorf("%w: %s", errDamaged, found)
	}
	return nil
}

// take notes that the file is this process's from now on. It is the first
// thing written after a start.
func (s *store) take() error {
	_, _ = rand.Read(s.token[:]) // never fails: crypto/rand
	return s.transact(func() error {
		for _, q := range []string{"DELETE FROM owner", "DELETE FROM batches WHERE seq = 0"} {
			if _, err := s.db.Exec(q); err != nil {
				return err
			}
		}
		_, err := s.db.Exec("INSERT INTO owner (token) VALUES (?)", s.token[:])
		return err
	})
}

// probe finds out whether the database can be written again after a failure.
// What the operating system holds of a file after a failed flush may not be
// what is on the disk, so the file is opened anew; a commit that failed in its
// last step may have come back with that, so rows from next on are removed.
// Then it asks for room, so that the inbox does not call itself well and fail
// with the next event.
func (s *store) probe(next, nextLog int64) error {
	if err := s.close(); err != nil {
		return err
	}
	if err := s.open(); err != nil {
		return err
	}
	err := s.transact(func() error {
		var token []byte
		if err := s.db.QueryRow("SELECT token FROM owner").Scan(&token); err != nil {
			return err
		}
		if !bytes.Equal(token, s.token[:]) {
			return fmt.Errorf("another process has used %s meanwhile: stop it and start again", s.path)
		}
		for _, q := range []string{"DELETE FROM batches WHERE seq >= ?1 OR seq = 0", "DELETE FROM marks WHERE seq >= ?1"} {
			if _, err := s.db.Exec(q, next); err != nil {
				return err
			}
		}
		if _, err := s.db.Exec("DELETE FROM log WHERE seq >= ?1", nextLog); err != nil {
			return err
		}
		_, err := s.db.Exec("INSERT INTO batches (seq, entries) VALUES (0, zeroblob(65536))")
		return err
	})
	if err != nil {
		return err
	}
	return s.transact(func() error {
		_, err := s.db.Exec("DELETE FROM batches WHERE seq = 0")
		return err
	})
}

var errNotOpen = errors.New("the database is not open")

// transact runs do between BEGIN and COMMIT. When it returns nil, everything
// done is on disk; otherwise nothing is, but for a COMMIT that failed in its
// last step: see probe.
func (s *store) transact(do func() error) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		return errNotOpen
	}
	if _, err := s.stmts[stBegin].Exec(); err != nil {
		return explain(err)
	}
	if err = do(); err == nil {
		_, err = s.stmts[stCommit].Exec()
	}
	if err != nil {
		// Some errors have rolled back already.
		_, _ = s.stmts[stRollback].Exec()
		return explain(err)
	}
	return nil
}

// exec runs a prepared statement within transact.
func (s *store) exec(statement int, args ...any) error {
	_, err := s.stmts[statement].Exec(args...)
	return err
}

// records returns the records of a row.
func (s *store) records(t table, seq int64) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.recordsLocked(t, seq)
}

func (s *store) recordsLocked(t table, seq int64) ([]byte, error) {
	if b, ok := s.cache.get(t, seq); ok {
		return b, nil
	}
	b, err := s.blob([]int{tableBatches: stRecords, tableLog: stLog}[t], seq)
	if err == nil {
		s.cache.put(t, seq, b)
	}
	return b, err
}

// size is that of the files.
func (s *store) size() (n int64) {
	for _, name := range []string{s.path, s.path + walSuffix} {
		if info, err := os.Stat(name); err == nil {
			n += info.Size()
		}
	}
	return n
}

// remember keeps the records of a new row at hand.
func (s *store) remember(seq int64, records []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cache.put(tableBatches, seq, records)
}

// forget drops rows that were deleted.
func (s *store) forget(rows []*row) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range rows {
		s.cache.drop(tableBatches, r.seq)
	}
}

// bodies returns the bodies of a row of batches.
func (s *store) bodies(seq int64) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.blob(stBodies, seq)
}

func (s *store) blob(statement int, seq int64) (b []byte, err error) {
	if s.db == nil {
		return nil, errNotOpen
	}
	err = s.stmts[statement].QueryRow(seq).Scan(&b)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("%w: row %d", ErrNotFound, seq)
	}
	return b, explain(err)
}

var errDamaged = errors.New("damaged")

// explain makes SQLite's errors readable, which tell the cause by a number, and
// tells damage and a foreign lock from the rest.
// See https://sqlite.org/rescode.html.
func explain(err error) error {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return err
	}
	switch e.Code() {
	case sqlite3.SQLITE_IOERR_WRITE:
		return fmt.Errorf("the disk, a quota or a limit refuses to write: %w", err)
	case sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC:
		return fmt.Errorf("the disk fails to flush: %w", err)
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fmt.Errorf("%w: %w", errInUse, err)
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%w: %w", errDamaged, err)
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("no space is left: %w", err)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		return fmt.Errorf("the folder or its files can't be written: %w", err)
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// cache holds the records of some rows: the newest, which the forwarder sends
// next, and those it looked at, because events of one run lie in many rows and
// a row holds events of many runs. Guarded by store.mu.
type cache struct {
	rows  map[cached][]byte
	order fifo[cached]
	bytes int
}

type cached struct {
	table table
	seq   int64
}

const cacheBytes = 4 << 20

func (c *cache) get(t table, seq int64) ([]byte, bool) {
	b, ok := c.rows[cached{t, seq}]
	return b, ok
}

func (c *cache) put(t table, seq int64, b []byte) {
	at := cached{t, seq}
	if c.rows == nil {
		c.rows = make(map[cached][]byte)
	}
	c.drop(t, seq)
	c.rows[at] = b
	c.order.push(at)
	c.bytes += len(b)
	for c.bytes > cacheBytes {
		old := c.order.pop()
		c.drop(old.table, old.seq)
	}
}

func (c *cache) drop(t table, seq int64) {
	at := cached{t, seq}
	c.bytes -= len(c.rows[at])
	delete(c.rows, at)
}
