package policy_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

func TestAutoConfirms(t *testing.T) {
	limited := policy.Config{Profiles: []policy.Profile{
		{Name: "careful", Confirm: new(policy.ConfirmAuto), MaxAdded: new(5), MaxChanged: new(2), MaxDeleted: new(0), Drift: new(false)},
	}}
	rules := compile(t, limited)
	tracked := func(added, changed, deleted int) policy.PlanFacts {
		return policy.PlanFacts{Type: spacelift.RunTypeTracked, Delta: &spacelift.Delta{Added: added, Changed: changed, Deleted: deleted}}
	}
	drift := tracked(1, 0, 0)
	drift.Drift = true
	for _, tt := range []struct {
		name   string
		labels []string
		plan   policy.PlanFacts
		alone  bool
		says   []string // name, effect, sentence
	}{
		{"managed alone", []string{"gantry:managed"}, tracked(1, 0, 0), false, []string{"confirm asks: people confirm plans"}},
		{"manual", []string{"gantry:confirm=manual"}, tracked(0, 0, 0), false, []string{"confirm asks: people confirm plans"}},
		{
			"auto", []string{"gantry:confirm=auto"}, tracked(0, 0, 9), true,
			[]string{"confirm allows: Gantry confirms plans automatically", "types allows: Gantry may confirm runs of type TRACKED"},
		},
		{
			"auto, and nobody knows what it changes", []string{"gantry:confirm=auto"}, policy.PlanFacts{Type: spacelift.RunTypeTracked}, true,
			[]string{"confirm allows: Gantry confirms plans automatically", "types allows: Gantry may confirm runs of type TRACKED"},
		},
		{
			"auto, another type", []string{"gantry:confirm=auto"}, policy.PlanFacts{Type: spacelift.RunTypeDestroy, Delta: &spacelift.Delta{}}, false,
			[]string{"confirm allows: Gantry confirms plans automatically", "types asks: people confirm runs of type DESTROY"},
		},
		{
			"auto, no type", []string{"gantry:confirm=auto"}, policy.PlanFacts{}, false,
			[]string{"confirm allows: Gantry confirms plans automatically", "types asks: people confirm runs of type unknown"},
		},
		{
			"auto, drift", []string{"gantry:confirm=auto"}, drift, true,
			[]string{"confirm allows: Gantry confirms plans automatically", "types allows: Gantry may confirm runs of type TRACKED", "drift allows: Gantry may confirm repairs of drift"},
		},
		{
			"nothing deleted", []string{"gantry:confirm=no-deletes"}, tracked(9, 9, 0), true,
			[]string{"confirm allows: the plan deletes nothing", "types allows: Gantry may confirm runs of type TRACKED"},
		},
		{
			"one deleted", []string{"gantry:confirm=no-deletes"}, tracked(0, 0, 1), false,
			[]string{"confirm asks: the plan deletes 1 resource", "types allows: Gantry may confirm runs of type TRACKED"},
		},
		{
			"nobody knows what is deleted", []string{"gantry:confirm=no-deletes"}, policy.PlanFacts{Type: spacelift.RunTypeTracked}, false,
			[]string{"confirm asks: Gantry does not know whether the plan deletes anything", "types allows: Gantry may confirm runs of type TRACKED"},
		},
		{
			"within limits", []string{"gantry:profile=careful"}, tracked(5, 1, 0), true,
			[]string{
				"confirm allows: Gantry confirms plans automatically", "types allows: Gantry may confirm runs of type TRACKED",
				"limits.maxAdded allows: the plan adds 5 resources, no more than 5", "limits.maxChanged allows: the plan changes 1 resource, no more than 2",
				"limits.maxDeleted allows: the plan deletes nothing, no more than 0",
			},
		},
		{
			"beyond limits, in drift", []string{"gantry:profile=careful"},
			policy.PlanFacts{Type: spacelift.RunTypeTracked, Drift: true, Delta: &spacelift.Delta{Added: 6, Changed: 3, Deleted: 2}}, false,
			[]string{
				"confirm allows: Gantry confirms plans automatically", "types allows: Gantry may confirm runs of type TRACKED", "drift asks: people confirm repairs of drift",
				"limits.maxAdded asks: the plan adds 6 resources, more than 5", "limits.maxChanged asks: the plan changes 3 resources, more than 2",
				"limits.maxDeleted asks: the plan deletes 2 resources, more than 0",
			},
		},
		{
			"limits of the unknown", []string{"gantry:profile=careful"}, policy.PlanFacts{Type: spacelift.RunTypeTracked}, false,
			[]string{
				"confirm allows: Gantry confirms plans automatically", "types allows: Gantry may confirm runs of type TRACKED",
				"limits.maxAdded asks: Gantry does not know how many resources the plan adds", "limits.maxChanged asks: Gantry does not know how many resources the plan changes",
				"limits.maxDeleted asks: Gantry does not know how many resources the plan deletes",
			},
		},
		{
			"a label that can't be followed", []string{"gantry:confirm=auto", "gantry:aprovals=2"}, tracked(1, 0, 0), false,
			[]string{"labels forbids: gantry:aprovals=2 can't be followed: Gantry knows no such label; correct or remove it", "confirm asks: people confirm plans"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := rules.Resolve(policy.Labelled(tt.labels))
			alone, looked := p.AutoConfirms(tt.plan)
			var says []string
			for _, r := range looked {
				says = append(says, r.Name+" "+string(r.Effect)+": "+r.Detail)
				if r.Value == "" || r.Origin == "" {
					t.Errorf("%+v lacks its value or origin", r)
				}
			}
			if alone != tt.alone {
				t.Errorf("alone is %t", alone)
			}
			if diff := cmp.Diff(tt.says, says); diff != "" {
				t.Errorf("rules (-want +got):\n%s", diff)
			}
		})
	}
}

