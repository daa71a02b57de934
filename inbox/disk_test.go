package inbox

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/inbox/wal"
	"github.com/gantryhq/gantry/spacelift"
)

// badDisk plays a disk that is full, that fails, and that loses what was not
// flushed when the power is cut.
type badDisk struct {
	dir    string
	mu     sync.Mutex
	random *rand.Rand
	room   int64 // bytes that all files may have; 0 for no limit
	syncs  error // of the next flush
	writes error // of all writes, which are cut off in the middle
	folder error // of all flushes of the folder
	undo   map[string][]undo

	failed func(op string, err error) // if set, the disk fails at random, and calls it each time
	mishap func(*badDisk)             // the present one, nil for none
	until  time.Time                  // of the mishap
}

type undo struct {
	at  int64
	old []byte
}

// openFile opens files that write to the disk.
func (d *badDisk) openFile(path string, flags int) (wal.File, error) {
	f, err := os.OpenFile(path, flags, 0o600)
	return badFile{f, d, filepath.Base(path), flags&syscall.O_DSYNC != 0}, err
}

type badFile struct {
	*os.File
	disk    *badDisk
	name    string
	flushes bool // each write
}

func (f badFile) WriteAt(p []byte, at int64) (int, error) {
	if n, err := f.disk.write(f.name, at, p); err != nil {
		_, _ = f.File.WriteAt(p[:n], at)
		return n, f.disk.fail("write", err)
	}
	n, err := f.File.WriteAt(p, at)
	if err == nil && f.flushes {
		err = f.disk.sync(f.name)
	}
	return n, err
}

// Truncate leaves nothing to restore: what was written behind the new end is gone.
func (f badFile) Truncate(size int64) error {
	f.disk.set(func() { delete(f.disk.undo, f.name) })
	return f.File.Truncate(size)
}

func (f badFile) Sync() error { return errors.Join(f.disk.sync(f.name), f.File.Sync()) }

// mishaps are the faults of a disk that fails at random.
var mishaps = []func(*badDisk){
	func(d *badDisk) { d.writes = syscall.EIO },
	func(d *badDisk) { d.writes = syscall.ENOSPC },
	func(d *badDisk) { d.room = d.used() },
	func(d *badDisk) { d.syncs = syscall.EIO },
	func(d *badDisk) { d.folder = syscall.EIO },
}

// draw has about one write in eighty begin a mishap; every third one lasts a second. Called
// with mu held, before a write.
func (d *badDisk) draw() {
	if d.failed == nil {
		return
	}
	if now := time.Now(); now.After(d.until) {
		if d.mishap = nil; d.random.IntN(80) == 0 {
			d.mishap = mishaps[d.random.IntN(len(mishaps))]
			d.until = now.Add(time.Duration(d.random.IntN(3)/2) * time.Second)
		}
	}
	if d.writes, d.folder, d.room = nil, nil, 0; d.mishap != nil {
		d.mishap(d)
	}
}

// fail reports an operation's failure, if there is one, and returns it.
func (d *badDisk) fail(op string, err error) error {
	if err != nil && d.failed != nil {
		d.failed(op, err)
	}
	return err
}

func (d *badDisk) used() (n int64) {
	for _, name := range logFiles(d.dir) {
		if info, err := os.Stat(filepath.Join(d.dir, name)); err == nil {
			n += info.Size()
		}
	}
	return n
}

// logFiles returns the names of a folder's files that are not the archive's.
func logFiles(dir string) (names []string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), archiveName) {
			names = append(names, e.Name())
		}
	}
	return names
}

// kept is a folder with the entries that the disk's own had when it was flushed last.
func (d *badDisk) kept() string { return d.dir + ".kept" }

