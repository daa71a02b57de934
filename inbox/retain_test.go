package inbox

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/inbox/wal"
	"github.com/gantryhq/gantry/spacelift"
)

// small keeps few deliveries, in many small segments.
var small = Options{
	Archive: archive.Budgets{
		Entries: archive.Budget{Count: 400}, Dead: archive.Budget{Count: 20, Bytes: 1 << 20},
		Ignored: archive.Budget{Count: 80}, Refused: archive.Budget{Count: 40}, Unreadable: archive.Budget{Count: 10, Bytes: 10_000},
	},
	Bodies:  archive.Budget{Count: 100, Bytes: 1 << 20},
	segment: 8 << 10,
}

func logged(t testing.TB, dir string) (n int64) {
	t.Helper()
	for _, name := range segments(t, dir) {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		n += info.Size()
	}
	return n
}

func TestForwardedDeliveriesLoseTheirBodyAndAreThenDeleted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		opts := small
		opts.Dir = t.TempDir()
		in := open(t, opts)
		forward(t, in, &fakeTarget{}, ForwarderOptions{})
		const n = 900
		var ids []string
		for i := range n {
			ids = append(ids, accept(t, in, notice(runRef(i), 0, spacelift.RunStateQueued)).ID)
			if i%20 == 0 {
				pass(time.Second)
			}
		}
		pass(time.Minute)
		synctest.Wait()
		kept, bodies := 0, 0
		for i, id := range ids {
			d, body, err := in.Get(t.Context(), id)
			if errors.Is(err, ErrNotFound) {
				if kept > 0 {
					t.Fatalf("number %d is gone, and older ones are there", i)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if d.Forwarding != archive.ForwardingForwarded || d.Run != runRef(i) || d.HasBody != (len(body) > 0) {
				t.Fatalf("number %d is %+v with %d bytes", i, d, len(body))
			}
			kept++
			if d.HasBody {
				bodies++
			} else if bodies > 0 {
				t.Fatalf("number %d has no body, and older ones have", i)
			}
		}
		if kept != 400 {
			t.Errorf("%d entries are kept, want 400", kept)
		}
		if bodies > 100+80 || bodies < 100 {
			t.Errorf("%d bodies are kept, want about 100", bodies)
		}
		if use := logged(t, opts.Dir); use > 64<<10 {
			t.Errorf("the log has %d bytes", use)
		}
		if got := accept(t, in, notice(runRef(n-1), 0, spacelift.RunStateQueued)).Outcome; got != archive.OutcomeDuplicate {
			t.Errorf("a repeat within the window is %s", got)
		}
		if _, err := in.Redeliver(t.Context(), ids[n-1]); err != nil {
			t.Errorf("redeliver: %v", err)
		}
		if _, err := in.Redeliver(t.Context(), ids[n-300]); !errors.Is(err, ErrNotRedeliverable) || !strings.Contains(err.Error(), "body") {
			t.Errorf("redeliver one without a body: %v, want ErrNotRedeliverable", err)
		}
		closeInbox(t, in)
		in = open(t, opts)
		for _, n := range []int{n - 1, n - 300} { // of the log, of the archive
			if got := accept(t, in, notice(runRef(n), 0, spacelift.RunStateQueued)).Outcome; got != archive.OutcomeDuplicate {
				t.Errorf("a repeat within the window is %s after a restart", got)
			}
		}
		if got := accept(t, in, notice(runRef(0), 0, spacelift.RunStateQueued)).Outcome; got != archive.OutcomeAccepted {
			t.Errorf("a repeat beyond the window is %s", got)
		}
	})
}

