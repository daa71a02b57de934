package decide_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestDecideLinksNoNetwork covers what its imports import, which the linter
// doesn't see.
func TestDecideLinksNoNetwork(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, "github.com/gantryhq/gantry/decide/managed") {
		t.Fatalf("decide/managed is missing from %d dependencies", len(deps))
	}
	for _, dep := range deps {
		if dep == "net" || dep == "net/http" || strings.HasPrefix(dep, "go.temporal.io/") {
			t.Errorf("decide links %s", dep)
		}
	}
}
