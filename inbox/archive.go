package inbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	json "github.com/go-json-experiment/json/v1" // encoding/json in a third of the time
	"golang.org/x/time/rate"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/gantryhq/gantry/folder"
	"github.com/gantryhq/gantry/inbox/wal"
)

// status is a delivery's outcome and forwarding in one number. Marks and the
// archive store it.
type status int

const (
	statusPending status = iota
	statusForwarded
	statusLate
	statusDead
	statusDuplicate
	statusIgnored
	statusRefused
	statusUnavailable
	statusUnreadable // ignored, with its body
)

var statuses = [...]struct {
	outcome    Outcome
	forwarding Forwarding
}{
	{OutcomeAccepted, ForwardingPending},
	{OutcomeAccepted, ForwardingForwarded},
	{OutcomeAccepted, ForwardingLate},
	{OutcomeAccepted, ForwardingDead},
	{OutcomeDuplicate, ""},
	{OutcomeIgnored, ""},
	{OutcomeRefused, ""},
	{OutcomeUnavailable, ""},
	{OutcomeIgnored, ""},
}

// status returns the status of a delivery that was not accepted.
func (n *event) status() status {
	switch {
	case n.body != nil:
		return statusUnreadable
	case n.Outcome == OutcomeDuplicate:
		return statusDuplicate
	case n.Outcome == OutcomeRefused:
		return statusRefused
	case n.Outcome == OutcomeUnavailable:
		return statusUnavailable
	}
	return statusIgnored
}

const (
	archiveName   = "archive.db"
	archiveFormat = 3

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
	rowBytes  = 400 // on disk, with its part of the indexes
	insertRow = `INSERT INTO deliveries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (n) DO UPDATE
	SET idx = excluded.idx, status = excluded.status, attempts = excluded.attempts, forwarded = excluded.forwarded, error = excluded.error`
	selectRow  = "SELECT n, idx, status, attempts, forwarded, error, doc FROM deliveries WHERE "
	pageOrder  = " ORDER BY n DESC LIMIT ?"
	insertBody = "INSERT OR REPLACE INTO bodies VALUES (?, ?)"

	chunk = 500 // rows of one transaction, about

	// A row costs more processor time than accepting its event. While more events
	// arrive than this a second, the archive lags, and catches up later.
	archivePace = 2000

	trimEvery = 30 * time.Second // costs a few milliseconds

	// While more events than busyRate arrive a second, people read so many times a second.
	busyRate = 1000
	busyRead = 50
)

// archive answers people's lists: a SQLite database that follows the log, some
// blocks at a time. It is not needed to forward anything.
type archive struct {
	in               *Inbox
	path             string
	dead, unreadable atomic.Int64

	mu      sync.Mutex             // of writing
	w       *sql.DB                // with mu
	r       atomic.Pointer[sql.DB] // a new archive replaces a damaged one
	through atomic.Uint64          // index of the last record of the log that it has
	allowed int                    // rows that may be added
	trimmed time.Time
	changed bool // since it was trimmed

	turns *rate.Limiter // of readers, so that people's lists don't slow events
}

