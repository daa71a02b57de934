package inbox

import (
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

func TestNoAnswerOrSignalBeforeTheFlush(t *testing.T) {
	t.Parallel()
	in := open(t, Options{})
	target := &fakeTarget{}
	forward(t, in, target, ForwarderOptions{})

	in.store.mu.Lock() // the commit cannot begin
	answers := make(chan Delivery, 2)
	for range 2 { // the second one is a twin, and must not be answered before the first is stored
		go func() { answers <- accept(t, in, event(runRef(1), 0, spacelift.RunStateQueued)) }()
	}
	waitFor(t, in, func(Health) bool {
		in.mu.Lock()
		defer in.mu.Unlock()
		return len(in.flight) == 1 && len(in.batches) == 0 // the writer has it
	})
	for range 1000 {
		runtime.Gosched()
	}
	if h := in.Health(); len(answers) != 0 || h.Pending != 0 || len(target.versions(runRef(1))) != 0 {
		t.Errorf("before the flush there are %d answers, and %d pending", len(answers), h.Pending)
	}
	in.store.mu.Unlock()
	a, b := <-answers, <-answers
	if a.Outcome == b.Outcome || a.DuplicateOf != "" && a.DuplicateOf != b.ID || b.DuplicateOf != "" && b.DuplicateOf != a.ID {
		t.Errorf("answers %+v and %+v, want one accepted and one its duplicate", a, b)
	}
	waitFor(t, in, func(h Health) bool { return h.Pending == 0 })
	if n := len(target.versions(runRef(1))); n != 1 {
		t.Errorf("%d signals after the flush, want 1", n)
	}
}

// A commit whose flush failed may be complete in the file all the same. Its
// sender got an error, so the event must not reappear.
func TestFailedFlushStoresNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		in := open(t, Options{Dir: dir, Logger: silent})
		first := accept(t, in, event(runRef(1), 0, spacelift.RunStateQueued))
		pass(time.Second)
		synctest.Wait()

		in.mu.Lock()
		it, err := newItem(Delivery{}, event(runRef(2), 0, spacelift.RunStateQueued), []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		it.id = in.ids.next(time.Now())
		b := &batch{items: []*item{it}, done: make(chan struct{})}
		c := &commit{batch: b, fresh: &row{seq: in.nextSeq, entries: make([]entry, 1)}}
		if _, err := in.write(c); err != nil {
			t.Fatal(err)
		}
		in.failed(c, errors.New("input/output error"), time.Now())
		in.mu.Unlock()

		if _, err := in.Accept(t.Context(), Delivery{}, event(runRef(3), 0, spacelift.RunStateQueued), nil); !errors.Is(err, ErrUnavailable) {
			t.Errorf("after the failure: %v, want ErrUnavailable", err)
		}
		// What reached Temporal meanwhile stays so, although it cannot be noted.
		stop := forward(t, in, &fakeTarget{}, ForwarderOptions{})
		synctest.Wait()
		stop()
		if h := in.Health(); h.Writable || h.Problem == "" || h.Pending != 0 {
			t.Errorf("health %+v, want not writable, and nothing pending", h)
		}
		pass(5 * time.Second)
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
		if d := accept(t, in, event(runRef(2), 0, spacelift.RunStateQueued)); d.Outcome != OutcomeAccepted {
			t.Errorf("the event that was not stored is %s when it comes again", d.Outcome)
		}
	})
}