// mirror makes a folder's entries those of another, but for the archive's. One that is
// renamed meanwhile may be missing.
func mirror(to, from string) error {
	err := os.MkdirAll(to, 0o700)
	for _, name := range logFiles(to) {
		err = errors.Join(err, os.Remove(filepath.Join(to, name)))
	}
	for _, name := range logFiles(from) {
		if e := os.Link(filepath.Join(from, name), filepath.Join(to, name)); !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

func (d *badDisk) write(name string, at int64, p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.draw()
	path := filepath.Join(d.dir, name)
	size := int64(0)
	if info, err := os.Stat(path); err == nil {
		size = info.Size()
	}
	if grow := at + int64(len(p)) - size; d.room > 0 && grow > 0 && d.used()+grow > d.room {
		return 0, syscall.ENOSPC
	}
	old := make([]byte, len(p))
	if f, err := os.Open(path); err == nil {
		_, _ = f.ReadAt(old, at)
		f.Close()
	}
	d.undo[name] = append(d.undo[name], undo{at, old})
	if d.writes != nil {
		return len(p) / 2, d.writes
	}
	return 0, nil
}

func (d *badDisk) sync(name string) error {
	d.mu.Lock()
	err := d.syncs
	if d.syncs = nil; err == nil {
		delete(d.undo, name)
	}
	if err == nil && name == filepath.Base(d.dir) {
		if err = d.folder; err == nil {
			err = mirror(d.kept(), d.dir)
		}
	}
	d.mu.Unlock()
	return d.fail("flush", err)
}

// heal ends all faults.
func (d *badDisk) heal() { d.writes, d.syncs, d.folder, d.room = nil, nil, nil, 0 }

func (d *badDisk) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

// cut restores a random part of what was not flushed, a sector at a time, and every other
// time the folder's entries.
func (d *badDisk) cut(t testing.TB) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.random.IntN(2) == 0 {
		if err := mirror(d.dir, d.kept()); err != nil {
			t.Fatal(err)
		}
	}
	if err := mirror(d.kept(), d.dir); err != nil {
		t.Fatal(err)
	}
	for name, writes := range d.undo {
		f, err := os.OpenFile(filepath.Join(d.dir, name), os.O_RDWR, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range slices.Backward(writes) {
			for at := 0; at < len(u.old); at += 512 {
				if d.random.IntN(2) == 0 {
					if _, err := f.WriteAt(u.old[at:min(at+512, len(u.old))], u.at+int64(at)); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		f.Close()
	}
	d.undo = map[string][]undo{}
}

func newBadDisk(dir string, seed uint64) *badDisk {
	return &badDisk{dir: dir, random: rand.New(rand.NewPCG(seed, 0)), undo: map[string][]undo{}}
}

// A disk that is full of pending events is no reason to lose one, and once they
// are forwarded, the inbox makes room and accepts again without help.
func TestFullDiskHealsByItself(t *testing.T) {
	t.Parallel()
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart %t", restart), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := newBadDisk(t.TempDir(), 0)
				disk.room = 640 << 10
				opts := Options{Dir: disk.dir, openFile: disk.openFile, segment: 128 << 10, Logger: silent}
				in := open(t, opts)
				body := make([]byte, 1000)
				accepted := 0
				take := func() error {
					_, err := in.Accept(t.Context(), notice(runRef(accepted), 0, spacelift.RunStateQueued), body)
					if err == nil {
						accepted++
					} else if !errors.Is(err, ErrUnavailable) {
						t.Fatal(err)
					}
					return err
				}
				for take() == nil {
					if synctest.Wait(); accepted > 2000 {
						t.Fatal("the disk does not get full")
					}
				}
				pass(10 * time.Second)
				synctest.Wait()
				if h := in.Health(); h.Writable || !strings.Contains(h.Problem, "no space left") || h.Pending != accepted || take() == nil {
					t.Fatalf("on a full disk: %+v", h)
				}
				if restart {
					closeInbox(t, in)
					in = open(t, opts)
				}
				target := &fakeTarget{}
				stop := forward(t, in, target, ForwarderOptions{})
				pass(30 * time.Second)
				synctest.Wait()
				if h := in.Health(); !h.Writable || h.Pending != 0 {
					t.Fatalf("after everything was forwarded: %+v", h)
				}
				if err := take(); err != nil {
					t.Fatal(err)
				}
				stop()
				closeInbox(t, in)
				in = open(t, opts)
				if h := in.Health(); h.Pending > 1 || !h.Writable {
					t.Errorf("after a restart: %+v", h)
				}
				sent := map[string]int{}
				for _, s := range target.signals {
					for _, e := range s {
						sent[e.Delivery]++
					}
				}
				if len(sent) < accepted-1 || slices.Max(slices.Collect(mapsValues(sent))) != 1 {
					t.Errorf("%d of %d were sent, some more than once", len(sent), accepted)
				}
			})
		})
	}
}

