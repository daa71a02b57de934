package inbox

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// onFlush puts something in the place of the next flushes of accepted events.
func onFlush(in *Inbox, flush func(*os.File) error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.acc.open.flush = flush
}

func TestNobodyHearsOfAnEventBeforeItIsFlushed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := open(t, Options{})
		accept(t, in, event(runRef(0), 0, spacelift.RunStateQueued)) // now there is a segment
		target := &fakeTarget{}
		forward(t, in, target, ForwarderOptions{})
		synctest.Wait()

		disk := make(chan struct{})
		onFlush(in, func(f *os.File) error {
			<-disk
			return syncData(f)
		})
		answers := make(chan Delivery, 2)
		for range 2 { // the second one is a twin, and must not be told that the first is stored
			go func() { answers <- accept(t, in, event(runRef(1), 0, spacelift.RunStateQueued)) }()
		}
		pass(time.Minute)
		synctest.Wait()
		if len(answers) != 0 {
			t.Errorf("%d answers before the flush", len(answers))
		}
		if n := len(all(t, in, Filter{Run: runRef(1).Run}, 10)) + len(target.versions(runRef(1))); n != 0 {
			t.Error("the event was shown or sent before the flush")
		}
		close(disk)
		a, b := <-answers, <-answers
		if a.Outcome == b.Outcome || a.DuplicateOf != "" && a.DuplicateOf != b.ID || b.DuplicateOf != "" && b.DuplicateOf != a.ID {
			t.Errorf("answers %+v and %+v, want one accepted and one its duplicate", a, b)
		}
		synctest.Wait()
		if n := len(target.versions(runRef(1))); n != 1 {
			t.Errorf("%d signals after the flush, want 1", n)
		}
	})
}

func TestFailedFlushTakesNothingAlong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		in := open(t, Options{Dir: dir, Logger: quiet})
		first := accept(t, in, event(runRef(1), 0, spacelift.RunStateQueued))
		pass(time.Second)
		synctest.Wait()

		onFlush(in, func(*os.File) error { return syscall.EIO })
		d, err := in.Accept(t.Context(), Delivery{}, event(runRef(2), 0, spacelift.RunStateQueued), []byte("{}"))
		if !errors.Is(err, ErrUnavailable) || !errors.Is(err, syscall.EIO) {
			t.Errorf("%+v, %v: want ErrUnavailable because of EIO", d, err)
		}
		// What reached Temporal meanwhile stays so, although it cannot be noted.
		target := &fakeTarget{}
		stop := forward(t, in, target, ForwarderOptions{})
		pass(10 * time.Second)
		synctest.Wait()
		stop()
		if h := in.Health(); h.Writable || h.Problem == "" || h.Pending != 0 {
			t.Errorf("health %+v, want not writable, and nothing pending", h)
		}

		onFlush(in, nil)
		pass(2 * time.Second)
		synctest.Wait()
		if h := in.Health(); !h.Writable || h.Problem != "" {
			t.Errorf("health %+v, want it well again", h)
		}
		closeInbox(t, in)

		in = open(t, Options{Dir: dir})
		if d, _, err := in.Get(t.Context(), first.ID); err != nil || d.Forwarding != ForwardingForwarded {
			t.Errorf("the event that was sent is %+v (%v)", d, err)
		}
		if ids := all(t, in, Filter{Outcome: OutcomeAccepted}, 10); len(ids) != 1 {
			t.Errorf("%d accepted deliveries, want 1", len(ids))
		}
		if aside, _ := filepath.Glob(filepath.Join(dir, "accepted", "*.damaged-*")); len(aside) > 0 {
			t.Errorf("the failed flush left its trace: %v", aside)
		}
		if d := accept(t, in, event(runRef(2), 0, spacelift.RunStateQueued)); d.Outcome != OutcomeAccepted {
			t.Errorf("the event that was not stored is %s when it comes again", d.Outcome)
		}
	})
}
