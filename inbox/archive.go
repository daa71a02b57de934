package inbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/gantryhq/gantry/spacelift"
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
	statusMoved      // in marks only: another record has the event
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

func statusOf(o Outcome) status {
	switch o {
	case OutcomeDuplicate:
		return statusDuplicate
	case OutcomeRefused:
		return statusRefused
	case OutcomeUnavailable:
		return statusUnavailable
	}
	return statusIgnored
}

var errDamaged = errors.New("damaged")

const archiveName = "archive.db"

const schema = `
CREATE TABLE IF NOT EXISTS deliveries (
	n INTEGER PRIMARY KEY, tag INTEGER, idx INTEGER, received INTEGER, status INTEGER, version INTEGER, size INTEGER, secret INTEGER,
	source TEXT, account TEXT, stack TEXT, run TEXT, type TEXT, state TEXT, latency INTEGER,
	attempts INTEGER, forwarded INTEGER, error TEXT, reason TEXT, detail TEXT, duplicate TEXT);
CREATE INDEX IF NOT EXISTS by_run ON deliveries (run);
CREATE INDEX IF NOT EXISTS by_stack ON deliveries (stack);
CREATE INDEX IF NOT EXISTS by_status ON deliveries (status);
CREATE INDEX IF NOT EXISTS by_reason ON deliveries (reason) WHERE reason > '';
CREATE TABLE IF NOT EXISTS bodies (n INTEGER PRIMARY KEY, body BLOB);
CREATE TABLE IF NOT EXISTS through (idx INTEGER);
INSERT INTO through SELECT 0 WHERE NOT EXISTS (SELECT * FROM through);
PRAGMA user_version = 2;
`

const columns = "n, tag, idx, received, status, version, size, secret, source, account, stack, run, type, state, latency, attempts, forwarded, error, reason, detail, duplicate"

// archive answers people's lists: a SQLite database that follows the log and the
// marks, a transaction at a time. It is not needed to forward anything.
type archive struct {
	path    string
	opts    Options
	mu      sync.Mutex             // of writing
	w       *sql.DB                // with mu
	r       atomic.Pointer[sql.DB] // a new archive replaces a damaged one
	through uint64                 // index of the last record of the log that it has
	trimmed time.Time
	changed bool // since it was trimmed

	// busy is true while many events arrive. Then readers take turns, with pauses,
	// so that people's lists don't slow events.
	busy     atomic.Bool
	reading  sync.Mutex
	nextRead time.Time
}

// readShare is the pause before the next read while events arrive, as a multiple
// of the read's duration.
const readShare = 9

// turn waits for a reader's turn. Call done after reading.
func (a *archive) turn(ctx context.Context) (done func(), err error) {
	a.reading.Lock()
	if wait := time.Until(a.nextRead); wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			a.reading.Unlock()
			return nil, context.Cause(ctx)
		}
	}
	began := time.Now()
	return func() {
		if a.busy.Load() {
			a.nextRead = time.Now().Add(readShare * time.Since(began))
		}
		a.reading.Unlock()
	}, nil
}

// entry is a delivery that was not accepted, on its way into the archive.
type entry struct {
	d    Delivery
	n    int64
	body []byte // of an unreadable one
}

// news holds changes that the archive does not have yet, apart from the log.
type news struct {
	marks   map[int64]mark
	entries []entry
	bytes   int
}

