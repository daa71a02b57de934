// Package docs holds the documents. Its tests, and KeepSection in the tests of other
// packages, keep them true.
package docs

import (
	"os"
	"strings"
	"testing"
)

// KeepSection compares the section of a document between <!-- name --> and
// <!-- /name --> with what it should be. With UPDATE=1 it writes the section instead.
func KeepSection(t *testing.T, file, name, want string) {
	t.Helper()
	begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->"
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(doc), begin)
	section, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no %q … %q", file, begin, end)
	}
	if section == want {
		return
	}
	if os.Getenv("UPDATE") == "" {
		t.Fatalf("%s: the section %s differs from the code; run this test with UPDATE=1. It must be:\n%s", file, name, want)
	}
	if err := os.WriteFile(file, []byte(before+begin+want+end+after), 0o600); err != nil {
		t.Fatal(err)
	}
}
