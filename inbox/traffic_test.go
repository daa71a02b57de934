package inbox

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/spacelift"
)

// Traffic counts what arrived since a time, whatever became of it.
func TestTraffic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := open(t, Options{})
		in.Log(archive.Delivery{Outcome: archive.OutcomeRefused, Reason: "signature-missing"}) // a day before
		pass(24 * time.Hour)
		since := time.Now()
		accept(t, in, notice(runRef(1), 0, spacelift.RunStateQueued))
		stop := forward(t, in, &fakeTarget{}, ForwarderOptions{})
		pass(time.Minute)
		stop()
		second := time.Now().UTC()
		accept(t, in, notice(runRef(1), 1, spacelift.RunStateReady))
		in.Log(archive.Delivery{Outcome: archive.OutcomeIgnored, Reason: "unmanaged-stack", Run: runRef(3)})
		in.Log(archive.Delivery{Outcome: archive.OutcomeIgnored, Reason: "unmanaged-stack", Run: runRef(4)})
		in.Log(archive.Delivery{Outcome: archive.OutcomeRefused, Reason: "signature-mismatch"})
		got, err := in.Traffic(t.Context(), since)
		want := []archive.Traffic{
			{Outcome: archive.OutcomeRefused, Reason: "signature-mismatch", Count: 1, Last: second},
			{Account: "acme", Outcome: archive.OutcomeAccepted, Count: 2, Last: second},
			{Account: "acme", Outcome: archive.OutcomeIgnored, Reason: "unmanaged-stack", Count: 2, Last: second},
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	})
}