func openArchive(ctx context.Context, opts Options) (a *archive, err error) {
	a = &archive{path: filepath.Join(opts.Dir, archiveName), opts: opts, changed: true}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	dsn := func(pragmas ...string) string {
		q := url.Values{"_pragma": append(pragmas, "busy_timeout(1000)", "cache_size(-1024)", "temp_store(MEMORY)", "trusted_schema(OFF)")}
		return (&url.URL{Scheme: "file", OmitHost: true, Path: a.path, RawQuery: q.Encode()}).String()
	}
	if a.w, err = sql.Open("sqlite", dsn("journal_mode(WAL)", "synchronous(NORMAL)", "journal_size_limit(4194304)")); err != nil {
		return a, err
	}
	a.w.SetMaxOpenConns(1)
	var check string
	if err := a.w.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&check); err != nil {
		return a, err
	}
	if check != "ok" {
		return a, fmt.Errorf("%w: %s", errDamaged, check)
	}
	var version int
	if err := a.w.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return a, err
	}
	if version > 2 {
		return a, fmt.Errorf("%s was written by a newer version of Gantry (format %d, this one reads 2)", a.path, version)
	}
	if _, err := a.w.ExecContext(ctx, schema); err != nil {
		return a, err
	}
	reader, err := sql.Open("sqlite", dsn("query_only(ON)"))
	if err != nil {
		return a, err
	}
	reader.SetMaxOpenConns(1)
	a.r.Store(reader)
	return a, a.w.QueryRowContext(ctx, "SELECT idx FROM through").Scan(&a.through)
}

func (a *archive) close() (err error) {
	for _, db := range []*sql.DB{a.r.Load(), a.w} {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
	}
	return err
}

// damaged reports whether an error says that the file is damaged.
func damaged(err error) bool {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		code := e.Code() & 0xff
		return code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB
	}
	return errors.Is(err, errDamaged)
}

