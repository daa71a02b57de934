package inbox

import (
	"bytes"
	"cmp"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/spacelift"
)

// filled makes an inbox of n deliveries, a third of them forwarded, and closes
// it. With log, what SQLite keeps in its write-ahead log stays there, as after
// a kill.
func filled(t testing.TB, n int, log bool) (dir string, ids []string) {
	t.Helper()
	dir = t.TempDir()
	in := open(t, Options{Dir: dir})
	stop := forward(t, in, &fakeTarget{}, ForwarderOptions{})
	for i := range n {
		if i == n/3 {
			waitFor(t, in, func(h Health) bool { return h.Pending == 0 })
			stop()
		}
		ids = append(ids, accept(t, in, event(runRef(i), 0, spacelift.RunStateQueued)).ID)
	}
	if !log {
		closeInbox(t, in)
		return dir, ids
	}
	in.step(true) // the marks, which wait a moment
	copied := t.TempDir()
	for _, suffix := range []string{"", walSuffix} {
		if err := copyFile(filepath.Join(copied, fileName+suffix), filepath.Join(dir, fileName+suffix)); err != nil {
			t.Fatal(err)
		}
	}
	closeInbox(t, in)
	return copied, ids
}

func edit(t testing.TB, path string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

func page(b []byte, n int) []byte { return b[(n-1)*pageSize : n*pageSize] }

// leaves returns the leaf pages of batches; the first pages are the roots.
func leaves(b []byte) (pages []int) {
	for n := 6; n*pageSize <= len(b); n++ {
		if page(b, n)[0] == 0x0d {
			pages = append(pages, n)
		}
	}
	return pages
}

func TestDamageIsReportedAndEverythingReadableIsKept(t *testing.T) {
	t.Parallel()
	const n = 300 // some fifteen leaves
	garbage := func(b []byte) { copy(b, bytes.Repeat([]byte("garbage!"), len(b)/8)) }
	for _, c := range []struct {
		name   string
		n      int  // deliveries; 300 if it is 0
		log    bool // the write-ahead log is there, as after a kill
		damage func(t *testing.T, path string)
		lost   int  // deliveries, at most
		silent bool // nothing is reported: a crash leaves the same
	}{
		{name: "a page in the middle is zero", lost: 40, damage: func(t *testing.T, path string) {
			edit(t, path, func(b []byte) []byte { p := leaves(b); clear(page(b, p[len(p)/2])); return b })
		}},
		{name: "a page in the middle is garbage", lost: 40, damage: func(t *testing.T, path string) {
			edit(t, path, func(b []byte) []byte { p := leaves(b); garbage(page(b, p[len(p)/2])); return b })
		}},
		{name: "the last page is zero", lost: 40, damage: func(t *testing.T, path string) {
			edit(t, path, func(b []byte) []byte { p := leaves(b); clear(page(b, p[len(p)-1])); return b })
		}},
		{name: "the root of the events is zero", lost: n, // reported, and kept aside for sqlite3's .recover
			damage: func(t *testing.T, path string) {
				edit(t, path, func(b []byte) []byte { clear(page(b, 2)); return b })
			}},
		{name: "a byte of a record is wrong", lost: 1, damage: func(t *testing.T, path string) {
			edit(t, path, func(b []byte) []byte {
				at := bytes.LastIndex(b, []byte(`"run-150"`))
				b[at+2] ^= 0x20
				return b
			})
		}},
		{name: "the header is garbage", lost: 0, damage: func(t *testing.T, path string) {
			edit(t, path, func(b []byte) []byte { garbage(b[:96]); return b })
		}},
		{name: "the first page is garbage", lost: 0, damage: func(t *testing.T, path string) {
			edit(t, path, func(b []byte) []byte { garbage(page(b, 1)); return b })
		}},
		{name: "the schema is garbage", lost: 0, damage: func(t *testing.T, path string) {
			edit(t, path, func(b []byte) []byte { garbage(page(b, 1)[104:]); return b })
		}},
		{name: "the file is cut short", lost: n / 2, damage: func(t *testing.T, path string) {
			edit(t, path, func(b []byte) []byte { return b[:len(b)*2/3+100] })
		}},
		{name: "the file is cut to nothing", lost: n, damage: func(t *testing.T, path string) {
			edit(t, path, func(b []byte) []byte { return nil })
		}},
		{name: "the file is something else", lost: n, damage: func(t *testing.T, path string) {
			edit(t, path, func(b []byte) []byte { return []byte("this is not an inbox\n") })
		}},
		{name: "the file is cut to nothing and the log holds everything", n: 24, log: true, lost: 0, damage: func(t *testing.T, path string) {
			edit(t, path, func(b []byte) []byte { return nil })
		}},
		{name: "the file is gone and the log holds everything", n: 24, log: true, lost: 0, damage: func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "the log's end is cut off", log: true, lost: n/3 + 10, silent: true, damage: func(t *testing.T, path string) {
			edit(t, path+walSuffix, func(b []byte) []byte { return b[:len(b)*3/4] })
		}},
		{name: "the log is garbage from the middle on", log: true, lost: n/2 + 10, silent: true, damage: func(t *testing.T, path string) {
			edit(t, path+walSuffix, func(b []byte) []byte { garbage(b[len(b)/2:]); return b })
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := cmp.Or(c.n, n)
			dir, ids := filled(t, n, c.log)
			path := filepath.Join(dir, fileName)
			c.damage(t, path)
			damaged, err := os.ReadFile(path)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}

			var log strings.Builder
			in := open(t, Options{Dir: dir, Logger: textLogger(&log)})
			h := in.Health()
			if !h.Writable || (h.Problem == "") != c.silent || strings.Contains(log.String(), "is damaged") == c.silent {
				t.Errorf("health %+v, log %s", h, &log)
			}
			aside, _ := filepath.Glob(path + ".damaged-*Z")
			if !c.silent && damaged != nil {
				if len(aside) != 1 || !strings.Contains(h.Problem, aside[0]) {
					t.Fatalf("put aside %v, reported %s", aside, h.Problem)
				}
				if got, err := os.ReadFile(aside[0]); err != nil || !bytes.Equal(got, damaged) {
					t.Errorf("what was put aside is not the file as it was found (%v)", err)
				}
			}
			kept := 0
			check := func(when string) {
				t.Helper()
				kept = 0
				for i, id := range ids {
					d, body, err := in.Get(t.Context(), id)
					if errors.Is(err, ErrNotFound) {
						continue
					}
					if kept++; err != nil || d.Run != runRef(i) || d.Outcome != OutcomeAccepted || d.HasBody != (body != nil) {
						t.Fatalf("%s: number %d is %+v with %d bytes (%v)", when, i, d, len(body), err)
					}
				}
				if kept < n-c.lost {
					t.Errorf("%s: %d of %d are kept, want at least %d", when, kept, n, n-c.lost)
				}
			}
			check("after the damage")
			if h.Pending < kept-n/3 {
				t.Errorf("%d of %d kept ones are pending", h.Pending, kept)
			}
			if !c.silent && !strings.Contains(h.Problem, fmt.Sprintf("kept %d deliveries", kept)) {
				t.Errorf("%d are kept, and the report is %s", kept, h.Problem)
			}
			before := kept
			accept(t, in, event(runRef(n), 0, spacelift.RunStateQueued))
			closeInbox(t, in)
			in = open(t, Options{Dir: dir})
			if h := in.Health(); h.Problem != "" {
				t.Errorf("the damage is reported again: %s", h.Problem)
			}
			if check("after another start"); kept != before {
				t.Errorf("%d are kept after another start, %d before", kept, before)
			}
		})
	}
}

