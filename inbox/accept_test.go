package inbox

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/spacelift"
)

func TestAcceptedDeliveryIsThereAfterReopening(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := open(t, Options{Dir: dir})
	e := notice(runRef(1), 5, spacelift.RunStateUnconfirmed)
	body := []byte(`{"account":"acme"}`)
	received := time.Now().Add(-3 * time.Millisecond)
	e.ReceivedAt, e.Secret = received, 2
	d, err := in.Accept(t.Context(), e, body)
	if err != nil {
		t.Fatal(err)
	}
	if d.Outcome != archive.OutcomeAccepted || d.ID == "" || d.Latency < 3*time.Millisecond {
		t.Fatalf("answer %+v", d)
	}
	closeInbox(t, in)

	in = open(t, Options{Dir: dir})
	got, gotBody, err := in.Get(t.Context(), d.ID)
	if err != nil {
		t.Fatal(err)
	}
	want := archive.Delivery{
		ID: d.ID, ReceivedAt: received.UTC(), Source: "192.0.2.7", Secret: 2, Outcome: archive.OutcomeAccepted, Forwarding: archive.ForwardingPending,
		Run: e.Run, Type: e.Type, State: e.State, StateVersion: 5, Size: len(body), HasBody: true,
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(archive.Delivery{}, "Latency"), cmpopts.EquateApproxTime(0)); diff != "" {
		t.Errorf("delivery (-want +got):\n%s", diff)
	}
	if string(gotBody) != string(body) {
		t.Errorf("body %q", gotBody)
	}

	target := &fakeTarget{}
	stop := forward(t, in, target, ForwarderOptions{})
	waitFor(t, in, func(h Health) bool { return h.Pending == 0 })
	stop()
	want2 := managed.RunEvent{Run: e.Run, Type: e.Type, State: e.State, StateVersion: 5, At: received.UTC(), Source: managed.SourceWebhook, Delivery: d.ID, ReceivedAt: received.UTC()}
	if diff := cmp.Diff(want2, target.signals[0][0], cmpopts.EquateApproxTime(0)); diff != "" {
		t.Errorf("event sent (-want +got):\n%s", diff)
	}
}

// waitFor waits until the inbox's health is as wanted.
func waitFor(t testing.TB, in *Inbox, ok func(Health) bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !ok(in.Health()) {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("health stays %+v", in.Health())
		}
	}
}

func TestRepeatIsADuplicate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := open(t, Options{Dir: dir})
	first := accept(t, in, notice(runRef(1), 3, spacelift.RunStatePlanning))

	for _, other := range []struct {
		name string
		d    archive.Delivery
		want archive.Outcome
	}{
		{"the same event", accept(t, in, notice(runRef(1), 3, spacelift.RunStatePlanning)), archive.OutcomeDuplicate},
		{"another run", accept(t, in, notice(runRef(2), 3, spacelift.RunStatePlanning)), archive.OutcomeAccepted},
		{"another version", accept(t, in, notice(runRef(1), 4, spacelift.RunStatePlanning)), archive.OutcomeAccepted},
		{"another state", accept(t, in, notice(runRef(1), 3, spacelift.RunStateFailed)), archive.OutcomeAccepted},
	} {
		if other.d.Outcome != other.want {
			t.Errorf("%s: %s, want %s", other.name, other.d.Outcome, other.want)
		}
		if other.want == archive.OutcomeDuplicate && other.d.DuplicateOf != first.ID {
			t.Errorf("%s: duplicate of %q, want %q", other.name, other.d.DuplicateOf, first.ID)
		}
	}
	closeInbox(t, in)

	in = open(t, Options{Dir: dir})
	again := accept(t, in, notice(runRef(1), 3, spacelift.RunStatePlanning))
	if again.Outcome != archive.OutcomeDuplicate || again.DuplicateOf != first.ID {
		t.Errorf("after reopening: %s of %q, want a duplicate of %q", again.Outcome, again.DuplicateOf, first.ID)
	}
	log, _, err := in.List(t.Context(), archive.Filter{Outcome: archive.OutcomeDuplicate, Reason: archive.ReasonSeenBefore}, 0, "")
	if err != nil || len(log) != 2 {
		t.Errorf("the log shows %d duplicates (%v), want 2", len(log), err)
	}
}

