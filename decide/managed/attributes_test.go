package managed

import (
	"testing"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// Lists show what an execution knows, and at a gate by which freezes it waits.
func TestFactsFingerprint(t *testing.T) {
	freezes := []policy.Freeze{{ID: "audit", From: t0}}
	gate := (*policy.Definitions)(nil).Gate(policy.Policy{}, "app", freezes, t0)
	known := policy.Facts{Labels: []string{"gantry:managed"}}.Fingerprint()
	for _, tc := range []struct {
		name string
		in   RunStatus
		want string
	}{
		{"planning", RunStatus{Phase: PhasePlanning}, known},
		{"waiting", RunStatus{Phase: PhaseWaiting}, known},
		{"at a gate that a freeze closes", RunStatus{Phase: PhaseHolding, Gate: &gate}, known + "/" + (*policy.Definitions)(nil).GateFingerprint(freezes, "app", t0)},
		{"at an open gate", RunStatus{Phase: PhaseWaiting, Gate: &policy.Gate{Open: true}}, known + "/0"},
		{"behind the gate", RunStatus{Phase: PhaseApplying, Gate: &gate}, known},
	} {
		tc.in.Labels, tc.in.State = []string{"gantry:managed"}, spacelift.RunStateUnconfirmed
		if got := factsFingerprint(tc.in); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}
