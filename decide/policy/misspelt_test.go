package policy_test

import (
	"strings"
	"testing"

	"github.com/gantryhq/gantry/decide/policy"
)

// A label that was probably meant for Gantry is named with the label that was meant.
// Labels of other programs are left alone.
func TestMisspelt(t *testing.T) {
	for label, meant := range map[string]string{
		"ganrty:auto":                 "gantry:auto",
		"gantr:managed":               "gantry:managed",
		"ganttry:profile=Production":  "gantry:profile=Production",
		"Gantyr:managed":              "gantry:managed",
		"gantry :managed":             "gantry:managed",
		"gantry : managed":            "gantry:managed",
		"gantry-managed":              "gantry:managed",
		"gantry_approvals=2":          "gantry:approvals=2",
		"gantry/managed":              "gantry:managed",
		"gantry.managed":              "gantry:managed",
		"gantry managed":              "gantry:managed",
		"gantry=managed":              "gantry:managed",
		"gantry;managed":              "gantry:managed",
		"gantry\uff1amanaged":         "gantry:managed", // a full-width colon
		"gan\u200btry:managed":        "gantry:managed", // with a zero-width space
		"g\u0430ntry:managed":         "gantry:managed", // with a Cyrillic letter
		"gatnry-aprovals=2":           "gantry:aprovals=2",
		"gnatri:managed":              "gantry:managed",
		"gantry:managed":              "", // Gantry reads it
		" GANTRY:managed":             "", // a problem of its own
		"depends-on:gantry":           "",
		"gantry":                      "",
		"gantry-infra":                "", // a project
		"gantry-team:platform":        "",
		"sentry:dsn=abc":              "",
		"entry:prod":                  "",
		"pantry:shelf":                "",
		"country:de":                  "",
		"env:prod":                    "",
		"team:managed":                "",
		"managed":                     "",
		"":                            "",
		":":                           "",
		strings.Repeat("gantr:", 1e3): "",
	} {
		found := policy.Misspelt([]string{"env:prod", label})
		switch {
		case meant == "" && len(found) > 0:
			t.Errorf("%q: %+v", label, found)
		case meant != "" && (len(found) != 1 || found[0].Label != label || found[0].Remedy != "write "+meant+", or rename it if it isn't meant for Gantry"):
			t.Errorf("%q: %+v, want %q", label, found, meant)
		}
		if p := (*policy.Definitions)(nil).Resolve(policy.Labelled([]string{"gantry:managed", "gantry:confirm=auto", label})); meant != "" && (len(p.Problems) > 0 || p.Confirm.Value != policy.ConfirmAuto) {
			t.Errorf("%q has an effect: %+v", label, p)
		}
	}
}
