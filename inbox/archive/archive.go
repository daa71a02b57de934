package archive

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	json "github.com/go-json-experiment/json/v1" // encoding/json in a third of the time
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/gantryhq/gantry/folder"
	"github.com/gantryhq/gantry/spacelift"
)

const (
	format = 3

	// Lists find deliveries by the columns; doc is the delivery as JSON.
	schema = `BEGIN;
CREATE TABLE deliveries (
	n INTEGER PRIMARY KEY, idx INTEGER, status INTEGER, attempts INTEGER, forwarded INTEGER, error TEXT,
	account TEXT, stack TEXT, run TEXT, reason TEXT, received INTEGER, doc BLOB);
CREATE INDEX by_run ON deliveries (run);
CREATE INDEX by_stack ON deliveries (stack);
CREATE INDEX by_status ON deliveries (status);
CREATE INDEX by_reason ON deliveries (reason) WHERE reason > '';
CREATE TABLE bodies (n INTEGER PRIMARY KEY, body BLOB);
CREATE TABLE through (idx INTEGER);
INSERT INTO through VALUES (0);
PRAGMA user_version = 3;
COMMIT;`
	// Archives in this format may lack it: it came later.
	addIndex  = `CREATE INDEX IF NOT EXISTS by_account ON deliveries (account, status)`
	rowBytes  = 450 // on disk, with its part of the indexes
	insertRow = `INSERT INTO deliveries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (n) DO UPDATE
	SET idx = excluded.idx, status = excluded.status, attempts = excluded.attempts, forwarded = excluded.forwarded, error = excluded.error`

	trimEvery = 30 * time.Second // costs a few milliseconds
)

// Options configure an archive.
type Options struct {
	Path string
	Keep Budgets

	// Damaged is called when the file is damaged, with its new name, and a clause for people.
	Damaged func(file, what string)
	// Turn is called before each read, which waits for it.
	Turn func(context.Context) error
}

// DB is an open archive.
type DB struct {
	opts       Options
	dead       atomic.Int64
	unreadable atomic.Pointer[map[spacelift.Account]Unreadable]
	lag        atomic.Int64 // milliseconds by which the latest number followed its arrival
	through    atomic.Uint64

	mu      sync.Mutex             // of writing
	w       *sql.DB                // with mu
	r       atomic.Pointer[sql.DB] // a new archive replaces a damaged one
	trimmed time.Time
	changed bool // since it was trimmed
}

// Open opens the archive, or starts a new one: if there is none, and beside a damaged one.
// A file in another format is an error. Close the archive even after an error.
func Open(ctx context.Context, o Options) (*DB, error) {
	o.Keep = o.Keep.OrDefaults()
	a := &DB{opts: o}
	err := a.openFile(ctx)
	if damaged(err) {
		err = a.replace(ctx, err)
	}
	return a, err
}

// replace moves a damaged file aside and starts a new one.
func (a *DB) replace(ctx context.Context, damage error) (err error) {
	_ = a.Close()
	to := folder.Aside(a.opts.Path)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if e := os.Rename(a.opts.Path+suffix, to+suffix); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	if err != nil {
		return err
	}
	a.opts.Damaged(to, fmt.Sprintf("the archive is damaged (%v); a new one was started, and the damaged file is %s", damage, to))
	return a.openFile(ctx)
}

var errDamaged = errors.New("damaged")

// damaged reports whether an error says that the file is damaged.
func damaged(err error) bool {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		code := e.Code() & 0xff
		return code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB
	}
	return errors.Is(err, errDamaged)
}

func (a *DB) connect(pragmas ...string) (*sql.DB, error) {
	q := url.Values{"_pragma": append(pragmas, "busy_timeout(1000)", "cache_size(-1024)", "temp_store(MEMORY)", "trusted_schema(OFF)")}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", OmitHost: true, Path: a.opts.Path, RawQuery: q.Encode()}).String())
	if err == nil {
		db.SetMaxOpenConns(1)
	}
	return db, err
}

