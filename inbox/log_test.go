package inbox

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/inbox/wal"
	"github.com/gantryhq/gantry/spacelift"
)

// filled makes an inbox of n deliveries, the first third of them forwarded.
func filled(t testing.TB, n int) (dir string, ids []string) {
	t.Helper()
	dir = t.TempDir()
	in := open(t, Options{Dir: dir, segment: 64 << 10})
	stop := forward(t, in, &fakeTarget{}, ForwarderOptions{})
	for i := range n {
		if i == n/3 {
			waitFor(t, in, func(h Health) bool { return h.Pending == 0 })
			stop()
		}
		ids = append(ids, accept(t, in, notice(runRef(i), 0, spacelift.RunStateQueued)).ID)
	}
	closeInbox(t, in)
	return dir, ids
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

// A power cut leaves any prefix of what was being written to the log, and zeros
// behind it. What is there afterwards is what was accepted first, without a gap,
// and the inbox continues.
func TestPowerCutAtAnyByte(t *testing.T) {
	t.Parallel()
	dir, ids := filled(t, 60)
	names := segments(t, dir)
	log, err := os.ReadFile(names[0])
	if err != nil || len(names) != 1 {
		t.Fatalf("%d segments (%v)", len(names), err)
	}
	used := len(bytes.TrimRight(log, "\x00"))
	rapid.Check(t, func(rt *rapid.T) {
		cut := rapid.IntRange(16, used).Draw(rt, "cut") // the header is on disk before the file has its name
		here, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		image := slices.Clone(log)
		clear(image[cut:])
		if err := os.WriteFile(filepath.Join(here, filepath.Base(names[0])), image, 0o600); err != nil {
			rt.Fatal(err)
		}
		in, err := Open(t.Context(), Options{Dir: here, segment: 64 << 10})
		if err != nil {
			rt.Fatal(err)
		}
		defer in.Close()
		if h := in.Health(); h.Problem != "" || !h.Writable {
			rt.Fatalf("health %+v", h)
		}
		kept := len(all(t, in, archive.Filter{Outcome: archive.OutcomeAccepted}, 500))
		if cut == used && kept != len(ids) {
			rt.Fatalf("%d of %d are there without a cut", kept, len(ids))
		}
		for n, id := range ids {
			_, _, err := in.Get(t.Context(), id)
			if there := err == nil; there != (n < kept) {
				rt.Fatalf("cut at %d of %d: %d are kept, and number %d is there: %t (%v)", cut, used, kept, n, there, err)
			}
			want := archive.OutcomeAccepted
			if n < kept {
				want = archive.OutcomeDuplicate
			}
			d, err := in.Accept(t.Context(), notice(runRef(n), 0, spacelift.RunStateQueued), nil)
			if err != nil || d.Outcome != want {
				rt.Fatalf("number %d once more: %+v (%v), want %s", n, d, err, want)
			}
		}
	})
}

func TestDamageIsReportedAndWhatIsReadableIsKept(t *testing.T) {
	t.Parallel()
	const n = 1000 // several segments
	garbage := func(b []byte) { copy(b, bytes.Repeat([]byte("garbage!"), len(b)/8)) }
	middle := func(names []string) string { return names[len(names)/2] }
	last := func(names []string) string { return names[len(names)-1] }
	for _, c := range []struct {
		name   string
		file   func([]string) string
		damage func([]byte) []byte
		lost   int // at most
	}{
		{"a page in the middle is zero", middle, func(b []byte) []byte { clear(b[8192:12288]); return b }, 600},
		{"a page in the middle is garbage", middle, func(b []byte) []byte { garbage(b[8192:12288]); return b }, 600},
		{"a byte of a record is wrong", middle, func(b []byte) []byte { b[bytes.Index(b, []byte("192.0.2.7"))] ^= 1; return b }, 1},
		{"the header is garbage", middle, func(b []byte) []byte { garbage(b[:32]); return b }, 600},
		{"a file is cut short", middle, func(b []byte) []byte { return b[:len(b)/2] }, 600},
		{"a file is cut to nothing", middle, func([]byte) []byte { return nil }, 600},
		{"a byte of the last file is wrong", last, func(b []byte) []byte { b[bytes.Index(b, []byte("192.0.2.7"))] ^= 1; return b }, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir, ids := filled(t, n)
			path := c.file(segments(t, dir))
			var damaged []byte
			edit(t, path, func(b []byte) []byte { damaged = slices.Clone(c.damage(b)); return damaged })

			var log strings.Builder
			in := open(t, Options{Dir: dir, segment: 64 << 10, Logger: textLogger(&log)})
			h := in.Health()
			aside, _ := filepath.Glob(path + ".damaged-*Z")
			if !h.Writable || len(aside) != 1 || !strings.Contains(h.Problem, aside[0]) || !strings.Contains(log.String(), "damage was found") {
				t.Fatalf("put aside %v, health %+v, log %s", aside, h, &log)
			}
			if got, err := os.ReadFile(aside[0]); err != nil || !bytes.Equal(got, damaged) {
				t.Errorf("what was put aside is not the file as it was found (%v)", err)
			}
			check := func(when string) (pending int) {
				t.Helper()
				for i, id := range ids {
					d, body, err := in.Get(t.Context(), id)
					if err != nil || d.Run != runRef(i) || d.HasBody != (body != nil) {
						t.Fatalf("%s: number %d is %+v with %d bytes (%v)", when, i, d, len(body), err)
					}
				}
				return in.Health().Pending
			}
			pending := check("after the damage")
			if pending < n-n/3-c.lost || pending == n-n/3 && c.lost == 600 {
				t.Errorf("%d are pending, want at least %d", pending, n-n/3-c.lost)
			}
			target := &fakeTarget{}
			stop := forward(t, in, target, ForwarderOptions{})
			waitFor(t, in, func(h Health) bool { return h.Pending == 0 })
			stop()
			accept(t, in, notice(runRef(n), 0, spacelift.RunStateQueued))
			closeInbox(t, in)
			in = open(t, Options{Dir: dir, segment: 64 << 10})
			if h := in.Health(); len(h.Damage) != 1 || h.Pending != 1 {
				t.Errorf("after another start: %+v", h)
			}
			check("after another start")
		})
	}
}

