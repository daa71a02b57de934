package inbox

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Names of files that a salvage makes beside the database.
const (
	copySuffix  = ".salvage" // what it reads, so that the damaged file stays as it was found
	draftSuffix = ".saved.new"
	savedSuffix = ".saved" // complete, and not in place yet
)

// kept says what a salvage found.
type kept struct {
	deliveries int
	unreadable int // records that were there and did not match their checksum
	gaps       int // ranges of rows whose way was damaged; what they held was looked for page by page
}

func (k kept) String() string {
	s := fmt.Sprintf("%d deliveries", k.deliveries)
	if k.unreadable > 0 {
		s += fmt.Sprintf(", lost %d unreadable ones", k.unreadable)
	}
	if k.gaps > 0 {
		s += fmt.Sprintf(", %d parts of the file were damaged and may have held more", k.gaps)
	}
	return s
}

// salvage puts what is readable of a damaged database into a new one, which
// takes its place. The damaged file and its log stay beside it, with suffix.
// SQLite reads what it can reach; where its way is blocked, the pages behind
// are read one by one. A crash at any moment leaves either the damaged file in
// its place or a complete new one: see finishSalvage.
func salvage(ctx context.Context, path, suffix string) (k kept, err error) {
	work, draft := path+copySuffix, path+draftSuffix
	leftovers := []string{work, work + walSuffix, draft, draft + walSuffix}
	clean := func() error {
		var errs []error
		for _, name := range leftovers {
			errs = append(errs, removeFile(name))
		}
		return errors.Join(errs...)
	}
	if err := clean(); err != nil {
		return k, err
	}
	for _, s := range []string{"", walSuffix} {
		if err := copyFile(work+s, path+s); err != nil {
			return k, err
		}
	}
	if err := writeEmpty(draft); err != nil {
		return k, err
	}
	if err := extract(ctx, work, draft, &k); err != nil {
		return k, err
	}
	if err := os.Rename(draft, path+savedSuffix); err != nil {
		return k, err
	}
	if err := finishSalvage(path, suffix); err != nil {
		return k, err
	}
	return k, clean()
}

// finishSalvage puts a saved database in place, if there is one.
func finishSalvage(path, suffix string) error {
	if _, err := os.Stat(path + savedSuffix); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, names := range [][2]string{{path, path + suffix}, {path + walSuffix, path + suffix + walSuffix}, {path + savedSuffix, path}} {
		if err := os.Rename(names[0], names[1]); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("put the saved file in place: %w", err)
		}
	}
	return syncDir(filepath.Dir(path))
}

