package inbox

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

func TestSpaceIsGivenBackAtTheNextStart(t *testing.T) {
	t.Parallel()
	opts := Options{Dir: t.TempDir(), Bodies: Budget{Count: 1}}
	in := open(t, opts)
	big := bytes.Repeat([]byte("x"), 1<<20)
	const n = 24
	for i := range n {
		if _, err := in.Accept(t.Context(), Delivery{}, event(runRef(i), 0, spacelift.RunStateQueued), big); err != nil {
			t.Fatal(err)
		}
	}
	stop := forward(t, in, &fakeTarget{}, ForwarderOptions{})
	waitFor(t, in, func(h Health) bool {
		in.mu.Lock()
		defer in.mu.Unlock()
		return h.Pending == 0 && in.index.bodies <= 1
	})
	stop()
	closeInbox(t, in)
	if size := diskUse(t, opts.Dir); size < n<<20 {
		t.Fatalf("%d bytes before the start: there is nothing to give back", size)
	}
	in = open(t, opts)
	closeInbox(t, in)
	if size := diskUse(t, opts.Dir); size > 4<<20 {
		t.Errorf("%d bytes after the start", size)
	}
	in = open(t, opts)
	if got := len(all(t, in, Filter{Forwarding: ForwardingForwarded}, 100)); got != n {
		t.Errorf("%d deliveries are left, want %d", got, n)
	}
}

// An old page that is damaged while the inbox runs keeps no new event out.
func TestDamageWhileRunningStopsOnlyTheTrimming(t *testing.T) {
	t.Parallel()
	opts := Options{Dir: t.TempDir(), Entries: Budget{Count: 1200}, Logger: silent}
	in := open(t, opts)
	stop := forward(t, in, &fakeTarget{}, ForwarderOptions{})
	large := bytes.Repeat([]byte("x"), 3000)
	take := func(from, to int) {
		for i := from; i < to; i++ {
			if _, err := in.Accept(t.Context(), Delivery{}, event(runRef(i), 0, spacelift.RunStateQueued), large); err != nil {
				t.Fatal(err)
			}
		}
	}
	take(0, 1200) // more than SQLite keeps in memory
	f, err := os.OpenFile(filepath.Join(opts.Dir, fileName), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for p := int64(6); p < 60; p++ {
		if _, err := f.WriteAt(bytes.Repeat([]byte("garbage!"), pageSize/8), p*pageSize); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	take(1200, 1600)
	waitFor(t, in, func(h Health) bool { return h.Writable && strings.Contains(h.Problem, "restart to repair") })
	take(1600, 1700)
	waitFor(t, in, func(h Health) bool { return h.Pending == 0 })
	stop()
	if err := in.Close(); err != nil {
		t.Logf("closing: %v", err) // a damaged file may not close well
	}

	in = open(t, opts)
	if h := in.Health(); !h.Writable || !strings.Contains(h.Problem, "damage was found at start") {
		t.Errorf("health %+v", h)
	}
	for _, n := range []int{1650, 1699} {
		if got := accept(t, in, event(runRef(n), 0, spacelift.RunStateQueued)).Outcome; got != OutcomeDuplicate {
			t.Errorf("number %d is %s after the repair", n, got)
		}
	}
}

// While the file is opened anew after a failure, another process could get it.
// What this one remembers is worth nothing then.
func TestFileThatAnotherProcessUsedMeanwhileIsNotWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		in := open(t, Options{Dir: dir, Logger: silent})
		accept(t, in, event(runRef(1), 0, spacelift.RunStateQueued))
		if err := in.store.close(); err != nil {
			t.Fatal(err)
		}
		other, err := Open(t.Context(), Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		accept(t, other, event(runRef(2), 0, spacelift.RunStateQueued))

		check := func(when, want string) {
			t.Helper()
			pass(10 * time.Second)
			synctest.Wait()
			if _, err := in.Accept(t.Context(), Delivery{}, event(runRef(3), 0, spacelift.RunStateQueued), nil); !errors.Is(err, ErrUnavailable) {
				t.Errorf("%s: %v, want ErrUnavailable", when, err)
			}
			if h := in.Health(); h.Writable || !strings.Contains(h.Problem, want) {
				t.Errorf("%s: health %+v, want a problem with %q", when, h, want)
			}
		}
		in.mu.Lock()
		in.failed(&commit{batch: &batch{}}, errors.New("input/output error"), time.Now())
		in.mu.Unlock()
		kick(in.kickWrite)
		check("while the other one has it", "another process uses it")
		closeInbox(t, other)
		check("after the other one", "stop it and restart this one")
	})
}
