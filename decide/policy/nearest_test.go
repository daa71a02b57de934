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

// Of names that are equally close one is chosen, whatever their order.
func TestNearestOfEquals(t *testing.T) {
	for _, all := range [][]string{{"cat", "bat"}, {"bat", "cat"}} {
		if got, _ := policy.Nearest("rat", all); got != "bat" {
			t.Errorf("got %q", got)
		}
	}
	for _, all := range [][]string{{"GANTRY_TEMPORAL_UI_URL", "TEMPORAL_ADDRESS"}, {"TEMPORAL_ADDRESS", "GANTRY_TEMPORAL_UI_URL"}} {
		if got, _ := policy.Nearest("GANTRY_TEMPORAL_ADDRESS", all); got != "TEMPORAL_ADDRESS" {
			t.Errorf("got %q", got)
		}
	}
}