func mapsValues(m map[string]int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}

// While the disk is full, what is forwarded is noted all the same, even after an event that
// doesn't fit into what is left.
func TestMarksFitOnAFullDisk(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1000, 45 << 10} {
		t.Run(fmt.Sprintf("bodies of %d bytes", size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { marksFit(t, make([]byte, size)) })
		})
	}
}

func marksFit(t *testing.T, body []byte) {
	t.Helper()
	disk := newBadDisk(t.TempDir(), 0)
	opts := Options{Dir: disk.dir, openFile: disk.openFile, segment: 128 << 10, Logger: silent}
	in := open(t, opts)
	stuck := accept(t, in, notice(runRef(-1), 0, spacelift.RunStateQueued))
	synctest.Wait()
	disk.set(func() { disk.room = disk.used() })
	accepted := 0
	for {
		if _, err := in.Accept(t.Context(), notice(runRef(accepted), 0, spacelift.RunStateQueued), body); err != nil {
			break
		}
		accepted++
		synctest.Wait()
	}
	target := failing(runRef(-1), errAway)
	stop := forward(t, in, target, ForwarderOptions{})
	pass(time.Minute)
	synctest.Wait()
	stop()
	closeInbox(t, in)
	in = open(t, opts)
	if h := in.Health(); h.Pending != 1 {
		t.Errorf("of %d events %d are pending after a restart, want the one that can't be forwarded", accepted, h.Pending)
	}
	if d, _, err := in.Get(t.Context(), stuck.ID); err != nil || d.Forwarding != archive.ForwardingPending {
		t.Errorf("it is %+v (%v)", d, err)
	}
}

// After a failed flush nobody knows what is on disk. The same data is not flushed
// again: the segment is left, its senders get an error, and what they sent does
// not reappear.
func TestFailedFlushStoresNothing(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(*badDisk){
		"a flush fails":      func(d *badDisk) { d.syncs = syscall.EIO },
		"a write is cut off": func(d *badDisk) { d.writes = syscall.EIO },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := newBadDisk(t.TempDir(), 0)
				var log strings.Builder
				opts := Options{Dir: disk.dir, openFile: disk.openFile, Logger: textLogger(&log)}
				in := open(t, opts)
				first := accept(t, in, notice(runRef(1), 0, spacelift.RunStateQueued))
				synctest.Wait()
				before := segments(t, disk.dir)
				disk.set(func() { fail(disk) })
				if _, err := in.Accept(t.Context(), notice(runRef(2), 0, spacelift.RunStateQueued), nil); !errors.Is(err, ErrUnavailable) {
					t.Fatalf("during the failure: %v, want ErrUnavailable", err)
				}
				if h := in.Health(); h.Writable || !strings.Contains(h.Problem, "input/output error") || !strings.Contains(log.String(), "input/output error") {
					t.Errorf("health %+v", h)
				}
				disk.set(func() { disk.writes = nil })
				pass(3 * time.Second)
				synctest.Wait()
				if h := in.Health(); !h.Writable || h.Problem != "" {
					t.Fatalf("health %+v, want it well again", h)
				}
				if now := segments(t, disk.dir); len(now) != len(before)+1 {
					t.Errorf("segments %v, want another one than before (%v)", now, before)
				}
				third := accept(t, in, notice(runRef(3), 0, spacelift.RunStateQueued))
				closeInbox(t, in)
				in = open(t, opts)
				if h := in.Health(); h.Problem != "" || h.Pending != 2 {
					t.Errorf("after a restart: %+v", h)
				}
				if d := accept(t, in, notice(runRef(2), 0, spacelift.RunStateQueued)); d.Outcome != archive.OutcomeAccepted {
					t.Errorf("the event that was not stored is %s when it comes again", d.Outcome)
				}
				for _, d := range []archive.Delivery{first, third} {
					if _, _, err := in.Get(t.Context(), d.ID); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}

// A failed write may tear an event that was accepted before. The operator learns that
// without a restart.
func TestAFailedWriteThatTearsAnEventIsReported(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := newBadDisk(t.TempDir(), 0)
		var log strings.Builder
		in := open(t, Options{Dir: disk.dir, openFile: disk.openFile, Logger: textLogger(&log)})
		accept(t, in, notice(runRef(1), 0, spacelift.RunStateQueued))
		synctest.Wait()
		edit(t, segments(t, disk.dir)[0], func(b []byte) []byte {
			b[bytes.LastIndexByte(b, '}')] = 0
			return b
		})
		disk.set(func() { disk.writes = syscall.EIO })
		if _, err := in.Accept(t.Context(), notice(runRef(2), 0, spacelift.RunStateQueued), nil); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("during the failure: %v, want ErrUnavailable", err)
		}
		disk.set(func() { disk.writes = nil })
		pass(3 * time.Second)
		synctest.Wait()
		if h := in.Health(); !h.Writable || len(h.Damage) != 1 || !strings.Contains(h.Problem, "is damaged") || !strings.Contains(log.String(), "damage was found") {
			t.Errorf("health %+v", h)
		}
	})
}

