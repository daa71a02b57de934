package activities

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/decide/policy"
)

// The examples in the documentation show what they are said to.
func TestDocumentedCauses(t *testing.T) {
	page, err := os.ReadFile("../docs/reference/failures.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `([a-z]+)` \\|[^|]*\\| (.*) \\|$")
	word := regexp.MustCompile("`([^`]+)`")
	var documented []policy.Cause
	for _, m := range row.FindAllStringSubmatch(string(page), -1) {
		cause := policy.Cause(m[1])
		documented = append(documented, cause)
		for _, example := range word.FindAllStringSubmatch(m[2], -1) {
			got := diagnose(failed(planning...), "", "Error: "+example[1]+": at that line")
			if got.Cause != cause || !strings.Contains(got.Evidence, example[1]) {
				t.Errorf("%q shows %s (%q), documented as %s", example[1], got.Cause, got.Evidence, cause)
			}
		}
	}
	slices.Sort(documented)
	want := append(slices.Clone(byWeight), policy.CauseUnknown)
	slices.Sort(want)
	if !slices.Equal(documented, want) {
		t.Errorf("documented are %v, want %v", documented, want)
	}
}