// open opens the archive, or starts a new one beside a damaged one. It is also
// called when damage is found later, with the cause.
func (a *archive) open(ctx context.Context, damage error) (err error) {
	if damage == nil {
		if damage = a.openFile(ctx); damage == nil || !damaged(damage) {
			return damage
		}
	}
	_ = a.close()
	to := folder.Aside(a.path)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if e := os.Rename(a.path+suffix, to+suffix); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	if err != nil {
		return err
	}
	a.in.report(wal.Damage{File: to, What: fmt.Sprintf("the archive is damaged (%v); a new one was started, and the damaged file is %s", damage, to)})
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

func (a *archive) openFile(ctx context.Context) (err error) {
	connect := func(pragmas ...string) (*sql.DB, error) {
		q := url.Values{"_pragma": append(pragmas, "busy_timeout(1000)", "cache_size(-1024)", "temp_store(MEMORY)", "trusted_schema(OFF)")}
		db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", OmitHost: true, Path: a.path, RawQuery: q.Encode()}).String())
		if err == nil {
			db.SetMaxOpenConns(1)
		}
		return db, err
	}
	if a.w, err = connect("journal_mode(WAL)", "synchronous(NORMAL)", "journal_size_limit(1048576)", "wal_autocheckpoint(256)"); err != nil {
		return err
	}
	var check string
	var format int
	if err := a.w.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&check); err != nil {
		return err
	}
	if check != "ok" {
		return fmt.Errorf("%w: %s", errDamaged, check)
	}
	if err := a.w.QueryRowContext(ctx, "PRAGMA user_version").Scan(&format); err != nil {
		return err
	}
	if format != 0 && format != archiveFormat {
		return fmt.Errorf("%s was written by another version of Gantry (format %d, this one reads %d)", a.path, format, archiveFormat)
	}
	if format == 0 { // otherwise opening it takes no room
		if _, err := a.w.ExecContext(ctx, schema); err != nil {
			return err
		}
	}
	reader, err := connect("query_only(ON)")
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

func (a *archive) close() (err error) {
	for _, db := range []*sql.DB{a.r.Load(), a.w} {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
	}
	return err
}

// allow lets the archive add rows.
func (a *archive) allow(rows int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.allowed = rows
}

// follow brings the archive up to date with the log and with the deliveries that
// were not accepted, for as many rows as are allowed. What is not written is kept
// for the next time.
func (a *archive) follow(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	wrote := false
	for before := uint64(math.MaxUint64); before != a.through.Load() && a.allowed > 0; wrote = true {
		before = a.through.Load()
		next, notes := a.in.unarchived()
		if next == before+1 && len(notes) == 0 {
			break
		}
		if err := a.write(ctx, next, notes); err != nil {
			if damaged(err) {
				err = a.open(ctx, err)
			}
			return err
		}
		a.in.archived(len(notes))
	}
	if !wrote {
		return nil
	}
	return a.count(ctx)
}

// transaction adds to the archive. It remembers the first error.
type transaction struct {
	context.Context
	*sql.Tx
	rows map[int64]*row // by number
	dead []uint64       // indexes of dead events, whose bodies the archive has
	err  error
}

// row is a delivery of the archive.
type row struct {
	Delivery
	n    int64
	mark mark
}

func (t *transaction) exec(query string, args ...any) {
	if t.err == nil {
		_, t.err = t.ExecContext(t.Context, query, args...)
	}
}

// write adds some of what follows in the log, and the notes.
func (a *archive) write(ctx context.Context, next uint64, notes []event) error {
	tx, err := a.w.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // nothing to do after a commit
	t := &transaction{Context: ctx, Tx: tx, rows: make(map[int64]*row)}
	through := a.through.Load()
	for through+1 < next && len(t.rows) < min(chunk, a.allowed) {
		b, err := a.in.records.Block(through + 1)
		if errors.Is(err, wal.ErrNotFound) || err == nil && b.First >= next {
			through = next - 1
			break
		}
		if err != nil {
			return err
		}
		a.take(t, b, next)
		through = b.Next() - 1
	}
	for _, n := range notes {
		if n.body != nil {
			t.exec(insertBody, n.n, n.body)
		}
		t.rows[n.n] = &row{n.Delivery, n.n, mark{status: n.status()}}
	}
	insert, err := tx.PrepareContext(ctx, insertRow)
	if err != nil {
		return err
	}
	for _, n := range slices.Sorted(maps.Keys(t.rows)) { // SQLite appends in order
		r := t.rows[n]
		d, m := &r.Delivery, &r.mark
		doc, _ := json.Marshal(d) // never fails
		if _, err := insert.ExecContext(ctx, r.n, m.idx, int(m.status), m.attempts, m.at, m.err,
			string(d.Run.Account), string(d.Run.Stack), string(d.Run.Run), d.Reason, d.ReceivedAt.UnixNano(), doc); err != nil {
			return err
		}
	}
	if t.exec("UPDATE through SET idx = ?", through); t.err == nil {
		t.err = tx.Commit()
	}
	if t.err != nil {
		return t.err
	}
	a.through.Store(through)
	a.changed = true
	a.allowed -= len(t.rows)
	for _, idx := range t.dead {
		a.in.records.Done(idx)
	}
	return nil
}

// take adds the events of a block that would not be trimmed soon, and its marks.
func (a *archive) take(t *transaction, b wal.Block, next uint64) {
	for i, rec := range b.Recs {
		idx := b.First + uint64(i)
		for _, m := range readMarks(rec) {
			a.takeMark(t, m)
		}
		e, err := readEvent(rec)
		if err == nil && (idx+uint64(a.in.opts.Entries.Count) >= next || a.in.records.Pending(idx)) {
			e.Latency = max(0, b.At.Sub(e.ReceivedAt))
			t.rows[e.n] = &row{e.Delivery, e.n, mark{idx: idx}}
		}
	}
}

// takeMark notes how forwarding ended. A dead event's body is kept.
func (a *archive) takeMark(t *transaction, m mark) {
	r := t.rows[m.n]
	if m.status == statusDead {
		t.dead = append(t.dead, m.idx)
		rec, _ := a.in.records.Read(m.idx)
		if e, err := readEvent(rec); err == nil {
			t.exec(insertBody, m.n, e.body)
			if r == nil {
				r = &row{Delivery: e.Delivery, n: e.n}
				t.rows[m.n] = r
			}
		}
	}
	if r != nil {
		r.mark = m
		return
	}
	t.exec("UPDATE deliveries SET status = ?, attempts = ?, forwarded = ?, error = ? WHERE n = ?", int(m.status), m.attempts, m.at, m.err, m.n)
}

// count counts the deliveries that need attention.
func (a *archive) count(ctx context.Context) error {
	var dead, unreadable int64
	err := a.w.QueryRowContext(ctx, "SELECT (SELECT count(*) FROM deliveries WHERE status = 3), (SELECT count(*) FROM deliveries WHERE status = 8)").Scan(&dead, &unreadable)
	a.dead.Store(dead)
	a.unreadable.Store(unreadable)
	return err
}

// trim deletes the oldest deliveries beyond their budgets, now and then. What the
// log no longer has isn't pending.
func (a *archive) trim(ctx context.Context, now bool, first uint64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.changed || !now && time.Since(a.trimmed) < trimEvery {
		return nil
	}
	a.trimmed, a.changed = time.Now(), false
	if _, err := a.w.ExecContext(ctx, "UPDATE deliveries SET status = 1 WHERE status = 0 AND idx < ?", first); err != nil {
		return err
	}
	o := &a.in.opts
	for _, class := range []struct {
		keep     Budget
		statuses []status
	}{
		{o.Entries, []status{statusForwarded, statusLate}}, {o.Dead, []status{statusDead}}, {o.Unreadable, []status{statusUnreadable}},
		{o.Ignored, []status{statusDuplicate, statusIgnored, statusUnavailable}}, {o.Refused, []status{statusRefused}},
	} {
		for _, st := range class.statuses {
			if err := a.trimStatus(ctx, st, class.keep); err != nil {
				return err
			}
		}
	}
	_, err := a.w.ExecContext(ctx, "DELETE FROM bodies WHERE n NOT IN (SELECT n FROM deliveries WHERE status IN (3, 8))")
	return errors.Join(err, a.count(ctx))
}

// trimStatus deletes the oldest deliveries of a status. The loss of a dead one is
// logged.
func (a *archive) trimStatus(ctx context.Context, st status, keep Budget) error {
	// The newest that goes: by number, and by the bytes of the bodies.
	const query = `DELETE FROM deliveries WHERE status = ?1 AND n <= (SELECT coalesce(max(n), -1) FROM (
		SELECT * FROM (SELECT n FROM deliveries WHERE status = ?1 ORDER BY n DESC LIMIT 1 OFFSET ?2)
		UNION ALL
		SELECT n FROM (SELECT n, sum(length(body)) OVER (ORDER BY n DESC) AS total FROM bodies JOIN deliveries USING (n) WHERE status = ?1) WHERE total > ?3))
		RETURNING n`
	rows, err := a.w.QueryContext(ctx, query, int(st), min(int64(keep.Count), keep.Bytes/rowBytes), keep.Bytes)
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // Err returns the same error
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return err
		}
		if st == statusDead {
			a.in.metrics.deadExpired.Inc()
			a.in.log.Error("inbox: too many dead deliveries; the oldest was deleted", "delivery", a.in.ids.id(n))
		}
	}
	return rows.Err()
}

