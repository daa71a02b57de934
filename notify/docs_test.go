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

func howTo(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile("../docs/how-to/notifications.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// fenced returns the only block of code of a language.
func fenced(t *testing.T, document, language string) string {
	t.Helper()
	blocks := regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(document, -1)
	if len(blocks) != 1 {
		t.Fatalf("the document has %d blocks of %s, want 1", len(blocks), language)
	}
	return blocks[0][1]
}

// TestMessagesAreListed compares the table of messages with the constants.
func TestMessagesAreListed(t *testing.T) {
	_, table, found := strings.Cut(howTo(t), "## The messages\n")
	if !found {
		t.Fatal("there is no chapter of the messages")
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

// TestDocumentedBodyIsWhatIsSent: the golden body is compared with what is sent
// in TestWebhookBody.
func TestDocumentedBodyIsWhatIsSent(t *testing.T) {
	want, err := os.ReadFile("testdata/webhook_decision.json")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), fenced(t, howTo(t), "json")); diff != "" {
		t.Errorf("(-sent +documented):\n%s", diff)
	}
}

// TestDocumentedReceiverRuns: the documented receiver is the one of Example.
func TestDocumentedReceiverRuns(t *testing.T) {
	example, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	if code := fenced(t, howTo(t), "go"); !strings.Contains(string(example), "\n"+code) {
		t.Errorf("the documented receiver is not the one in example_test.go:\n%s", code)
	}
}
