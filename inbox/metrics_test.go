package inbox

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/spacelift"
)

// values reads what a scrape would: counters and gauges as they are, of
// histograms the number of observations.
func values(t testing.TB, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			if l := m.GetLabel(); len(l) > 0 { // we have at most one
				name += "/" + l[0].GetValue()
			}
			switch {
			case m.GetHistogram() != nil:
				got[name] = float64(m.GetHistogram().GetSampleCount())
			case m.GetCounter() != nil:
				got[name] = m.GetCounter().GetValue()
			default:
				got[name] = m.GetGauge().GetValue()
			}
		}
	}
	return got
}

func TestMetricsShowTheState(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		in := open(t, Options{Metrics: registry})
		away := true
		target := &fakeTarget{fail: func(run spacelift.RunRef, _ []managed.RunEvent) error {
			switch {
			case away:
				return errAway
			case run == runRef(1):
				return ErrRefused
			case run == runRef(2):
				return ErrEnded
			}
			return nil
		}}
		accept(t, in, notice(runRef(1), 0, spacelift.RunStateQueued))
		accept(t, in, notice(runRef(2), 0, spacelift.RunStateQueued))
		accept(t, in, notice(runRef(3), 0, spacelift.RunStateQueued))
		accept(t, in, notice(runRef(3), 1, spacelift.RunStateReady))
		stop := forward(t, in, target, ForwarderOptions{MaxConcurrent: 1})
		pass(10 * time.Second)
		synctest.Wait()

		got := values(t, registry)
		if age := got["gantry_inbox_oldest_pending_age_seconds"]; age < 10 || age > 11 {
			t.Errorf("oldest pending age %v, want 10 s", age)
		}
		if got["gantry_forwards_total/failed"] < 2 {
			t.Errorf("%v failed signals within 10 s", got["gantry_forwards_total/failed"])
		}
		want := map[string]float64{"gantry_inbox_pending": 4, "gantry_inbox_dead": 0, "gantry_inbox_writable": 1, "gantry_forwarder_up": 0, "gantry_inbox_commit_events": 4}
		check := func(when string) {
			t.Helper()
			for name, v := range want {
				if g, ok := got[name]; !ok || g != v {
					t.Errorf("%s: %s is %v (%t), want %v", when, name, g, ok, v)
				}
			}
		}
		check("while the target is away")

		target.change(func() { away = false })
		pass(time.Minute)
		synctest.Wait()
		stop()
		got = values(t, registry)
		want = map[string]float64{
			"gantry_inbox_pending": 0, "gantry_inbox_oldest_pending_age_seconds": 0, "gantry_inbox_dead": 1, "gantry_forwarder_up": 1,
			"gantry_forwards_total/forwarded": 1, "gantry_forwards_total/late": 1, "gantry_forwards_total/refused": 1,
			"gantry_forward_batch_events": 1, "gantry_forward_seconds": 2,
		}
		check("after it came back")

		closeInbox(t, in)
		if left := values(t, registry); len(left) > 0 {
			t.Errorf("after Close there are still %v", cmp.Diff(map[string]float64{}, left))
		}
	})
}

func TestForgottenLogEntriesAreCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		in := open(t, Options{Metrics: registry})
		in.following.Lock() // as if the disk did not keep up
		for range maxNotes + 5 {
			in.Log(archive.Delivery{Outcome: archive.OutcomeRefused, Reason: "bad-signature"})
		}
		in.following.Unlock()
		if got := values(t, registry)["gantry_inbox_log_dropped_total"]; got != 5 {
			t.Errorf("%v forgotten entries are counted, want 5", got)
		}
		if n := len(all(t, in, archive.Filter{}, 500)); n != maxNotes {
			t.Errorf("%d entries are shown, want %d", n, maxNotes)
		}
	})
}