func extract(ctx context.Context, work, draft string, k *kept) (err error) {
	from, err := openDamaged(ctx, work, draft)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	to, err := sql.Open("sqlite", dsn(draft))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	to.SetMaxOpenConns(1)
	if _, err := to.ExecContext(ctx, "PRAGMA synchronous = FULL"); err != nil {
		return err
	}
	tx, err := to.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()

	s := &saver{tx: tx, kept: k}
	var gaps [3][]span
	for kind, query := range []string{
		cellBatch: "SELECT seq, 0, entries, bodies FROM batches WHERE seq >= ? ORDER BY seq",
		cellMarks: "SELECT seq, 0, marks, NULL FROM marks WHERE seq >= ? ORDER BY seq",
		cellLog:   "SELECT seq, class, entries, NULL FROM log WHERE seq >= ? ORDER BY seq",
	} {
		if gaps[kind], err = walk(ctx, from, query, func(c cell) error { c.kind = kind; return s.save(c) }); err != nil {
			return err
		}
		k.gaps += len(gaps[kind])
	}
	if k.gaps > 0 {
		// What is in the log only has to be where the pages are.
		_, _ = from.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
		err := cells(work, func(c cell) error {
			for _, g := range gaps[c.kind] {
				if c.seq > g.first && c.seq < g.last {
					return s.save(c)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM marks WHERE seq NOT IN (SELECT seq FROM batches)"); err != nil {
		return err
	}
	return tx.Commit()
}

// openDamaged opens the copy of a damaged database. If its first page is
// unusable, it gets that of an empty one: the schema is the same, and so are
// the tables' roots.
func openDamaged(ctx context.Context, work, empty string) (*sql.DB, error) {
	for _, force := range []bool{false, true} {
		if err := mend(work, empty, force); err != nil {
			return nil, err
		}
		db, err := sql.Open("sqlite", dsn(work))
		if err != nil {
			return nil, err
		}
		db.SetMaxOpenConns(1)
		var tables int
		err = db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE name IN ('batches', 'marks', 'log')").Scan(&tables)
		if err == nil && tables == 3 {
			return db, nil
		}
		if err := errors.Join(err, db.Close()); force {
			return nil, fmt.Errorf("even with another first page: %w", err)
		}
	}
	return nil, errDamaged // not reached
}

// mend makes a file's header agree with its size, and replaces its first page
// by that of an empty database if it is none, or by force.
func mend(path, empty string, force bool) error {
	b, err := os.ReadFile(empty)
	if err != nil {
		return err
	}
	first := b[:pageSize]
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	pages := max(5, (info.Size()+pageSize-1)/pageSize) // the roots are there
	if err := f.Truncate(pages * pageSize); err != nil {
		return err
	}
	have := make([]byte, pageSize)
	if _, err := f.ReadAt(have, 0); err != nil {
		return err
	}
	// https://sqlite.org/fileformat2.html#the_database_header
	if force || string(have[:18]) != string(first[:18]) {
		have = first
		have[18], have[19] = 2, 2 // it has a write-ahead log
		clear(have[32:40])        // and no free pages that we know of
	}
	binary.BigEndian.PutUint32(have[28:], uint32(pages))
	copy(have[92:96], have[24:28]) // the page count is valid for this change
	if _, err := f.WriteAt(have, 0); err != nil {
		return err
	}
	return f.Sync()
}

// walk visits the rows of a query in order. Where the way to them is damaged it
// looks for the next readable one, and returns the gaps: no row strictly
// between was visited.
func walk(ctx context.Context, db *sql.DB, query string, visit func(cell) error) (gaps []span, err error) {
	const end = 1 << 62
	next := int64(1)
	for {
		err := visitFrom(ctx, db, query, &next, -1, visit)
		if err == nil || !errors.Is(err, errDamaged) {
			return gaps, err
		}
		gap := span{next - 1, end}
		for step := int64(1); step < 1<<40; step *= 2 {
			at := next + step
			if err := visitFrom(ctx, db, query, &at, 1, func(cell) error { return nil }); err == nil {
				gap.last = next + step
				break
			} else if !errors.Is(err, errDamaged) {
				return gaps, err
			}
		}
		gaps = append(gaps, gap)
		if gap.last == end {
			return gaps, nil
		}
		next = gap.last
	}
}

// visitFrom visits rows from seq next on, which it moves along, at most limit
// of them if that is not negative.
func visitFrom(ctx context.Context, db *sql.DB, query string, next *int64, limit int, visit func(cell) error) error {
	rows, err := db.QueryContext(ctx, query+" LIMIT ?", *next, limit)
	if err != nil {
		return explain(err)
	}
	defer rows.Close()
	for rows.Next() {
		var c cell
		if err := rows.Scan(&c.seq, &c.class, &c.records, &c.bodies); err != nil {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
		if c.seq < *next {
			return fmt.Errorf("%w: rows out of order", errDamaged)
		}
		if err := visit(c); err != nil {
			return err
		}
		*next = c.seq + 1
	}
	return explain(rows.Err())
}

// saver writes what is good of a row into the new database.
type saver struct {
	tx   *sql.Tx
	kept *kept
}

func (s *saver) save(c cell) error {
	if c.seq <= 0 {
		return nil
	}
	if c.kind == cellMarks {
		if _, err := decodeMarks(c.records); err != nil {
			return nil // its events are sent again
		}
		_, err := s.tx.Exec("INSERT OR IGNORE INTO marks (seq, marks) VALUES (?, ?)", c.seq, c.records)
		return err
	}
	var left []byte
	have := make(map[uint16]bool)
	for slot, body := range bodies(c.bodies) {
		left = appendBody(left, slot, body)
		have[slot] = true
	}
	var good []byte
	n := 0
	for f := range records(c.records) {
		if f == nil {
			s.kept.unreadable++
			continue
		}
		start := len(good)
		good = append(good, f...)
		if h := readHead(f); h.body > 0 && !have[h.slot] {
			loseBody(good[start:])
		}
		n++
	}
	if n == 0 {
		return nil
	}
	query, args := "INSERT OR IGNORE INTO log (seq, class, entries) VALUES (?, ?, ?)", []any{c.seq, c.class, good}
	if c.kind == cellBatch {
		query, args = "INSERT OR IGNORE INTO batches (seq, entries, bodies) VALUES (?, ?, ?)", []any{c.seq, good, left}
	}
	result, err := s.tx.Exec(query, args...)
	if err != nil {
		return err
	}
	if added, err := result.RowsAffected(); err != nil || added == 0 {
		return err
	}
	s.kept.deliveries += n
	return nil
}

// copyFile copies a file, if it is there.
func copyFile(to, from string) (err error) {
	src, err := os.Open(from)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Close())
}
