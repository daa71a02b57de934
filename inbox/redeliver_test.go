package inbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/spacelift"
)

func TestRefusedEventDiesAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := open(t, Options{})
		refusing := true
		target := &fakeTarget{fail: func(_ spacelift.RunRef, events []managed.RunEvent) error {
			if refusing && slices.ContainsFunc(events, func(e managed.RunEvent) bool { return e.StateVersion == 1 }) {
				return fmt.Errorf("%w: payload too large", ErrRefused)
			}
			return nil
		}}
		var ids []string
		for v := range 3 {
			ids = append(ids, accept(t, in, notice(runRef(1), v, life[v])).ID)
		}
		stop := forward(t, in, target, ForwarderOptions{})
		pass(time.Second)
		synctest.Wait()
		if diff := cmp.Diff([][]int{{0}, {2}}, target.versions(runRef(1))); diff != "" {
			t.Errorf("signals (-want +got):\n%s", diff)
		}
		d, body, err := in.Get(t.Context(), ids[1])
		if err != nil || d.Forwarding != archive.ForwardingDead || d.Attempts == 0 || !strings.Contains(d.ForwardError, "payload too large") || len(body) == 0 {
			t.Errorf("refused delivery: %+v, %d bytes of body (%v)", d, len(body), err)
		}
		if h := in.Health(); h.ForwarderDown || h.Dead != 1 || h.Pending != 0 {
			t.Errorf("health %+v", h)
		}

		target.change(func() { refusing = false })
		others := func(run spacelift.RunRef, _ string) bool { return run.Account != "acme" }
		if n, err := in.RedeliverDead(t.Context(), others); n != 0 || err != nil {
			t.Fatalf("redelivered %d of other accounts (%v), want none", n, err)
		}
		n, err := in.RedeliverDead(t.Context(), nil)
		if n != 1 || err != nil {
			t.Fatalf("redelivered %d (%v), want 1", n, err)
		}
		pass(time.Second)
		synctest.Wait()
		stop()
		if diff := cmp.Diff([][]int{{0}, {2}, {1}}, target.versions(runRef(1))); diff != "" {
			t.Errorf("signals (-want +got):\n%s", diff)
		}
		if d, _, _ := in.Get(t.Context(), ids[1]); d.Forwarding != archive.ForwardingForwarded || d.ForwardError != "" || d.ForwardedAt.IsZero() {
			t.Errorf("redelivered: %+v", d)
		}
	})
}

func TestRedeliver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		in := open(t, Options{Dir: dir})
		d := accept(t, in, notice(runRef(1), 0, spacelift.RunStateQueued))
		if got, err := in.Redeliver(t.Context(), d.ID); err != nil || got.Forwarding != archive.ForwardingPending {
			t.Errorf("redeliver a pending one: %+v (%v)", got, err)
		}
		target := &fakeTarget{}
		stop := forward(t, in, target, ForwarderOptions{})
		synctest.Wait()
		stop()
		if got := len(target.signals); got != 1 {
			t.Errorf("%d signals, want 1: a pending one stays where it is", got)
		}

		// What is on disk counts: it survives a restart before it is sent.
		if got, err := in.Redeliver(t.Context(), d.ID); err != nil || got.Forwarding != archive.ForwardingPending {
			t.Fatalf("redeliver a forwarded one: %+v (%v)", got, err)
		}
		closeInbox(t, in)
		in = open(t, Options{Dir: dir})
		forward(t, in, target, ForwarderOptions{})
		synctest.Wait()
		if got := len(target.signals); got != 2 {
			t.Errorf("%d signals, want 2", got)
		}

		ignored := in.Log(archive.Delivery{Outcome: archive.OutcomeIgnored, Reason: "unmanaged-stack"})
		if _, err := in.Redeliver(t.Context(), ignored.ID); !errors.Is(err, ErrNotRedeliverable) {
			t.Errorf("redeliver an ignored one: %v, want ErrNotRedeliverable", err)
		}
		for _, id := range []string{"01KDX3V4T8Q2M5N7P9R1S3T5V7", "nonsense", ""} {
			if _, err := in.Redeliver(t.Context(), id); !errors.Is(err, ErrNotFound) {
				t.Errorf("redeliver %q: %v, want ErrNotFound", id, err)
			}
		}
	})
}

