package simulator_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

func TestDeliveryFaults(t *testing.T) {
	at := func(kind simulator.DeliveryFaultKind, state spacelift.RunState) simulator.DeliveryFault {
		return simulator.DeliveryFault{Kind: kind, State: state}
	}
	body := func(got []received, state string) string {
		for _, d := range got {
			if strings.Contains(d.Body, `"state":"`+state+`"`) {
				return d.Body
			}
		}
		return ""
	}
	t.Run("drop", func(t *testing.T) {
		r, _ := deliver(t, at(simulator.Drop, "UNCONFIRMED"))
		want := slices.DeleteFunc(slices.Clone(fullCycle), func(s spacelift.RunState) bool { return s == "UNCONFIRMED" })
		if diff := cmp.Diff(want, r.hook.states()); diff != "" {
			t.Errorf("states (-want +got)\n%s", diff)
		}
	})
	t.Run("duplicate", func(t *testing.T) {
		r, got := deliver(t, at(simulator.Duplicate, "FINISHED"))
		if n := len(got); n != 11 || got[9].Body != got[10].Body || got[9].Header.Get("X-Signature-256") != got[10].Header.Get("X-Signature-256") {
			t.Errorf("states %v", r.hook.states())
		}
	})
	t.Run("reorder", func(t *testing.T) {
		r, _ := deliver(t, at(simulator.Reorder, "READY"))
		want := slices.Clone(fullCycle)
		want[1], want[2] = want[2], want[1]
		if diff := cmp.Diff(want, r.hook.states()); diff != "" {
			t.Errorf("states (-want +got)\n%s", diff)
		}
	})
	t.Run("delay", func(t *testing.T) {
		r, _ := deliver(t, simulator.DeliveryFault{Kind: simulator.Delay, State: "QUEUED", Delay: simulator.Duration(time.Hour)})
		if got := r.hook.states(); len(got) != 9 || got[0] != "READY" {
			t.Errorf("before the hour: %v", got)
		}
		r.advance(time.Hour)
		if got := r.hook.states(); got[len(got)-1] != "QUEUED" {
			t.Errorf("after the hour: %v", got)
		}
	})
	t.Run("wrong secret", func(t *testing.T) {
		_, got := deliver(t, simulator.DeliveryFault{Kind: simulator.WrongSecret})
		if err := spacelift.VerifySignature([]byte("hush"), []byte(got[0].Body), got[0].Header.Get("X-Signature-256")); err == nil {
			t.Error("the signature fits")
		}
	})
	t.Run("FedRAMP", func(t *testing.T) {
		_, got := deliver(t, simulator.DeliveryFault{Kind: simulator.NoSHA1})
		if h := got[0].Header; h.Get("X-Signature") != "" || h.Get("X-Signature-256") == "" {
			t.Errorf("headers %v", h)
		}
	})
	t.Run("stale version of the end", func(t *testing.T) {
		_, got := deliver(t, simulator.DeliveryFault{Kind: simulator.StaleVersion})
		if last, before := got[9].Event, got[8].Event; last.State != "FINISHED" || last.StateVersion != 8 || before.StateVersion != 8 {
			t.Errorf("last %+v after %+v", last, before)
		}
	})
	t.Run("null instead of absent", func(t *testing.T) {
		_, got := deliver(t, simulator.DeliveryFault{Kind: simulator.NullOptional})
		for _, field := range []string{`"note":null`, `"command":null`, `"delta":null`, `"triggeredBy":null`} {
			if !strings.Contains(got[0].Body, field) {
				t.Errorf("no %s in %s", field, got[0].Body)
			}
		}
		if !strings.Contains(got[5].Body, `"delta":{"added":2`) {
			t.Errorf("a delta that is there went away: %s", got[5].Body)
		}
	})
	t.Run("old shape", func(t *testing.T) {
		_, got := deliver(t, simulator.DeliveryFault{Kind: simulator.OldShape})
		for _, field := range []string{"timestamp_millis", "workerPool", "event_", "driftDetection", "vcs", "repository"} {
			if strings.Contains(got[0].Body, `"`+field) {
				t.Errorf("%s in %s", field, got[0].Body)
			}
		}
	})
	t.Run("unknown state and fields", func(t *testing.T) {
		_, got := deliver(t, at(simulator.UnknownState, "PLANNING"), simulator.DeliveryFault{Kind: simulator.ExtraFields})
		if b := body(got, "AWAITING_LAUNCH_WINDOW"); !strings.Contains(b, `"stateVersion":4`) || strings.Count(b, "future_field") != 4 || !json.Valid([]byte(b)) {
			t.Errorf("body %s", b)
		}
	})
	t.Run("internal error before it", func(t *testing.T) {
		_, got := deliver(t, at(simulator.InternalNoise, "FINISHED"))
		if noise := got[9].Body; !strings.HasPrefix(noise, `{"title":`) || strings.Contains(noise, `"run"`) {
			t.Errorf("body %s", noise)
		}
	})
	t.Run("by probability, the same with the same seed", func(t *testing.T) {
		half := simulator.DeliveryFault{Kind: simulator.Drop, Probability: 0.5}
		one, _ := deliver(t, half)
		two, _ := deliver(t, half)
		n := len(one.hook.states())
		if n == 0 || n == 10 {
			t.Errorf("%d of 10 delivered", n)
		}
		if diff := cmp.Diff(one.hook.states(), two.hook.states()); diff != "" {
			t.Errorf("the second time (-one +two)\n%s", diff)
		}
	})
	t.Run("until cleared", func(t *testing.T) {
		r := newRig(t)
		r.stack(simulator.Stack{ID: "net"})
		r.routeAll()
		id, err := r.InjectDelivery(simulator.DeliveryFault{Kind: simulator.Drop})
		r.ok(err)
		r.push("net", simulator.Plan{})
		r.ClearFaults(id)
		r.push("net", simulator.Plan{})
		if got := len(r.hook.all()); got != 6 {
			t.Errorf("%d deliveries, want those of the second run", got)
		}
	})
}