func TestConcurrentTwinsAreStoredOnce(t *testing.T) {
	t.Parallel()
	in := open(t, Options{})
	const twins = 8
	for n := range 50 {
		outcomes := make([]archive.Delivery, twins)
		var wg sync.WaitGroup
		for i := range twins {
			wg.Go(func() { outcomes[i] = accept(t, in, notice(runRef(n), 0, spacelift.RunStateQueued)) })
		}
		wg.Wait()
		var accepted []string
		for _, d := range outcomes {
			if d.Outcome == archive.OutcomeAccepted {
				accepted = append(accepted, d.ID)
			}
		}
		if len(accepted) != 1 {
			t.Fatalf("%d of %d twins were accepted", len(accepted), twins)
		}
		for _, d := range outcomes {
			if d.Outcome == archive.OutcomeDuplicate && d.DuplicateOf != accepted[0] {
				t.Fatalf("duplicate of %s, want %s", d.DuplicateOf, accepted[0])
			}
		}
	}
}

func TestAcceptAfterClose(t *testing.T) {
	t.Parallel()
	in := open(t, Options{})
	closeInbox(t, in)
	_, err := in.Accept(context.Background(), notice(runRef(1), 0, spacelift.RunStateQueued), nil)
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("error %v, want ErrUnavailable", err)
	}
	if h := in.Health(); h.Writable || h.Problem == "" {
		t.Errorf("health %+v, want not writable and a reason", h)
	}
}

// A rolling update on one volume: the next process waits for the one before.
func TestSecondProcessWaitsForTheFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		first := open(t, Options{Dir: dir})
		d := accept(t, first, notice(runRef(1), 0, spacelift.RunStateQueued))
		began := time.Now()
		if _, err := Open(t.Context(), Options{Dir: dir, LockWait: 30 * time.Second}); err == nil || time.Since(began) < 30*time.Second || !strings.Contains(err.Error(), "another process uses") {
			t.Errorf("after %s: %v, want that another process uses it", time.Since(began), err)
		}
		go func() {
			pass(20 * time.Second)
			closeInbox(t, first)
		}()
		second := open(t, Options{Dir: dir, LockWait: 30 * time.Second})
		if _, _, err := second.Get(t.Context(), d.ID); err != nil {
			t.Error(err)
		}
	})
}

// Memory is used again: that of the body by the caller, that of a batch by a later one.
func TestAcceptedEventsDontChangeAfterwards(t *testing.T) {
	t.Parallel()
	in := open(t, Options{})
	body := make([]byte, 100)
	want := map[string]string{} // bodies by delivery
	for i := range 10 {
		copy(body, strings.Repeat(string(rune('a'+i)), len(body)))
		d, err := in.Accept(t.Context(), notice(runRef(i), 0, spacelift.RunStateQueued), body)
		if err != nil {
			t.Fatal(err)
		}
		want[d.ID] = string(body)
	}
	clear(body)
	var mu sync.Mutex
	forwarded := map[string]string{}
	stop := forward(t, in, &fakeTarget{}, ForwarderOptions{Decode: func(d archive.Delivery, body []byte) managed.RunEvent {
		mu.Lock()
		defer mu.Unlock()
		forwarded[d.ID] = string(body)
		return managed.RunEvent{}
	}})
	waitFor(t, in, func(h Health) bool { return h.Pending == 0 })
	stop()
	if diff := cmp.Diff(want, forwarded); diff != "" {
		t.Errorf("bodies forwarded (-want +got):\n%s", diff)
	}
	for id, body := range want {
		if _, got, err := in.Get(t.Context(), id); err != nil || string(got) != body {
			t.Errorf("delivery %s has the body %q, %v; want %q", id, got, err, body)
		}
	}
}
