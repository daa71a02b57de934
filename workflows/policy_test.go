package workflows

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gantryhq/gantry/policy"
)

func TestParsePolicy(t *testing.T) {
	auto := policy.Setting[policy.ConfirmMode]{Value: policy.ConfirmAuto, Origin: "gantry:confirm=auto"}
	manual := policy.Setting[policy.ConfirmMode]{Value: policy.ConfirmManual, Origin: "gantry:confirm=manual"}
	byDefault := policy.Setting[policy.ConfirmMode]{Value: policy.ConfirmManual, Origin: policy.OriginDefault}
	for _, tc := range []struct {
		name     string
		labels   []string
		confirm  policy.Setting[policy.ConfirmMode]
		problems []string // each names a label and, after a slash, a word of the problem or remedy
	}{
		{name: "no labels", confirm: byDefault},
		{name: "managed alone", labels: []string{"gantry:managed"}, confirm: byDefault},
		{name: "auto", labels: []string{"env:prod", "gantry:managed", "gantry:confirm=auto"}, confirm: auto},
		{name: "manual", labels: []string{"gantry:confirm=manual", "gantry:managed"}, confirm: manual},
		{name: "space around", labels: []string{" gantry:confirm=auto ", "gantry:managed"}, confirm: auto},
		{name: "said twice", labels: []string{"gantry:confirm=auto", "gantry:confirm=auto"}, confirm: auto},
		{name: "labels of others", labels: []string{"gantry", "gantry-confirm=auto", "my:gantry:confirm=auto", "depends-on:network"}, confirm: byDefault},

		{name: "contradiction", labels: []string{"gantry:confirm=auto", "gantry:confirm=manual"}, confirm: byDefault, problems: []string{"gantry:confirm=auto and gantry:confirm=manual/contradict"}},
		{name: "no value", labels: []string{"gantry:confirm"}, confirm: byDefault, problems: []string{"gantry:confirm/neither auto nor manual"}},
		{name: "empty value", labels: []string{"gantry:confirm="}, confirm: byDefault, problems: []string{"gantry:confirm=/neither auto nor manual"}},
		{name: "unknown value", labels: []string{"gantry:confirm=yes"}, confirm: byDefault, problems: []string{"gantry:confirm=yes/neither auto nor manual"}},
		{name: "value in capitals", labels: []string{"gantry:confirm=AUTO"}, confirm: byDefault, problems: []string{"gantry:confirm=AUTO/write gantry:confirm=auto"}},
		{name: "space inside", labels: []string{"gantry:confirm = auto"}, confirm: byDefault, problems: []string{"gantry:confirm = auto/meant gantry:confirm"}},
		{name: "prefix in capitals", labels: []string{"Gantry:Confirm=Manual", "gantry:confirm=auto"}, confirm: byDefault, problems: []string{"Gantry:Confirm=Manual/write gantry:confirm=manual"}},
		{name: "managed with a value", labels: []string{"gantry:managed=true"}, confirm: byDefault, problems: []string{"gantry:managed=true/write gantry:managed"}},
		{name: "bare prefix", labels: []string{"gantry:"}, confirm: byDefault, problems: []string{"gantry:/no such label"}},
		{name: "slip of the pen", labels: []string{"gantry:approval_timeout=2h"}, confirm: byDefault, problems: []string{"gantry:approval_timeout=2h/meant gantry:approval-timeout"}},
		{name: "unknown label", labels: []string{"gantry:confrim=manual", "gantry:confirm=auto"}, confirm: byDefault, problems: []string{"gantry:confrim=manual/no such label"}},

		{name: "no-deletes is for later", labels: []string{"gantry:confirm=no-deletes"}, confirm: byDefault, problems: []string{"gantry:confirm=no-deletes/yet"}},
		{name: "the rest of the grammar is for later", labels: []string{
			"gantry:profile=production", "gantry:approvals=2", "gantry:approvers=platform", "gantry:approval-timeout=24h",
			"gantry:window=business-hours", "gantry:retries=2", "gantry:after=network-prod", "gantry:notify=#deploys", "gantry:confirm=auto",
		}, confirm: byDefault, problems: []string{
			"gantry:after=network-prod/yet", "gantry:approval-timeout=24h/yet", "gantry:approvals=2/yet", "gantry:approvers=platform/yet",
			"gantry:notify=#deploys/yet", "gantry:profile=production/yet", "gantry:retries=2/yet", "gantry:window=business-hours/yet",
		}},
		{name: "later ones without a value", labels: []string{"gantry:window="}, confirm: byDefault, problems: []string{"gantry:window=/value is missing"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := ParsePolicy(tc.labels)
			if diff := cmp.Diff(tc.confirm, got.Confirm); diff != "" {
				t.Errorf("confirm (-want +got):\n%s", diff)
			}
			if len(got.Problems) != len(tc.problems) {
				t.Fatalf("problems are %+v, want %d", got.Problems, len(tc.problems))
			}
			for i, p := range got.Problems {
				label, word, _ := strings.Cut(tc.problems[i], "/")
				if p.Label != label || !strings.Contains(p.Problem+" "+p.Remedy, word) {
					t.Errorf("problem %+v, want label %q and %q", p, label, word)
				}
				if p.Remedy == "" {
					t.Errorf("problem %+v does not say what to do", p)
				}
			}
		})
	}
}

// A label that is not one of the three understood ones never lets a plan be
// confirmed, whatever else the stack carries.
func TestParsePolicyNeverConfirmsOnWhatItCannotRead(t *testing.T) {
	understood := map[string]bool{"gantry:managed": true, "gantry:confirm=auto": true, "gantry:confirm=manual": true}
	rapid.Check(t, func(t *rapid.T) {
		prefix := rapid.SampledFrom([]string{"gantry:", "Gantry:", "GANTRY:"}).Draw(t, "prefix")
		odd := prefix + rapid.StringMatching(`[a-zA-Z=\- ,]{0,12}`).Filter(func(rest string) bool {
			return !understood[strings.TrimSpace(prefix+rest)]
		}).Draw(t, "rest")
		labels := rapid.Permutation([]string{"gantry:managed", "gantry:confirm=auto", odd}).Draw(t, "labels")
		if p := ParsePolicy(labels); p.Confirm.Value != policy.ConfirmManual || len(p.Problems) == 0 {
			t.Fatalf("labels %q gave %+v", labels, p)
		}
	})
}
