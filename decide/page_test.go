package decide_test

import (
	"testing"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/spacelift"
)

func TestPages(t *testing.T) {
	run := spacelift.RunRef{Account: "acme", Stack: "network-prod", Run: "01KDX"}
	for _, at := range []decide.Pages{"https://gantry.example.com", "https://gantry.example.com/"} {
		for got, want := range map[string]string{
			at.Run(run):   "https://gantry.example.com/accounts/acme/stacks/network-prod/runs/01KDX",
			at.Chain(run): "https://gantry.example.com/accounts/acme/stacks/network-prod/runs/01KDX/chain",
			at.Health():   "https://gantry.example.com/health",
			at.Calendar(): "https://gantry.example.com/calendar",
			at.Run(spacelift.RunRef{Account: "acme", Stack: "a/../b?", Run: "r"}): "https://gantry.example.com/accounts/acme/stacks/a%2F..%2Fb%3F/runs/r",
		} {
			if got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
	}
	if got := decide.Pages("").Run(run); got != "" {
		t.Errorf("no address is known, and the page is %q", got)
	}
}
