package policy

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/docs"
	"github.com/gantryhq/gantry/spacelift"
)

// TestReferenceListsEveryLabel keeps docs/reference/labels.md equal to the
// grammar. Run it with UPDATE=1 to write the table anew.
func TestReferenceListsEveryLabel(t *testing.T) {
	var table strings.Builder
	fmt.Fprintf(&table, "| Label | Value | What it does |\n| --- | --- | --- |\n| `%s` | none | opts the stack in |\n", spacelift.LabelManaged)
	for _, k := range grammar {
		fmt.Fprintf(&table, "| `%s%s` | %s | %s |\n", spacelift.LabelPrefix, k.name, k.value, k.does)
	}
	docs.KeepSection(t, "../../docs/reference/labels.md", "labels", table.String())
}

// TestReferenceSaysWhatIsTighter keeps the table of docs/reference/labels.md equal to
// the one that locked rules go by, and that to the settings of a profile.
func TestReferenceSaysWhatIsTighter(t *testing.T) {
	var table strings.Builder
	table.WriteString("| Setting | Tighter is | Decides whether a plan passes |\n| --- | --- | --- |\n")
	known := map[string]bool{"profile": true}
	for _, s := range settings {
		gates := "no"
		if s.gates {
			gates = "yes"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", s.name, s.tighter, gates)
		known[s.name] = true
	}
	docs.KeepSection(t, "../../docs/reference/labels.md", "tighter", table.String())
	for _, v := range byDefault().Values() {
		if !known[v.Name] {
			t.Errorf("%s is no setting that rules and labels combine", v.Name)
		}
	}
}

// TestGuidesSpeakTheGrammar: Gantry can follow every label that a guide shows, given
// the names it mentions.
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
			if p := rules.Resolve(Labelled([]string{m[1]})); (len(p.Problems) > 0) != wrong[m[1]] {
				t.Errorf("%s: %s resolves to %+v", file, m[1], p.Problems)
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d labels were found", found)
	}
}
