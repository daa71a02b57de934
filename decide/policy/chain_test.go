package policy_test

import (
	"strings"
	"testing"

	"github.com/gantryhq/gantry/decide/policy"
)

// A stack that follows itself could never run: its labels hold it and name the
// one that is wrong. Other stacks with the same labels are fine.
func TestAStackThatFollowsItself(t *testing.T) {
	rules := compile(t, policy.Config{DependsOnLabels: true})
	for _, tc := range []struct {
		name   string
		labels []string
		label  string // the one to blame; empty for none
	}{
		{"by its own label", []string{"gantry:managed", "gantry:confirm=auto", "gantry:after=net", "gantry:after=web"}, "gantry:after=web"},
		{"by the community's label", []string{"gantry:managed", "depends-on:net,web"}, "depends-on:net,web"},
		{"not at all", []string{"gantry:managed", "gantry:after=net", "gantry:after=web-2"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := rules.Resolve(policy.Labelled(tc.labels)).Of("web")
			if tc.label == "" {
				if len(p.Problems) > 0 {
					t.Fatalf("problems %+v", p.Problems)
				}
				return
			}
			if len(p.Problems) != 1 || p.Problems[0].Label != tc.label || !strings.Contains(p.Problems[0].Problem, "web follows itself") {
				t.Errorf("problems %+v, want %s to be blamed", p.Problems, tc.label)
			}
			if p.Confirm.Value != policy.ConfirmManual {
				t.Errorf("Gantry would confirm: %+v", p.Confirm)
			}
			if other := rules.Resolve(policy.Labelled(tc.labels)).Of("app"); len(other.Problems) > 0 {
				t.Errorf("another stack has the problems %+v", other.Problems)
			}
		})
	}
}

// Old plans are replaced unless the profile keeps them.
func TestOldPlans(t *testing.T) {
	rules := compile(t, policy.Config{Profiles: []policy.Profile{{Name: "patient", OldPlans: new(policy.OldPlansKeep)}}})
	if got := rules.Resolve(policy.Labelled([]string{"gantry:managed"})).OldPlans; got.Value != policy.OldPlansReplace || got.Origin != policy.OriginDefault {
		t.Errorf("by default old plans are %+v", got)
	}
	if got := rules.Resolve(policy.Labelled([]string{"gantry:managed", "gantry:profile=patient"})).OldPlans; got.Value != policy.OldPlansKeep || got.Origin != "profile patient" {
		t.Errorf("the profile's old plans are %+v", got)
	}
	_, err := policy.Compile(policy.Config{Profiles: []policy.Profile{{Name: "p", OldPlans: new(policy.OldPlans("sometimes"))}}})
	if err == nil || !strings.Contains(err.Error(), `oldPlans: "sometimes" is neither replace nor keep`) {
		t.Errorf("got %v", err)
	}
}
