package inbox

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/spacelift"
)

// segments returns the paths of the accepted stream, oldest first.
func segments(t testing.TB, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "accepted", "*.seg"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no segments in %s (%v)", dir, err)
	}
	return paths
}

// place is where an accepted event is.
type place struct {
	path     string
	from, to int64
}

func places(in *Inbox) map[string]place {
	in.mu.Lock()
	defer in.mu.Unlock()
	where := map[string]place{}
	for _, e := range in.index.order {
		where[e.id.String()] = place{in.acc.segment(e.seg).path, int64(e.off), int64(e.off) + int64(e.size)}
	}
	return where
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

func TestDamagedFilesAreToldAndEverythingReadableIsKept(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		// damage is done to the files; it returns which places it destroyed.
		damage func(t *testing.T, paths []string, where map[string]place) (lost func(place) bool)
		says   string // part of what is told
		quiet  bool   // told in the log alone: it is no more than a crash leaves
	}{
		{
			name: "one byte is wrong",
			damage: func(t *testing.T, paths []string, where map[string]place) func(place) bool {
				edit(t, paths[1], func(b []byte) []byte { b[700] ^= 0x10; return b })
				return func(p place) bool { return p.path == paths[1] && p.from <= 700 && 700 < p.to }
			},
			says: "is unreadable from byte",
		},
		{
			name: "a stretch across records is overwritten",
			damage: func(t *testing.T, paths []string, where map[string]place) func(place) bool {
				edit(t, paths[0], func(b []byte) []byte {
					copy(b[900:2500], bytes.Repeat([]byte("garbage!"), 200))
					return b
				})
				return func(p place) bool { return p.path == paths[0] && p.from < 2500 && p.to > 900 }
			},
			says: "is unreadable from byte",
		},
		{
			name: "a complete file is cut short",
			damage: func(t *testing.T, paths []string, where map[string]place) func(place) bool {
				edit(t, paths[1], func(b []byte) []byte { return b[:1500] })
				return func(p place) bool { return p.path == paths[1] && p.to > 1500 }
			},
			says: "was cut from",
		},
		{
			name: "the file being written is cut short",
			damage: func(t *testing.T, paths []string, where map[string]place) func(place) bool {
				last := where[slices.Max(keys(where))]
				edit(t, last.path, func(b []byte) []byte { return b[:last.from+20] })
				return func(p place) bool { return p == last }
			},
			says: "was cut from",
		},
		{
			name: "a file is empty",
			damage: func(t *testing.T, paths []string, where map[string]place) func(place) bool {
				edit(t, paths[1], func([]byte) []byte { return nil })
				return func(p place) bool { return p.path == paths[1] }
			},
			says: "has no readable head",
		},
		{
			name: "a file is something else",
			damage: func(t *testing.T, paths []string, where map[string]place) func(place) bool {
				edit(t, paths[0], func([]byte) []byte { return bytes.Repeat([]byte("not an inbox\n"), 1000) })
				return func(p place) bool { return p.path == paths[0] }
			},
			says: "has no readable head",
		},
		{
			name: "every file is something else",
			damage: func(t *testing.T, paths []string, where map[string]place) func(place) bool {
				for _, p := range paths {
					edit(t, p, func([]byte) []byte { return []byte("x") })
				}
				return func(p place) bool { return true }
			},
			says: "has no readable head",
		},
		{
			name: "a file is gone",
			damage: func(t *testing.T, paths []string, where map[string]place) func(place) bool {
				if err := os.Remove(paths[1]); err != nil {
					t.Fatal(err)
				}
				return func(p place) bool { return p.path == paths[1] }
			},
			says: "the files between them are gone",
		},
		{
			name: "a write was cut short by a crash",
			damage: func(t *testing.T, paths []string, where map[string]place) func(place) bool {
				last := where[slices.Max(keys(where))]
				edit(t, last.path, func(b []byte) []byte {
					copy(b[last.to:], b[last.from:last.from+100])
					return b
				})
				return func(p place) bool { return false }
			},
			says:  "is unreadable from byte",
			quiet: true,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			opts := small
			opts.Dir = t.TempDir()
			in := open(t, opts)
			var ids []string
			for n := range 40 {
				ids = append(ids, accept(t, in, event(runRef(n), 0, spacelift.RunStateQueued)).ID)
			}
			where := places(in)
			closeInbox(t, in)
			paths := segments(t, opts.Dir)
			lost := c.damage(t, paths, where)

			var log strings.Builder
			opts.Logger = textLogger(&log)
			in = open(t, opts)
			h := in.Health()
			if !h.Writable || strings.Contains(h.Problem, c.says) == c.quiet || !strings.Contains(log.String(), c.says) {
				t.Errorf("health %+v, log %s: want %q to be told", h, &log, c.says)
			}
			if c.quiet && h.Problem != "" {
				t.Errorf("health tells %q of what every crash may leave", h.Problem)
			}
			check := func(when string) {
				t.Helper()
				kept := 0
				for n, id := range ids {
					d, body, err := in.Get(t.Context(), id)
					switch {
					case lost(where[id]) && !errors.Is(err, ErrNotFound):
						t.Errorf("%s: number %d was destroyed: %+v (%v)", when, n, d, err)
					case !lost(where[id]) && (err != nil || d.Run != runRef(n) || d.Forwarding != ForwardingPending || len(body) == 0):
						t.Errorf("%s: number %d is %+v with %d bytes (%v)", when, n, d, len(body), err)
					}
					if err == nil {
						kept++
					}
				}
				if h := in.Health(); h.Pending != kept {
					t.Errorf("%s: %d are pending, and %d are kept", when, h.Pending, kept)
				}
			}
			check("after the damage")
			aside, err := filepath.Glob(filepath.Join(opts.Dir, "accepted", "*.damaged-*"))
			if c.says != "the files between them are gone" && (err != nil || len(aside) == 0 || !strings.Contains(log.String(), filepath.Base(aside[0]))) {
				t.Errorf("nothing was put aside, or nobody was told: %v (%v)", aside, err)
			}

			ids = append(ids, accept(t, in, event(runRef(len(ids)), 0, spacelift.RunStateQueued)).ID)
			where[ids[len(ids)-1]] = place{path: "new"}
			if lost(place{path: "new"}) {
				lost = func(p place) bool { return p.path != "new" }
			}
			closeInbox(t, in)
			in = open(t, opts)
			if h := in.Health(); h.Problem != "" && c.name != "a file is gone" {
				t.Errorf("the damage is told again: %s", h.Problem)
			}
			check("after another start")
		})
	}
}