func (a *DB) openFile(ctx context.Context) (err error) {
	if a.w, err = a.connect("journal_mode(WAL)", "synchronous(NORMAL)", "journal_size_limit(1048576)", "wal_autocheckpoint(256)"); err != nil {
		return err
	}
	var check string
	var found int
	if err := a.w.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&check); err != nil {
		return err
	}
	if check != "ok" {
		return fmt.Errorf("%w: %s", errDamaged, check)
	}
	if err := a.w.QueryRowContext(ctx, "PRAGMA user_version").Scan(&found); err != nil {
		return err
	}
	if found != 0 && found != format {
		return fmt.Errorf("%s was written by another version of Gantry (format %d, this one reads %d)", a.opts.Path, found, format)
	}
	if found == 0 { // otherwise opening it takes no room
		if _, err := a.w.ExecContext(ctx, schema); err != nil {
			return err
		}
	}
	if _, err := a.w.ExecContext(ctx, addIndex); err != nil {
		return err
	}
	var lag sql.NullInt64
	if err := a.w.QueryRowContext(ctx, "SELECT max((n >> 16) - received / 1000000) FROM deliveries").Scan(&lag); err != nil {
		return err
	}
	a.lag.Store(lag.Int64)
	reader, err := a.connect("query_only(ON)")
	if err != nil {
		return err
	}
	a.r.Store(reader)
	a.changed = true
	var through uint64
	err = a.w.QueryRowContext(ctx, "SELECT idx FROM through").Scan(&through)
	a.through.Store(through)
	return errors.Join(err, a.count(ctx))
}

// Close closes the archive.
func (a *DB) Close() (err error) {
	for _, db := range []*sql.DB{a.r.Load(), a.w} {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
	}
	return err
}

// Through returns the Through of the last batch: up to where the archive has what its user
// keeps elsewhere.
func (a *DB) Through() uint64 { return a.through.Load() }

// Rewind lowers Through to an index, because the user's records behind it are lost.
func (a *DB) Rewind(through uint64) { a.through.Store(min(a.through.Load(), through)) }

// Dead counts the deliveries that are dead.
func (a *DB) Dead() int { return int(a.dead.Load()) }

// Row is a delivery as the archive keeps it.
type Row struct {
	Delivery
	// Number orders the deliveries, and is unique. Its bits above the lowest 16 are
	// milliseconds since 1970, not before the arrival.
	Number int64
	Index  uint64 // in the user's log; 0 if it isn't there
	Body   []byte // only Write uses it: of a dead delivery, or of an ignored one that is unreadable
}

// Result says how forwarding a delivery ended.
type Result struct {
	Number      int64
	Index       uint64
	Forwarding  Forwarding
	Attempts    int
	ForwardedAt int64 // milliseconds since 1970; 0 if it wasn't
	Error       string
}

// Batch is a set of changes that one Write makes.
type Batch struct {
	Through uint64
	rows    map[int64]*Row
	results []Result // of rows that the archive has, or has no longer
}

// Len returns how much the batch is, in rows. A result of a row that the archive has, or has
// no longer, is a fraction of one.
func (b *Batch) Len() int { return len(b.rows) + len(b.results)/8 }

// Add adds a row, or its body to the row of that number.
func (b *Batch) Add(r Row) {
	if known := b.rows[r.Number]; known != nil && r.Body != nil {
		known.Body = r.Body
		return
	}
	if b.rows == nil {
		b.rows = make(map[int64]*Row)
	}
	b.rows[r.Number] = &r
}

// Finish changes the row of a result, which is in the batch or in the archive.
func (b *Batch) Finish(res Result) {
	r := b.rows[res.Number]
	if r == nil {
		b.results = append(b.results, res)
		return
	}
	r.Index = res.Index
	res.apply(&r.Delivery)
}

func (res *Result) apply(d *Delivery) {
	d.Forwarding, d.Attempts, d.ForwardError, d.ForwardedAt = res.Forwarding, res.Attempts, res.Error, time.Time{}
	if res.Forwarding == ForwardingForwarded && res.ForwardedAt > 0 {
		d.ForwardedAt = time.UnixMilli(res.ForwardedAt).UTC()
	}
}

// ErrReplaced reports that the file was damaged, and that a new one was started, without
// the batch and all before it.
var ErrReplaced = errors.New("the archive was damaged and begins anew")

// Write adds a batch. After an error nothing of it is there.
func (a *DB) Write(ctx context.Context, b *Batch) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	err := a.write(ctx, b)
	if damaged(err) {
		if err = a.replace(ctx, err); err == nil {
			err = ErrReplaced
		}
	}
	if err != nil {
		return err
	}
	a.through.Store(b.Through)
	a.changed = true
	return a.count(ctx)
}

