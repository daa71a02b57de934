package server_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/openapi"
)

// TestDocsWorkOffline: the page and all it loads come from this server, under a
// policy that allows nothing else.
func TestDocsWorkOffline(t *testing.T) {
	r := newRig(t)
	w := r.send(http.MethodGet, "/docs", "")
	policy := w.Header().Get("Content-Security-Policy")
	if w.Code != http.StatusOK || !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe-eval") {
		t.Fatalf("%d, policy %q", w.Code, policy)
	}
	loaded := regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(w.Body.String(), -1)
	if len(loaded) < 3 {
		t.Errorf("the page loads only %d things", len(loaded))
	}
	for _, l := range loaded {
		if asset := r.send(http.MethodGet, l[1], ""); !strings.HasPrefix(l[1], "/docs/") || asset.Code != http.StatusOK {
			t.Errorf("%s: %d", l[1], asset.Code)
		}
	}
	doc := r.send(http.MethodGet, "/openapi.yaml", "")
	if doc.Body.String() != string(openapi.Document) {
		t.Error("/openapi.yaml is not the contract")
	}
	if again := r.send(http.MethodGet, "/openapi.yaml", "", "If-None-Match", doc.Header().Get("ETag")); again.Code != http.StatusNotModified {
		t.Errorf("unchanged document: %d", again.Code)
	}
	if head := r.send(http.MethodHead, "/docs", ""); head.Code != http.StatusOK {
		t.Errorf("HEAD /docs: %d", head.Code)
	}
}