// However many events wait, lists have the newest ones, and the others are forwarded all the
// same; one that is refused is in the lists again.
func TestListsHaveTheNewestOfManyThatWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := open(t, Options{Archive: archive.Budgets{Entries: archive.Budget{Count: 20}}})
		var ids []string
		for n := range 100 {
			ids = append(ids, accept(t, in, notice(runRef(n), 0, spacelift.RunStateQueued)).ID)
		}
		pass(time.Minute)
		listed, _, err := in.List(t.Context(), archive.Filter{Forwarding: archive.ForwardingPending}, 100, "")
		if err != nil || len(listed) != 20 || listed[0].ID != ids[99] || in.Health().Pending != 100 {
			t.Fatalf("%d are listed (%v), and %d wait", len(listed), err, in.Health().Pending)
		}
		target := failing(runRef(5), ErrRefused)
		stop := forward(t, in, target, ForwarderOptions{})
		pass(time.Minute)
		synctest.Wait()
		stop()
		if len(target.signals) != 99 || in.Health().Pending != 0 {
			t.Errorf("%d of 99 were forwarded, and %d wait", len(target.signals), in.Health().Pending)
		}
		if d, body, err := in.Get(t.Context(), ids[5]); err != nil || d.Forwarding != archive.ForwardingDead || d.Run != runRef(5) || len(body) == 0 {
			t.Errorf("the refused one is %+v with %d bytes (%v)", d, len(body), err)
		}
	})
}

// Neither a pending nor a dead event keeps everything behind it on disk.
func TestPendingAndDeadOutliveEverythingElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		opts := small
		opts.Dir, opts.Bodies.Bytes = t.TempDir(), 20<<10
		stuck, refused := runRef(1), runRef(2)
		target := &fakeTarget{fail: func(run spacelift.RunRef, _ []managed.RunEvent) error {
			switch run {
			case stuck, runRef(4):
				return errAway
			case refused:
				return ErrRefused
			}
			return nil
		}}
		in := open(t, opts)
		stop := forward(t, in, target, ForwarderOptions{})
		pending := accept(t, in, notice(stuck, 0, spacelift.RunStateQueued))
		dead := accept(t, in, notice(refused, 0, spacelift.RunStateQueued))
		first := accept(t, in, notice(runRef(3), 0, spacelift.RunStateQueued))
		for i := range 1500 {
			accept(t, in, notice(runRef(1000+i), 0, spacelift.RunStateQueued))
			if i%20 == 0 {
				pass(5 * time.Second)
				if h := in.Health(); h.OldestPending.Sub(pending.ReceivedAt).Abs() > time.Second {
					t.Fatalf("after %d the oldest pending one is of %v, want %v", i, h.OldestPending, pending.ReceivedAt)
				}
			}
			if i == 700 {
				accept(t, in, notice(stuck, 1, spacelift.RunStateReady))
				accept(t, in, notice(runRef(4), 0, spacelift.RunStateQueued))
			}
		}
		pass(time.Minute)
		synctest.Wait()
		if use := logged(t, opts.Dir); use > 128<<10 {
			t.Errorf("the log has %d bytes", use)
		}
		if _, _, err := in.Get(t.Context(), first.ID); !errors.Is(err, ErrNotFound) {
			t.Errorf("an old forwarded delivery: %v, want ErrNotFound", err)
		}
		check := func(when string) {
			t.Helper()
			for _, c := range []struct {
				id   string
				want archive.Forwarding
			}{{pending.ID, archive.ForwardingPending}, {dead.ID, archive.ForwardingDead}} {
				d, body, err := in.Get(t.Context(), c.id)
				if err != nil || d.Forwarding != c.want || len(body) == 0 {
					t.Errorf("%s: %+v with %d bytes (%v), want it %s and whole", when, d, len(body), err, c.want)
				}
			}
		}
		check("immediately")
		stop()
		closeInbox(t, in)
		in = open(t, opts)
		check("after reopening")
		if h := in.Health(); h.Pending != 3 || h.Dead != 1 || h.Problem != "" {
			t.Errorf("health %+v", h)
		}
		if got := accept(t, in, notice(stuck, 1, spacelift.RunStateReady)).Outcome; got != archive.OutcomeDuplicate {
			t.Errorf("a repeat of the pending one is %s", got)
		}
		target.change(func() { target.fail = nil })
		forward(t, in, target, ForwarderOptions{})
		pass(time.Minute)
		synctest.Wait()
		if got := target.versions(stuck); len(got) != 1 || len(got[0]) != 2 || got[0][0] != 0 {
			t.Errorf("the stuck run got %v, want its events in order", got)
		}
	})
}

