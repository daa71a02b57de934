package channels_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func howTo(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile("../../docs/how-to/notifications.md")
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

// TestDocumentedBody relies on TestWebhookBody, which compares the golden body with
// the one that is sent.
func TestDocumentedBody(t *testing.T) {
	want, err := os.ReadFile("testdata/webhook_decision.json")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), fenced(t, howTo(t), "json")); diff != "" {
		t.Errorf("(-sent +documented):\n%s", diff)
	}
}

// TestDocumentedReceiver compares the documented receiver with the one of Example.
func TestDocumentedReceiver(t *testing.T) {
	example, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	if code := fenced(t, howTo(t), "go"); !strings.Contains(string(example), "\n"+code) {
		t.Errorf("the documented receiver is not the one in example_test.go:\n%s", code)
	}
}