// An unreadable delivery that is read again much later arrived when it did, and is a
// measurement of nothing.
func TestAcceptAgainMeasuresNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir, registry := t.TempDir(), prometheus.NewRegistry()
		in := open(t, Options{Dir: dir, Metrics: registry})
		old := in.LogUnreadable(archive.Delivery{Outcome: archive.OutcomeIgnored, Reason: "unreadable"}, []byte("{"))
		pass(5 * time.Hour)
		old, _, err := in.Get(t.Context(), old.ID)
		if err != nil {
			t.Fatal(err)
		}
		old.Run, old.State = runRef(1), spacelift.RunStateQueued
		d, err := in.AcceptAgain(t.Context(), old, []byte("{}"))
		if err != nil || d.Outcome != archive.OutcomeAccepted || d.ID == old.ID {
			t.Fatalf("read again as %+v (%v)", d, err)
		}
		again, err := in.AcceptAgain(t.Context(), old, []byte("{}"))
		if err != nil || again.DuplicateOf != d.ID {
			t.Errorf("read twice as %+v (%v)", again, err)
		}
		target := &fakeTarget{}
		stop := forward(t, in, target, ForwarderOptions{})
		waitFor(t, in, func(h Health) bool { return h.Pending == 0 })
		stop()
		if got := values(t, registry); got["gantry_forwards_total/forwarded"] != 1 || got["gantry_forward_seconds"] != 0 {
			t.Errorf("%v signals, %v measured", got["gantry_forwards_total/forwarded"], got["gantry_forward_seconds"])
		}
		closeInbox(t, in)
		if err := os.Remove(filepath.Join(dir, archiveName)); err != nil { // so that the log alone says it
			t.Fatal(err)
		}
		in = open(t, Options{Dir: dir})
		found, _, err := in.List(t.Context(), archive.Filter{}, 0, "")
		if err != nil || len(found) != 1 {
			t.Errorf("the log says %+v (%v)", found, err)
		}
		for _, d := range append(found, d, again) {
			if d.Latency != 0 || !d.ReceivedAt.Equal(old.ReceivedAt) {
				t.Errorf("%+v", d)
			}
		}
	})
}

// Unreadable deliveries are counted by account, even after a restart, until they are read.
func TestUnreadableIsCountedUntilItIsRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		in := open(t, Options{Dir: dir})
		var ids []string
		begin := time.Now().UTC()
		for i := range 3 {
			d := notice(runRef(i), 0, "")
			d.Outcome, d.Reason = archive.OutcomeIgnored, "unreadable"
			ids = append(ids, in.LogUnreadable(d, []byte("{")).ID)
			pass(time.Hour)
		}
		closeInbox(t, in)
		registry := prometheus.NewRegistry()
		in = open(t, Options{Dir: dir, Metrics: registry})
		want := func(n int, newest string) {
			t.Helper()
			found := in.Health().Unreadable
			if u := found["acme"]; u.Count != n || n > 0 && (!u.First.Equal(begin) || u.Newest.ID != newest) || len(found) != min(n, 1) {
				t.Errorf("health says %+v, want %d and %s", found, n, newest)
			}
			if got := values(t, registry)["gantry_inbox_unreadable"]; got != float64(n) {
				t.Errorf("the gauge is %v, want %d", got, n)
			}
		}
		want(3, ids[2])
		read := func(id string, version int, outcome archive.Outcome) {
			t.Helper()
			d, body, err := in.Get(t.Context(), id)
			if err != nil || len(body) == 0 {
				t.Fatalf("%+v, %d bytes (%v)", d, len(body), err)
			}
			d.StateVersion, d.State = version, life[version]
			if d, err = in.AcceptAgain(t.Context(), d, body); err != nil || d.Outcome != outcome {
				t.Errorf("read again as %+v (%v)", d, err)
			}
		}
		read(ids[2], 1, archive.OutcomeAccepted)
		want(2, ids[1])
		accept(t, in, notice(runRef(1), 1, life[1])) // the sender repeated it
		read(ids[1], 1, archive.OutcomeDuplicate)
		want(1, ids[0])
		read(ids[0], 1, archive.OutcomeAccepted)
		want(0, "")
		closeInbox(t, in)
		in = open(t, Options{Dir: dir, Metrics: registry})
		want(0, "")
	})
}
