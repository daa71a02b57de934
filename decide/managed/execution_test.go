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
		in   *RunStatus
		want string
	}{
		{"planning", &RunStatus{Phase: PhasePlanning}, known},
		{"waiting", &RunStatus{Phase: PhaseWaiting}, known},
		{"at a gate that a freeze closes", &RunStatus{Phase: PhaseHolding, Gate: &gate}, known + "/" + (*policy.Definitions)(nil).GateFingerprint(freezes, "app", t0)},
		{"at an open gate", &RunStatus{Phase: PhaseWaiting, Gate: &policy.Gate{Open: true}}, known + "/0"},
		{"behind the gate", &RunStatus{Phase: PhaseApplying, Gate: &gate}, known},
	} {
		tc.in.Labels, tc.in.State = []string{"gantry:managed"}, spacelift.RunStateUnconfirmed
		if got := factsFingerprint(tc.in); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}
func TestIDsAreReadBack(t *testing.T) {
	run := spacelift.RunRef{Account: "acme", Stack: "network", Run: "01J8"}
	if got, err := ParseRunID(ManageRunID(run)); err != nil || got != run {
		t.Errorf("read %v from %q (%v), want %v", got, ManageRunID(run), err, run)
	}
	if got, err := ParseChainID(ChainID(run)); err != nil || got.Account != run.Account || got.Run != run.Run {
		t.Errorf("read %v from %q (%v), want %v", got, ChainID(run), err, run)
	}
	for _, id := range []string{"", "run/acme/network", "run/acme//01J8", "run/acme/network/01J8/2", RetryRunID(run), ChainID(run)} {
		if got, err := ParseRunID(id); err == nil {
			t.Errorf("read the run %v from %q, which names none", got, id)
		}
	}
	for _, id := range []string{"", "chain/acme", ManageRunID(run)} {
		if got, err := ParseChainID(id); err == nil {
			t.Errorf("read the chain of %v from %q, which names none", got, id)
		}
	}
}