// flush moves SQLite's log into the database, so that all of it is on disk.
func (a *archive) flush(ctx context.Context) error {
	_, err := a.w.ExecContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)")
	return err
}

// size is the size of the archive's files.
func (a *archive) size() (n int64) {
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(a.path + suffix); err == nil {
			n += info.Size()
		}
	}
	return n
}

// body returns the body of a dead or unreadable delivery.
func (a *archive) body(ctx context.Context, n int64) (body []byte, err error) {
	err = a.r.Load().QueryRowContext(ctx, "SELECT body FROM bodies WHERE n = ?", n).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return body, err
}

// where returns the condition of a filter. It avoids the index on status unless
// there is no better one.
func (f Filter) where(before int64) (cond string, args []any) {
	cond, args = "n < ?", []any{before}
	var wanted []string
	for st, s := range statuses {
		if (f.Outcome == "" || f.Outcome == s.outcome) && (f.Forwarding == "" || f.Forwarding == s.forwarding) {
			wanted = append(wanted, strconv.Itoa(st))
		}
	}
	switch indexed := f.Run != "" || f.Stack != "" || f.Reason != ""; {
	case len(wanted) == 1 && !indexed:
		cond += " AND status = " + wanted[0]
	case len(wanted) < len(statuses):
		cond += " AND +status IN (" + strings.Join(wanted, ",") + ")"
	}
	stack := "stack = ?"
	if f.Run != "" {
		stack = "+stack = ?"
	}
	for _, c := range []struct {
		given bool
		cond  string
		value any
	}{
		{f.Run != "", "run = ?", string(f.Run)}, {f.Stack != "", stack, string(f.Stack)},
		{f.Reason != "", "reason > '' AND reason = ?", f.Reason}, {f.Account != "", "+account = ?", string(f.Account)},
		{!f.Since.IsZero(), "n >= ?", f.Since.UnixMilli() << 16}, // numbers contain a time that is not before the arrival
		{!f.Since.IsZero(), "+received >= ?", f.Since.UnixNano()}, {!f.Until.IsZero(), "+received < ?", f.Until.UnixNano()},
	} {
		if c.given {
			cond, args = cond+" AND "+c.cond, append(args, c.value)
		}
	}
	return cond, args
}

