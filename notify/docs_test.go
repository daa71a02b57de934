package notify_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMessagesAreListed compares the documented types with the constants.
func TestMessagesAreListed(t *testing.T) {
	howTo, err := os.ReadFile("../docs/how-to/notifications.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(howTo), "## Choose what to receive\n")
	if !found {
		t.Fatal("the how-to lists no messages")
	}
	var listed []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(table, -1) {
		listed = append(listed, m[1])
	}
	file, err := parser.ParseFile(token.NewFileSet(), "message.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var constants []string
	ast.Inspect(file, func(n ast.Node) bool {
		// The types are the constants without a type of their own that hold text
		// with a full stop.
		if spec, ok := n.(*ast.ValueSpec); ok && spec.Type == nil {
			for _, v := range spec.Values {
				if text, ok := v.(*ast.BasicLit); ok && text.Kind == token.STRING && strings.Contains(text.Value, ".") {
					value, err := strconv.Unquote(text.Value)
					if err != nil {
						t.Fatal(err)
					}
					constants = append(constants, value)
				}
			}
		}
		return true
	})
	if len(constants) == 0 {
		t.Fatal("no constant was found")
	}
	slices.Sort(listed)
	slices.Sort(constants)
	if diff := cmp.Diff(constants, listed); diff != "" {
		t.Errorf("constants and documented types differ (-constants +documented):\n%s", diff)
	}
}