func (a *DB) write(ctx context.Context, b *Batch) error {
	tx, err := a.w.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // nothing to do after a commit
	exec := func(query string, args ...any) {
		if err == nil {
			_, err = tx.ExecContext(ctx, query, args...)
		}
	}
	insert, err := tx.PrepareContext(ctx, insertRow)
	if err != nil {
		return err
	}
	update, err := tx.PrepareContext(ctx, "UPDATE deliveries SET status = ?, attempts = ?, forwarded = ?, error = ? WHERE n = ?")
	if err != nil {
		return err
	}
	for _, res := range b.results {
		if _, err := update.ExecContext(ctx, statusOf(OutcomeAccepted, res.Forwarding), res.Attempts, res.ForwardedAt, res.Error, res.Number); err != nil {
			return err
		}
	}
	for _, n := range slices.Sorted(maps.Keys(b.rows)) { // SQLite appends in order
		r := b.rows[n]
		status, forwarded := statusOf(r.Outcome, r.Forwarding), int64(0)
		if !r.ForwardedAt.IsZero() {
			forwarded = r.ForwardedAt.UnixMilli()
		}
		if r.Body != nil {
			if exec("INSERT OR REPLACE INTO bodies VALUES (?, ?)", n, r.Body); status == ignored {
				status = unreadable
			}
		}
		a.lag.Store(max(a.lag.Load(), n>>16-r.ReceivedAt.UnixMilli()))
		doc, _ := json.Marshal(&r.Delivery) // never fails
		if _, err := insert.ExecContext(ctx, n, r.Index, status, r.Attempts, forwarded, r.ForwardError,
			string(r.Run.Account), string(r.Run.Stack), string(r.Run.Run), r.Reason, r.ReceivedAt.UnixNano(), doc); err != nil {
			return err
		}
	}
	if exec("UPDATE through SET idx = ?", b.Through); err == nil {
		err = tx.Commit()
	}
	return err
}

// count counts the deliveries that need attention.
func (a *DB) count(ctx context.Context) error {
	var found int64
	if err := a.w.QueryRowContext(ctx, "SELECT count(*) FROM deliveries WHERE status = ?", dead).Scan(&found); err != nil {
		return err
	}
	a.dead.Store(found)
	return a.countUnreadable(ctx)
}

// Trim deletes the oldest deliveries beyond their budgets, now or now and then. first is
// the index of the user's oldest record: what it no longer has isn't pending. Trim returns
// the numbers of the dead deliveries that it deleted.
func (a *DB) Trim(ctx context.Context, first uint64, now bool) (lost []int64, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.changed || !now && time.Since(a.trimmed) < trimEvery {
		return nil, nil
	}
	a.trimmed, a.changed = time.Now(), false
	if _, err := a.w.ExecContext(ctx, "UPDATE deliveries SET status = 1 WHERE status = 0 AND idx < ?", first); err != nil {
		return nil, err
	}
	for st, s := range statuses {
		deleted, err := a.trimStatus(ctx, st, *s.keep(&a.opts.Keep))
		if err != nil {
			return lost, err
		}
		if st == dead {
			lost = deleted
		}
	}
	_, err = a.w.ExecContext(ctx, "DELETE FROM bodies WHERE n NOT IN (SELECT n FROM deliveries WHERE status IN (3, 8))")
	return lost, errors.Join(err, a.count(ctx))
}

// trimStatus deletes the oldest deliveries of a status, and returns their numbers.
func (a *DB) trimStatus(ctx context.Context, st int, keep Budget) (deleted []int64, err error) {
	// The newest that goes: by number, and by the bytes of the bodies.
	const query = `DELETE FROM deliveries WHERE status = ?1 AND n <= (SELECT coalesce(max(n), -1) FROM (
		SELECT * FROM (SELECT n FROM deliveries WHERE status = ?1 ORDER BY n DESC LIMIT 1 OFFSET ?2)
		UNION ALL
		SELECT n FROM (SELECT n, sum(length(body)) OVER (ORDER BY n DESC) AS total FROM bodies JOIN deliveries USING (n) WHERE status = ?1) WHERE total > ?3))
		RETURNING n`
	rows, err := a.w.QueryContext(ctx, query, st, min(int64(keep.Count), keep.Bytes/rowBytes), keep.Bytes)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // Err returns the same error
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		deleted = append(deleted, n)
	}
	return deleted, rows.Err()
}

// Flush moves SQLite's log into the database, so that all of it is on disk.
func (a *DB) Flush(ctx context.Context) error {
	_, err := a.w.ExecContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)")
	return err
}

// Size is the size of the files in bytes.
func (a *DB) Size() (n int64) {
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(a.opts.Path + suffix); err == nil {
			n += info.Size()
		}
	}
	return n
}