func TestRepeatOfADeadEventIsForwarded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		refuse := true
		target := &fakeTarget{fail: func(spacelift.RunRef, []managed.RunEvent) error {
			if refuse {
				return ErrRefused
			}
			return nil
		}}
		in := open(t, Options{Dir: dir})
		forward(t, in, target, ForwarderOptions{})
		for range 2 {
			if d := accept(t, in, notice(runRef(1), 0, spacelift.RunStateQueued)); d.Outcome != archive.OutcomeAccepted {
				t.Fatalf("a repeat of a dead event is %s", d.Outcome)
			}
			synctest.Wait()
		}
		closeInbox(t, in)
		in = open(t, Options{Dir: dir})
		target.change(func() { refuse = false })
		forward(t, in, target, ForwarderOptions{})
		if d := accept(t, in, notice(runRef(1), 0, spacelift.RunStateQueued)); d.Outcome != archive.OutcomeAccepted {
			t.Errorf("a repeat of a dead event is %s after a restart", d.Outcome)
		}
		synctest.Wait()
		if got := len(target.versions(runRef(1))); got != 1 {
			t.Errorf("%d signals, want 1", got)
		}
	})
}

func TestDeadDeliveriesBeyondTheirBudgetAreLoggedAndDeleted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		opts := small
		opts.Dir = t.TempDir()
		var log strings.Builder
		opts.Logger = textLogger(&log)
		in := open(t, opts)
		target := &fakeTarget{fail: func(spacelift.RunRef, []managed.RunEvent) error { return ErrRefused }}
		stop := forward(t, in, target, ForwarderOptions{})
		var ids []string
		for i := range 30 {
			ids = append(ids, accept(t, in, notice(runRef(i), 0, spacelift.RunStateQueued)).ID)
		}
		pass(time.Minute)
		synctest.Wait()
		stop()
		for i, id := range ids {
			d, _, err := in.Get(t.Context(), id)
			if gone := errors.Is(err, ErrNotFound); gone != (i < 10) || !gone && d.Forwarding != archive.ForwardingDead {
				t.Errorf("number %d: %+v (%v)", i, d, err)
			}
			if logged := strings.Contains(log.String(), `the oldest was deleted","room":"inbox","delivery":"`+id+`"`); logged != (i < 10) {
				t.Errorf("number %d was logged: %t", i, logged)
			}
		}
		if h := in.Health(); h.Dead != 20 {
			t.Errorf("health says %d dead", h.Dead)
		}
	})
}

func TestRefusalsPushOutNothingElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		opts := small
		opts.Dir = t.TempDir()
		in := open(t, opts)
		ignored := in.Log(archive.Delivery{Outcome: archive.OutcomeIgnored, Reason: "unmanaged-stack"})
		unreadable := in.LogUnreadable(archive.Delivery{Outcome: archive.OutcomeIgnored, Reason: "unreadable"}, []byte("{"))
		accepted := accept(t, in, notice(runRef(1), 0, spacelift.RunStateQueued))
		for range 100 {
			for range 100 {
				in.Log(archive.Delivery{Outcome: archive.OutcomeRefused, Reason: "bad-signature", Detail: strings.Repeat("x", 5000)})
			}
			pass(time.Second)
		}
		pass(time.Minute)
		synctest.Wait()
		if n := len(all(t, in, archive.Filter{Outcome: archive.OutcomeRefused}, 100)); n != 40 {
			t.Errorf("%d refused deliveries are kept, want 40", n)
		}
		for _, id := range []string{ignored.ID, accepted.ID, unreadable.ID} {
			if _, _, err := in.Get(t.Context(), id); err != nil {
				t.Errorf("delivery %s: %v", id, err)
			}
		}
	})
}