// Whatever page is zeroed: the inbox opens, reports it, and has all events of the
// others.
func TestAnyPageMayBeLost(t *testing.T) {
	t.Parallel()
	const n = 200
	dir, ids := filled(t, n, false)
	whole, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	for p := 1; p*pageSize <= len(whole); p++ {
		dir := t.TempDir()
		image := bytes.Clone(whole)
		clear(page(image, p))
		if err := os.WriteFile(filepath.Join(dir, fileName), image, 0o600); err != nil {
			t.Fatal(err)
		}
		in := open(t, Options{Dir: dir, Logger: silent})
		kept := 0
		for _, id := range ids {
			if _, _, err := in.Get(t.Context(), id); err == nil {
				kept++
			} else if !errors.Is(err, ErrNotFound) {
				t.Errorf("page %d: %v", p, err)
			}
		}
		if p == 2 { // the way to all of them
			kept += n
		}
		if h := in.Health(); kept < n-40 || !h.Writable || kept < n && h.Problem == "" {
			t.Errorf("without page %d: %d of %d are kept, health %+v", p, kept, n, h)
		}
		closeInbox(t, in)
	}
}

func TestDamagedLogIsNoReasonNotToStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := open(t, Options{Dir: dir})
	for n := range 20 {
		in.Log(Delivery{Outcome: OutcomeIgnored, Detail: "number " + strconv.Itoa(n)})
	}
	closeInbox(t, in)
	edit(t, filepath.Join(dir, fileName), func(b []byte) []byte {
		b[bytes.LastIndex(b, []byte("number 7"))] ^= 1
		return b
	})
	in = open(t, Options{Dir: dir, Logger: silent})
	if n := len(all(t, in, Filter{}, 10)); n != 19 {
		t.Errorf("%d entries are readable, want all but one of 20", n)
	}
	if h := in.Health(); h.Problem == "" {
		t.Error("the damage was not reported")
	}
}

func TestFileOfANewerVersionIsLeftAlone(t *testing.T) {
	t.Parallel()
	dir, _ := filled(t, 3, false)
	path := filepath.Join(dir, fileName)
	edit(t, path, func(b []byte) []byte { binary.BigEndian.PutUint32(b[60:], schemaVersion+1); return b })
	before, _ := os.ReadFile(path)
	_, err := Open(t.Context(), Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("error %v, want it to speak of a newer version", err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("the file was changed")
	}
}

// A salvage relies on it when it replaces the first page.
func TestTablesHaveTheSameRootsInEveryFile(t *testing.T) {
	t.Parallel()
	dir, _ := filled(t, 500, false)
	path := filepath.Join(dir, fileName)
	roots := func() (got string) {
		db, err := sql.Open("sqlite", dsn(path))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := db.QueryRow("SELECT group_concat(name || ' ' || rootpage, ', ') FROM (SELECT * FROM sqlite_schema ORDER BY rootpage)").Scan(&got); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec("VACUUM"); err != nil {
			t.Fatal(err)
		}
		return got
	}
	const want = "batches 2, marks 3, log 4, owner 5"
	for _, when := range []string{"at first", "after VACUUM"} {
		if got := roots(); got != want {
			t.Errorf("%s the roots are %s, want %s", when, got, want)
		}
	}
}
