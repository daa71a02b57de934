package inbox

import (
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Names of the files that a salvage creates next to the database.
const (
	copySuffix  = ".salvage" // the copy that it reads, so that the damaged file doesn't change
	draftSuffix = ".draft"   // the file that it writes
	savedSuffix = ".saved"   // complete, but not in place yet
)

// salvage copies whatever is readable of a damaged database into a new one, and
// puts that in its place. The damaged file and its log remain, with suffix. It
// saves what SQLite can reach; `sqlite3 FILE .recover` may find more. A crash at
// any moment leaves either the damaged file in its place or a complete new one:
// see finishSalvage.
func salvage(path, suffix string) (kept salvaged, err error) {
	work, draft := path+copySuffix, path+draftSuffix
	clean := func() error {
		return errors.Join(removeFile(work), removeFile(work+walSuffix), removeFile(draft))
	}
	err = errors.Join(clean(), copyFile(work, path), copyFile(work+walSuffix, path+walSuffix), writeEmpty(draft))
	if err != nil {
		return kept, err
	}
	from, err := openDamaged(work, draft)
	if err != nil {
		return kept, err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	to, err := openDB(draft)
	if err != nil {
		return kept, err
	}
	if err := errors.Join(kept.copy(to, from), to.Close()); err != nil {
		return kept, err
	}
	if err := os.Rename(draft, path+savedSuffix); err != nil {
		return kept, err
	}
	return kept, errors.Join(finishSalvage(path, suffix), clean())
}

// finishSalvage puts a saved database in place if it exists.
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

// openDamaged opens the copy of a damaged database. It replaces an unusable first
// page with that of an empty database: the schema and the roots of the tables are
// the same.
func openDamaged(work, empty string) (*sql.DB, error) {
	for _, force := range []bool{false, true} {
		if err := repairHeader(work, empty, force); err != nil {
			return nil, err
		}
		db, err := openDB(work)
		if err != nil {
			return nil, err
		}
		var tables int
		err = db.QueryRow("SELECT count(*) FROM sqlite_schema WHERE name IN ('batches', 'marks', 'log')").Scan(&tables)
		if err == nil && tables == 3 {
			return db, nil
		}
		if err = errors.Join(explain(err), db.Close()); force {
			return nil, fmt.Errorf("open with a new first page: %w", err)
		}
	}
	panic("not reached")
}

// repairHeader makes a file's header agree with its size, and replaces the first
// page with that of an empty database if it isn't one, or if forced.
// See https://sqlite.org/fileformat2.html#the_database_header.
func repairHeader(path, empty string, force bool) (err error) {
	b, err := os.ReadFile(empty)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	pages := max((info.Size()+pageSize-1)/pageSize, 5) // the roots are among them
	if err := f.Truncate(pages * pageSize); err != nil {
		return err
	}
	first := make([]byte, pageSize)
	if _, err := f.ReadAt(first, 0); err != nil {
		return err
	}
	if force || string(first[:18]) != string(b[:18]) {
		first = b[:pageSize]
		first[18], first[19] = 2, 2 // with a write-ahead log
		clear(first[32:40])         // without known free pages
	}
	binary.BigEndian.PutUint32(first[28:], uint32(pages))
	copy(first[92:96], first[24:28]) // the page count is valid for this change
	_, err = f.WriteAt(first, 0)
	return err
}

// salvaged is the result of a salvage.
type salvaged struct {
	deliveries int
	unreadable int // records that didn't match their checksum
	gaps       int // ranges of rows that SQLite couldn't reach
}

func (k salvaged) String() string {
	s := fmt.Sprintf("kept %d deliveries", k.deliveries)
	if k.unreadable > 0 {
		s += fmt.Sprintf(", lost %d unreadable ones", k.unreadable)
	}
	if k.gaps > 0 {
		s += fmt.Sprintf(", lost %d ranges of rows that cannot be reached", k.gaps)
	}
	return s
}

func (k *salvaged) copy(to, from *sql.DB) error {
	tx, err := to.Begin()
	if err != nil {
		return err
	}
	for _, table := range []struct {
		query, insert string
		records       bool // they are in the last column
	}{
		{"SELECT seq, bodies, entries FROM batches", "INSERT INTO batches (seq, bodies, entries) VALUES (?, ?, ?)", true},
		{"SELECT seq, class, entries FROM log", "INSERT INTO log (seq, class, entries) VALUES (?, ?, ?)", true},
		{"SELECT seq, NULL, marks FROM marks", "INSERT INTO marks (seq, marks) VALUES (?1, ?3)", false},
	} {
		err := k.walk(from, table.query, func(seq int64, second any, b []byte) error {
			if table.records {
				b = k.dropDamaged(b)
			} else if _, err := decodeMarks(b); err != nil {
				b = nil // the row's events are sent again
			}
			if b == nil {
				return nil
			}
			_, err := tx.Exec(table.insert, seq, second, b)
			return err
		})
		if err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	return tx.Commit()
}

// dropDamaged turns a row's damaged records into gaps: the others keep their
// places, which marks refer to. It returns nil if there are no others.
func (k *salvaged) dropDamaged(row []byte) []byte {
	end, good := 0, 0
	for at, f := range records(row) {
		switch {
		case f == nil: // the start of the next one is lost as well
			k.unreadable++
		case intact(f) != nil:
			k.unreadable++
			makeGap(f)
		case !isGap(f):
			good++
		}
		end = at + len(f)
	}
	k.deliveries += good
	if good == 0 {
		return nil
	}
	return row[:end]
}

// walk visits the rows of a query in order. When it meets damage, it counts a gap
// and continues with the next row that it can read.
func (k *salvaged) walk(db *sql.DB, query string, visit func(seq int64, second any, b []byte) error) error {
	next := int64(1)
	for {
		err := walkFrom(db, query, next, -1, func(seq int64, second any, b []byte) error {
			next = seq + 1
			return visit(seq, second, b)
		})
		if !errors.Is(err, errDamaged) {
			return err
		}
		k.gaps++
		// The steps grow so slowly that they skip few rows.
		for step := int64(1); errors.Is(err, errDamaged); step += 1 + step/8 {
			if step > 1<<40 {
				return nil
			}
			next += 1 + step/8
			err = walkFrom(db, query, next, 1, func(int64, any, []byte) error { return nil })
		}
		if err != nil {
			return err
		}
	}
}

// walkFrom visits up to limit rows of a query from seq on. It returns errDamaged
// when it can't read the next one.
func walkFrom(db *sql.DB, query string, seq int64, limit int, visit func(seq int64, second any, b []byte) error) error {
	rows, err := db.Query(query+" WHERE seq >= ? ORDER BY seq LIMIT ?", seq, limit)
	if err != nil {
		return explain(err)
	}
	defer rows.Close() //nolint:errcheck // Err returns the same error
	for least := seq; rows.Next(); {
		var second any
		var b []byte
		if err := rows.Scan(&seq, &second, &b); err != nil {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
		if seq < least {
			return fmt.Errorf("%w: rows out of order", errDamaged)
		}
		if err := visit(seq, second, b); err != nil {
			return err
		}
		least = seq + 1
	}
	return explain(rows.Err())
}

// copyFile copies a file if it exists.
func copyFile(to, from string) (err error) {
	src, err := os.Open(from)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer src.Close() //nolint:errcheck // only read
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Close())
}