// The bodies of unreadable notifications are kept, in bounds.
func TestUnreadableBodiesAreKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		opts := small
		opts.Dir = t.TempDir()
		in := open(t, opts)
		var ids []string
		for i := range 30 {
			ids = append(ids, in.LogUnreadable(archive.Delivery{Outcome: archive.OutcomeIgnored, Reason: "unreadable"}, make([]byte, 1000+i)).ID)
		}
		check := func(when string, kept int) {
			t.Helper()
			for i, id := range ids {
				d, body, err := in.Get(t.Context(), id)
				if there := err == nil; there != (i >= len(ids)-kept) || there && (!d.HasBody || len(body) != 1000+i || d.Outcome != archive.OutcomeIgnored) {
					t.Errorf("%s: number %d is %+v with %d bytes (%v)", when, i, d, len(body), err)
				}
			}
			if n := in.Health().Unreadable[""].Count; n != kept {
				t.Errorf("%s: health says %d", when, n)
			}
		}
		check("immediately", 30)
		pass(time.Minute)
		synctest.Wait()
		check("after trimming", 9) // 10 by number, 9 by bytes
		page, _, err := in.List(t.Context(), archive.Filter{Reason: "unreadable"}, 0, "")
		if err != nil || len(page) != 9 || !page[0].HasBody {
			t.Errorf("the list shows %+v (%v)", page, err)
		}
		closeInbox(t, in)
		in = open(t, opts)
		check("after reopening", 9)
		if _, err := in.Redeliver(t.Context(), ids[29]); !errors.Is(err, ErrNotRedeliverable) {
			t.Errorf("redeliver: %v, want ErrNotRedeliverable: the server reads it again", err)
		}
	})
}

// slowFile waits after it has written, as a flush does.
type slowFile struct {
	*os.File
	flush func()
}

func (f slowFile) WriteAt(p []byte, at int64) (int, error) {
	n, err := f.File.WriteAt(p, at)
	f.flush()
	return n, err
}

func TestNoAnswerOrSignalBeforeTheFlush(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	hold := make(chan struct{})
	var held atomic.Bool
	in := open(t, Options{Dir: dir, openFile: func(path string, flags int) (wal.File, error) {
		f, err := os.OpenFile(path, flags, 0o600)
		return slowFile{f, func() {
			if held.Load() && filepath.Ext(path) == ".wal" {
				<-hold
			}
		}}, err
	}})
	target := &fakeTarget{}
	forward(t, in, target, ForwarderOptions{})
	held.Store(true)
	answers := make(chan archive.Delivery, 2)
	for range 2 { // the second one is a twin, and must not be answered before the first is stored
		go func() { answers <- accept(t, in, notice(runRef(1), 0, spacelift.RunStateQueued)) }()
	}
	waitFor(t, in, func(Health) bool {
		in.mu.Lock()
		defer in.mu.Unlock()
		return in.committing != nil && len(in.open.items) == 0 // the writer has it
	})
	for range 1000 {
		runtime.Gosched()
	}
	if h := in.Health(); len(answers) != 0 || h.Pending != 0 || len(target.versions(runRef(1))) != 0 {
		t.Errorf("before the flush there are %d answers, and %d pending", len(answers), h.Pending)
	}
	close(hold)
	a, b := <-answers, <-answers
	if a.Outcome == b.Outcome || a.DuplicateOf != "" && a.DuplicateOf != b.ID || b.DuplicateOf != "" && b.DuplicateOf != a.ID {
		t.Errorf("answers %+v and %+v, want one accepted and one its duplicate", a, b)
	}
	waitFor(t, in, func(h Health) bool { return h.Pending == 0 })
	if n := len(target.versions(runRef(1))); n != 1 {
		t.Errorf("%d signals after the flush, want 1", n)
	}
}
