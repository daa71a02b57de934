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

const (
	fileName  = "inbox.db"
	walSuffix = "-wal" // of SQLite's write-ahead log

	pageSize      = 8192
	schemaVersion = 1
)

// The tables are created in this order, so that their root pages are the same in
// every file: a salvage relies on it. No row has seq 0: see probe.
const schema = `
CREATE TABLE batches (seq INTEGER PRIMARY KEY, entries BLOB NOT NULL, bodies BLOB);
CREATE TABLE marks (seq INTEGER PRIMARY KEY, marks BLOB NOT NULL);
CREATE TABLE log (seq INTEGER PRIMARY KEY, class INTEGER NOT NULL, entries BLOB NOT NULL);
CREATE TABLE owner (token BLOB NOT NULL);
`

// pragmas are set for every connection, in this order.
var pragmas = []string{
	"busy_timeout = 0",
	"locking_mode = EXCLUSIVE",      // before the file is touched, so that no other process can use it
	"journal_mode = WAL",            //
	"synchronous = FULL",            // COMMIT returns when the log is flushed
	"wal_autocheckpoint = 128",      // pages: then a commit moves the log into the database; see docs/adr/0003-inbox-store.md
	"journal_size_limit = 33554432", // a log that grew larger, on a full disk, is truncated
	"cache_size = -2048",            // KiB
	"temp_store = MEMORY",           //
	"trusted_schema = OFF",          // don't trust a damaged file
	"cell_size_check = ON",          //
}

// store is the database. Its single connection excludes other processes; reads
// run between commits.
type store struct {
	path  string
	token [16]byte // see take
	taken bool

	mu       sync.Mutex
	db       *sql.DB // nil while reopening fails
	prepared map[string]*sql.Stmt

	// cache holds the records of some rows: the newest, which the forwarder sends
	// next, and those it has read, because the events of a run are in many rows and
	// a row has events of many runs.
	cache      map[int64][]byte
	cacheBytes int
}

const maxCache = 2 << 20

var (
	errInUse   = errors.New("another process uses it")
	errDamaged = errors.New("damaged")
	errNotOpen = fmt.Errorf("%w: the database is not open", ErrUnavailable)
)

// dsn returns the data source name of a file that must exist.
func dsn(path string) string {
	u := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: "mode=rw"}
	return u.String()
}

// openDB opens a database file, which must exist, with one connection.
func openDB(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dsn(path))
	if err == nil {
		db.SetMaxOpenConns(1)
	}
	return db, err
}

// openStore opens the inbox's database, which must exist.
func openStore(path string) (*store, error) {
	s := &store{path: path}
	return s, s.reopen()
}

// reopen opens the database, and closes it first if necessary. Afterwards the
// database has what was on disk before, and only that.
func (s *store) reopen() (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db != nil {
		err := s.db.Close()
		if s.db = nil; err != nil {
			return explain(err)
		}
	}
	db, err := openDB(s.path)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.db = nil
			err = errors.Join(err, db.Close())
		}
	}()
	for _, p := range pragmas {
		if _, err := db.Exec("PRAGMA " + p); err != nil {
			return explain(err)
		}
	}
	var version int
	if err := db.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		return explain(err)
	}
	if version > schemaVersion {
		return fmt.Errorf("%s was written by a newer version of Gantry (format %d, this one reads %d)", s.path, version, schemaVersion)
	}
	s.db, s.prepared = db, make(map[string]*sql.Stmt)
	s.cache, s.cacheBytes = make(map[int64][]byte), 0
	return errors.Join(s.exec("BEGIN IMMEDIATE"), s.exec("COMMIT")) // this locks the file if it isn't locked yet
}