// Damage is reported until somebody deletes the file that was put aside.
func TestDamageIsReportedUntilTheFileIsGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir, _ := filled(t, 300)
		edit(t, segments(t, dir)[0], func(b []byte) []byte { clear(b[8192:12288]); return b })
		registry := prometheus.NewRegistry()
		in := open(t, Options{Dir: dir, segment: 64 << 10, Metrics: registry})
		pass(time.Minute)
		aside, _ := filepath.Glob(filepath.Join(dir, "*.damaged-*"))
		found := time.Now().Add(-time.Minute)
		check := func(when string) {
			t.Helper()
			h := in.Health()
			if n := values(t, registry)["gantry_inbox_damage"]; n != 1 || len(h.Damage) != 1 || len(aside) != 1 {
				t.Fatalf("%s, %v files are reported, %+v, of %v; want 1", when, n, h.Damage, aside)
			}
			if d := h.Damage[0]; d.File != aside[0] || !strings.Contains(h.Problem, aside[0]) || d.Since.Sub(found).Abs() > time.Second {
				t.Errorf("%s, %+v is reported, and %q, want %s since %s", when, d, h.Problem, aside[0], found)
			}
		}
		check("at first")
		for range 2 {
			closeInbox(t, in)
			pass(time.Hour)
			in = open(t, Options{Dir: dir, segment: 64 << 10, Metrics: registry})
			check("after a restart")
		}
		for _, name := range aside {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
		pass(2 * time.Second)
		synctest.Wait()
		if h := in.Health(); len(h.Damage) != 0 || h.Problem != "" {
			t.Errorf("health %+v after the file was deleted", h)
		}
	})
}

