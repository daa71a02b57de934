package wal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"
)

// open reads a log, in which records that begin with p are pending.
func open(t testing.TB, o Options) (l *Log, found []Damage, visited []uint64) {
	t.Helper()
	o.Pending = func(rec []byte) bool { return rec[0] == 'p' }
	l = New(o)
	found, err := l.Load(1, func(idx uint64, _ []byte) { visited = append(visited, idx) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, found, visited
}

func add(t testing.TB, l *Log, recs ...string) (first uint64) {
	t.Helper()
	var all [][]byte
	for _, rec := range recs {
		all = append(all, []byte(rec))
	}
	first, err := l.Append(all)
	if err != nil {
		t.Fatal(err)
	}
	return first
}

func segments(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func closeLog(t testing.TB, l *Log) {
	t.Helper()
	l.Seal()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// withFile returns a folder with one segment alone.
func withFile(t testing.TB, name string, image []byte) (dir string) {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, filepath.Base(name)), image, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// A record of any size comes back as it was, also one that is as long as the
// buffer that records are read with, and one that is longer than a segment.
func TestRecordsOfAnySize(t *testing.T) {
	t.Parallel()
	o := Options{Dir: t.TempDir(), Segment: 256 << 10}
	l, _, _ := open(t, o)
	sizes := []int{1, 2, readGuess, 64 << 10, 1 << 20}
	for n := -4; n < 4; n++ {
		sizes = append(sizes, readGuess-recordHeader+n)
	}
	for _, size := range sizes {
		add(t, l, strings.Repeat("p", size))
	}
	check := func(when string) {
		t.Helper()
		for i, size := range sizes {
			if rec, err := l.Read(uint64(i + 1)); err != nil || len(rec) != size || len(bytes.Trim(rec, "p")) > 0 {
				t.Errorf("%s: size %d: %d bytes (%v)", when, size, len(rec), err)
			}
			if b, err := l.Block(uint64(i+1), new([]byte)); err != nil || b.First != uint64(i+1) || len(b.Recs) != 1 || len(b.Recs[0]) != size {
				t.Errorf("%s: size %d: the block of %d has %d records (%v)", when, size, b.First, len(b.Recs), err)
			}
		}
		if _, err := l.Read(uint64(len(sizes) + 1)); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: a record that was never written: %v", when, err)
		}
	}
	check("immediately")
	closeLog(t, l)
	l, _, _ = open(t, o)
	check("after reopening")
}

// The end of the log is torn if a crash cut off the last write, whatever its size. A
// break with another write behind it is damage, however close to the end: that one
// began after the first was on disk.
func TestTornEndIsNoDamage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		damaged int // record whose bytes are lost
		sealed  bool
		reports bool
	}{
		{"a megabyte that was cut off", 2, false, false},
		{"the one before it", 1, false, true},
		{"the last one after a clean end", 2, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			l, _, _ := open(t, Options{Dir: dir})
			for n := range 3 {
				add(t, l, "p"+strings.Repeat(string(rune('a'+n)), 1<<20))
			}
			if c.sealed {
				l.Seal()
			}
			path := segments(t, dir)[0]
			image, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			at := bytes.Index(image, bytes.Repeat([]byte{byte('a' + c.damaged)}, 1000))
			clear(image[at : at+1<<19])
			l, found, visited := open(t, Options{Dir: withFile(t, path, image)})
			if (len(found) > 0) != c.reports || l.Stats().Pending != 2 || len(visited) != 2 {
				t.Errorf("found %v, %+v, read %v; want a report: %t", found, l.Stats(), visited, c.reports)
			}
			for n := range 3 {
				if _, err := l.Read(uint64(n + 1)); (err == nil) != (n != c.damaged) {
					t.Errorf("number %d: %v", n, err)
				}
			}
		})
	}
}

