package policy_test

import (
	"testing"

	"github.com/gantryhq/gantry/decide/policy"
)

func TestNearest(t *testing.T) {
	all := []string{"network-prod", "network-dev", "app", "dns", ""}
	for misspelt, want := range map[string]string{
		"netwok-prod": "network-prod", "network_prod": "network-prod", "Network-Prod": "network-prod", "network-de": "network-dev",
		"ap": "app", "dsn": "dns", "database": "", "": "", "x": "", "does-not-exist": "",
	} {
		got, ok := policy.Nearest(misspelt, all)
		if got != want || ok != (want != "") {
			t.Errorf("%q: got %q, %t; want %q", misspelt, got, ok, want)
		}
	}
}