// A file of a folder that is gone takes writes and flushes, and the next process would
// find nothing of them.
func TestAFolderThatIsGoneIsNoPlaceForEvents(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(dir string) error{
		"removed":    os.RemoveAll,
		"moved away": func(dir string) error { return os.Rename(dir, dir+".old") },
		"replaced": func(dir string) error {
			return errors.Join(os.Rename(dir, dir+".old"), os.CopyFS(dir, os.DirFS(dir+".old")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opts := Options{Dir: filepath.Join(t.TempDir(), "inbox"), Logger: silent}
				in := open(t, opts)
				accept(t, in, notice(runRef(1), 0, spacelift.RunStateQueued))
				synctest.Wait()
				if err := remove(opts.Dir); err != nil {
					t.Fatal(err)
				}
				if _, err := in.Accept(t.Context(), notice(runRef(2), 0, spacelift.RunStateQueued), nil); !errors.Is(err, ErrUnavailable) {
					t.Fatalf("accepted: %v, want ErrUnavailable", err)
				}
				if h := in.Health(); h.Writable || !strings.Contains(h.Problem, "was the folder re") {
					t.Errorf("health %+v", h)
				}
				if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
					t.Fatal(err)
				}
				pass(10 * time.Second)
				synctest.Wait()
				accept(t, in, notice(runRef(3), 0, spacelift.RunStateQueued))
				_ = in.Close() // its archive is gone
				again := open(t, opts)
				if _, err := again.Accept(t.Context(), notice(runRef(3), 0, spacelift.RunStateQueued), nil); err != nil || again.Health().Pending == 0 {
					t.Errorf("after a restart: %v, %+v", err, again.Health())
				}
			})
		})
	}
}

// A crash may leave a segment whose name is not on disk, and a power cut takes that
// back. The next process writes to the segment only once it has flushed the folder.
func TestASegmentWithoutANameOnDiskTakesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := newBadDisk(t.TempDir(), 0)
		disk.folder = syscall.EIO
		opts := Options{Dir: disk.dir, openFile: disk.openFile, Logger: silent}
		in := open(t, opts)
		for _, process := range []string{"first", "next"} {
			if d, err := in.Accept(t.Context(), notice(runRef(1), 0, spacelift.RunStateQueued), nil); !errors.Is(err, ErrUnavailable) || len(segments(t, disk.dir)) != 1 {
				t.Fatalf("the %s process: %+v (%v) in %v, want ErrUnavailable and one segment", process, d, err, segments(t, disk.dir))
			}
			closeInbox(t, in)
			in = open(t, opts)
		}
		disk.set(disk.heal)
		pass(3 * time.Second)
		synctest.Wait()
		accept(t, in, notice(runRef(1), 0, spacelift.RunStateQueued))
		closeInbox(t, in)
		if err := mirror(disk.dir, disk.kept()); err != nil { // a power cut
			t.Fatal(err)
		}
		if h := open(t, opts).Health(); h.Pending != 1 || h.Problem != "" {
			t.Errorf("after a power cut: %+v", h)
		}
	})
}