// A power cut leaves any prefix of what was being written, and zeros behind it. What is
// there afterwards is what was written first, without a gap, and the log continues.
func TestAnyPrefixIsALog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, _, _ := open(t, Options{Dir: dir, Segment: 64 << 10})
	for n := range 30 {
		add(t, l, fmt.Sprint("p", n), fmt.Sprint("m", n))
	}
	path := segments(t, dir)[0]
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	used := len(bytes.TrimRight(image, "\x00"))
	rapid.Check(t, func(rt *rapid.T) {
		cut := rapid.IntRange(fileHeader, used).Draw(rt, "cut") // the header is on disk before the file has its name
		torn := slices.Clone(image)
		clear(torn[cut:])
		l, found, visited := open(t, Options{Dir: withFile(t, path, torn), Segment: 64 << 10})
		if len(found) > 0 || len(visited)%2 != 0 || cut == used && len(visited) != 60 {
			rt.Fatalf("cut at %d of %d: found %v, %d records", cut, used, found, len(visited))
		}
		for i, idx := range visited {
			if idx != uint64(i+1) {
				rt.Fatalf("record %d follows %d others", idx, i)
			}
		}
		if first := add(t, l, "p"); first != uint64(len(visited)+1) {
			rt.Fatalf("the next record is %d after %d", first, len(visited))
		}
	})
}