// TestNothingUnreadableConfirms: whatever else the labels say, a policy with
// problems never lets Gantry confirm, and labels in another order resolve to the
// same policy.
func TestNothingUnreadableConfirms(t *testing.T) {
	rules := compile(t, team())
	rapid.Check(t, func(t *rapid.T) {
		labels := rapid.SliceOfN(rapid.OneOf(
			rapid.SampledFrom([]string{
				"gantry:managed", "gantry:confirm=auto", "gantry:confirm=no-deletes", "gantry:confirm=manual", "gantry:profile=sandbox", "gantry:profile=production",
				"gantry:approvals=2", "gantry:approvers=platform", "gantry:approval-timeout=1h", "gantry:window=office-hours", "gantry:retries=1", "gantry:after=network",
				"gantry:notify=#deploys", "depends-on:vpc",
			}),
			rapid.StringMatching(`(gantry|Gantry|GANTRY):[a-z=\- ,]{0,12}`),
			rapid.StringMatching(`gantry:(confirm|profile|approvals|approvers|approval-timeout|window|retries|after|notify)=[a-z0-9A-Z#]{0,4}`),
		), 1, 6).Draw(t, "labels")
		p := rules.Resolve(policy.Labelled(labels))
		plan := policy.PlanFacts{Type: rapid.SampledFrom(spacelift.RunTypes).Draw(t, "type"), Drift: rapid.Bool().Draw(t, "drift")}
		if rapid.Bool().Draw(t, "known") {
			plan.Delta = &spacelift.Delta{Added: rapid.IntRange(0, 20).Draw(t, "added"), Deleted: rapid.IntRange(0, 2).Draw(t, "deleted")}
		}
		alone, looked := p.AutoConfirms(plan)
		if alone && len(p.Problems) > 0 {
			t.Fatalf("%q are confirmed in spite of %+v", labels, p.Problems)
		}
		if alone && p.Confirm.Value == policy.ConfirmManual {
			t.Fatalf("%q are confirmed by hand, and by Gantry: %+v", labels, looked)
		}
		if !p.AsksPeople() && p.Approvals.Origin != policy.OriginDefault {
			t.Fatalf("%q want approvals that nobody is ever asked for", labels)
		}
		if other := rules.Resolve(policy.Labelled(rapid.Permutation(labels).Draw(t, "order"))); !p.Equal(other) {
			t.Fatalf("in another order they resolve to %+v, not %+v", other, p)
		}
	})
}