// page returns up to limit deliveries that a condition selects, newest first.
func (a *archive) page(ctx context.Context, cond string, limit int, args ...any) (page []row, err error) {
	if err := a.turn(ctx); err != nil {
		return nil, err
	}
	rows, err := a.r.Load().QueryContext(ctx, selectRow+cond+pageOrder, append(args, limit)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // Err returns the same error
	for rows.Next() {
		var r row
		var doc []byte
		d, m := &r.Delivery, &r.mark
		if err := rows.Scan(&r.n, &m.idx, &m.status, &m.attempts, &m.at, &m.err, &doc); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(doc, d); err != nil {
			return nil, fmt.Errorf("delivery %d: %w", r.n, err)
		}
		d.Outcome, d.Forwarding = statuses[m.status].outcome, statuses[m.status].forwarding
		if d.Attempts, d.ForwardError = m.attempts, m.err; m.status == statusForwarded && m.at > 0 {
			d.ForwardedAt = time.UnixMilli(m.at).UTC()
		}
		d.HasBody = d.Size > 0 && (m.status == statusDead || m.status == statusUnreadable || a.in.records.Has(m.idx))
		page = append(page, r)
	}
	return page, rows.Err()
}

// turn waits for a reader's turn, if many events arrive.
func (a *archive) turn(ctx context.Context) error {
	if !a.in.busy() {
		return nil
	}
	return a.turns.Wait(ctx)
}

// busy reports whether many events arrive: more than the limiter fills up again.
func (in *Inbox) busy() bool { return in.arrivals.Tokens() < busyRate/2 }