// moveAside renames a damaged archive.
func (a *archive) moveAside() (string, error) {
	to := fmt.Sprintf("%s.damaged-%s", a.path, time.Now().UTC().Format("20060102T150405.000Z"))
	err := os.Rename(a.path, to)
	for _, suffix := range []string{"-wal", "-shm"} {
		if e := os.Rename(a.path+suffix, to+suffix); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return to, err
}

// follow adds up to limit records before next to the archive, and the news that
// belong to what it has then. Called with a.mu held.
func (a *archive) follow(ctx context.Context, in *Inbox, next uint64, limit int, catchUp uint64, what *news) error {
	a.changed = true
	tx, err := a.w.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // nothing to do after a commit
	b := batchInsert{tx: tx, ctx: ctx, used: make(map[int64]bool)}
	from := a.through + 1
	if keep := uint64(a.opts.Entries.Count); next > keep && from < next-keep && from > catchUp {
		a.skip(&b, in, from, next-keep, what)
		from = next - keep // the others would be trimmed
	}
	end := from + min(uint64(limit), next-from)
	late := a.copyLog(&b, in, from, end, catchUp, what)
	for _, e := range what.entries {
		a.addEntry(&b, e, in.ids.tag)
	}
	b.flush()
	for _, m := range late {
		a.addMark(&b, in, m)
	}
	for n, m := range what.marks {
		if m.idx < end && !b.used[n] {
			a.addMark(&b, in, m)
			b.used[n] = true
		}
	}
	b.exec("UPDATE through SET idx = ?", end-1)
	if b.err == nil {
		b.err = tx.Commit()
	}
	if b.err != nil {
		return b.err
	}
	a.through = end - 1
	what.entries, what.bytes = nil, 0
	for n := range b.used {
		delete(what.marks, n)
	}
	return nil
}

// skip adds those of many events that would not be trimmed soon.
func (a *archive) skip(b *batchInsert, in *Inbox, from, to uint64, what *news) {
	dead := make(map[uint64]bool)
	for n, m := range what.marks {
		if m.status == statusDead {
			dead[m.idx] = true
		} else if m.idx >= from && m.idx < to {
			b.used[n] = true
		}
	}
	for idx := from; idx < to; idx++ {
		if dead[idx] || in.isPending(idx) {
			a.copyLog(b, in, idx, idx+1, 0, what)
		}
	}
}

// copyLog adds the events among the records. It returns the marks among them, up
// to catchUp: those behind it are among the news.
func (a *archive) copyLog(b *batchInsert, in *Inbox, from, to, catchUp uint64, what *news) (late []mark) {
	for idx := from; idx < to; idx++ {
		rec, err := in.readRecord(idx)
		if err != nil {
			continue // dropped, or damaged: there is nothing to list
		}
		if idx <= catchUp {
			late = append(late, readMarks(rec)...)
		}
		e, err := readEvent(rec)
		if err != nil {
			continue
		}
		m := mark{}
		if e.flags == 0 {
			m = what.marks[e.n]
		}
		if m.n == 0 && !in.isPending(idx) {
			m.status = statusForwarded // what else is known of it follows, or is not kept
		}
		b.add(e.n, e.tag, idx, e.ReceivedAt.UnixNano(), int(m.status), e.StateVersion, e.Size, e.Secret, e.Source,
			string(e.Run.Account), string(e.Run.Stack), string(e.Run.Run), string(e.Type), string(e.State), int64(in.latency(idx, e.ReceivedAt)), m.attempts, m.at, m.err, nil, nil, nil)
		if m.n != 0 && m.status != statusDead {
			b.used[m.n] = true
		}
	}
	return late
}

// addMark notes how forwarding ended. A dead event's body is kept.
func (a *archive) addMark(b *batchInsert, in *Inbox, m mark) {
	if m.status == statusMoved {
		return
	}
	b.exec("UPDATE deliveries SET status = ?, attempts = ?, forwarded = ?, error = ? WHERE n = ?", int(m.status), m.attempts, m.at, m.err, m.n)
	if m.status != statusDead {
		return
	}
	if rec, err := in.readRecord(m.idx); err == nil {
		if e, err := readEvent(rec); err == nil {
			b.exec("INSERT OR REPLACE INTO bodies VALUES (?, ?)", m.n, e.body)
		}
	}
}

func (a *archive) addEntry(b *batchInsert, e entry, tag int64) {
	d, st := e.d, statusOf(e.d.Outcome)
	if e.body != nil {
		st = statusUnreadable
		b.exec("INSERT OR REPLACE INTO bodies VALUES (?, ?)", e.n, e.body)
	}
	b.add(e.n, tag, 0, d.ReceivedAt.UnixNano(), int(st), d.StateVersion, d.Size, d.Secret, d.Source,
		string(d.Run.Account), string(d.Run.Stack), string(d.Run.Run), string(d.Type), string(d.State), int64(d.Latency), 0, 0, nil, d.Reason, d.Detail, d.DuplicateOf)
}

// trim deletes the oldest deliveries beyond their budgets. It returns the dead
// ones among them. Called with a.mu held.
func (a *archive) trim(ctx context.Context) (dead []string, err error) {
	tx, err := a.w.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback() //nolint:errcheck // nothing to do after a commit
	for st, keep := range map[status]Budget{
		statusForwarded: a.opts.Entries, statusLate: a.opts.Entries, statusDead: a.opts.Dead, statusUnreadable: a.opts.Unreadable,
		statusDuplicate: a.opts.Ignored, statusIgnored: a.opts.Ignored, statusUnavailable: a.opts.Ignored, statusRefused: a.opts.Refused,
	} {
		gone, err := trimStatus(ctx, tx, st, keep)
		if err != nil {
			return nil, err
		}
		if st == statusDead {
			dead = gone
		}
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM bodies WHERE n NOT IN (SELECT n FROM deliveries WHERE status IN (3, 8))"); err != nil {
		return nil, err
	}
	return dead, tx.Commit()
}

// trimStatus deletes the oldest deliveries of a status. It returns their ids.
func trimStatus(ctx context.Context, tx *sql.Tx, st status, keep Budget) (ids []string, err error) {
	// The newest that goes: by number, and by the bytes of the bodies.
	const query = `SELECT coalesce(max(n), -1) FROM (
		SELECT * FROM (SELECT n FROM deliveries WHERE status = ?1 ORDER BY n DESC LIMIT 1 OFFSET ?2)
		UNION ALL
		SELECT n FROM (SELECT n, sum(length(body)) OVER (ORDER BY n DESC) AS total FROM bodies JOIN deliveries USING (n) WHERE status = ?1) WHERE total > ?3)`
	var last int64
	if err := tx.QueryRowContext(ctx, query, int(st), min(int64(keep.Count), keep.Bytes/rowBytes), keep.Bytes).Scan(&last); err != nil || last < 0 {
		return nil, err
	}
	if st != statusDead {
		_, err := tx.ExecContext(ctx, "DELETE FROM deliveries WHERE status = ? AND n <= ?", int(st), last)
		return nil, err
	}
	rows, err := tx.QueryContext(ctx, "DELETE FROM deliveries WHERE status = ? AND n <= ? RETURNING n, tag", int(st), last)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // Err returns the same error
	for rows.Next() {
		var n, tag int64
		if err := rows.Scan(&n, &tag); err != nil {
			return nil, err
		}
		ids = append(ids, makeID(n, tag).String())
	}
	return ids, rows.Err()
}

// flush moves SQLite's log into the database, so that all of it is on disk.
func (a *archive) flush(ctx context.Context) error {
	_, err := a.w.ExecContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)")
	return err
}

