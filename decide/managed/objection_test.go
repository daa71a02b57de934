package managed

import (
	"testing"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/openapi/conformance"
)

// What people read about labels that can't be followed says nothing twice, however
// many there are.
func TestAnObjectionSaysNothingTwice(t *testing.T) {
	rules, err := policy.Compile(policy.Config{Channels: []string{"deploys"}, Profiles: []policy.Profile{{Name: "careful", Approvals: new(1), ApprovalTimeout: new(policy.Duration(3600e9))}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, labels := range [][]string{
		{"gantry:managed", "gantry:profile=careful", "gantry:confirm=auto"},
		{"gantry:managed", "gantry:notify=slack", "gantry:notify=chat"},
		{"gantry:managed", "gantry:notify=slack", "gantry:notify=chat", "gantry:approvals=0"},
	} {
		problems := rules.Resolve(policy.Labelled(labels)).Problems
		if len(problems) < 2 {
			t.Fatalf("%v: %+v", labels, problems)
		}
		if said := objection(problems); conformance.SaysTwice("No decision pending", "the plan is held and cannot be approved: "+said) {
			t.Errorf("%v: %s", labels, said)
		}
	}
}