// createStore creates a database. The file gets its name once it is complete, so
// that an empty file with that name is damage.
func createStore(path string) error {
	tmp := path + ".new"
	if err := errors.Join(removeFile(tmp), removeFile(tmp+walSuffix), writeEmpty(tmp)); err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// writeEmpty creates a database with the schema and empty tables.
func writeEmpty(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	db, err := openDB(path)
	if err != nil {
		return err
	}
	_, err = db.Exec(fmt.Sprintf("PRAGMA page_size = %d; PRAGMA synchronous = FULL; BEGIN; %s PRAGMA user_version = %d; COMMIT;", pageSize, schema, schemaVersion))
	return errors.Join(explain(err), db.Close())
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

// check reports damage to the file's structure.
func (s *store) check(ctx context.Context) error {
	var found string
	if err := s.db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&found); err != nil {
		return explain(err)
	}
	if found != "ok" {
		return fmt.Errorf("%w: %s", errDamaged, found)
	}
	return nil
}

// tidy shrinks the file when more than half of it, and at least minTidy, is free.
func (s *store) tidy() error {
	var pages, free int64
	if err := errors.Join(s.db.QueryRow("PRAGMA page_count").Scan(&pages), s.db.QueryRow("PRAGMA freelist_count").Scan(&free)); err != nil {
		return explain(err)
	}
	if free <= pages/2 || free*pageSize < minTidy {
		return nil
	}
	_, err := s.db.Exec("VACUUM")
	return explain(err)
}

// minTidy is the number of free bytes that are worth the time.
const minTidy = 16 << 20

// take records this process as the owner of the file. It is the first write after
// a start.
func (s *store) take() error {
	_, _ = rand.Read(s.token[:]) // never fails: crypto/rand
	err := s.transact(func() error {
		return errors.Join(s.exec("DELETE FROM owner"), s.exec("INSERT INTO owner (token) VALUES (?)", s.token[:]),
			s.exec("DELETE FROM batches WHERE seq = 0")) // of a probe
	})
	s.taken = s.taken || err == nil
	return err
}

// probe checks whether the database can be written again after a failure. After a
// failed flush, the operating system's view of a file may differ from the disk, so
// probe opens the file again; a commit that failed in its last step may reappear
// with that, so probe removes the rows from next on. Then it reserves space, so
// that the inbox doesn't report recovery and fail with the next event.
func (s *store) probe(next, nextLog int64) error {
	if err := s.reopen(); err != nil {
		return err
	}
	var token []byte
	if err := s.db.QueryRow("SELECT token FROM owner").Scan(&token); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return explain(err)
	}
	if s.taken && !bytes.Equal(token, s.token[:]) {
		return fmt.Errorf("another process has used %s in the meantime; stop it and restart this one", s.path)
	}
	err := s.transact(func() error {
		return errors.Join(s.exec("DELETE FROM batches WHERE seq >= ? OR seq = 0", next), s.exec("DELETE FROM marks WHERE seq >= ?", next),
			s.exec("DELETE FROM log WHERE seq >= ?", nextLog), s.exec("INSERT INTO batches (seq, entries) VALUES (0, zeroblob(65536))"))
	})
	if err != nil {
		return err
	}
	return s.take()
}

// transact runs do between BEGIN and COMMIT. When it returns nil, all changes are
// on disk; otherwise none are, except after a COMMIT that failed in its last step:
// see probe.
func (s *store) transact(do func() error) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	if err = do(); err == nil {
		err = s.exec("COMMIT")
	}
	if err != nil {
		_ = s.exec("ROLLBACK") // after some errors SQLite has done it already
	}
	return err
}

// exec runs a statement. Called with mu held, like statement.
func (s *store) exec(query string, args ...any) error {
	st, err := s.statement(query) //nolint:sqlclosecheck // it stays prepared
	if err == nil {
		_, err = st.Exec(args...)
	}
	return explain(err)
}

// statement prepares each query once.
func (s *store) statement(query string) (*sql.Stmt, error) {
	if s.db == nil {
		return nil, errNotOpen
	}
	st := s.prepared[query]
	if st == nil {
		var err error
		if st, err = s.db.Prepare(query); err != nil {
			return nil, err
		}
		s.prepared[query] = st
	}
	return st, nil
}

// blob reads one column of a row. The error is [ErrNotFound] if the row was
// trimmed.
func (s *store) blob(query string, seq int64) (b []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := s.statement(query) //nolint:sqlclosecheck // it stays prepared
	if err != nil {
		return nil, explain(err)
	}
	if err = st.QueryRow(seq).Scan(&b); errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("%w: row %d was trimmed", ErrNotFound, seq)
	}
	return b, explain(err)
}

// records returns the records of a row of batches.
func (s *store) records(seq int64) ([]byte, error) {
	s.mu.Lock()
	b, ok := s.cache[seq]
	s.mu.Unlock()
	if ok {
		return b, nil
	}
	b, err := s.blob("SELECT entries FROM batches WHERE seq = ?", seq)
	if err == nil {
		s.remember(seq, b)
	}
	return b, err
}

// remember caches the records of a row.
func (s *store) remember(seq int64, records []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cacheBytes += len(records); s.cacheBytes > maxCache {
		clear(s.cache)
		s.cacheBytes = len(records)
	}
	s.cache[seq] = records
}

// size returns the size of the files.
func (s *store) size() (n int64) {
	for _, name := range []string{s.path, s.path + walSuffix} {
		if info, err := os.Stat(name); err == nil {
			n += info.Size()
		}
	}
	return n
}

// explain adds a readable cause to SQLite's errors, which state it as a number,
// and wraps errDamaged and errInUse.
// See https://sqlite.org/rescode.html.
func explain(err error) error {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return err
	}
	switch e.Code() {
	case sqlite3.SQLITE_IOERR_WRITE:
		return fmt.Errorf("the disk, a quota or a limit refuses writes: %w", err)
	case sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC:
		return fmt.Errorf("the disk fails to flush: %w", err)
	case sqlite3.SQLITE_IOERR_LOCK: // SQLite's error for a read-only file
		return fmt.Errorf("the file is not writable, or the file system has no locks: %w", err)
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fmt.Errorf("%w: %w", errInUse, err)
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%w: %w", errDamaged, err)
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("no space is left: %w", err)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		return fmt.Errorf("the folder or its files are not writable: %w", err)
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
