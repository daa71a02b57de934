package workflows

import (
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

// The core decides without knowing that it is replayed.
func TestCoreImportsNothingOfTemporal(t *testing.T) {
	for _, file := range []string{"fold.go", "record.go", "facts.go", "trust.go", "situation.go", "rules.go", "decide.go", "decide_plan.go",
		"decide_end.go", "outcome.go", "asking.go", "answers.go", "refuse.go", "request.go", "stopping.go", "block.go", "trouble.go", "counting.go", "keys.go", "explain.go", "notices.go", "status.go",
		"decisions.go", "messages.go", "repair.go", "findings.go", "report.go",
		"chain.go", "chain_messages.go", "chain_links.go", "chain_refuse.go", "chain_status.go", "chain_graph.go", "chain_node.go", "chain_notices.go", "chain_parents.go", "decide_chain.go"} {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range parsed.Imports {
			if strings.Contains(i.Path.Value, "temporal") || strings.Contains(i.Path.Value, "gantry/activities") {
				t.Errorf("%s imports %s", file, i.Path.Value)
			}
		}
	}
}
