package inbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/time/rate"

	"github.com/gantryhq/gantry/folder"
	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/inbox/queue"
	"github.com/gantryhq/gantry/inbox/repeats"
	"github.com/gantryhq/gantry/inbox/wal"
)

const archiveName = "archive.db"

// oldStore is the file of the store that no release contained.
const oldStore = "inbox.db"

// Open opens the inbox in opts.Dir, or creates one, and resumes pending events. A
// folder that another process uses is an error. Damage isn't: Open keeps
// whatever is readable, moves damaged files aside, and reports it in the log, in
// Health and in the metrics. A full disk isn't an error either: pending events
// are forwarded.
func Open(ctx context.Context, opts Options) (_ *Inbox, err error) {
	opts = opts.withDefaults()
	in := &Inbox{
		opts: opts, log: opts.Logger.With("room", "inbox"), background: context.WithoutCancel(ctx),
		ids: newIDs(), window: repeats.New(opts.Archive.Entries.Count), open: newBatch(nil),
		queue: queue.New(opts.Linger), arrivals: rate.NewLimiter(busyRate, busyRate), turns: rate.NewLimiter(busyRead, 1),
		kick: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, in.closeFiles())
		}
	}()
	if err := in.openFiles(ctx); err != nil {
		if errors.Is(err, folder.ErrInUse) {
			return nil, fmt.Errorf("open inbox: another process uses %s; stop it, or give each process its own directory", opts.Dir)
		}
		return nil, fmt.Errorf("open inbox: %w", err)
	}
	if in.metrics, err = newMetrics(in, opts.Metrics); err != nil {
		return nil, fmt.Errorf("open inbox: register metrics: %w", err)
	}
	in.wg.Go(in.writer)
	in.wg.Go(in.housekeeper)
	return in, nil
}

// openFiles locks the folder, reads the log and opens the archive.
func (in *Inbox) openFiles(ctx context.Context) error {
	if in.opts.Dir == "" {
		return errors.New("no directory configured")
	}
	dir, err := filepath.Abs(in.opts.Dir)
	if err != nil {
		return err
	}
	in.opts.Dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, oldStore)); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s holds the store of an earlier build (%s); start that build until gantry_inbox_pending is 0, then delete the file", dir, oldStore)
	}
	if in.lock, err = folder.Lock(ctx, dir, in.opts.LockWait); err != nil {
		return err
	}
	earlier, err := filepath.Glob(filepath.Join(dir, "*.damaged-*"))
	for _, file := range earlier {
		if at := folder.PutAside(file); !at.IsZero() { // otherwise it belongs to one of the others
			in.report(file, fmt.Sprintf("the damaged file of %s is still there: %s", at.Format(time.RFC3339), file))
		}
	}
	if err != nil {
		return err
	}
	in.records = wal.New(wal.Options{
		Dir: dir, Pending: isEvent, Damaged: func(d wal.Damage) { in.report(d.File, d.What) }, Segment: in.opts.segment, OpenFile: in.opts.openFile,
	})
	if err := in.openArchive(ctx); err != nil {
		return err
	}
	return in.replay(ctx)
}

// openArchive opens the archive, and loads from it which events are repeats and which runs
// have started.
func (in *Inbox) openArchive(ctx context.Context) error {
	open := func() (err error) {
		in.archive, err = archive.Open(ctx, archive.Options{Path: filepath.Join(in.opts.Dir, archiveName), Keep: in.opts.Archive, Turn: in.turn,
			Damaged: in.report})
		return err
	}
	err := open()
	for err != nil && (in.records.DropBallast() || in.records.DropSpare()) { // on a full disk
		_ = in.archive.Close()
		err = open()
	}
	if err != nil {
		return err
	}
	type event struct {
		n   int64
		key repeats.Key
	}
	var known []event
	more := true
	for before := int64(math.MaxInt64); more && len(known) < in.opts.Archive.Entries.Count; {
		var rows []archive.Row
		if rows, more, err = in.archive.List(ctx, archive.Filter{Outcome: archive.OutcomeAccepted}, before, MaxPageSize); err != nil {
			return err
		}
		for _, r := range rows {
			before = r.Number
			if r.Forwarding == archive.ForwardingForwarded {
				in.queue.Started(queue.HashOf(r.Run))
			}
			if r.Forwarding != archive.ForwardingDead {
				known = append(known, event{r.Number, repeats.KeyOf(r.Run, r.State, r.StateVersion)})
			}
		}
	}
	for _, e := range slices.Backward(known) {
		in.window.Add(e.key, e.n)
	}
	newest, _, err := in.archive.List(ctx, archive.Filter{}, math.MaxInt64, 1)
	for _, r := range newest {
		in.ids.seen(splitID(ulid.MustParseStrict(r.ID)))
	}
	return err
}

// replay reads the log, and queues the pending events.
func (in *Inbox) replay(ctx context.Context) error {
	began := time.Now()
	found, err := in.records.Load(in.archive.Through()+1, (&replayer{Inbox: in}).read)
	if err != nil {
		return err
	}
	for _, d := range found {
		in.report(d.File, d.What)
	}
	st := in.records.Stats()
	in.archive.Rewind(st.Next - 1)
	in.next, in.pending = st.Next, st.Pending
	if in.pending > 0 {
		in.queue.Resume(st.First)
	}
	in.allow(archivePace)
	if err := in.follow(ctx); err != nil {
		in.log.Warn("inbox: cannot write the archive", "error", err)
	}
	in.log.Info("inbox opened", "segments", st.Segments, "pending", in.pending, "dead", in.archive.Dead(), "took", time.Since(began))
	return nil
}

// replayer reads records in order.
type replayer struct {
	*Inbox
	last [1 << 16]struct { // of the events read last, by index
		idx uint64
		run queue.Hash
	}
}

// read makes an event known, or closes those of marks. A dead event is no reason to drop
// its repeat.
func (r *replayer) read(idx uint64, rec []byte) {
	if e, err := readEvent(rec); err == nil {
		r.ids.seen(splitID(ulid.MustParseStrict(e.ID)))
		r.window.Add(repeats.KeyOf(e.Run, e.State, e.StateVersion), e.Number)
		last := &r.last[idx%uint64(len(r.last))]
		last.idx, last.run = idx, queue.HashOf(e.Run)
	}
	for _, m := range readMarks(rec) {
		r.records.Done(m.Index)
		switch last := r.last[m.Index%uint64(len(r.last))]; {
		case m.Forwarding == archive.ForwardingDead:
			r.hold = idx
			dead, _ := r.records.Read(m.Index)
			if e, err := readEvent(dead); err == nil {
				r.window.Forget(repeats.KeyOf(e.Run, e.State, e.StateVersion), m.Number)
			}
		case m.Forwarding == archive.ForwardingForwarded && last.idx == m.Index:
			r.queue.Started(last.run)
		}
	}
}