// Whatever page is zeroed: that is reported once, the file has a second name, and the
// records of the other segments are there.
func TestAnyPageMayBeLost(t *testing.T) {
	t.Parallel()
	const n = 100
	dir := t.TempDir()
	o := Options{Dir: dir, Segment: 64 << 10}
	l, _, _ := open(t, o)
	for range n {
		add(t, l, "p"+strings.Repeat("x", 3000))
	}
	closeLog(t, l)
	names := segments(t, dir)
	for i, name := range names[:len(names)-1] {
		whole, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(whole)-4096; at += 3 * 4096 {
			here := t.TempDir()
			if err := os.CopyFS(here, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			image := slices.Clone(whole)
			clear(image[at : at+4096])
			if err := os.WriteFile(filepath.Join(here, filepath.Base(name)), image, 0o600); err != nil {
				t.Fatal(err)
			}
			l, found, visited := open(t, Options{Dir: here, Segment: 64 << 10})
			kept, err := os.ReadFile(filepath.Join(here, filepath.Base(name)))
			if len(found) != 1 || err != nil || !bytes.Equal(kept, image) {
				t.Fatalf("%s without the page at %d: found %v (%v)", name, at, found, err)
			}
			if aside, err := os.ReadFile(found[0].File); err != nil || !bytes.Equal(aside, image) {
				t.Errorf("%s without the page at %d: the second name is another file (%v)", name, at, err)
			}
			from, to := baseOf(name), baseOf(names[i+1])
			if len(visited) < n-int(to-from) || len(visited) == n {
				t.Errorf("%s without the page at %d: %d of %d records are left", name, at, len(visited), n)
			}
			if first := add(t, l, "p"); first != n+1 {
				t.Errorf("%s without the page at %d: the next record is %d", name, at, first)
			}
			closeLog(t, l)
			if _, found, _ := open(t, Options{Dir: here, Segment: 64 << 10}); len(found) > 0 {
				t.Errorf("%s without the page at %d is reported again: %v", name, at, found)
			}
		}
	}
}

// What is pending outlives everything else, and keeps nothing on disk behind it.
func TestTrimKeepsWhatIsPending(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := Options{Dir: dir, Segment: 8 << 10}
	l, _, _ := open(t, o)
	for idx := uint64(1); idx <= 400; idx++ {
		add(t, l, "p"+strings.Repeat("x", 400))
		if idx != 7 && idx != 200 {
			l.Done(idx)
		}
	}
	refused := errors.New("not yet")
	if err := l.Trim(Retention{Through: 400, Count: 50, Bytes: 1 << 20}, func() error { return refused }); !errors.Is(err, refused) || !l.Has(1) {
		t.Fatalf("trimmed although that was refused: %v", err)
	}
	if err := l.Trim(Retention{Through: 300, Count: 50, Bytes: 1 << 20}, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		for idx := uint64(1); idx <= 400; idx++ {
			wanted, deleted := idx == 7 || idx == 200 || idx > 300, idx < 280 && idx != 7 && idx != 200
			if has := l.Has(idx); !has && wanted || has && deleted {
				t.Errorf("%s: it has %d: %t", when, idx, has)
			}
			if l.Pending(idx) {
				if _, err := l.Read(idx); err != nil {
					t.Errorf("%s: %d is pending: %v", when, idx, err)
				}
			}
		}
		for _, next := range [][2]uint64{{0, 7}, {8, 200}} {
			if idx, ok := l.NextPending(next[0]); !ok || idx != next[1] {
				t.Errorf("%s: the pending one from %d on is %d (%t)", when, next[0], idx, ok)
			}
		}
	}
	check("trimmed")
	used := int64(0)
	for _, name := range segments(t, dir)[:15] {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		used += info.Size()
	}
	if used > 16<<10 {
		t.Errorf("the first 15 segments have %d bytes", used)
	}
	closeLog(t, l)
	l, found, _ := open(t, o)
	if check("read again"); len(found) > 0 {
		t.Errorf("found %v", found)
	}
	for idx := range uint64(401) {
		l.Done(idx)
	}
	if err := l.Trim(Retention{Through: 400}, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	if st := l.Stats(); st.First < 390 || st.Next != 401 {
		t.Errorf("nothing is needed, and there is %+v", st)
	}
}

// sickFile cuts off writes while there is an error to return, and loses the last bytes in
// front of them.
type sickFile struct {
	*os.File
	write *error
	tears int64
}

func (f sickFile) WriteAt(p []byte, at int64) (int, error) {
	if *f.write != nil {
		_, _ = f.File.WriteAt(make([]byte, f.tears), at-f.tears)
		n, _ := f.File.WriteAt(p[:len(p)/2], at)
		return n, *f.write
	}
	return f.File.WriteAt(p, at)
}

// After a failed write the segment is left, and what was refused doesn't reappear.
func TestFailedWriteStoresNothing(t *testing.T) {
	t.Parallel()
	var fail error
	o := Options{Dir: t.TempDir(), OpenFile: func(path string, flags int) (File, error) {
		f, err := os.OpenFile(path, flags, 0o600)
		return sickFile{f, &fail, 0}, err
	}}
	l, _, _ := open(t, o)
	add(t, l, "p1")
	l.wg.Wait()
	fail = syscall.EIO
	if _, err := l.Append([][]byte{[]byte("p2")}); !errors.Is(err, syscall.EIO) {
		t.Fatalf("%v, want EIO", err)
	}
	l.wg.Wait()
	fail = nil
	if first := add(t, l, "p3"); first != 2 || len(segments(t, o.Dir)) != 2 {
		t.Errorf("the next one is %d in %v", first, segments(t, o.Dir))
	}
	closeLog(t, l)
	l, found, visited := open(t, o)
	if rec, err := l.Read(2); err != nil || string(rec) != "p3" || len(found) > 0 || len(visited) != 2 {
		t.Errorf("read again: %q (%v), found %v, read %v", rec, err, found, visited)
	}
}

// A failed write may tear the page that it shares with the one before. That is reported
// without waiting for the next start, and not again by that.
func TestAFailedWriteThatTearsTheOneBeforeIsReported(t *testing.T) {
	t.Parallel()
	for _, torn := range []int64{0, 1, 5} {
		t.Run(fmt.Sprintf("%d bytes", torn), func(t *testing.T) {
			t.Parallel()
			var fail error
			var found []Damage
			o := Options{Dir: t.TempDir(), Damaged: func(d Damage) { found = append(found, d) }}
			o.OpenFile = func(path string, flags int) (File, error) {
				f, err := os.OpenFile(path, flags, 0o600)
				if flags&syscall.O_DSYNC == 0 {
					return f, err
				}
				return sickFile{f, &fail, torn}, err
			}
			l, _, _ := open(t, o)
			add(t, l, "p1")
			add(t, l, "p2")
			l.wg.Wait()
			fail = syscall.EIO
			for range 2 { // the second time in a segment without records
				if _, err := l.Append([][]byte{[]byte("p3")}); !errors.Is(err, syscall.EIO) {
					t.Fatalf("%v, want EIO", err)
				}
				l.wg.Wait()
			}
			if len(found) != int(min(torn, 1)) || torn > 0 && !strings.Contains(found[0].What, "1 records can be read") {
				t.Errorf("reported %v", found)
			}
			fail = nil
			add(t, l, "p3")
			closeLog(t, l)
			if _, again, visited := open(t, o); len(again) > 0 || len(visited) != 3-len(found) {
				t.Errorf("after reopening: found %v, read %v", again, visited)
			}
		})
	}
}

// Without a next segment the log says so before the present one is full, and what is
// reserved can be given up.
func TestFullSaysWhyThereIsNoRoom(t *testing.T) {
	t.Parallel()
	var fail error
	o := Options{Dir: t.TempDir(), Segment: 64 << 10, OpenFile: func(path string, flags int) (File, error) {
		f, err := os.OpenFile(path, flags, 0o600)
		if strings.HasSuffix(path, ".new") {
			return sickFile{f, &fail, 0}, err
		}
		return f, err
	}}
	l, _, _ := open(t, o)
	add(t, l, "p")
	l.wg.Wait()
	if err := l.Reserve(); err != nil || l.NoSpare() != nil || l.Full() != nil {
		t.Fatalf("with a spare: %v, %v, %v", err, l.NoSpare(), l.Full())
	}
	if !l.DropBallast() || l.DropBallast() || !l.DropSpare() || l.DropSpare() {
		t.Error("what was reserved is there twice, or wasn't")
	}
	fail = syscall.ENOSPC
	if err := l.Reserve(); !errors.Is(err, syscall.ENOSPC) || !errors.Is(l.NoSpare(), syscall.ENOSPC) || l.Full() != nil {
		t.Errorf("without room for a spare: %v, %v, %v", err, l.NoSpare(), l.Full())
	}
	add(t, l, "p"+strings.Repeat("x", 50<<10))
	l.wg.Wait()
	if err := l.Full(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("in the last quarter of the segment: %v", err)
	}
	big := [][]byte{[]byte("p" + strings.Repeat("x", 30<<10))}
	if _, err := l.Append(big); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("more than is left: %v", err)
	}
	if idx := add(t, l, "m"+strings.Repeat("x", 10<<10)); idx != 3 {
		t.Errorf("what fits is record %d", idx)
	}
	fail = nil
	if idx, err := l.Append(big); err != nil || idx != 4 {
		t.Errorf("in a new segment: record %d (%v)", idx, err)
	}
	closeLog(t, l)
	if _, found, visited := open(t, o); len(found) > 0 || len(visited) != 4 {
		t.Errorf("read again: found %v, read %v", found, visited)
	}
}

// A disk that has room for the next segment or for the ballast gets the next segment,
// whichever was there before, and isn't full.
func TestTheNextSegmentComesBeforeTheBallast(t *testing.T) {
	t.Parallel()
	o := Options{Dir: t.TempDir(), Segment: 64 << 10}
	exists := func(name string) bool {
		_, err := os.Stat(filepath.Join(o.Dir, name))
		return err == nil
	}
	o.OpenFile = func(path string, flags int) (File, error) {
		f, err := os.OpenFile(path, flags, 0o600)
		var fail error
		if strings.HasSuffix(path, ".new") && (exists(spareName) || exists(ballastName)) {
			fail = fmt.Errorf("write %s: %w", path, syscall.ENOSPC)
		}
		return sickFile{f, &fail, 0}, err
	}
	l, _, _ := open(t, o)
	for _, before := range []string{"", ballastName, spareName} {
		l.DropSpare()
		l.DropBallast()
		if before != "" {
			if err := os.WriteFile(filepath.Join(o.Dir, before), newHeader(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		err := l.Reserve()
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), ballastName) || !exists(spareName) || exists(ballastName) {
			t.Errorf("with %q before: %v; the spare exists: %t, the ballast: %t", before, err, exists(spareName), exists(ballastName))
		}
		if l.NoSpare() != nil || l.Full() != nil {
			t.Errorf("with %q before: %v, %v", before, l.NoSpare(), l.Full())
		}
	}
}

// No content of a file makes reading it fail or lose count.
func FuzzScan(f *testing.F) {
	header := newHeader()
	salt := header[len(magic):]
	whole := appendBlock(slices.Clone(header), salt, Block{First: 1, Recs: [][]byte{[]byte("p1"), []byte("m2")}})
	f.Add(whole)
	f.Add(append(whole, make([]byte, 100)...))
	f.Add(append(slices.Clone(whole[:40]), whole[fileHeader:]...))
	f.Fuzz(func(t *testing.T, image []byte) {
		blocks, _ := scan(image)
		for _, b := range blocks {
			if b.place < fileHeader || b.place+blockHeader > len(image) {
				t.Errorf("a block at %d of %d", b.place, len(image))
			}
		}
	})
}
