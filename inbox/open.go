package inbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// openFile opens the database, repairs it if necessary, and builds the index and
// the queue from it.
func (in *Inbox) openFile(ctx context.Context) error {
	if in.opts.Dir == "" {
		return errors.New("no directory configured")
	}
	dir, err := filepath.Abs(in.opts.Dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(dir, fileName)
	suffix := ".damaged-" + time.Now().UTC().Format("20060102T150405.000Z")
	if err := finishSalvage(path, suffix); err != nil {
		return err
	}
	fresh, err := isNew(path)
	if err != nil {
		return err
	}
	if fresh {
		if err := createStore(path); err != nil {
			return err
		}
	}

	found := in.tryOpen(ctx, path)
	if found == nil {
		if err := in.store.tidy(); err != nil {
			in.log.Warn("inbox: cannot shrink the file", "error", err)
		}
	}
	if !errors.Is(found, errDamaged) {
		return found
	}
	in.log.Error("inbox: the file is damaged; saving whatever is readable", "file", path, "error", found)
	if in.store != nil {
		if err := in.store.close(); err != nil {
			in.log.Warn("inbox: cannot close the damaged file", "error", err)
		}
		in.store = nil
	}
	kept, err := salvage(path, suffix)
	if err != nil {
		return fmt.Errorf("%s is damaged (%w); save whatever is readable: %w", path, found, err)
	}
	if err := in.tryOpen(ctx, path); err != nil {
		return fmt.Errorf("open the repaired %s: %w", path, err)
	}
	report := fmt.Sprintf("damage was found at start (%v): %s; the damaged file is %s", found, kept, path+suffix)
	in.log.Error("inbox: " + report)
	in.damage = append(in.damage, report)
	return nil
}

// isNew reports whether there is no inbox yet. A log without its database is the
// remainder of one.
func isNew(path string) (bool, error) {
	for _, name := range []string{path, path + walSuffix} {
		_, err := os.Stat(name)
		if err == nil {
			return false, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return false, err
		}
	}
	return true, nil
}

// tryOpen opens the database, checks it and loads it.
func (in *Inbox) tryOpen(ctx context.Context, path string) (err error) {
	start := time.Now()
	switch info, err := os.Stat(path); {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%w: %s is missing, but its log is there", errDamaged, path)
	case err != nil:
		return err
	case info.Size() == 0:
		return fmt.Errorf("%w: it is empty", errDamaged) // a new file never is: see createStore
	}
	if in.store, err = openStore(path); err != nil {
		return err
	}
	if err := in.store.check(ctx); err != nil {
		return err
	}
	if err := in.load(ctx); err != nil {
		return err
	}
	if n := len(in.index.byKey); n > 0 {
		in.log.Info("inbox opened", "accepted", n, "pending", in.index.pending, "dead", in.index.deads, "took", time.Since(start))
	}
	return nil
}

func (in *Inbox) load(ctx context.Context) error {
	in.index = index{byKey: make(map[key]*entry), dead: make(map[*entry]string)}
	in.logs = [logClasses]*logClass{newLogClass(in.opts.Ignored, 4096), newLogClass(in.opts.Refused, 512)}
	in.nextSeq, in.nextLog = 1, 1
	marks, err := in.loadMarks(ctx)
	if err != nil {
		return err
	}
	if err := in.loadBatches(ctx, marks); err != nil {
		return err
	}
	return in.loadLog(ctx)
}

// each visits the rows of a query.
func (s *store) each(ctx context.Context, visit func(scan func(...any) error) error, query string, args ...any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return explain(err)
	}
	defer rows.Close() //nolint:errcheck // Err returns the same error
	for rows.Next() {
		if err := visit(rows.Scan); err != nil {
			return err
		}
	}
	return explain(rows.Err())
}

func (in *Inbox) loadMarks(ctx context.Context) (map[int64][]byte, error) {
	all := make(map[int64][]byte)
	err := in.store.each(ctx, func(scan func(...any) error) error {
		var seq int64
		var b []byte
		if err := scan(&seq, &b); err != nil {
			return err
		}
		all[seq] = b
		return nil
	}, "SELECT seq, marks FROM marks")
	return all, err
}

func (in *Inbox) loadBatches(ctx context.Context, marks map[int64][]byte) error {
	now := time.Now()
	return in.store.each(ctx, func(scan func(...any) error) error {
		r := &row{}
		var b []byte
		if err := scan(&r.seq, &b, &r.bodies); err != nil {
			return err
		}
		runs, err := r.fill(b, statePending)
		if err != nil {
			return err
		}
		if len(r.entries) == 0 {
			return nil
		}
		errs, err := r.apply(marks[r.seq])
		if err != nil {
			return err
		}
		in.nextSeq = r.seq + 1
		in.index.add(r)
		in.ids.seen(r.entries[len(r.entries)-1].id)
		for i := range r.entries {
			switch e := &r.entries[i]; e.state {
			case statePending:
				in.queue.push(e, runs[i], false, now)
			case stateDead:
				in.index.dead[e] = errs[e.at]
			}
		}
		return nil
	}, "SELECT seq, entries, bodies IS NOT NULL FROM batches WHERE seq > 0 ORDER BY seq")
}

func (in *Inbox) loadLog(ctx context.Context) error {
	return in.store.each(ctx, func(scan func(...any) error) error {
		r := &row{}
		var b []byte
		var class int
		if err := scan(&r.seq, &class, &b); err != nil {
			return err
		}
		if _, err := r.fill(b, stateLogged); err != nil {
			return err
		}
		if class < 0 || class >= logClasses || len(r.entries) == 0 {
			return nil
		}
		c := in.logs[class]
		c.rows = append(c.rows, r)
		c.account(r, 1)
		in.nextLog = r.seq + 1
		in.ids.seen(r.entries[len(r.entries)-1].id)
		return nil
	}, "SELECT seq, class, entries FROM log ORDER BY seq")
}

// fill builds a row's entries from its records, and returns the keys of their runs.
func (r *row) fill(b []byte, as state) (runs []uint64, err error) {
	for at, f := range records(b) {
		if err := intact(f); err != nil {
			return nil, fmt.Errorf("%w: a record of row %d: %w", errDamaged, r.seq, err)
		}
		if isGap(f) {
			continue
		}
		h := readHead(f)
		r.entries = append(r.entries, entry{
			id: h.id, key: h.key, row: r, at: uint32(at), size: uint32(len(f)), body: h.body, state: as, outcome: h.outcome,
		})
		runs = append(runs, h.run)
	}
	r.entries = slices.Clip(r.entries)
	return runs, nil
}

// apply sets the entries' forwarding from the row's marks. It returns the errors
// of dead entries by their places.
func (r *row) apply(marks []byte) (errs map[uint32]string, err error) {
	if marks == nil {
		return nil, nil
	}
	found, err := decodeMarks(marks)
	if err != nil {
		return nil, fmt.Errorf("%w: marks of row %d: %w", errDamaged, r.seq, err)
	}
	errs = make(map[uint32]string)
	for _, m := range found {
		if i, ok := slices.BinarySearchFunc(r.entries, m.at, func(e entry, at uint32) int { return cmp.Compare(e.at, at) }); ok {
			e := &r.entries[i]
			e.state, e.attempts, e.latency, e.forwarded = m.state, m.attempts, m.latency, m.forwarded
			errs[m.at] = m.err
		}
	}
	return errs, nil
}
