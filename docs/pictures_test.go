package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestPicturesCanBeDrawn reads every Mermaid block of every document.
func TestPicturesCanBeDrawn(t *testing.T) {
	block := regexp.MustCompile("(?ms)^ *```mermaid\n(.*?)^ *```$")
	drawn := map[string]bool{}
	for name, content := range files(t, ".md") {
		blocks := block.FindAllStringSubmatch(content, -1)
		if begun := strings.Count(content, "```mermaid"); begun != len(blocks) {
			t.Errorf("%s begins %d pictures and ends %d", name, begun, len(blocks))
		}
		for _, m := range blocks {
			if err := checkPicture(m[1]); err != nil {
				t.Errorf("%s: %v\n%s", name, err, m[1])
			}
			drawn[name] = true
		}
	}
	for _, name := range []string{"README.md", "docs/adr/0001-rooms.md", "docs/journey.md", "docs/reference/labels.md", "docs/reference/phases.md", "docs/operations/reconcile.md"} {
		if !drawn[name] {
			t.Errorf("%s has no picture", name)
		}
	}
}

// TestBrokenPicturesAreFound shows each kind of mistake, and that none is found in
// a picture without one.
func TestBrokenPicturesAreFound(t *testing.T) {
	flow, state, sequence := "flowchart LR\n", "stateDiagram-v2\n", "sequenceDiagram\n"
	for name, tc := range map[string]struct{ block, want string }{
		"flowchart":          {block: flow + "  a[\"A, (b)\"] -->|\"yes\"| b([\"B\"])\n  subgraph g [\"G\"]\n    c[(\"C\")]\n    d{\"D?\"}\n  end\n  b <--> c --> d\n  d -.-> g"},
		"state diagram":      {block: state + "  [*] --> queued\n  state \"on hold\" as held\n  queued --> held: no label, maybe\n  held --> [*]\n  failed: at the end\n  failed --> [*]"},
		"sequence":           {block: sequence + "  participant S as Spacelift\n  actor W\n  S->>W: POST /webhook\n  W-->>S: 202"},
		"no kind":            {"graph LR\n  a --> b", "line 1"},
		"no direction":       {"flowchart\n  a[\"A\"]", "line 1"},
		"quote missing":      {flow + "  a[\"A] --> b[\"B\"]", "line 2: no edge"},
		"text without quote": {flow + "  a[A (b)] --> b[\"B\"]", "line 2: no edge"},
		"bracket missing":    {flow + "  a[\"A\" --> b[\"B\"]", "line 2: no edge"},
		"short arrow":        {flow + "  a[\"A\"] -> b[\"B\"]", "line 2: no edge"},
		"open label":         {flow + "  a[\"A\"] -->|\"yes\" b[\"B\"]", "line 2: no edge"},
		"nothing after edge": {flow + "  a[\"A\"] --> ", "line 2: no edge"},
		"ids are the texts":  {block: flow + "  network-prod --> app-prod --> web-prod"},
		"id with a space":    {flow + "  a b[\"A\"] --> c[\"C\"]", "line 2: no edge"},
		"text twice":         {flow + "  a[\"A\"] --> b[\"B\"]\n  b --> a[\"C\"]", "line 3: a is there twice"},
		"keyword":            {flow + "  end[\"End\"] --> b[\"B\"]", "end is a keyword"},
		"misspelt":           {flow + "  a[\"A\"] --> b[\"B\"]\n  a --> bb", "bb is used and has no text"},
		"alone":              {flow + "  a[\"A\"] --> b[\"B\"]\n  c[\"C\"]", "nothing leads to or from c"},
		"open subgraph":      {flow + "  subgraph g [\"G\"]\n  a[\"A\"] --> b[\"B\"]", "g is not closed"},
		"one end too many":   {flow + "  a[\"A\"] --> b[\"B\"]\n  end", "line 3: there is nothing to close"},
		"subgraph twice":     {flow + "  subgraph g [\"G\"]\n  end\n  subgraph g [\"H\"]\n  end\n  a[\"A\"] --> g", "line 4: g is there twice"},
		"no transition":      {state + "  a -> b", "line 2: neither"},
		"colon in label":     {state + "  a --> b: x: y", "line 2: neither"},
		"no message":         {sequence + "  participant A\n  participant B\n  A->>B", "line 4: neither"},
		"no participant":     {sequence + "  participant A\n  A->>B: hello", "B is used"},
		"semicolon":          {sequence + "  participant A\n  participant B\n  A->>B: a; b", "line 4: neither"},
	} {
		switch err := checkPicture(tc.block); {
		case tc.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

// TestFilesThatDocumentsNameExist looks up each path of a source file in the journey
// and the decision records.
func TestFilesThatDocumentsNameExist(t *testing.T) {
	path := regexp.MustCompile("`((?:[a-z]+/)+[a-z_0-9]+\\.(?:go|rego|yaml))`")
	named := 0
	for name, content := range files(t, ".md") {
		if name != "docs/journey.md" && filepath.Dir(name) != "docs/adr" {
			continue
		}
		for _, m := range path.FindAllStringSubmatch(content, -1) {
			named++
			if _, err := os.Stat(filepath.Join("..", m[1])); err != nil {
				t.Errorf("%s names %s, which is not there", name, m[1])
			}
		}
	}
	if named < 10 {
		t.Errorf("only %d paths were found", named)
	}
}