func TestArchiveIsNotNeeded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, path string)
		silent bool
	}{
		{"it is gone", func(t *testing.T, path string) {
			for _, suffix := range []string{"", "-wal", "-shm"} {
				if err := os.RemoveAll(path + suffix); err != nil {
					t.Fatal(err)
				}
			}
		}, true},
		{"it is something else", func(t *testing.T, path string) {
			edit(t, path, func([]byte) []byte { return []byte("this is not an archive of deliveries\n") })
		}, false},
		{"a page is garbage", func(t *testing.T, path string) {
			edit(t, path, func(b []byte) []byte { copy(b[4096:8192], bytes.Repeat([]byte("garbage!"), 512)); return b })
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir, ids := filled(t, 300)
			path := filepath.Join(dir, archiveName)
			c.damage(t, path)
			in := open(t, Options{Dir: dir})
			if h := in.Health(); !h.Writable || (h.Problem == "") != c.silent || h.Pending != 200 {
				t.Fatalf("health %+v", h)
			}
			if aside, _ := filepath.Glob(path + ".damaged-*Z"); len(aside) != 1 && !c.silent {
				t.Errorf("put aside %v", aside)
			}
			for i, id := range ids {
				d, body, err := in.Get(t.Context(), id)
				want := archive.ForwardingPending
				if i < 100 {
					want = archive.ForwardingForwarded
				}
				if err != nil || d.Run != runRef(i) || d.Forwarding != want || len(body) == 0 {
					t.Fatalf("number %d is %+v with %d bytes (%v)", i, d, len(body), err)
				}
			}
			closeInbox(t, in)
			in = open(t, Options{Dir: dir})
			if h := in.Health(); (len(h.Damage) == 0) != c.silent || len(h.Damage) > 1 {
				t.Errorf("after another start: %+v", h.Damage)
			}
		})
	}
}

func TestOldStoreIsRefusedWithARemedy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "inbox.db"), []byte("SQLite format 3\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "earlier build") || !strings.Contains(err.Error(), "gantry_inbox_pending is 0") {
		t.Errorf("error %v, want what it is and how to drain it", err)
	}
}

func TestMarksComeBackAsWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		marks := rapid.SliceOf(rapid.Custom(func(rt *rapid.T) archive.Result {
			return archive.Result{
				Index: rapid.Uint64Range(1, 1<<40).Draw(rt, "index"), Number: rapid.Int64Range(0, 1<<60).Draw(rt, "number"),
				Forwarding: rapid.SampledFrom(stages[:]).Draw(rt, "stage"), Attempts: rapid.IntRange(0, 1<<20).Draw(rt, "attempts"),
				ForwardedAt: rapid.Int64Range(0, 1<<42).Draw(rt, "at"), Error: rapid.String().Draw(rt, "err"),
			}
		})).Draw(rt, "marks")
		rec := newMarks(marks)
		if got := readMarks(rec); !slices.Equal(got, marks) {
			rt.Fatalf("got %+v, want %+v", got, marks)
		}
	})
}

func FuzzRecord(f *testing.F) {
	d := notice(runRef(1), 3, spacelift.RunStatePlanning)
	f.Add(appendEvent(nil, &d, []byte(`{"a":1}`), kindEvent, makeID(1, 2)))
	f.Add(newMarks([]archive.Result{{Index: 7, Number: 9, Forwarding: archive.ForwardingDead, Error: "no"}}))
	f.Fuzz(func(t *testing.T, rec []byte) {
		readMarks(rec)
		if _, err := readEvent(rec); err != nil && !errors.Is(err, wal.ErrDamaged) {
			t.Error(fmt.Errorf("unexpected: %w", err))
		}
	})
}
