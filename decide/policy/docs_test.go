package policy

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/spacelift"
)

// TestReferenceListsEveryLabel keeps docs/reference/labels.md equal to the
// grammar. Run it with UPDATE=1 to write the table anew.
func TestReferenceListsEveryLabel(t *testing.T) {
	const file = "../../docs/reference/labels.md"
	const begin, end = "<!-- labels -->\n", "<!-- /labels -->"
	var table strings.Builder
	fmt.Fprintf(&table, "| Label | Value | What it does |\n| --- | --- | --- |\n| `%s` | none | opts the stack in |\n", spacelift.LabelManaged)
	for _, k := range grammar {
		fmt.Fprintf(&table, "| `%s%s` | %s | %s |\n", spacelift.LabelPrefix, k.name, k.value, k.does)
	}
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(doc), begin)
	shown, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no %q … %q", file, begin, end)
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, []byte(before+begin+table.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(table.String(), shown); diff != "" {
		t.Errorf("%s is not the grammar (-grammar +document); run UPDATE=1 go test ./policy:\n%s", file, diff)
	}
}

// TestGuidesSpeakTheGrammar: every label that a guide tells to write can be
// followed, given the names it mentions.
func TestGuidesSpeakTheGrammar(t *testing.T) {
	rules := &Definitions{
		profiles: map[string]Profile{"production": {Name: "production"}}, windows: map[string]*window{"office-hours": {}}, channels: []string{"deploys"},
	}
	label := regexp.MustCompile("(?m)(?:^|`)(gantry:[a-z-]+(?:=[a-z0-9#-]+)?)(?:$|`)")
	wrong := map[string]bool{"gantry:approval=2": true} // shown as such
	found := 0
	for _, file := range []string{"../../docs/reference/labels.md", "../../docs/how-to/approvals.md", "../../docs/how-to/windows-and-freezes.md"} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range label.FindAllStringSubmatch(string(content), -1) {
			name, _, hasValue := strings.Cut(m[1], "=")
			found++
			if !hasValue && isKey(strings.TrimPrefix(name, spacelift.LabelPrefix)) {
				continue // the kind of label as such
			}
			if p := rules.Resolve([]string{m[1]}); (len(p.Problems) > 0) != wrong[m[1]] {
				t.Errorf("%s: %s comes to %+v", file, m[1], p.Problems)
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d labels were found", found)
	}
}