// Whatever happens to the disk, the process and the power: no accepted event is
// lost, and each run's events arrive in the order accepted.
func TestNothingAcceptedIsLostOnABadDisk(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		ops := rapid.SliceOfN(rapid.SampledFrom([]string{"accept", "accept", "accept", "burst", "wait", "sync", "folder", "write", "full", "fine", "kill", "cut", "archive", "sick", "sick"}), 1, 40).Draw(rt, "ops")
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		disk := newBadDisk(dir, rapid.Uint64().Draw(rt, "seed"))
		bubble(t, rt, func(t *testing.T) error {
			opts := Options{Dir: disk.dir, openFile: disk.openFile, segment: 16 << 10, Logger: silent, Bodies: archive.Budget{Count: 20, Bytes: 20_000}}
			sick := false
			target := &fakeTarget{fail: func(run spacelift.RunRef, _ []managed.RunEvent) error {
				if sick && run == runRef(0) {
					return errAway
				}
				return nil
			}}
			in := open(t, opts)
			stop := forward(t, in, target, ForwarderOptions{MaxConcurrent: 4, BatchEvents: 3})
			versions := map[spacelift.RunRef]int{}
			accepted := map[string]bool{}
			take := func(n int) {
				run := runRef(n % 3)
				d, err := in.Accept(t.Context(), notice(run, versions[run], life[versions[run]%len(life)]), make([]byte, 300))
				if err == nil {
					accepted[d.ID] = true
				}
				versions[run]++ // one that was refused does not come again
			}
			reopen := func(cut, archive bool) {
				disk.set(func() { disk.writes = syscall.EIO }) // nothing more reaches the disk
				stop()
				closeInbox(t, in)
				disk.set(disk.heal)
				if cut {
					disk.cut(t)
				}
				if archive {
					for _, suffix := range []string{"", "-wal", "-shm"} {
						os.Remove(filepath.Join(disk.dir, archiveName+suffix))
					}
				}
				in = open(t, opts)
				stop = forward(t, in, target, ForwarderOptions{MaxConcurrent: 4, BatchEvents: 3})
			}
			for n, op := range ops {
				switch op {
				case "accept":
					take(n)
				case "burst":
					for i := range 40 {
						take(n + i)
					}
				case "wait":
					pass(1500 * time.Millisecond)
				case "sync":
					disk.set(func() { disk.syncs = syscall.EIO })
				case "folder":
					disk.set(func() { disk.folder = syscall.EIO })
				case "write":
					disk.set(func() { disk.writes = syscall.EIO })
				case "full":
					disk.set(func() { disk.room = disk.used() + 8<<10 })
				case "sick":
					target.change(func() { sick = !sick })
				case "fine":
					disk.set(disk.heal)
				default:
					reopen(op == "cut", op == "archive")
					if h := in.Health(); h.Problem != "" {
						return fmt.Errorf("after %s: %s", op, h.Problem)
					}
				}
			}
			disk.set(disk.heal)
			target.change(func() { sick = false })
			pass(time.Minute)
			synctest.Wait()
			stop()
			if h := in.Health(); h.Pending != 0 || !h.Writable || h.Problem != "" {
				return fmt.Errorf("in the end: %+v", h)
			}
			last := map[spacelift.RunRef]int{}
			sent := map[string]bool{}
			for _, s := range target.signals {
				for _, e := range s {
					if sent[e.Delivery] {
						continue
					}
					sent[e.Delivery] = true
					if v, ok := last[e.Run]; ok && e.StateVersion <= v {
						return fmt.Errorf("%s: version %d after %d", e.Run, e.StateVersion, v)
					}
					last[e.Run] = e.StateVersion
				}
			}
			for id := range accepted {
				if !sent[id] {
					return fmt.Errorf("%s was accepted and is lost", id)
				}
			}
			return nil
		})
	})
}
