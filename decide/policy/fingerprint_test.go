package policy_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// Labels that ask for the same have the same fingerprint, even if there are
// too many and only some were kept.
func TestFingerprint(t *testing.T) {
	of := func(state spacelift.RunState, review bool, block *spacelift.Block, labels ...string) string {
		return policy.Facts{State: state, Labels: labels, NeedsApproval: review, Block: block}.Fingerprint()
	}
	locked := &spacelift.Block{Reason: "locked by jane"}
	is := of("UNCONFIRMED", false, nil, "gantry:managed", "env:prod", " gantry:confirm=auto")
	if got := of("UNCONFIRMED", false, nil, "gantry:confirm=auto", "gantry:managed"); got != is {
		t.Errorf("labels in another order, with spaces and without others: %s, want %s", got, is)
	}
	for name, other := range map[string]string{
		"another label": of("UNCONFIRMED", false, nil, "gantry:managed"),
		"a review":      of("UNCONFIRMED", true, nil, "gantry:confirm=auto", "gantry:managed"),
		"a lock":        of("UNCONFIRMED", false, locked, "gantry:confirm=auto", "gantry:managed"),
	} {
		if other == is {
			t.Errorf("%s does not show", name)
		}
	}
	if got := of("PLANNING", false, locked, "gantry:confirm=auto", "gantry:managed"); got != is {
		t.Error("a lock counts while the run asks nobody")
	}
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprintf("gantry:%0200d", i))
	}
	kept := policy.TrimLabels(many)
	if len(kept) >= len(many) || of("", false, nil, kept...) != of("", false, nil, many...) {
		t.Errorf("the fingerprint of the %d labels kept of %d is another", len(kept), len(many))
	}
}

// The gate that a run waits at has the fingerprint of the freezes in effect, and of
// the configuration, for as long as these are the same.
func TestGateFingerprint(t *testing.T) {
	at := time.Date(2090, 1, 2, 12, 0, 0, 0, time.UTC)
	all := policy.Freeze{ID: "all", From: at.Add(-time.Hour)}
	one := policy.Freeze{ID: "one", Stacks: []string{"app"}, From: at.Add(-time.Hour)}
	later := policy.Freeze{ID: "later", From: at.Add(time.Hour)}
	gate := func(stack string, freezes ...policy.Freeze) string {
		return (*policy.Definitions)(nil).Gate(policy.Policy{}, stack, freezes, at).Fingerprint()
	}
	for _, tc := range []struct {
		stack string
		knows []policy.Freeze
		are   []policy.Freeze
		same  bool
	}{
		{"app", nil, nil, true},
		{"app", nil, []policy.Freeze{later}, true},
		{"app", []policy.Freeze{all, one}, []policy.Freeze{one, all}, true},
		{"app", []policy.Freeze{one}, nil, false},
		{"app", nil, []policy.Freeze{one}, false},
		{"net", nil, []policy.Freeze{one}, true},
		{"net", []policy.Freeze{all}, []policy.Freeze{all, one}, true},
	} {
		if got := gate(tc.stack, tc.knows...) == (*policy.Definitions)(nil).GateFingerprint(tc.are, tc.stack, at); got != tc.same {
			t.Errorf("%s knows %v, there are %v: same is %t", tc.stack, tc.knows, tc.are, got)
		}
	}
	first, second := profiled(t, 1), profiled(t, 2)
	if is := first.Gate(policy.Policy{}, "app", nil, at).Fingerprint(); is != profiled(t, 1).GateFingerprint(nil, "app", at) || is == second.GateFingerprint(nil, "app", at) {
		t.Errorf("the fingerprint %s doesn't tell configurations apart", is)
	}
}

// A change of rules shows too, so that it reaches runs that wait.
func TestGateFingerprintOfRules(t *testing.T) {
	at, seen := time.Date(2090, 1, 2, 12, 0, 0, 0, time.UTC), map[string]bool{}
	for _, rules := range [][]policy.StackRule{
		nil, {{Name: "floor", Profile: "base"}}, {{Name: "floor", Profile: "base", Locked: true}}, {{Name: "floor", Profile: "team"}},
		{{Name: "floor", Match: policy.Match{Stacks: []string{"app"}}, Profile: "base"}},
	} {
		seen[compiled(t, "", rules...).GateFingerprint(nil, "app", at)] = true
	}
	if seen[compiled(t, "base").GateFingerprint(nil, "app", at)] = true; len(seen) != 6 {
		t.Errorf("6 configurations have %d fingerprints", len(seen))
	}
}

func profiled(t *testing.T, approvals int) *policy.Definitions {
	t.Helper()
	rules, err := policy.Compile(policy.Config{Profiles: []policy.Profile{{Name: "production", Approvals: &approvals}}})
	if err != nil {
		t.Fatal(err)
	}
	return rules
}