func keys[K comparable, V any](m map[K]V) (ks []K) {
	for k := range m {
		ks = append(ks, k)
	}
	return ks
}

func TestDamagedLogIsNoReasonNotToStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := open(t, Options{Dir: dir})
	var ids []string
	for n := range 20 {
		ids = append(ids, in.Log(Delivery{Outcome: OutcomeIgnored, Detail: strconv.Itoa(n)}).ID)
	}
	closeInbox(t, in)
	path := filepath.Join(dir, "ignored", segmentName(1))
	edit(t, path, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	in = open(t, Options{Dir: dir, Logger: quiet})
	if n := len(all(t, in, Filter{}, 10)); n != len(ids)-1 {
		t.Errorf("%d entries are readable, want all but one of %d", n, len(ids))
	}
	if h := in.Health(); h.Problem == "" {
		t.Error("nobody was told")
	}
}

func TestFilesOfANewerVersionAreLeftAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := open(t, Options{Dir: dir})
	accept(t, in, event(runRef(1), 0, spacelift.RunStateQueued))
	closeInbox(t, in)
	path := segments(t, dir)[0]
	edit(t, path, func(b []byte) []byte {
		head, _ := readFrame(b)
		payload := appendInt(slices.Clone(head.payload), headVersion, segmentVersion+1)
		return appendFrame(nil, frameHead, head.id, payload)
	})
	before, _ := os.ReadFile(path)
	_, err := Open(t.Context(), Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("error %v, want it to speak of a newer version", err)
	}
	after, _ := os.ReadFile(path)
	if !bytes.Equal(before, after) {
		t.Error("the file was changed")
	}
}
