package docs

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// files returns the repository's files with an extension, by path from its root.
func files(t *testing.T, extension string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "bin" || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(path) != extension:
			return nil
		}
		content, err := os.ReadFile(path)
		found[strings.TrimPrefix(filepath.ToSlash(path), "../")] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestLinksLeadSomewhere follows every relative link of every document.
func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)]*)?\)`)
	followed := 0
	for name, content := range files(t, ".md") {
		for _, m := range link.FindAllStringSubmatch(content, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			followed++
			if _, err := os.Stat(filepath.Join("..", filepath.Dir(name), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", name, m[1])
			}
		}
	}
	if followed == 0 {
		t.Error("no link was followed")
	}
}

// TestGuaranteesNameTestsThatExist: a guarantee without its test is a promise, and so is
// an answer to a threat.
func TestGuaranteesNameTestsThatExist(t *testing.T) {
	for _, document := range []string{"guarantees.md", "threat-model.md", "asvs.md"} {
		t.Run(document, func(t *testing.T) { wantTests(t, document) })
	}
}

// wantTests checks that each row of a document's table names tests that exist, in its
// last column.
func wantTests(t *testing.T, document string) {
	t.Helper()
	tests := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	for name, content := range files(t, ".go") {
		if strings.HasSuffix(name, "_test.go") {
			for _, m := range function.FindAllStringSubmatch(content, -1) {
				tests[m[1]] = true
			}
		}
	}
	guarantees, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	counted := regexp.MustCompile(`(?s)<!-- (faults|mutants) -->.*<!-- /(faults|mutants) -->`) // tables of counts
	lines := 0
	for line := range strings.Lines(counted.ReplaceAllString(string(guarantees), "")) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 || strings.Contains(line, "---") || strings.Contains(line, "Proven by") {
			continue
		}
		lines++
		named := regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(cells[len(cells)-2], -1)
		if len(named) == 0 {
			t.Errorf("no test proves:%s", cells[1])
		}
		for _, m := range named {
			if !tests[m[1]] {
				t.Errorf("there is no test %s for:%s", m[1], cells[1])
			}
		}
	}
	if lines < 10 {
		t.Errorf("only %d rows of %s were read", lines, document)
	}
}

// TestProblemsAreListed compares docs/reference/problems.md with the kinds of
// problems in the server's source.
func TestProblemsAreListed(t *testing.T) {
	kinds := []string{}
	row := regexp.MustCompile(`\{status: \d+, slug: ("?)([\w-]+)`)
	constant := regexp.MustCompile(`(reason\w+)\s+= "([a-z0-9-]+)"`)
	reasons := map[string]string{}
	var rows [][]string
	for name, content := range files(t, ".go") {
		if filepath.Dir(name) != "server" || strings.HasSuffix(name, "_test.go") {
			continue
		}
		for _, m := range constant.FindAllStringSubmatch(content, -1) {
			reasons[m[1]] = m[2]
		}
		rows = append(rows, row.FindAllStringSubmatch(content, -1)...)
	}
	for _, m := range rows {
		slug := m[2]
		if m[1] == "" {
			slug = reasons[slug]
		}
		kinds = append(kinds, slug)
	}
	doc, err := os.ReadFile("reference/problems.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9-]+)` \\|").FindAllSubmatch(doc, -1) {
		listed = append(listed, string(bytes.TrimSpace(m[1])))
	}
	slices.Sort(kinds)
	slices.Sort(listed)
	if kinds, listed := slices.Compact(kinds), slices.Compact(listed); !slices.Equal(kinds, listed) {
		t.Errorf("the server knows %v\nthe document lists %v", kinds, listed)
	}
}

// TestMetricsAreListed compares docs/reference/metrics.md with the metrics in
// the source.
func TestMetricsAreListed(t *testing.T) {
	defined := regexp.MustCompile(`(?:Name: |counter\(|vector\(|gauge\(|histogram\()"(gantry_[a-z_]+)"`)
	var known []string
	for name, content := range files(t, ".go") {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		for _, m := range defined.FindAllStringSubmatch(content, -1) {
			known = append(known, m[1])
		}
	}
	doc, err := os.ReadFile("reference/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(gantry_[a-z_]+)").FindAllSubmatch(doc, -1) {
		listed = append(listed, string(m[1]))
	}
	slices.Sort(known)
	slices.Sort(listed)
	if known, listed := slices.Compact(known), slices.Compact(listed); !slices.Equal(known, listed) || len(known) < 15 {
		t.Errorf("the source has %v\nthe document lists %v", known, listed)
	}
}