// settle corrects deliveries that are pending in the archive only.
func (a *archive) settle(ctx context.Context, open func(idx uint64) bool) error {
	a.changed = true
	rows, err := a.w.QueryContext(ctx, "SELECT n, idx FROM deliveries WHERE status = ?", int(statusPending))
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // Err returns the same error
	var done []int64
	for rows.Next() {
		var n int64
		var idx uint64
		if err := rows.Scan(&n, &idx); err != nil {
			return err
		}
		if !open(idx) {
			done = append(done, n)
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, n := range done {
		if _, err := a.w.ExecContext(ctx, "UPDATE deliveries SET status = ? WHERE n = ?", int(statusForwarded), n); err != nil {
			return err
		}
	}
	return nil
}

// position returns the index of the last record that the archive has.
func (a *archive) position() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.through
}

// newest returns the number and the tag of the newest delivery.
func (a *archive) newest(ctx context.Context) (n, tag int64, err error) {
	err = a.w.QueryRowContext(ctx, "SELECT n, tag FROM deliveries ORDER BY n DESC LIMIT 1").Scan(&n, &tag)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return n, tag, err
}

// count returns the number of deliveries of a status.
func (a *archive) count(ctx context.Context, st status) (n int, err error) {
	err = a.w.QueryRowContext(ctx, "SELECT count(*) FROM deliveries WHERE status = ?", int(st)).Scan(&n)
	return n, err
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

// batchInsert inserts rows, many with one statement, and remembers the first
// error.
type batchInsert struct {
	ctx  context.Context
	tx   *sql.Tx
	stmt *sql.Stmt
	args []any
	used map[int64]bool // marks that the archive has
	err  error
}

const (
	rowBytes   = 256 // on disk, with its part of the indexes
	rowColumns = 21
	rowsAtOnce = 40
)

func insert(rows int) string {
	row := "(" + strings.Repeat("?,", rowColumns-1) + "?)"
	return "INSERT INTO deliveries (" + columns + ") VALUES " + strings.Repeat(row+",", rows-1) + row +
		" ON CONFLICT (n) DO UPDATE SET idx = excluded.idx, status = excluded.status"
}

func (b *batchInsert) add(values ...any) {
	if b.args = append(b.args, values...); len(b.args) < rowsAtOnce*rowColumns || b.err != nil {
		return
	}
	if b.stmt == nil {
		if b.stmt, b.err = b.tx.PrepareContext(b.ctx, insert(rowsAtOnce)); b.err != nil {
			return
		}
	}
	_, b.err = b.stmt.ExecContext(b.ctx, b.args...)
	b.args = b.args[:0]
}

func (b *batchInsert) flush() {
	if n := len(b.args) / rowColumns; n > 0 {
		b.exec(insert(n), b.args...)
		b.args = b.args[:0]
	}
}

func (b *batchInsert) exec(query string, args ...any) {
	if b.err == nil {
		_, b.err = b.tx.ExecContext(b.ctx, query, args...)
	}
}

// row reads a delivery.
func row(scan func(...any) error, kept uint64) (d Delivery, n int64, idx uint64, err error) {
	var tag, received, latency, attempts, forwarded sql.NullInt64
	var st int
	var errText, reason, detail, duplicate sql.NullString
	err = scan(&n, &tag, &idx, &received, &st, &d.StateVersion, &d.Size, &d.Secret, &d.Source, &d.Run.Account, &d.Run.Stack, &d.Run.Run, &d.Type, &d.State,
		&latency, &attempts, &forwarded, &errText, &reason, &detail, &duplicate)
	if err != nil || st < 0 || st >= len(statuses) {
		return d, n, idx, err
	}
	d.ID, d.ReceivedAt = makeID(n, tag.Int64).String(), time.Unix(0, received.Int64).UTC()
	d.Outcome, d.Forwarding = statuses[st].outcome, statuses[st].forwarding
	d.Latency, d.Attempts, d.ForwardError = time.Duration(latency.Int64), int(attempts.Int64), errText.String
	d.Reason, d.Detail, d.DuplicateOf = reason.String, detail.String, duplicate.String
	if forwarded.Int64 > 0 && status(st) == statusForwarded {
		d.ForwardedAt = time.UnixMilli(forwarded.Int64).UTC()
	}
	d.HasBody = d.Size > 0 && (idx >= kept && idx > 0 || status(st) == statusDead || status(st) == statusUnreadable)
	return d, n, idx, nil
}

// get returns a delivery and the index of its record.
func (a *archive) get(ctx context.Context, id ulid.ULID, kept uint64) (d Delivery, n int64, idx uint64, err error) {
	n, _ = splitID(id)
	d, n, idx, err = row(a.r.Load().QueryRowContext(ctx, "SELECT "+columns+" FROM deliveries WHERE n = ?", n).Scan, kept)
	if errors.Is(err, sql.ErrNoRows) || err == nil && d.ID != id.String() {
		err = ErrNotFound
	}
	return d, n, idx, err
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
func (f Filter) where(before int64) (cond string, args []any, some bool) {
	cond, args = "n < ?", []any{before}
	and := func(c string, arg any) { cond, args = cond+" AND "+c, append(args, arg) }
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
	for _, c := range []struct{ cond, value string }{
		{"run = ?", string(f.Run)}, {stack, string(f.Stack)}, {"reason > '' AND reason = ?", f.Reason}, {"+account = ?", string(f.Account)},
	} {
		if c.value != "" {
			and(c.cond, c.value)
		}
	}
	if !f.Since.IsZero() { // numbers contain a time that is not before the arrival
		and("n >= ?", f.Since.UnixMilli()<<16)
		and("+received >= ?", f.Since.UnixNano())
	}
	if !f.Until.IsZero() {
		and("+received < ?", f.Until.UnixNano())
	}
	return cond, args, len(wanted) > 0
}

// page returns up to limit deliveries numbered below before, newest first, and
// their numbers.
func (a *archive) page(ctx context.Context, f Filter, before int64, limit int, kept uint64) (page []Delivery, ns []int64, err error) {
	where, args, some := f.where(before)
	if !some {
		return nil, nil, nil
	}
	done, err := a.turn(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	rows, err := a.r.Load().QueryContext(ctx, "SELECT "+columns+" FROM deliveries WHERE "+where+" ORDER BY n DESC LIMIT ?", append(args, limit)...)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close() //nolint:errcheck // Err returns the same error
	for rows.Next() {
		d, n, _, err := row(rows.Scan, kept)
		if err != nil {
			return nil, nil, err
		}
		page, ns = append(page, d), append(ns, n)
	}
	return page, ns, rows.Err()
}

// repeats returns the newest accepted deliveries that were not refused, newest
// first.
func (a *archive) repeats(ctx context.Context, limit int, visit func(n int64, k key)) error {
	rows, err := a.r.Load().QueryContext(ctx, "SELECT n, account, stack, run, state, version FROM deliveries WHERE +status < 3 ORDER BY n DESC LIMIT ?", limit)
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // Err returns the same error
	for rows.Next() {
		var n int64
		var run spacelift.RunRef
		var state spacelift.RunState
		var version int
		if err := rows.Scan(&n, &run.Account, &run.Stack, &run.Run, &state, &version); err != nil {
			return err
		}
		visit(n, keyOf(run, state, version))
	}
	return rows.Err()
}
